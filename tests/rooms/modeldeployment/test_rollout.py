"""A deployment lives through rollouts: the stories that a release owner would tell."""

import json
from datetime import timedelta

import pytest

from plumbline_contract.report import Outcome, Report
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from tests.rooms.release_objects import (
    CANARY,
    FIRST,
    HALF,
    SECOND,
    SHADOW,
    THIRD,
    Stage,
    approved,
    denied,
    deployment,
    pin,
    stage,
    surroundings,
)
from tests.support.worlds import answer, ready_of


async def serving(*steps: dict[str, object], warm: int = 1) -> Stage:
    """A deployment that serves v1, settled."""
    found = stage(ROOM, *surroundings(), deployment("v1", *steps, warmVersions=warm))
    await found.until_settled()
    assert found.weights() == {"v1": 100}
    return found


def compared(pairs: int, agreement: float) -> Report:
    return Report(outcome=Outcome.DONE, numbers={"pairs": pairs, "agreement": agreement, "meanDifference": 0.01})


# ------------------------------------------------------------------ the first version


async def test_the_first_version_gets_everything_once_its_pods_are_ready() -> None:
    cluster = stage(ROOM, *surroundings(), deployment("v1", CANARY))
    cluster.pods_start = False
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "VersionNotReady")
    assert cluster.routes() is None
    cluster.pods_start = True
    own = await cluster.until_settled()
    assert ready_of(own) == ("True", "Promoted")
    assert cluster.weights() == {"v1": 100}
    assert own["status"]["stable"]["by"] == "First"
    assert "target" not in own["status"]


async def test_a_settled_deployment_writes_nothing_however_much_traffic_there_is() -> None:
    cluster = await serving(SHADOW, CANARY)
    before = len(cluster.kube.writes)
    for _ in range(5):
        cluster.count("requests", "v1", 10_000)
        cluster.wait(60)
        await cluster.step()
    assert cluster.kube.writes[before:] == []
    assert cluster.again is None
    assert "measured" not in cluster.status()


async def test_a_server_is_told_what_to_load_and_what_not_to_log() -> None:
    cluster = await serving()
    made = cluster.kube.look("Deployment", cluster.variant("v1"))
    assert made is not None
    server = made["spec"]["template"]["spec"]["containers"][0]
    env = {one["name"]: one for one in server["env"]}
    settings = json.loads(env["PLUMBLINE_SERVING"]["value"])
    assert settings["manifest"] == FIRST
    assert settings["redact"] == {"tail": "Hash"}
    assert (settings["bucket"], settings["prefix"]) == ("models", "plumb/team")
    assert settings["model_name"] == "flights"
    assert env["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"}


# ------------------------------------------------------------------ step by step


async def test_a_rollout_goes_from_shadow_over_canary_to_everything() -> None:
    cluster = await serving(SHADOW, CANARY)
    cluster.go_to("v2")

    own = await cluster.step(2)
    assert ready_of(own) == ("False", "ShadowRunning")
    assert cluster.weights() == {"v1": 100}
    routes = cluster.routes()
    assert routes is not None
    assert routes.shadow is not None
    assert (routes.shadow.variant, routes.shadow.weight) == (cluster.variant("v2"), 50)

    await cluster.step()
    cluster.wait(31)
    cluster.count("mirrored", "v2", 12)
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "Comparing")
    cluster.wait(8)
    await cluster.step()
    job = cluster.kube.all("Job")[0]
    asked = json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])
    assert (asked["primary"], asked["shadow"]) == (cluster.variant("v1"), cluster.variant("v2"))
    assert asked["tolerance"] == 0.05
    answer(cluster.kube, job, compared(12, 0.95))
    await cluster.step()
    assert cluster.status()["shadow"]["agreement"] == 0.95

    own = await cluster.step()
    assert ready_of(own) == ("False", "CanaryProgressing")
    assert cluster.weights() == {"v1": 90, "v2": 10}
    assert cluster.kube.all("Job") == []

    await cluster.step()
    cluster.wait(61)
    cluster.count("requests", "v1", 180)
    cluster.count("requests", "v2", 20)
    own = await cluster.step()
    assert ready_of(own) == ("True", "Promoted")
    assert cluster.weights() == {"v2": 100}
    own = await cluster.until_settled()
    status = own["status"]
    assert [one["version"] for one in status["previous"]] == ["v1"]
    assert "measured" not in status
    assert "step" not in status
    assert status["stable"]["by"] == "Rollout"
    assert status["shadow"]["pairs"] == 12


async def test_the_old_version_stays_warm_and_the_one_before_it_goes() -> None:
    cluster = await serving()
    cluster.go_to("v2")
    await cluster.until_settled()
    cluster.go_to("v3")
    await cluster.until_settled()
    names = {one["metadata"]["name"] for one in cluster.kube.all("Deployment")}
    assert names == {cluster.variant("v3"), cluster.variant("v2"), "late-router"}
    assert {one["metadata"]["name"] for one in cluster.kube.all("Service")} == names - {"late-router"} | {"late"}


