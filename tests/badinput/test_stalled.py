"""What passes the schema and cannot work ends in words: the reason and the message that its writer reads."""

from __future__ import annotations

from typing import Any

import pytest

from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.driftmonitor.handlers import ROOM as MONITOR
from plumbline_operator.rooms.modeldeployment.handlers import ROOM as DEPLOYMENT
from plumbline_operator.rooms.releasepin.handlers import ROOM as PIN
from plumbline_operator.rooms.trainingrun.handlers import ROOM as RUN
from tests.rooms import data_objects as data
from tests.rooms.registry_objects import version
from tests.rooms.release_objects import (
    FIRST,
    SECOND,
    Stage,
    approved,
    deployment,
    monitor,
    pin,
    router_pod,
    stage,
    surroundings,
)
from tests.support.fake_kube import FakeKube
from tests.support.worlds import World, answering, condition, not_ready, ready_of, settle, thing, with_status


def stuck(name: str, manifest: str, reason: str, message: str) -> Manifest:
    """A ModelVersion that only people can bring further."""
    return condition(not_ready(version(name, manifest=manifest), reason, message), "Stalled", "True", reason, message)


def message_of(own: Manifest) -> str:
    """What the object says about itself."""
    return str((find(own["status"]["conditions"], "Ready") or {})["message"])


async def serving(*more: Manifest) -> Stage:
    """A deployment that serves v1, with these objects beside it."""
    cluster = stage(DEPLOYMENT, *surroundings(), deployment("v1"), *more)
    await cluster.until_settled()
    assert cluster.weights() == {"v1": 100}
    return cluster


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (stuck("v2", SECOND, "GateFailed", "1 of 2 gates failed. good: measured 0.61, bound >= 0.7"), "measured 0.61"),
        (stuck("v2", SECOND, "Denied", "Denied by grace in Approval no."), "Denied by grace"),
        (stuck("v2", SECOND, "ModelFileRefused", "op Loop of domain com.evil is not allowed"), "com.evil"),
    ],
    ids=["gates failed", "denied", "file refused"],
)
async def test_a_version_that_failed_is_not_waited_for(found: Manifest, said: str) -> None:
    cluster = await serving(found)
    cluster.go_to("v2")
    own = await cluster.until_settled()
    assert ready_of(own)[0] == "False"
    assert is_true(own, "Stalled")
    assert said in message_of(own)
    assert "Name another version" in message_of(own)
    assert cluster.weights() == {"v1": 100}


async def test_a_version_that_waits_for_people_is_waited_for() -> None:
    cluster = await serving(not_ready(version("v2", manifest=SECOND), "AwaitingApproval", "0 of 1 approvals."))
    cluster.go_to("v2")
    own = await cluster.until_settled()
    assert not is_true(own, "Stalled")
    assert "0 of 1 approvals" in message_of(own)


async def test_a_version_that_is_not_there_is_named_and_takes_no_traffic() -> None:
    cluster = await serving()
    cluster.go_to("v9")
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "VersionNotFound")
    assert "ModelVersion v9 does not exist" in message_of(own)
    assert cluster.weights() == {"v1": 100}


async def test_the_service_of_somebody_else_is_not_taken_over() -> None:
    theirs = thing("v1", "Service", "late", {"spec": {"selector": {"app": "shop"}}})
    cluster = Stage(DEPLOYMENT, FakeKube(router_pod(), *surroundings(), theirs, deployment("v1")))
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "NameTaken")
    assert "Service late" in message_of(own)
    kept = cluster.kube.look("Service", "late")
    assert kept is not None
    assert kept["spec"] == {"selector": {"app": "shop"}}


@pytest.mark.parametrize(
    ("more", "reason", "said"),
    [
        ({"version_name": "v9"}, "NeverServed", "ModelVersion v9 never served in ModelDeployment late. Those that"),
        ({"expiresAt": "2026-01-01T00:00:00Z"}, "Expired", "The pin ended at 2026-01-01T00:00:00Z"),
        ({"deploymentRef": {"name": "lost"}}, "DeploymentNotFound", "ModelDeployment lost does not exist"),
    ],
)
async def test_a_pin_that_cannot_be_followed(more: dict[str, Any], reason: str, said: str) -> None:
    stable = {"version": "v1", "manifest": FIRST, "variant": "late-v-1", "image": "i", "storage": "storage"}
    world = World("pin", pin(**more), (with_status(deployment("v1"), stable=stable), approved("v1", FIRST)))
    own = await settle(PIN, world, world.kube())
    assert ready_of(own) == ("False", reason)
    assert said in message_of(own)


async def test_a_monitor_of_a_feature_that_the_model_has_not() -> None:
    stable = {"version": "v1", "manifest": FIRST, "variant": "late-v-1", "image": "i", "storage": "storage"}
    text = "the model has no input `temprature`; it has: distance, hour"
    refusal = Report(outcome=Outcome.REFUSED, reason="UnknownFeature", message=text)
    watched = monitor(features={"only": ["temprature"]})
    world = World(
        "unknown",
        watched,
        (with_status(deployment("v1"), stable=stable), *surroundings()),
        actor=answering(refusal),
    )
    own = await settle(MONITOR, world, world.kube())
    assert ready_of(own) == ("False", "UnknownFeature")
    assert message_of(own) == text
    assert is_true(own, "Stalled")


async def test_a_run_waits_for_a_snapshot_and_says_for_which() -> None:
    inputs = [{"name": "flights", "datasetRef": {"name": "flights"}, "snapshotRef": {"name": "flights-0"}}]
    unsealed = not_ready(data.snapshot(), "InvalidSpec", "spec.rows is -1.")
    world = World("unsealed", data.run(inputs=inputs), (*data.STANDING, data.validated(data.dataset()), unsealed))
    own = await settle(RUN, world, world.kube())
    assert ready_of(own) == ("False", "DatasetNotReady")
    assert message_of(own) == "DatasetSnapshot flights-0 of input flights is not Ready."
