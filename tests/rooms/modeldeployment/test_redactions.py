"""Which inputs a server is told not to log: those named like columns that a snapshot of the training data hides."""

from typing import Any

import pytest

from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.world import redactions
from tests.rooms.registry_objects import snapshot

KEPT: dict[str, Any] = {"name": "x", "type": "String"}
HASHED = KEPT | {"handling": "Hash"}


def sealed(*columns: dict[str, Any], dropped: tuple[str, ...] = ()) -> Manifest:
    return snapshot(columns=list(columns), dropped=list(dropped))


@pytest.mark.parametrize(
    ("snapshots", "expected"),
    [
        ([], {}),
        ([sealed(KEPT | {"handling": "Keep"}), sealed(KEPT)], {}),
        ([sealed(HASHED)], {"x": "Hash"}),
        ([sealed(HASHED | {"pii": True})], {"x": "Hash"}),
        ([sealed(KEPT | {"pii": True})], {"x": "Drop"}),
        ([sealed(dropped=("x",))], {"x": "Drop"}),
        ([sealed(HASHED), sealed(KEPT)], {"x": "Hash"}),
        ([sealed(dropped=("x",)), sealed(HASHED)], {"x": "Drop"}),
        ([sealed(HASHED), sealed(KEPT | {"pii": True}), sealed(HASHED)], {"x": "Drop"}),
    ],
)
def test_the_strictest_of_all_snapshots_counts(snapshots: list[Manifest], expected: dict[str, str]) -> None:
    assert redactions(snapshots) == expected


def test_a_snapshot_that_says_nothing_hides_nothing() -> None:
    assert redactions([{"spec": {}}]) == {}
