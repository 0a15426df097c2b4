"""Deployments that already serve, for stories that begin there."""

from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from tests.rooms.release_objects import (
    Stage,
    deployment,
    stage,
    surroundings,
)


def message_of(own: Manifest) -> str:
    """What a deployment says about itself."""
    return str((find(own["status"]["conditions"], "Ready") or {})["message"])


async def serving(*steps: dict[str, object], warm: int = 1) -> Stage:
    """A deployment that serves v1, settled."""
    found = stage(ROOM, *surroundings(), deployment("v1", *steps, warmVersions=warm))
    await found.until_settled()
    assert found.weights() == {"v1": 100}
    return found


async def second_serves(*steps: dict[str, object]) -> Stage:
    """A deployment in which v2 took over from v1, settled."""
    cluster = await serving()
    cluster.go_to("v2")
    await cluster.until_settled()
    cluster.change(strategy={"steps": list(steps)})
    await cluster.until_settled()
    assert cluster.weights() == {"v2": 100}
    return cluster
