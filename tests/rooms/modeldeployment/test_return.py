"""Back to what served before: by the spec, or by a pin, at once and without a gate."""

import pytest

from plumbline_operator.kube.errors import Conflict
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from plumbline_operator.runtime.loop import model_of
from tests.rooms.modeldeployment.lives import message_of, second_serves, serving
from tests.rooms.registry_objects import model
from tests.rooms.release_objects import (
    CANARY,
    FIRST,
    SECOND,
    SHADOW,
    THIRD,
    approved,
    consent,
    denied,
    pin,
)
from tests.support.worlds import loop_on, ready_of


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


OLD = approved("v1", FIRST)
DENIAL = consent(OLD, "objection", decision="Deny")


@pytest.mark.parametrize("by", ["spec", "pin"])
@pytest.mark.parametrize("kept", [True, False], ids=["version there", "version gone"])
async def test_a_denial_keeps_a_version_out_before_its_status_has_heard_of_it(by: str, *, kept: bool) -> None:
    cluster = await second_serves()
    cluster.kube.put(DENIAL)
    if not kept:
        cluster.kube.remove(OLD)
    if by == "spec":
        cluster.go_to("v1")
    else:
        cluster.kube.put(pin())
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "VersionNotApproved")
    assert message_of(own) == "ModelVersion v1 served before, but grace denies it in Approval objection-v1."
    assert cluster.weights() == {"v2": 100}
    cluster.kube.remove(DENIAL)
    await cluster.until_settled()
    assert cluster.weights() == {"v1": 100}


@pytest.mark.parametrize(
    "denial",
    [
        consent(approved("v1", SECOND), "objection", decision="Deny"),
        consent(OLD, "objection", decision="Deny", expiresAt="2026-03-01T11:59:59Z"),
        consent(OLD, "objection", decision="Deny", approver="ada"),
        consent(approved("v3", FIRST), "objection", decision="Deny"),
    ],
    ids=["of another digest", "expired", "by the author", "of another version"],
)
async def test_a_denial_that_does_not_count_keeps_nothing_out(denial: Manifest) -> None:
    cluster = await second_serves()
    cluster.kube.put(denial)
    cluster.go_to("v1")
    assert ready_of(await cluster.until_settled()) == ("True", "RolledBack")


async def test_going_back_counts_no_approvals() -> None:
    """What has served is known to work; when it matters nobody should have to be found to sign."""
    cluster = await second_serves()
    for one in cluster.kube.all("Approval"):
        cluster.kube.remove(one)
    cluster.kube.put(model(approvals={"required": 2}))
    cluster.go_to("v1")
    assert ready_of(await cluster.until_settled()) == ("True", "RolledBack")


async def test_a_version_made_again_with_another_model_is_another_version() -> None:
    cluster = await second_serves(CANARY)
    cluster.kube.remove(approved("v1", FIRST))
    remade = approved("v1", THIRD)
    cluster.kube.put(remade)
    cluster.kube.put(consent(remade, "again"))
    cluster.go_to("v1")
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "CanaryProgressing")


async def test_a_version_made_again_under_the_name_of_the_one_that_serves_is_asked_for_its_own_approval() -> None:
    cluster = await serving(CANARY)
    cluster.kube.remove(approved("v1", FIRST))
    remade = approved("v1", THIRD)
    cluster.kube.put(remade)
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "AwaitingApproval")
    cluster.kube.put(consent(remade, "again"))
    own = await cluster.step(2)
    assert ready_of(own) == ("False", "CanaryProgressing")


async def test_an_operator_that_slept_with_a_plan_does_not_move_the_traffic_when_it_wakes() -> None:
    cluster = await second_serves()
    cluster.go_to("v1")
    raw, asleep = cluster.own(), loop_on(cluster.kube, cluster.signals)
    plan = ROOM.plan(await ROOM.observe(model_of(ROOM, raw), asleep.sight), cluster.now)
    for version in ("v1", "v2"):  # what another operator does meanwhile
        cluster.go_to(version)
        await cluster.until_settled()
        assert cluster.weights() == {version: 100}
    with pytest.raises(Conflict):
        await asleep.carry_out(plan, raw, cluster.now)
    assert cluster.weights() == {"v2": 100}
