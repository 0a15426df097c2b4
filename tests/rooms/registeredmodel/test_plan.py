"""RegisteredModel: can versions be judged, and who is champion."""

import pytest

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.registeredmodel.api import champion_of
from plumbline_operator.rooms.registeredmodel.handlers import ROOM
from tests.rooms.registry_objects import (
    CHAMPION,
    GOLDEN,
    REGRESSION,
    SLICES,
    connection,
    dataset,
    deployment,
    model,
    snapshot,
    version,
)
from tests.support.laws import check_laws
from tests.support.worlds import NAMESPACE, World, not_ready, ready_of, settle

STANDING = (connection(), dataset(), snapshot())

WORLDS = {
    "everything is there": (World("available", model(), STANDING), ("True", "Available")),
    "it serves already": (
        World("serving", model(REGRESSION), (*STANDING, version(), deployment())),
        ("True", "Available"),
    ),
    "no connection": (World("bare", model(), (dataset(), snapshot())), ("False", "ConnectionNotReady")),
    "connection not verified": (
        World("unverified", model(), (not_ready(connection(), "AccessDenied"), dataset(), snapshot())),
        ("False", "ConnectionNotReady"),
    ),
    "no dataset": (World("no dataset", model(), (connection(), snapshot())), ("False", "DatasetNotReady")),
    "a data test fails, an old snapshot stays": (
        World("failing", model(), (connection(), not_ready(dataset(), "TestFailed"), snapshot())),
        ("False", "DatasetNotReady"),
    ),
    "the latest snapshot is gone": (
        World("gone", model(), (connection(), dataset())),
        ("False", "DatasetNotReady"),
    ),
    "a pinned snapshot does not need a Ready dataset": (
        World(
            "pinned",
            model(golden={"snapshotRef": {"name": "golden-1"}}),
            (connection(), not_ready(dataset(), "TestFailed"), snapshot()),
        ),
        ("True", "Available"),
    ),
    "a pinned snapshot that does not exist": (
        World("mispinned", model(golden={"snapshotRef": {"name": "golden-7"}}), STANDING),
        ("False", "SnapshotNotFound"),
    ),
    "a pinned snapshot of another dataset": (
        World(
            "foreign",
            model(golden={"snapshotRef": {"name": "other-1"}}),
            (*STANDING, snapshot("other-1", datasetRef={"name": "other"})),
        ),
        ("False", "SnapshotNotFound"),
    ),
    "golden rows in another bucket": (
        World("elsewhere", model(), (connection(), dataset(), snapshot(storageRef={"name": "archive"}))),
        ("False", "StorageMismatch"),
    ),
    "a label that is not stored": (
        World("unlabelled", model(golden={"label": "later"}), STANDING),
        ("False", "LabelNotFound"),
    ),
    "months without an event time": (
        World("timeless", model(SLICES), (connection(), dataset(), snapshot(eventTime=""))),
        ("False", "EventTimeMissing"),
    ),
    "a window without an event time": (
        World(
            "timeless window",
            model(golden={"since": "2026-01-01T00:00:00Z"}),
            (connection(), dataset(), snapshot(eventTime="")),
        ),
        ("False", "EventTimeMissing"),
    ),
}


@pytest.mark.parametrize("title", WORLDS)
async def test_a_model_says_whether_versions_can_be_judged(title: str) -> None:
    world, expected = WORLDS[title]

    own = await settle(ROOM, world, world.kube())

    assert ready_of(own) == expected


async def test_the_laws_hold_in_every_world() -> None:
    await check_laws(ROOM, [world for world, _ in WORLDS.values()])


async def test_status_names_golden_rows_versions_and_champion() -> None:
    world = World("serving", model(), (*STANDING, version(), version("flights-1"), deployment()))

    status = (await settle(ROOM, world, world.kube()))["status"]

    assert status["goldenSnapshot"] == {"name": "golden-1", "digest": GOLDEN}
    assert status["versions"] == 2
    assert status["champion"] == {"version": "flights-1", "manifest": CHAMPION, "deployment": "serving"}


async def test_golden_rows_disappear_from_the_status_when_they_cannot_be_used() -> None:
    world = World("vanishing", model(), STANDING)
    kube = world.kube()
    await settle(ROOM, world, kube)
    kube.remove(dataset())

    own = await settle(ROOM, world, kube)

    assert "goldenSnapshot" not in own["status"]
    assert "Dataset golden" in own["status"]["conditions"][0]["message"]


def test_the_oldest_deployment_decides_who_is_champion() -> None:
    young = deployment("a-young", version="flights-9", created="2026-02-01T00:00:00Z")
    old = deployment("z-old", version="flights-1")

    found = [champion_of("flights", order) for order in ([young, old], [old, young])]

    assert [one.version if one else "" for one in found] == ["flights-1", "flights-1"]


def test_a_deployment_that_serves_nothing_yet_has_no_champion() -> None:
    fresh: Manifest = deployment() | {"status": {}}

    assert champion_of("flights", [fresh]) is None
    assert champion_of("trains", [deployment()]) is None


def test_a_model_is_woken_by_storage_and_golden_rows() -> None:
    keys = ROOM.dependencies(model(golden={"snapshotRef": {"name": "golden-1"}}))

    assert keys == (
        Key("Connection", NAMESPACE, "storage"),
        Key("Dataset", NAMESPACE, "golden"),
        Key("DatasetSnapshot", NAMESPACE, "golden-1"),
    )


@pytest.mark.parametrize(
    "gate",
    [
        {"name": "none"},
        {"name": "two", "minimum": {"metric": "auc", "value": 0.7}, "regression": {"metric": "auc", "maxPercent": 1}},
        {"name": "error metric", "minimum": {"metric": "rmse", "value": 0.7}},
        {"name": "misspelt", "regression": {"metric": "AUC", "maxPercent": 1}},
        {"name": "above one", "minimum": {"metric": "auc", "value": 70}},
    ],
    ids=lambda gate: gate["name"],
)
async def test_a_gate_that_cannot_be_honoured_is_refused_by_name(gate: Manifest) -> None:
    world = World("bad gate", model(gate), STANDING)

    own = await settle(ROOM, world, world.kube())

    assert ready_of(own) == ("False", "InvalidSpec")
    assert "gates" in own["status"]["conditions"][0]["message"]
