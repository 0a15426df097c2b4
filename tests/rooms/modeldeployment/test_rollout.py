"""A deployment lives through rollouts: the stories that a release owner would tell."""

import json

import pytest

from plumbline_contract.report import Outcome, Report
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from tests.rooms.modeldeployment.lives import serving
from tests.rooms.registry_objects import version
from tests.rooms.release_objects import (
    CANARY,
    FIRST,
    HALF,
    SECOND,
    SHADOW,
    Stage,
    approved,
    denied,
    deployment,
    stage,
    surroundings,
)
from tests.support.worlds import answer, not_ready, ready_of


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
    assert settings["redact"] == {"tail": "Hash", "crew": "Drop"}
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


@pytest.mark.parametrize("reason", ["AwaitingApproval", "ApprovalExpired"])
async def test_what_only_people_hold_up_is_told_apart_from_what_is_refused(reason: str) -> None:
    cluster = await serving(CANARY)
    cluster.kube.put(not_ready(version("v2", manifest=SECOND), reason, "0 of 1 required approvals."))
    cluster.go_to("v2")
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "AwaitingApproval")
    assert cluster.weights() == {"v1": 100}


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
