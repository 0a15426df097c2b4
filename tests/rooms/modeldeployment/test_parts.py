"""What a deployment is made of: routes with generations, autoscalers, pods that say what is wrong."""

import json
from datetime import timedelta

import pytest

from tests.rooms.modeldeployment.lives import second_serves, serving
from tests.rooms.release_objects import (
    CANARY,
)
from tests.support.worlds import ready_of


async def test_generations_grow_past_a_write_whose_status_was_lost() -> None:
    cluster = await second_serves()
    before = cluster.routes()
    status = cluster.status()
    cluster.go_to("v1")
    await cluster.step()
    after = cluster.routes()
    assert before is not None
    assert after is not None
    assert after.generation == before.generation + 1
    cluster.kube.say(cluster.own(), status)
    cluster.go_to("v2")
    await cluster.step()
    again = cluster.routes()
    assert again is not None
    assert again.generation == after.generation + 1


@pytest.mark.parametrize("written", ["{}", "no JSON", "other weights"])
async def test_routes_somebody_changed_are_put_right_under_a_new_generation(written: str) -> None:
    cluster = await second_serves()
    routes = cluster.routes()
    live = cluster.kube.look("ConfigMap", "late-routes")
    assert routes is not None
    assert live is not None
    if written == "other weights":
        first, second = routes.backends
        swapped = (first.model_copy(update={"weight": 0}), second.model_copy(update={"weight": 100}))
        written = routes.model_copy(update={"backends": swapped}).canonical().decode()
    cluster.kube.put(live | {"data": {"routes.json": written}})
    cluster.routers_work = False
    await cluster.step()
    again = cluster.routes()
    assert again is not None
    assert again.generation == routes.generation + 1
    assert again.backends == routes.backends


async def test_an_autoscaler_comes_and_goes_with_the_range() -> None:
    cluster = await serving()
    name = cluster.variant("v1")
    cluster.change(realTime={"replicas": {"min": 2, "max": 4}})
    await cluster.until_settled()
    made = cluster.kube.look("Deployment", name)
    assert made is not None
    assert made["spec"]["replicas"] == 2
    assert cluster.kube.look("HorizontalPodAutoscaler", name) is not None
    assert cluster.kube.look("PodDisruptionBudget", name) is not None
    cluster.change(realTime={"replicas": {"min": 1, "max": 1}})
    await cluster.until_settled()
    made = cluster.kube.look("Deployment", name)
    assert made is not None
    assert made["spec"]["replicas"] == 1
    assert cluster.kube.look("HorizontalPodAutoscaler", name) is None
    assert cluster.kube.look("PodDisruptionBudget", name) is None


async def test_what_an_autoscaler_decided_outlives_other_changes() -> None:
    cluster = await serving()
    cluster.change(realTime={"replicas": {"min": 1, "max": 4}})
    await cluster.until_settled()
    made = cluster.kube.look("Deployment", cluster.variant("v1"))
    assert made is not None
    cluster.kube.edit(made, spec={"replicas": 3})
    cluster.change(logging={"flushSeconds": 2})
    await cluster.until_settled()
    made = cluster.kube.look("Deployment", cluster.variant("v1"))
    assert made is not None
    assert made["spec"]["replicas"] == 3
    assert '"log_flush_seconds":2' in json.dumps(made).replace("\\", "")


async def test_a_missing_connection_leaves_what_runs_as_it_is() -> None:
    cluster = await serving()
    storage = cluster.kube.look("Connection", "storage")
    assert storage is not None
    cluster.kube.remove(storage)
    before = len(cluster.kube.writes)
    own = await cluster.step(2)
    assert ready_of(own) == ("True", "Promoted")
    assert cluster.kube.writes[before:] == []


async def test_a_deployment_without_a_ready_pod_says_so_with_the_pods_words() -> None:
    cluster = await serving()
    variant = cluster.variant("v1")
    ended = {"exitCode": 1, "reason": "Error", "message": "the model's bytes have digest sha256:ab"}
    state = {"name": "server", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    pod = {"status": {"containerStatuses": [state]}}
    meta = {"name": "p-1", "namespace": "team", "uid": "p-1", "labels": {"plumbline.dev/variant": variant}}
    cluster.kube.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, **pod})
    cluster.broken = {variant}
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "VersionNotReady")
    message = next(c for c in own["status"]["conditions"] if c["type"] == "Available")["message"]
    assert "the model's bytes have digest sha256:ab" in message


async def test_every_wait_has_a_bound() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("unknown")
    own = await cluster.step()
    assert ready_of(own) == ("False", "VersionNotFound")
    assert cluster.again is not None
    assert cluster.again <= timedelta(minutes=5)


async def test_labels_stripped_by_a_stranger_come_back_and_cost_no_pod_and_no_traffic() -> None:
    cluster = await serving()
    cluster.change(realTime={"replicas": {"min": 1, "max": 4}})
    await cluster.until_settled()
    names = cluster.variant("v1"), "late-router"
    for name in names:
        made = cluster.kube.look("Deployment", name)
        assert made is not None
        made["spec"]["replicas"] = 3 if name == names[0] else 2
        cluster.kube.put({**made, "metadata": {k: v for k, v in made["metadata"].items() if k != "labels"}})
    own = await cluster.step()
    assert ready_of(own) == ("True", "Promoted")
    parts = [cluster.kube.look("Deployment", name) for name in names]
    assert [part["spec"]["replicas"] for part in parts if part] == [3, 2]
    assert all(part["metadata"]["labels"]["plumbline.dev/owner-name"] == "late" for part in parts if part)


async def test_the_pods_of_a_deleted_namesake_serve_nobody() -> None:
    cluster = await serving()
    old = cluster.kube.look("Deployment", cluster.variant("v1"))
    assert old is not None
    reference = old["metadata"]["ownerReferences"][0] | {"uid": "older"}
    cluster.kube.put({**old, "metadata": old["metadata"] | {"ownerReferences": [reference]}})
    own = await cluster.step()
    assert ready_of(own) == ("False", "VersionNotReady")