async def test_an_old_version_is_not_removed_before_every_router_has_left_it() -> None:
    cluster = await serving(warm=0)
    cluster.go_to("v2")
    cluster.routers_work = False
    own = await cluster.step(6)
    assert own["status"]["stable"]["version"] == "v2"
    assert cluster.kube.look("Deployment", cluster.variant("v1")) is not None
    assert cluster.again is not None
    cluster.routers_work = True
    await cluster.step()
    assert cluster.kube.look("Deployment", cluster.variant("v1")) is None


async def test_a_hold_begins_when_every_router_serves_the_weights() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(2)
    cluster.routers_work = False
    cluster.wait(600)
    own = await cluster.step()
    assert ready_of(own) == ("False", "HoldingNoMeasurement")
    assert "since" not in own["status"]["step"]
    cluster.routers_work = True
    own = await cluster.step()
    assert own["status"]["step"]["since"].startswith("2026-03-01T12:10:00")


async def test_a_hold_does_not_begin_while_a_router_serves_older_routes() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    cluster.lag = 1
    own = await cluster.step(4)
    assert ready_of(own) == ("False", "HoldingNoMeasurement")
    assert "since" not in own["status"]["step"]
    cluster.lag = 0
    own = await cluster.step()
    assert "since" in own["status"]["step"]


async def test_requests_from_before_a_step_do_not_count() -> None:
    cluster = await serving(CANARY)
    cluster.count("requests", "v1", 1_000_000)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.wait(61)
    own = await cluster.step()
    assert ready_of(own) == ("False", "HoldingInsufficientRequests")
    assert own["status"]["measured"]["requests"] == {cluster.variant("v1"): 0}


async def test_a_step_holds_while_a_router_is_silent_and_goes_on_afterwards() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.wait(61)
    cluster.count("requests", "v2", 500)
    cluster.routers_work = False
    own = await cluster.step(3)
    assert ready_of(own) == ("False", "HoldingNoMeasurement")
    assert cluster.weights() == {"v1": 90, "v2": 10}
    cluster.routers_work = True
    own = await cluster.step()
    assert ready_of(own) == ("True", "Promoted")


async def test_numbers_alone_are_written_every_ten_seconds_at_most() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(4)
    before = len(cluster.kube.writes)
    for _ in range(9):
        cluster.count("requests", "v1", 7)
        cluster.wait(1)
        await cluster.step()
    assert len(cluster.kube.writes) == before
    cluster.count("requests", "v1", 7)
    cluster.wait(1)
    own = await cluster.step()
    assert len(cluster.kube.writes) == before + 1
    assert own["status"]["measured"]["requests"][cluster.variant("v1")] == 70


async def test_a_hold_without_traffic_writes_nothing() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(4)
    before = len(cluster.kube.writes)
    for _ in range(5):
        cluster.wait(11)
        await cluster.step()
    assert cluster.kube.writes[before:] == []


# ------------------------------------------------------------------ what stops a rollout


async def test_a_failing_canary_loses_its_weight_for_good() -> None:
    cluster = await serving(CANARY, HALF)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.wait(5)
    cluster.count("requests", "v2", 10)
    cluster.count("failures", "v2", 3)
    own = await cluster.step()
    assert ready_of(own) == ("False", "CanaryFailing")
    assert cluster.weights() == {"v1": 100}
    message = next(c for c in own["status"]["conditions"] if c["type"] == "Stalled")["message"]
    assert "3 of 10 requests to v2 failed, 30 % against 2 % allowed" in message
    assert ("Available", "True") in {(c["type"], c["status"]) for c in own["status"]["conditions"]}
    assert cluster.kube.look("Deployment", cluster.variant("v2")) is not None
    cluster.wait(3600)
    assert ready_of(await cluster.until_settled()) == ("False", "CanaryFailing")


async def test_a_changed_spec_starts_a_failed_rollout_over() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.count("requests", "v2", 10)
    cluster.count("failures", "v2", 10)
    await cluster.step(2)
    cluster.change(strategy={"steps": [CANARY | {"maxFailurePercent": 100}]})
    own = await cluster.step()
    assert ready_of(own) == ("False", "CanaryProgressing")
    assert own["status"]["step"]["index"] == 0
    assert "failure" not in own["status"]


async def test_a_shadow_that_disagrees_is_stopped_with_the_numbers() -> None:
    cluster = await in_comparison()
    answer(cluster.kube, cluster.kube.all("Job")[0], compared(40, 0.5))
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "ShadowDisagrees")
    assert cluster.weights() == {"v1": 100}
    routes = cluster.routes()
    assert routes is not None
    assert routes.shadow is None
    message = next(c for c in own["status"]["conditions"] if c["type"] == "Ready")["message"]
    assert "0.5 of 40 pairs, against 0.9 demanded" in message


