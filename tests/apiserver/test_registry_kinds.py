"""RegisteredModel, ModelVersion and Approval on a real API server: what it refuses, and from gates to consent."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_contract.runspec import Evaluate
from plumbline_operator.kube.refs import JOBS
from plumbline_operator.model.conditions import stamp
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE, Manifest
from tests.apiserver.conftest import KINDS, Bench
from tests.rooms.registry_objects import (
    MINIMUM,
    REGRESSION,
    SLICES,
    approval,
    connection,
    dataset,
    digest,
    model,
    snapshot,
    version,
)
from tests.support.cluster import ClusterError
from tests.support.pod_actor import PodActor, good_report
from tests.support.worlds import ready_of

pytestmark = pytest.mark.apiserver

PINNED = {"snapshotRef": {"name": "golden-1"}}  # needs no Ready Dataset, so no ingest has to be played


def decision(**changes: Any) -> Manifest:
    """An Approval with these fields of its spec changed."""
    return approval("yes", **changes)


def slices(**changes: Any) -> Manifest:
    """A gate on slices with these fields changed."""
    return {"name": "everywhere", "slices": SLICES["slices"] | changes}


REFUSED = {
    "a gate that is nothing": (model({"name": "empty"}), "give exactly one of minimum, regression and slices"),
    "a gate that is two": (model(MINIMUM | REGRESSION), "give exactly one of minimum, regression and slices"),
    "two gates of one name": (model(MINIMUM, MINIMUM), "Duplicate value"),
    "a metric nobody computes": (model({"name": "x", "regression": {"metric": "AUC", "maxPercent": 1}}), "Unsupported"),
    "a minimum for an error": (model({"name": "x", "minimum": {"metric": "rmse", "value": 0.5}}), "Unsupported value"),
    "a minimum in percent": (
        model({"name": "x", "minimum": {"metric": "auc", "value": 70}}),
        "less than or equal to 1",
    ),
    "slices of nothing": (model(slices(columns=[], perMonth=False)), "name at least one column, or set perMonth"),
    "slices of any size": (model(slices(minSamples=0)), "greater than or equal to 1"),
    "a window that ends before it begins": (
        model(golden={"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}),
        "since must be before until",
    ),
    "a window of no time": (model(golden={"since": "yesterday"}), "must be of type date-time"),
    "more approvals than anybody gives": (model(approvals={"required": 6}), "less than or equal to 5"),
    "a digest that is none": (version(manifest="latest"), "should match"),
    "an author who approves": (decision(approver="ada"), "the author of a version cannot decide on it"),
    "a decision that is none": (decision(decision="Maybe"), "Unsupported value"),
    "an approval of no digest": (decision(version={"name": "flights-2", "author": "ada"}), "version.manifest"),
}
ACCEPTED = {
    "every kind of gate": model(MINIMUM, REGRESSION, SLICES),
    "an explicit absence of gates": model(gates=[]),
    "twenty gates": model(*(MINIMUM | {"name": f"gate-{index}"} for index in range(20))),
    "a window": model(golden={"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00+01:00"}),
    "groups": model(approvals={"required": 2, "groups": ["risk", "system:masters"]}),
    "a version": version(trainingWindow={"until": "2025-12-01T00:00:00Z"}),
    "a denial that expires": decision(decision="Deny", expiresAt="2030-01-01T00:00:00Z", comment="Not yet."),
}


@pytest.mark.parametrize("title", REFUSED)
async def test_the_api_server_refuses(bench: Bench, title: str) -> None:
    obj, words = REFUSED[title]
    with pytest.raises(ClusterError) as refusal:
        bench.apply(obj)
    assert words in str(refusal.value)


@pytest.mark.parametrize("title", ACCEPTED)
async def test_the_api_server_accepts(bench: Bench, title: str) -> None:
    bench.apply(ACCEPTED[title])


# ------------------------------------------------------------------ from gates to consent


def failing(spec: Any) -> Report:
    """An evaluation in which every gate fails."""
    assert isinstance(spec, Evaluate)
    verdicts = tuple(TestVerdict(name=gate.name, verdict="Fail", value=0.5, bound=">= 0.7") for gate in spec.gates)
    digests = {"evaluation": digest("e")}
    return Report(outcome=Outcome.DONE, digests=digests, numbers={"auc": 0.5, "rows": 100}, verdicts=verdicts)


def is_(status: str, reason: str) -> Callable[[Manifest], bool]:
    """Whether Ready has this status and reason."""
    return lambda one: ready_of(one) == (status, reason)


async def registered(bench: Bench, **changes: Any) -> None:
    """A model with golden rows, storage, and a version nobody has judged yet."""
    golden = dataset() | {"spec": dataset()["spec"] | {"columns": [{"name": "late", "type": "Int64"}]}}
    bench.apply(connection(), golden, snapshot(), model(MINIMUM, golden=PINNED, **changes))
    owner = await bench.look("RegisteredModel", "flights")
    made = version()
    reference = made["metadata"]["ownerReferences"][0] | {"uid": owner["metadata"]["uid"]}
    labels = made["metadata"]["labels"]
    meta = {"name": "flights-2", "namespace": bench.namespace, "labels": labels, "ownerReferences": [reference]}
    await bench.kube.apply(KINDS["ModelVersion"].ref, made | {"metadata": meta})


async def test_a_version_is_judged_then_approved_then_denied(bench: Bench, actor: PodActor) -> None:
    del actor
    await registered(bench)
    own = await bench.until("ModelVersion", "flights-2", is_("False", "AwaitingApproval"))
    assert [(one["name"], one["verdict"]) for one in own["status"]["gates"]] == [("good", "Pass")]

    bench.apply(approval("yes"))
    await bench.until("ModelVersion", "flights-2", is_("True", "Approved"))
    await bench.until("Approval", "yes", is_("True", "Accepted"))

    bench.apply(approval("no", "linus", decision="Deny"))
    own = await bench.until("ModelVersion", "flights-2", is_("False", "Denied"))
    assert "Denied by linus in Approval no." in own["status"]["conditions"][0]["message"]

    bench.cluster.kubectl("delete", "approval", "no", "-n", bench.namespace)
    await bench.until("ModelVersion", "flights-2", is_("True", "Approved"))


async def test_an_approval_does_not_outweigh_a_gate(bench: Bench, actor: PodActor) -> None:
    actor.play = lambda spec: failing(spec) if isinstance(spec, Evaluate) else good_report(spec)
    await registered(bench)
    bench.apply(approval("yes"))
    own = await bench.until("ModelVersion", "flights-2", is_("False", "GateFailed"))
    found = {one["type"]: one["status"] for one in own["status"]["conditions"]}
    assert (found["GatesPassed"], found["Approved"], found["Stalled"]) == ("False", "True", "True")


async def test_consent_ends_when_it_expires(bench: Bench, actor: PodActor) -> None:
    del actor
    await registered(bench)
    await bench.until("ModelVersion", "flights-2", is_("False", "AwaitingApproval"))
    soon = stamp(datetime.now(UTC) + timedelta(seconds=4))
    bench.apply(approval("yes", expiresAt=soon))
    await bench.until("ModelVersion", "flights-2", is_("True", "Approved"))
    own = await bench.until("ModelVersion", "flights-2", is_("False", "ApprovalExpired"))
    assert "Expired: grace" in own["status"]["conditions"][0]["message"]
    await bench.until("Approval", "yes", is_("False", "Expired"))


async def test_other_gates_judge_again_and_the_jobs_are_gone_afterwards(bench: Bench, actor: PodActor) -> None:
    await registered(bench, approvals={"required": 0})
    first = await bench.until("ModelVersion", "flights-2", is_("True", "Approved"))
    actor.play = lambda spec: failing(spec) if isinstance(spec, Evaluate) else good_report(spec)
    higher = {"name": "higher", "minimum": {"metric": "auc", "value": 0.9}}
    bench.apply(model(higher, golden=PINNED, approvals={"required": 0}))
    again = await bench.until("ModelVersion", "flights-2", is_("False", "GateFailed"))
    assert again["status"]["inputs"] != first["status"]["inputs"]
    assert [one["name"] for one in again["status"]["gates"]] == ["higher"]
    await bench.step()  # the answer is stored, so its Job may go
    own = {MANAGED_BY: MANAGED_VALUE, "plumbline.dev/owner-kind": "ModelVersion"}
    left = [
        job for job in await bench.kube.list(JOBS, bench.namespace, own) if "deletionTimestamp" not in job["metadata"]
    ]
    assert left == []


async def test_versions_go_with_their_model(bench: Bench, actor: PodActor) -> None:
    del actor
    await registered(bench)
    await bench.until("ModelVersion", "flights-2", is_("False", "AwaitingApproval"))
    bench.cluster.kubectl("delete", "registeredmodel", "flights", "-n", bench.namespace)
    bench.cluster.kubectl("wait", "--for=delete", "modelversion/flights-2", "-n", bench.namespace, "--timeout=60s")
