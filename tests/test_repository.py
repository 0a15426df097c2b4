"""What must be true of the repository itself: sizes, names, licence, and nothing left half done."""

from __future__ import annotations

import ast
import operator
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("operator", "serving-image")  # what ships
LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines
EXPECTED = ("README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "uv.lock")
MARKS = re.compile(r"\b(TODO|FIXME|HACK)\b")
THIS_FILE = "tests/test_repository.py"  # spells out what it forbids


def tracked() -> list[str]:
    """Every file under version control that exists, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]


def modules(*folders: str) -> list[Path]:
    """The tracked Python files below these folders."""
    found = [Path(path) for path in tracked() if path.endswith(".py") and path.split("/")[0] in folders]
    assert found
    return found


def test_a_folder_called_operator_hides_no_standard_library() -> None:
    """`operator/__init__.py` would make the folder a package that shadows a module half of Python imports."""
    assert not (ROOT / "operator/__init__.py").exists()
    assert operator.add(1, 2) == 3
    assert Path(str(operator.__file__)).parent == Path(sysconfig.get_paths()["stdlib"])


@pytest.mark.parametrize("name", EXPECTED)
def test_what_visitors_look_for_is_there(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0


def test_the_licence_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


def test_no_file_that_ships_is_too_long_to_read() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules(*CODE)}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file and how many lines it has."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_that_ships_is_too_long_to_read() -> None:
    found = [one for path in modules(*CODE) for one in functions(path)]
    assert [one for one in found if one[1] > LONGEST_FUNCTION] == []


def test_every_module_that_ships_says_what_it_is_for() -> None:
    trees = {str(path): ast.parse((ROOT / path).read_text()) for path in modules(*CODE)}
    assert [path for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_nothing_is_left_to_be_done_later() -> None:
    marked = [
        f"{path}:{number}"
        for path in map(str, modules("operator", "serving-image", "tests", "examples", "benchmarks"))
        if path != THIS_FILE
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1)
        if MARKS.search(line)
    ]
    assert marked == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    words = ("pytest.skip(", "mark.skip", "mark.xfail", "pytest.xfail(", "importorskip")
    found = [
        f"{path}: {word}"
        for path in map(str, modules("tests"))
        if path != THIS_FILE
        for word in words
        if word in (ROOT / path).read_text()
    ]
    assert found == []


def caught(path: Path) -> Iterator[tuple[int, str]]:
    """Handlers that catch everything: the line, and its source with the line before, where a comment may stand."""
    lines = (ROOT / path).read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ExceptHandler):
            kind = ast.unparse(node.type) if node.type else ""
            if kind in ("", "Exception", "BaseException"):
                yield node.lineno, "\n".join(lines[node.lineno - 2 : node.lineno])


def test_whoever_catches_everything_says_why() -> None:
    unexplained = [
        f"{path}:{number}" for path in modules(*CODE) for number, line in caught(path) if not re.search(r"#\s*\w", line)
    ]
    assert unexplained == []


def test_no_link_leads_out_of_the_chart() -> None:
    """Argo CD refuses a chart that has one."""
    assert [path for path in (ROOT / "charts").rglob("*") if path.is_symlink()] == []


def test_nothing_large_or_generated_is_under_version_control() -> None:
    large = {path: (ROOT / path).stat().st_size for path in tracked() if (ROOT / path).stat().st_size > 1_000_000}
    assert large == {}
    assert [path for path in tracked() if "__pycache__" in path or path.endswith((".pyc", ".onnx", ".parquet"))] == []