async def in_comparison() -> Stage:
    """A rollout to v2 whose shadow step has just started its Job."""
    cluster = await serving(SHADOW)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.count("mirrored", "v2", 40)
    cluster.wait(31)
    await cluster.step(2)
    cluster.wait(8)
    await cluster.step()
    assert len(cluster.kube.all("Job")) == 1
    return cluster


@pytest.mark.parametrize(("pairs", "said"), [(0, "0 of 10 pairs"), (9, "9 of 10 pairs")])
async def test_a_comparison_without_enough_pairs_is_made_again(pairs: int, said: str) -> None:
    cluster = await in_comparison()
    first = cluster.kube.all("Job")[0]["metadata"]["name"]
    answer(cluster.kube, cluster.kube.all("Job")[0], compared(pairs, 1.0))
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "HoldingInsufficientRequests")
    assert said in next(c for c in own["status"]["conditions"] if c["type"] == "Ready")["message"]
    assert cluster.weights() == {"v1": 100}
    assert cluster.kube.all("Job") == []
    cluster.wait(40)
    await cluster.step()
    cluster.wait(8)
    await cluster.step()
    (second,) = cluster.kube.all("Job")
    assert second["metadata"]["name"] != first
    answer(cluster.kube, second, compared(60, 1.0))
    assert ready_of(await cluster.until_settled()) == ("True", "Promoted")


async def test_a_comparison_that_cannot_be_made_is_no_pass() -> None:
    cluster = await in_comparison()
    job = cluster.kube.all("Job")[0]
    refused = Report(outcome=Outcome.REFUSED, reason="DataUnavailable", message="no output probability is logged")
    answer(cluster.kube, job, refused)
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "DataUnavailable")
    cluster.wait(3600)
    own = await cluster.step(2)
    assert cluster.weights() == {"v1": 100}
    assert own["status"]["stable"]["version"] == "v1"


async def test_an_approval_withdrawn_in_mid_rollout_takes_the_weight_away() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(3)
    assert cluster.weights() == {"v1": 90, "v2": 10}
    cluster.kube.put(denied("v2", SECOND))
    own = await cluster.step()
    assert ready_of(own) == ("False", "VersionNotApproved")
    assert cluster.weights() == {"v1": 100}
    cluster.wait(100)
    cluster.kube.put(approved("v2", SECOND))
    own = await cluster.step(3)
    assert ready_of(own) == ("False", "CanaryProgressing")
    assert own["status"]["step"]["since"] > "2026-03-01T12:01:30"


async def test_an_approval_withdrawn_after_promotion_changes_nothing() -> None:
    cluster = await serving()
    cluster.kube.put(denied("v1", FIRST))
    before = len(cluster.kube.writes)
    await cluster.step(2)
    assert cluster.kube.writes[before:] == []


async def test_a_target_without_pods_gets_nothing_and_its_step_begins_anew() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.wait(50)
    cluster.broken = {cluster.variant("v2")}
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "VersionNotReady")
    assert cluster.weights() == {"v1": 100}
    cluster.broken = set()
    await cluster.step()
    own = await cluster.step()
    assert cluster.weights() == {"v1": 90, "v2": 10}
    assert "since" not in own["status"]["step"]
    own = await cluster.step()
    assert own["status"]["step"]["since"].startswith("2026-03-01T12:00:50")


async def test_another_version_in_mid_rollout_starts_over_with_the_canary_at_zero() -> None:
    cluster = await serving(CANARY, HALF)
    cluster.go_to("v2")
    await cluster.step(3)
    old = cluster.variant("v2")
    cluster.pods_start = False
    cluster.go_to("v3")
    own = await cluster.step()
    assert cluster.weights() == {"v1": 100}
    assert ready_of(own) == ("False", "VersionNotReady")
    cluster.pods_start = True
    own = await cluster.step(3)
    assert cluster.weights() == {"v1": 90, "v3": 10}
    assert cluster.kube.look("Deployment", old) is None


async def test_going_back_in_mid_rollout_takes_everything_from_the_target_at_once() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(3)
    gone = cluster.variant("v2")
    cluster.go_to("v1")
    own = await cluster.step()
    assert ready_of(own) == ("True", "Promoted")
    assert cluster.weights() == {"v1": 100}
    await cluster.until_settled()
    assert cluster.kube.look("Deployment", gone) is None


# ------------------------------------------------------------------ back to what served before


async def second_serves(*steps: dict[str, object]) -> Stage:
    """A deployment in which v2 took over from v1, settled."""
    cluster = await serving()
    cluster.go_to("v2")
    await cluster.until_settled()
    cluster.change(strategy={"steps": list(steps)})
    await cluster.until_settled()
    assert cluster.weights() == {"v2": 100}
    return cluster


