"""The flagship example's manifests: read by our own models, and true to the code and files beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_operator.rooms import ROOMS
from tests.support.demo import repository

EXAMPLE = Path("examples/flights")
KINDS = {room.kind.kind: room.kind for room in ROOMS}


def documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(EXAMPLE.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if isinstance(document, dict) and document.get("apiVersion", "").startswith("plumbline.dev/"):
                yield path, document


@pytest.mark.parametrize(
    ("path", "document"), list(documents()), ids=lambda value: value.name if isinstance(value, Path) else value["kind"]
)
def test_every_object_is_one_of_ours_and_valid(path: Path, document: dict[str, Any]) -> None:
    KINDS[document["kind"]].spec.model_validate(document["spec"])


def test_runs_name_the_commit_that_the_demo_serves(tmp_path: Path) -> None:
    """The repository is made from examples/flights/training, the same way every time."""
    commit = repository.make(tmp_path / "repository")
    named = {document["spec"]["code"]["commit"] for _, document in documents() if document["kind"] == "TrainingRun"}
    assert named == {commit}, f"put commit {commit} into the TrainingRuns of {EXAMPLE}"


def test_every_file_that_should_be_applied_is() -> None:
    listed = set(yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())["resources"])
    assert all((EXAMPLE / name).exists() for name in listed)


def test_what_is_expected_is_declared() -> None:
    expected = yaml.safe_load((EXAMPLE / "expect.yaml").read_text())
    declared = {(d["kind"], d["metadata"]["name"]) for path, d in documents() if "refused" not in path.parts}
    for kind, objects in expected.items():
        if kind != "ModelVersion":  # made by runs
            assert {(kind, name) for name in objects} <= declared
