"""A version comes in by the approvals that lie there when it does, not by what its status said a moment before."""

import pytest

from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from tests.rooms.modeldeployment.lives import message_of, serving
from tests.rooms.registry_objects import available, model
from tests.rooms.release_objects import FIRST, SECOND, THIRD, approved, consent, deployment, stage, surroundings
from tests.support.worlds import ready_of

NEW = approved("v2", SECOND)


def decisions(*others: Manifest) -> tuple[Manifest, ...]:
    """Everything that a deployment of v2 needs but its approval, which is replaced by these."""
    return (*(one for one in surroundings(NEW) if one["kind"] != "Approval"), *others)


@pytest.mark.parametrize(
    ("others", "reason", "said"),
    [
        ((), "AwaitingApproval", "0 of 1 required approvals."),
        (
            (consent(NEW), consent(NEW, "objection", decision="Deny")),
            "VersionNotApproved",
            "Denied by grace in Approval objection-v2.",
        ),
        ((consent(NEW, expiresAt="2026-03-01T11:59:59Z"),), "AwaitingApproval", "Expired: grace."),
        ((consent(approved("v2", THIRD)),), "AwaitingApproval", "consent-v2 (DigestMismatch)"),
        ((consent(NEW, approver="ada"),), "AwaitingApproval", "consent-v2 (SelfApproval)"),
        ((consent(approved("v1", SECOND)),), "AwaitingApproval", "0 of 1 required approvals."),
    ],
    ids=["no approval", "denied", "expired", "of another digest", "by the author", "of another version"],
)
async def test_a_stale_status_opens_no_door(others: tuple[Manifest, ...], reason: str, said: str) -> None:
    cluster = stage(ROOM, *decisions(*others), deployment("v2"))
    own = await cluster.step(3)
    assert ready_of(own) == ("False", reason)
    assert said in message_of(own)
    assert cluster.routes() is None
    assert cluster.kube.all("Job") == []


async def test_a_denial_during_the_rollout_ends_it() -> None:
    cluster = await serving({"name": "canary", "canary": {"weight": 10}, "holdSeconds": 60, "minRequests": 100})
    cluster.go_to("v2")
    await cluster.step(4)
    assert cluster.weights() == {"v1": 90, "v2": 10}
    cluster.kube.put(consent(NEW, "objection", decision="Deny"))
    own = await cluster.step()
    assert cluster.weights() == {"v1": 100}
    assert ready_of(own) == ("False", "VersionNotApproved")


async def test_a_model_that_cannot_be_used_says_whose_consent_counts_no_more() -> None:
    cluster = await serving()
    broken = model(approvals={"required": "many"})
    cluster.kube.put(broken)
    cluster.go_to("v2")
    own = await cluster.until_settled()
    assert ready_of(own) == ("False", "ModelNotReady")
    assert message_of(own).startswith("RegisteredModel flights cannot be used")
    assert cluster.weights() == {"v1": 100}


async def test_it_looks_again_soon_and_goes_on_once_the_approval_is_back() -> None:
    cluster = stage(ROOM, *decisions(), deployment("v2"))
    await cluster.step(2)
    assert cluster.again is not None
    assert cluster.again.total_seconds() <= 2
    cluster.kube.put(consent(NEW))
    assert ready_of(await cluster.until_settled()) == ("True", "Promoted")


async def test_more_approvals_asked_for_count_at_once() -> None:
    rules = available(model(approvals={"required": 2}))
    cluster = stage(
        ROOM, *(one for one in surroundings(NEW) if one["kind"] != "RegisteredModel"), rules, deployment("v2")
    )
    assert ready_of(await cluster.step(2)) == ("False", "AwaitingApproval")
    cluster.kube.put(consent(NEW, "second", approver="linus"))
    assert ready_of(await cluster.until_settled()) == ("True", "Promoted")


async def test_a_settled_deployment_asks_for_no_decisions() -> None:
    cluster = stage(ROOM, *surroundings(approved("v1", FIRST)), deployment("v1"))
    await cluster.until_settled()
    for one in cluster.kube.all("Approval"):
        cluster.kube.remove(one)
    assert ready_of(await cluster.until_settled()) == ("True", "Promoted")
