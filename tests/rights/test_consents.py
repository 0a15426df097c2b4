"""The oracle of the races: it must see what it is there to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plumbline_contract.routes import ROUTES_KEY, Backend, Routes
from plumbline_operator.rooms.modeldeployment.world import variant_name
from tests.rights.consents import IMAGE, NEVER, Decision, Move, decisions, moves, unapproved
from tests.rooms.registry_objects import approval

ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FOREVER = NEVER.replace(tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def decided(decision: str, made: float, gone: float | None = None, digest: str = ONE) -> Decision:
    """A decision that was asked for at `made` and answered a second later, and likewise taken back."""
    ends = (FOREVER, FOREVER) if gone is None else (at(gone), at(gone + 1))
    return Decision(decision, digest, at(made), at(made + 1), *ends)


@pytest.mark.parametrize(
    ("said", "is_good"),
    [
        ([], False),
        ([decided("Approve", 0)], True),
        ([decided("Approve", 0, digest=OTHER)], False),
        ([decided("Approve", 20)], False),
        ([decided("Approve", 0), decided("Deny", 0)], False),
        ([decided("Approve", 0), decided("Deny", 8.5)], True),
        ([decided("Approve", 0), decided("Deny", 1, 8.5)], True),
        ([decided("Approve", 0, 2)], False),
        ([decided("Approve", 0, 8.5)], True),
        ([decided("Approve", 5), decided("Deny", 0)], False),
    ],
)
def test_traffic_needs_a_moment_of_consent_just_before_it(said: list[Decision], is_good: bool) -> None:
    found = unapproved([Move(at(10), "race", ONE, 100)], said, timedelta(seconds=2))
    assert (found == []) is is_good


def test_a_version_that_serves_already_is_asked_for_nothing() -> None:
    said = [decided("Approve", 0, 5)]
    both = [Move(at(4), "race", ONE, 10), Move(at(30), "race", ONE, 100)]
    assert unapproved(both, said, timedelta(seconds=2)) == []


def test_decisions_and_moves_are_read_from_the_audit_log() -> None:
    times = {"requestReceivedTimestamp": "2026-03-01T12:00:00Z", "stageTimestamp": "2026-03-01T12:00:01Z"}
    body = approval("yes", "bob", group="g", version={"name": "v", "manifest": ONE, "author": "ada"})
    made = {"verb": "create", "objectRef": {"resource": "approvals"}, "requestObject": body, **times}
    gone = {"verb": "delete", "objectRef": {"resource": "approvals", "name": "yes"}, **times}
    good, bad = {"responseStatus": {"code": 201}}, {"responseStatus": {"code": 403}}
    (found,) = decisions([made | good, gone | bad], "ada", frozenset({"g"}))
    assert (found.digest, found.made, found.known, found.gone) == (ONE, at(0), at(1), FOREVER)
    assert decisions([made | bad], "ada", frozenset({"g"})) == []
    assert decisions([made | good], "ada", frozenset({"h"})) == []
    assert decisions([made | good], "bob", frozenset({"g"})) == []

    variant = variant_name("late", ONE, IMAGE)
    routes = Routes(deployment="late", generation=1, backends=(Backend(variant=variant, host="h", port=1, weight=100),))
    line = {
        "objectRef": {"resource": "configmaps"},
        "requestObject": {"data": {ROUTES_KEY: routes.canonical().decode()}},
    }
    assert moves([line | times | good], {"v": ONE}) == [Move(at(0), "late", ONE, 100)]
    assert moves([line | times | good], {"v": OTHER}) == []
