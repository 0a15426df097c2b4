"""What passes the schema and cannot work ends in words: the reason and the message that its writer reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plumbline_contract.base import digest_of
from plumbline_contract.layout import blob
from plumbline_contract.report import Outcome, Report
from plumbline_operator.build.variant import VARIANT_LABEL
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.driftmonitor.handlers import ROOM as MONITOR
from plumbline_operator.rooms.modeldeployment.handlers import ROOM as DEPLOYMENT
from plumbline_operator.rooms.modeldeployment.world import variant_name
from plumbline_operator.rooms.releasepin.handlers import ROOM as PIN
from plumbline_operator.rooms.trainingrun.handlers import ROOM as RUN
from tests.rooms import data_objects as data
from tests.rooms.registry_objects import version
from tests.rooms.release_objects import (
    FIRST,
    SECOND,
    Stage,
    approved,
    consent,
    deployment,
    monitor,
    pin,
    router_pod,
    stage,
    surroundings,
)
from tests.serving import models
from tests.serving.bucket import NAME as BUCKET
from tests.serving.bucket import PREFIX, Bucket
from tests.serving.processes import start_serving
from tests.support.fake_kube import FakeKube
from tests.support.moto import s3_server
from tests.support.worlds import (
    IMAGES,
    NAMESPACE,
    World,
    answering,
    condition,
    loop_on,
    not_ready,
    ready_of,
    settle,
    thing,
    with_status,
)


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


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """A bucket for models."""
    with s3_server() as url:
        yield Bucket(url).create()


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


def namesake(name: str) -> Manifest:
    """Another deployment of the same model, by a name that a part of the first one has or wants."""
    made = deployment("v1")
    return made | {"metadata": made["metadata"] | {"name": name, "uid": f"modeldeployment-{name}"}}


async def looked_at(cluster: Stage, name: str) -> Manifest:
    """A deployment of the stage other than its own, after a few reconciles."""
    for _ in range(5):
        key = Key(DEPLOYMENT.kind.kind, NAMESPACE, name)
        await loop_on(cluster.kube, cluster.signals).reconcile(DEPLOYMENT, key, cluster.now)
    found = cluster.kube.look("ModelDeployment", name)
    assert found is not None
    return found


def taken(name: str, holder: str) -> str:
    """What is said of a Service that is somebody else's."""
    claim = f"Service {name} already exists and belongs to ModelDeployment {holder}. Nothing was overwritten."
    return f"{claim} Delete or rename that Service, or rename this object."


async def test_a_deployment_named_like_a_variant_of_another_takes_nothing() -> None:
    cluster = await serving()
    variant = cluster.variant("v1")
    before = cluster.kube.look("Service", variant)
    cluster.kube.put(namesake(variant))
    other = await looked_at(cluster, variant)
    assert ready_of(other) == ("False", "NameTaken")
    assert message_of(other) == taken(variant, "late")
    assert cluster.kube.look("Service", variant) == before
    assert ready_of(await cluster.until_settled()) == ("True", "Promoted")
    assert cluster.weights() == {"v1": 100}


async def test_a_version_whose_service_would_be_that_of_another_deployment_gets_no_traffic() -> None:
    cluster = await serving()
    variant = variant_name("late", SECOND, IMAGES.serving)
    cluster.kube.put(namesake(variant))
    await looked_at(cluster, variant)
    before = cluster.kube.look("Service", variant)
    assert before is not None
    cluster.go_to("v2")
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "NameTaken")
    assert is_true(own, "Stalled")
    assert message_of(own) == taken(variant, variant)
    assert cluster.kube.look("Service", variant) == before
    assert cluster.weights() == {"v1": 100}


def last_words(bucket: Bucket, manifest: str, folder: Path) -> str:
    """What a real server of this manifest leaves behind, as much of it as a kubelet keeps."""
    server = start_serving(bucket.settings(manifest), folder)
    assert server.process.wait(60) == 1
    return server.process.text()[-2048:]


async def test_a_version_whose_bytes_were_changed_is_told_in_the_words_of_its_server(
    bucket: Bucket, tmp_path: Path
) -> None:
    good = models.logistic(bias=0.5)
    manifest, digest = bucket.put_model(good), digest_of(good)
    bucket.s3.put_object(Bucket=BUCKET, Key=blob(PREFIX, digest), Body=models.logistic(bias=9.0))
    tampered = approved("v4", manifest)
    cluster = await serving(tampered, consent(tampered))
    variant = variant_name("late", manifest, IMAGES.serving)
    cluster.broken = {variant}
    ended = {"exitCode": 1, "reason": "Error", "message": last_words(bucket, manifest, tmp_path)}
    state = {"name": "server", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    pod = thing("v1", "Pod", "p-1", {"status": {"containerStatuses": [state]}}, labels={VARIANT_LABEL: variant})
    cluster.kube.put(pod)
    cluster.go_to("v4")
    own = await cluster.step(5)
    assert ready_of(own) == ("False", "VersionNotReady")
    message = message_of(own)
    assert message.startswith(f"Waiting for pods of v4 (Deployment {variant}). The server ended with 1 (Error): ")
    assert f"expected {digest}; the object was changed after it was stored" in message
    assert cluster.weights() == {"v1": 100}


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
