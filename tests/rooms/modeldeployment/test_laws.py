"""The laws of every room, in worlds of deployments."""

from plumbline_contract.routes import Measured
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from tests.rooms.release_objects import (
    CANARY,
    FIRST,
    SECOND,
    SHADOW,
    approved,
    denied,
    deployment,
    pin,
    router_pod,
    stage,
    surroundings,
)
from tests.support.laws import check_laws
from tests.support.worlds import FakeSignals, World, available


async def grown(version: str, *others: Manifest, **changes: object) -> tuple[Manifest, tuple[Manifest, ...]]:
    """A deployment that has served v1 and v2, with everything in its cluster, then changed."""
    cluster = stage(ROOM, *surroundings(), deployment("v1"))
    await cluster.until_settled()
    cluster.go_to("v2")
    await cluster.until_settled()
    cluster.change(versionRef={"name": version}, **changes)
    kinds = ("ConfigMap", "Deployment", "Service", "ServiceAccount", "Role", "RoleBinding")
    made = [one for kind in kinds for one in cluster.kube.all(kind)]
    return cluster.own(), (*surroundings(), router_pod(), *made, *others)


def answering() -> FakeSignals:
    """A router that serves whatever it is told."""
    return FakeSignals(anywhere=(Measured(pod="late-router-1", generation=1000),))


async def test_the_laws_hold() -> None:
    rolled, after = await grown("v2")
    canary, around = await grown("v3", strategy={"steps": [CANARY]})
    shadow, beside = await grown("v3", strategy={"steps": [SHADOW]})
    pinned, outside = await grown("v2", pin(expiresAt="2026-03-02T00:00:00Z"))
    await check_laws(
        ROOM,
        [
            World("nothing around it", deployment("v1")),
            World("its version is denied", deployment("v1"), surroundings(denied("v1", FIRST)), actor=available),
            World("its first version", deployment("v1"), surroundings(), actor=available),
            World("pods that never start", deployment("v1"), (*surroundings(), router_pod())),
            World("two versions served", rolled, after, answering(), available),
            World("a canary holds", canary, around, answering(), available),
            World("a shadow runs", shadow, beside, answering(), available),
            World("a router is silent", canary, around, actor=available),
            World("pinned", pinned, outside, answering(), available),
            World("approved afterwards", deployment("v2"), surroundings(approved("v2", SECOND)), actor=available),
        ],
    )
