"""Objects of every kind in every state that the tests of the rooms know, as the rooms' own code leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms import ROOMS
from plumbline_operator.runtime.room import Room
from tests.rooms.approval.test_plan import WORLDS as APPROVALS
from tests.rooms.connection.test_plan import WORLDS as CONNECTIONS
from tests.rooms.dataset.test_plan import WORLDS as DATASETS
from tests.rooms.datasetsnapshot.test_plan import fresh
from tests.rooms.modeldeployment.lives import second_serves
from tests.rooms.modeldeployment.test_laws import answering, grown
from tests.rooms.modelversion.test_plan import WORLDS as VERSIONS
from tests.rooms.registeredmodel.test_plan import WORLDS as MODELS
from tests.rooms.registry_objects import version
from tests.rooms.release_objects import (
    CANARY,
    SECOND,
    deployment,
    monitor,
    pin,
    surroundings,
)
from tests.rooms.trainingrun.test_plan import WORLDS as RUNS
from tests.support.worlds import World, available, condition, not_ready, raw, ready, settle

KINDS: Mapping[str, Room] = {room.kind.kind: room for room in ROOMS}
TABLES: Mapping[str, Sequence[World]] = {
    "Connection": [world for world, _ in CONNECTIONS.values()],
    "Dataset": [world for world, _ in DATASETS.values()],
    "TrainingRun": [world for world, _ in RUNS.values()],
    "RegisteredModel": [world for world, _ in MODELS.values()],
    "ModelVersion": [world for world, _ in VERSIONS.values()],
    "Approval": [world for world, _ in APPROVALS.values()],
    "DatasetSnapshot": [fresh()],
}


async def settled() -> list[Manifest]:
    """All of them, several of each kind."""
    tables = {**TABLES, **await _released()}
    assert tables.keys() == KINDS.keys(), "a kind has no states here"
    return [await settle(KINDS[kind], world, world.kube()) for kind, worlds in tables.items() for world in worlds]


async def _released() -> Mapping[str, Sequence[World]]:
    """Worlds of the three kinds that need a cluster with a past."""
    rolled, after = await grown("v2")
    canary, around = await grown("v3", strategy={"steps": [CANARY]})
    pinned, outside = await grown("v2", pin())
    unread = not_ready(version("v2", manifest=SECOND), "AwaitingApproval", "0 of 1 required approvals.")
    rest = surroundings(unread)
    other = version("v2", manifest=SECOND, modelRef={"name": "other"})
    return {
        "ModelDeployment": [
            World("first", deployment("v1"), surroundings(), actor=available),
            World("rolled", rolled, after, answering(), available),
            World("canary", canary, around, answering(), available),
            World("pinned", pinned, outside, answering(), available),
            World("awaiting", deployment("v2"), rest, actor=available),
            World("of another model", deployment("v2"), surroundings(other), actor=available),
        ],
        "ReleasePin": [
            World("no deployment", pin()),
            World("applying", pin(), (rolled, *after)),
            World("in force", pin(), (await _followed(), *surroundings())),
            World("expired", pin(expiresAt="2026-01-01T00:00:00Z"), (rolled, *after)),
        ],
        "DriftMonitor": [
            World("alone", monitor()),
            World("nothing serves", monitor(), (deployment("v1"),)),
        ],
    }


async def _followed() -> Manifest:
    """A deployment that serves what a pin names."""
    cluster = await second_serves()
    cluster.kube.put(pin())
    return await cluster.until_settled()


def drifting(obj: Manifest) -> Manifest:
    """A monitor that works and has found that inputs have shifted."""
    return condition(ready(obj, "Evaluated"), "Drifting", "True", "Drifted", "PSI of temp is 6.2.")


def raw_of(kind: str) -> Manifest:
    """An object of this kind that nobody has looked at."""
    return raw(KINDS[kind].kind, "young", {})
