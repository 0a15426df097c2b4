"""A scaffolded room works as it is: its tests pass, and everything generated is up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from plumbline_operator.rooms import ROOMS
from tests.support.scaffold import CannotScaffold, Naming, main, scaffold, with_kind

ROOT = Path.cwd()
NEEDED = ("operator/src", "crds", "charts/plumbline", "docs/reference", "tests/support", "tests/rooms", "tests/runtime")
FILES = ("pyproject.toml", "tests/__init__.py", "tests/conftest.py")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a scaffold touches and of what its tests import."""
    for folder in NEEDED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def python(tree: Path, *arguments: str) -> None:
    """Run Python in the copy, with the copy's packages; AssertionError with its output when it fails."""
    environment = os.environ | {"PYTHONPATH": str(tree / "operator/src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, f"python {' '.join(arguments)}:\n{done.stdout}{done.stderr}"


# One name sorts before `Reason`, the other behind it.
@pytest.mark.parametrize("name", ["ProbeOfScaffold", "ScaffoldProbe"])
def test_a_new_room_passes_its_tests_and_is_entered_everywhere(tree: Path, name: str) -> None:
    made = scaffold(tree, name)
    python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/rooms/{name.lower()}")
    python(tree, "-m", "plumbline_operator.crdgen", "verify")
    python(tree, "-m", "plumbline_operator.refgen", "verify")
    touched = [*made, Path("operator/src/plumbline_operator/rooms/__init__.py")]
    python(tree, "-m", "ruff", "check", "--no-cache", *map(str, touched))
    python(tree, "-m", "ruff", "format", "--no-cache", "--check", *map(str, touched))
    definition = yaml.safe_load((tree / f"crds/plumbline.dev_{name.lower()}s.yaml").read_text())
    assert definition["spec"]["names"]["kind"] == name
    listed = yaml.safe_load((tree / "crds/kustomization.yaml").read_text())["resources"]
    assert listed == sorted(path.name for path in (tree / "crds").glob("plumbline.dev_*.yaml"))


def test_the_operator_and_people_get_their_rights_on_a_new_kind(tree: Path) -> None:
    templates = tree / "charts/plumbline/templates"
    names = ("operator-role.yaml", "people.yaml")
    before = {name: (templates / name).read_text().splitlines() for name in names}
    scaffold(tree, "scaffoldprobe")
    new = {name: set((templates / name).read_text().splitlines()) - set(before[name]) for name in names}
    assert all(
        "scaffoldprobes]" in line or "scaffoldprobes/status]" in line for lines in new.values() for line in lines
    )
    assert {name: len(lines) for name, lines in new.items()} == dict.fromkeys(names, 2)


@pytest.mark.parametrize(
    ("line", "grown"),
    [
        ("[a, approvals]", "[a, approvals, c]"),
        ("[a/status, approvals/status]", "[a/status, approvals/status, c/status]"),
        ("[a]", "[a, c]"),
        ("[approvals]", "[approvals]"),
        ("[a, b, approvals]", "[a, b, approvals]"),
    ],
)
def test_only_lists_of_all_kinds_or_of_those_people_write_grow(line: str, grown: str) -> None:
    assert with_kind(f"resources: {line}\n", ["a", "approvals"], "c") == f"resources: {grown}\n"


def test_names_follow_from_the_one_that_is_given() -> None:
    naming = Naming("FeatureView")
    assert (naming.kind, naming.room, naming.plural) == ("FeatureView", "featureview", "featureviews")
    assert (naming.short, naming.constant) == ("ftrvw", "FEATURE_VIEW")
    assert Naming("featureview").kind == "Featureview"


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "no name"), ("feature-view", "no name"), ("9lives", "no name"), ("Dataset", "exists already")],
)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(tmp_path: Path, name: str, words: str) -> None:
    for room in ROOMS:
        (tmp_path / "operator/src/plumbline_operator/rooms" / room.kind.kind.lower()).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CannotScaffold, match=words):
        scaffold(tmp_path, name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_short_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotScaffold, match="short name of a kind already"):
        scaffold(tmp_path, "trun")


def test_the_command_line_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "make room NAME=" in capsys.readouterr().err