async def test_a_version_that_served_before_comes_back_at_once() -> None:
    cluster = await second_serves(SHADOW, CANARY)
    cluster.go_to("v1")
    own = await cluster.step()
    assert ready_of(own) == ("True", "RolledBack")
    assert cluster.weights() == {"v1": 100}
    assert ready_of(await cluster.until_settled()) == ("True", "RolledBack")


async def test_a_pin_moves_everything_with_one_write_before_anything_else() -> None:
    cluster = await second_serves(SHADOW, CANARY)
    before = len(cluster.kube.writes)
    cluster.kube.put(pin())
    own = await cluster.step()
    writes = cluster.kube.writes[before:]
    assert [(w.verb, w.kind) for w in writes] == [
        ("apply", "ConfigMap"),
        ("apply_status", "ModelDeployment"),
        ("event", "Event"),
    ]
    assert cluster.weights() == {"v1": 100}
    assert ready_of(own) == ("True", "Pinned")
    diverged = next(c for c in own["status"]["conditions"] if c["type"] == "GitDiverged")
    assert diverged["status"] == "True"
    assert own["spec"]["versionRef"] == {"name": "v2"}


async def test_a_pin_holds_against_changes_of_the_spec_and_ends_with_its_removal() -> None:
    cluster = await second_serves(CANARY)
    cluster.kube.put(pin())
    await cluster.until_settled()
    cluster.go_to("v3")
    own = await cluster.until_settled()
    assert ready_of(own) == ("True", "Pinned")
    cluster.go_to("v2")
    cluster.kube.remove(pin())
    own = await cluster.step()
    assert cluster.weights() == {"v2": 100}
    assert "pin" not in own["status"]
    assert not [c for c in own["status"]["conditions"] if c["type"] == "GitDiverged"]


async def test_a_pin_to_the_version_in_git_does_not_diverge() -> None:
    cluster = await second_serves()
    cluster.kube.put(pin(version_name="v2"))
    own = await cluster.until_settled()
    assert ready_of(own) == ("True", "Pinned")
    assert not [c for c in own["status"]["conditions"] if c["type"] == "GitDiverged"]


async def test_a_pin_stops_a_rollout() -> None:
    cluster = await serving(CANARY)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.kube.put(pin(version_name="v1"))
    own = await cluster.step()
    assert cluster.weights() == {"v1": 100}
    assert ready_of(own) == ("True", "Pinned")


async def test_a_pin_to_what_never_served_is_not_followed() -> None:
    cluster = await second_serves()
    before = len(cluster.kube.writes)
    cluster.kube.put(pin(version_name="v3"))
    own = await cluster.until_settled()
    assert ready_of(own) == ("True", "Promoted")
    assert cluster.kube.writes[before:] == []


async def test_a_pin_expires_by_itself() -> None:
    cluster = await second_serves()
    cluster.kube.put(pin(expiresAt="2026-03-01T12:10:00Z"))
    await cluster.until_settled()
    assert cluster.weights() == {"v1": 100}
    assert cluster.again is not None
    cluster.wait(cluster.again.total_seconds())
    await cluster.step()
    assert cluster.weights() == {"v2": 100}


async def test_a_cold_version_is_started_and_gets_everything_once_it_is_ready() -> None:
    cluster = await second_serves()
    cluster.go_to("v3")
    await cluster.until_settled()
    cold = cluster.variant("v1")
    assert cluster.kube.look("Deployment", cold) is None
    cluster.kube.put(pin())
    own = await cluster.step()
    assert ready_of(own) == ("False", "VersionNotReady")
    assert cluster.weights() == {"v3": 100}
    own = await cluster.step(2)
    assert cluster.weights() == {"v1": 100}
    assert ready_of(own) == ("True", "Pinned")


async def test_going_back_needs_no_model_version_any_more() -> None:
    cluster = await second_serves()
    gone = cluster.kube.look("ModelVersion", "v1")
    assert gone is not None
    cluster.kube.remove(gone)
    cluster.kube.put(pin())
    await cluster.step()
    assert cluster.weights() == {"v1": 100}


async def test_going_back_to_what_was_denied_since_is_refused() -> None:
    cluster = await second_serves()
    cluster.kube.put(denied("v1", FIRST))
    cluster.go_to("v1")
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "VersionNotApproved")
    assert cluster.weights() == {"v2": 100}


async def test_a_version_made_again_with_another_model_is_another_version() -> None:
    cluster = await second_serves(CANARY)
    cluster.kube.remove(approved("v1", FIRST))
    cluster.kube.put(approved("v1", THIRD))
    cluster.go_to("v1")
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "CanaryProgressing")


# ------------------------------------------------------------------ routes and parts


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
