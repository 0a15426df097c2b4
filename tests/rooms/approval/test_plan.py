"""Approval: whose decision counts, on what, and until when."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.approval.handlers import ROOM
from tests.rooms.registry_objects import CANDIDATE, CHAMPION, approval, model, version
from tests.support.laws import check_laws
from tests.support.worlds import NAMESPACE, NOW, World, loop_on, raw, ready_of, settle, with_status

IN_AN_HOUR, AN_HOUR_AGO = "2026-03-01T13:00:00Z", "2026-03-01T11:00:00Z"
REGISTRY = (model(), version())


def decided(**subject: Any) -> Manifest:
    """An approval whose subject differs in these fields from what flights-2 really is."""
    made = approval("yes")
    made["spec"]["version"] |= subject
    return made


WORLDS = {
    "approved": (World("approved", approval("yes"), REGISTRY), ("True", "Accepted")),
    "denied": (World("denied", approval("no", decision="Deny"), REGISTRY), ("True", "Accepted")),
    "accepted until later": (World("until", approval("yes", expiresAt=IN_AN_HOUR), REGISTRY), ("True", "Accepted")),
    "expired": (World("expired", approval("yes", expiresAt=AN_HOUR_AGO), REGISTRY), ("False", "Expired")),
    "version to come": (World("early", approval("yes"), (model(),)), ("False", "VersionNotFound")),
    "version that never came": (
        World("lost", approval("yes") | {}, (model(),), now=NOW + timedelta(hours=2)),
        ("False", "UnknownVersion"),
    ),
    "no model": (World("modelless", approval("yes"), (version(),)), ("False", "ModelNotFound")),
    "other digest": (World("other digest", decided(manifest=CHAMPION), REGISTRY), ("False", "DigestMismatch")),
    "other author": (World("other author", decided(author="eve"), REGISTRY), ("False", "AuthorMismatch")),
    "the author under a false claim": (
        World("author hides", approval("yes", "ada") | {}, (model(), version())),
        ("False", "SelfApproval"),
    ),
    "no group given": (
        World("groupless", approval("yes"), (model(approvals={"groups": ["risk"]}), version())),
        ("False", "GroupNotAllowed"),
    ),
    "another group": (
        World("wrong group", approval("yes", group="dev"), (model(approvals={"groups": ["risk"]}), version())),
        ("False", "GroupNotAllowed"),
    ),
    "an allowed group": (
        World("right group", approval("yes", group="risk"), (model(approvals={"groups": ["law", "risk"]}), version())),
        ("True", "Accepted"),
    ),
}


@pytest.mark.parametrize("title", WORLDS)
async def test_an_approval_says_whether_it_counts(title: str) -> None:
    world, expected = WORLDS[title]

    own = await settle(ROOM, world, world.kube())

    assert ready_of(own) == expected


ANEW = " A decision cannot be changed: create a new Approval and delete this one."
SAID = {
    "approved": "Approve by grace on ModelVersion flights-2 counts.",
    "accepted until later": "Approve by grace on ModelVersion flights-2 counts until 2026-03-01T13:00:00Z.",
    "expired": "The decision expired at 2026-03-01T11:00:00Z and counts no longer. Decide again if it still holds.",
    "version that never came": "ModelVersion flights-2 does not exist. Check spec.version.name; it counts once that",
    "no model": "RegisteredModel flights of ModelVersion flights-2 does not exist. Waiting for it.",
    "other digest": f"spec.version.manifest is {CHAMPION}, but flights-2 has {CANDIDATE}.{ANEW}",
    "other author": f"spec.version.author is eve, but flights-2 is by ada.{ANEW}",
    "the author under a false claim": f"spec.approver ada is the author of flights-2.{ANEW}",
    "no group given": f"spec.group is empty, but RegisteredModel flights counts only risk.{ANEW}",
    "another group": f"spec.group is dev, but RegisteredModel flights counts only risk.{ANEW}",
}


@pytest.mark.parametrize("title", SAID)
async def test_an_approval_says_why_it_counts_or_not(title: str) -> None:
    world, _ = WORLDS[title]
    own = await settle(ROOM, world, world.kube())
    message = (find(own["status"]["conditions"], "Ready") or {})["message"]
    assert message.startswith(SAID[title])


async def test_the_laws_hold_in_every_world() -> None:
    await check_laws(ROOM, [world for world, _ in WORLDS.values()])


async def test_only_an_author_found_by_digest_and_name_can_be_compared() -> None:
    """An approver who claims another author to slip past the API server's rule is still refused."""
    world = World("liar", approval("yes", "ada", version=decided(author="grace")["spec"]["version"]), REGISTRY)

    own = await settle(ROOM, world, world.kube())

    assert ready_of(own) == ("False", "AuthorMismatch")
    assert "is by ada" in own["status"]["conditions"][0]["message"]


async def test_it_looks_again_at_the_moment_of_expiry_and_then_stops_counting() -> None:
    world = World("expiring", approval("yes", expiresAt=IN_AN_HOUR), REGISTRY)
    kube = world.kube()

    again = await loop_on(kube).reconcile(ROOM, world.key, NOW)
    own = await settle(ROOM, replace(world, now=NOW + timedelta(hours=1)), kube)

    assert again == timedelta(hours=1)
    assert ready_of(own) == ("False", "Expired")
    assert [event["reason"] for event in kube.events] == ["Accepted", "Expired"]


async def test_it_waits_for_the_version_only_within_a_bound() -> None:
    world = World("early", approval("yes"), (model(),))

    again = await loop_on(world.kube()).reconcile(ROOM, world.key, NOW)

    assert again == timedelta(minutes=30)  # created half an hour ago, and it waits one hour


async def test_it_counts_as_soon_as_the_version_appears() -> None:
    world = World("early", approval("yes"), (model(),), now=NOW + timedelta(days=1))
    kube = world.kube()
    await settle(ROOM, world, kube)
    kube.put(version())

    own = await settle(ROOM, world, kube)

    assert ready_of(own) == ("True", "Accepted")


async def test_a_version_that_cannot_be_read_counts_as_not_there() -> None:
    broken = version() | {"spec": {"modelRef": {"name": "flights"}}}
    world = World("broken", approval("yes"), (model(), broken))

    assert ready_of(await settle(ROOM, world, world.kube())) == ("False", "VersionNotFound")


def test_it_wakes_its_version_and_is_woken_by_version_and_model() -> None:
    made = with_status(approval("yes"), model="flights")

    assert ROOM.wakes(made) == (Key("ModelVersion", NAMESPACE, "flights-2"),)
    assert ROOM.dependencies(made) == (
        Key("ModelVersion", NAMESPACE, "flights-2"),
        Key("RegisteredModel", NAMESPACE, "flights"),
    )


async def test_a_time_without_zone_is_refused_with_its_field() -> None:
    spec = approval("yes")["spec"] | {"expiresAt": "2026-03-01T13:00:00"}
    world = World("zoneless", raw(ROOM.kind, "yes", spec), REGISTRY)

    own = await settle(ROOM, world, world.kube())

    assert ready_of(own) == ("False", "InvalidSpec")
    assert "expiresAt" in own["status"]["conditions"][0]["message"]
