"""ModelVersion: judged once on golden rows, and approved by somebody else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.meta import REQUESTED_AT, Key, Manifest
from plumbline_operator.rooms.modelversion.handlers import ROOM
from tests.rooms.modelversion.documents import asked
from tests.rooms.registry_objects import (
    CANDIDATE,
    CHAMPION,
    EVALUATION,
    GOLDEN,
    MINIMUM,
    PREDICTIONS,
    REGRESSION,
    SLICES,
    approval,
    available,
    connection,
    deployment,
    digest,
    evaluated,
    model,
    verdict,
    version,
)
from tests.support.laws import check_laws
from tests.support.worlds import (
    NAMESPACE,
    NOW,
    Actor,
    World,
    answering,
    loop_on,
    not_ready,
    open_jobs,
    ready_of,
    settle,
)

IN_AN_HOUR, AN_HOUR_AGO = "2026-03-01T13:00:00Z", "2026-03-01T11:00:00Z"
PASSED = answering(evaluated(verdict()))
REGISTRY = (connection(), available(model()))


def judged(title: str, actor: Actor = PASSED, *others: Manifest, of: Manifest | None = None) -> World:
    """A version whose evaluation is answered by `actor`, with approvals around it."""
    return World(title, version(), (connection(), available(of or model()), *others), actor=actor)


def troubled(reason: str, outcome: Outcome = Outcome.REFUSED) -> Actor:
    """An evaluation that ends without a result."""
    return answering(Report(outcome=outcome, reason=reason, message="The Job said so."))


WORLDS = {
    "no model": (World("no model", version(), (connection(),)), ("False", "ModelNotFound")),
    "model without golden rows": (
        World("no golden", version(), (connection(), not_ready(model(), "DatasetNotReady"))),
        ("False", "DatasetNotReady"),
    ),
    "model with another trouble": (
        World("no label", version(), (connection(), not_ready(model(), "LabelNotFound"))),
        ("False", "ModelNotReady"),
    ),
    "model nobody has looked at": (World("young", version(), (connection(), model())), ("False", "ModelNotReady")),
    "storage not ready": (
        World("no storage", version(), (not_ready(connection(), "AccessDenied"), available(model()))),
        ("False", "ConnectionNotReady"),
    ),
    "version in another bucket": (
        World("elsewhere", version(storageRef={"name": "archive"}), REGISTRY),
        ("False", "StorageMismatch"),
    ),
    "evaluating": (World("evaluating", version(), REGISTRY), ("False", "Evaluating")),
    "passed, nobody approved": (judged("unapproved"), ("False", "AwaitingApproval")),
    "approved": (judged("approved", PASSED, approval("yes")), ("True", "Approved")),
    "approved beforehand, gate failed": (
        judged("failed", answering(evaluated(verdict(word="Fail", value=0.5))), approval("yes")),
        ("False", "GateFailed"),
    ),
    "inconclusive": (
        judged("unclear", answering(evaluated(verdict(word="Inconclusive", value=None))), approval("yes")),
        ("False", "GateInconclusive"),
    ),
    "a gate without a verdict": (
        judged("silent", answering(evaluated(verdict("other"))), approval("yes")),
        ("False", "GateInconclusive"),
    ),
    "a pass without a value": (
        judged("empty pass", answering(evaluated(verdict(value=None))), approval("yes")),
        ("False", "GateInconclusive"),
    ),
    "verdicts without an evaluation behind them": (
        judged("baseless", answering(Report(outcome=Outcome.DONE, verdicts=(verdict(),))), approval("yes")),
        ("False", "GateInconclusive"),
    ),
    "denied": (
        judged("denied", PASSED, approval("yes"), approval("no", "linus", decision="Deny")),
        ("False", "Denied"),
    ),
    "expired": (judged("expired", PASSED, approval("yes", expiresAt=AN_HOUR_AGO)), ("False", "ApprovalExpired")),
    "an expired denial counts no more": (
        judged("forgiven", PASSED, approval("yes"), approval("no", decision="Deny", expiresAt=AN_HOUR_AGO)),
        ("True", "Approved"),
    ),
    "one person twice is one": (
        judged("twice", PASSED, approval("a"), approval("b"), of=model(approvals={"required": 2})),
        ("False", "AwaitingApproval"),
    ),
    "two people are two": (
        judged("both", PASSED, approval("a"), approval("b", "linus"), of=model(approvals={"required": 2})),
        ("True", "Approved"),
    ),
    "one lapsed of two": (
        judged(
            "half lapsed",
            PASSED,
            approval("a"),
            approval("b", "linus", expiresAt=AN_HOUR_AGO),
            of=model(approvals={"required": 2}),
        ),
        ("False", "ApprovalExpired"),
    ),
    "nobody needs to approve": (judged("free", of=model(approvals={"required": 0})), ("True", "Approved")),
    "denied although nobody needs to approve": (
        judged("vetoed", PASSED, approval("no", decision="Deny"), of=model(approvals={"required": 0})),
        ("False", "Denied"),
    ),
    "a denial from outside the groups": (
        judged(
            "outsider",
            PASSED,
            approval("no", decision="Deny"),
            approval("yes", "linus", group="risk"),
            of=model(approvals={"groups": ["risk"]}),
        ),
        ("True", "Approved"),
    ),
    "the author's consent": (judged("own", PASSED, approval("own", "ada")), ("False", "AwaitingApproval")),
    "no gates": (judged("gateless", answering(evaluated()), approval("yes"), of=model(gates=[])), ("True", "Approved")),
    "a first version has no champion to be worse than": (
        judged("first", answering(evaluated()), approval("yes"), of=model(REGRESSION)),
        ("True", "Approved"),
    ),
    "worse than the champion": (
        judged(
            "regressed",
            answering(evaluated(verdict("no-worse", "Fail", 7.5, "auc 0.74, champion 0.80"))),
            deployment(),
            of=model(REGRESSION),
        ),
        ("False", "GateFailed"),
    ),
    "file refused": (judged("bad file", troubled("ModelFileRefused")), ("False", "ModelFileRefused")),
    "storage trouble": (
        judged("trouble", troubled("EndpointUnreachable", Outcome.TROUBLE)),
        ("False", "EndpointUnreachable"),
    ),
    "a blob is gone": (judged("gone", troubled("DataUnavailable")), ("False", "DataUnavailable")),
    "storage says no": (judged("locked out", troubled("AccessDenied")), ("False", "AccessDenied")),
    "no bucket": (judged("bucketless", troubled("BucketNotFound")), ("False", "BucketNotFound")),
    "golden rows do not fit": (judged("misfit", troubled("EvaluationRefused")), ("False", "EvaluationRefused")),
    "an unknown word": (judged("unknown", troubled("SunSpots")), ("False", "JobFailed")),
}


def condition(own: Manifest, type_: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    return next((c["status"], c["reason"]) for c in own["status"]["conditions"] if c["type"] == type_)


@pytest.mark.parametrize("title", WORLDS)
async def test_a_version_says_whether_it_may_serve(title: str) -> None:
    world, expected = WORLDS[title]

    own = await settle(ROOM, world, world.kube())

    assert ready_of(own) == expected


async def test_the_laws_hold_in_every_world() -> None:
    await check_laws(ROOM, [world for world, _ in WORLDS.values()])


@pytest.mark.parametrize("title", WORLDS)
async def test_ready_means_that_gates_passed_and_people_approved(title: str) -> None:
    world, (ready, _) = WORLDS[title]

    own = await settle(ROOM, world, world.kube())

    both = condition(own, "GatesPassed")[0] == "True" and condition(own, "Approved")[0] == "True"
    assert (ready == "True") == both


async def test_the_result_is_stored_before_the_job_goes() -> None:
    world = judged("kept", PASSED, approval("yes"))
    kube = world.kube()

    own = await settle(ROOM, world, kube)

    order = [write.verb for write in kube.writes if write.verb in ("apply_status", "delete")]
    assert order.index("delete") > order.index("apply_status")
    assert kube.all("Job") == []
    assert own["status"]["evaluation"] == {
        "policy": own["status"]["evaluation"]["policy"],
        "golden": {"snapshot": "golden-1", "digest": GOLDEN},
        "digest": EVALUATION,
        "predictions": PREDICTIONS,
        "rows": 100,
        "metrics": {"auc": 0.812346},
    }
    assert own["status"]["gates"] == [
        {"name": "good", "verdict": "Pass", "value": 0.81, "bound": ">= 0.7", "message": ""}
    ]
    assert own["status"]["approvals"] == [{"approver": "grace", "name": "yes", "decision": "Approve"}]


async def test_the_job_is_asked_to_compare_with_the_champion_on_the_golden_rows() -> None:
    rules = model(MINIMUM, REGRESSION, SLICES, golden={"since": "2026-01-01T00:00:00Z"})
    window = {"since": "2025-01-01T00:00:00Z", "until": "2025-12-01T00:00:00Z"}
    world = World("asked", version(trainingWindow=window), (connection(), available(rules), deployment()))
    kube = world.kube()
    await settle(ROOM, world, kube)

    document = asked(open_jobs(kube)[0])

    assert (document.manifest, document.champion, document.golden) == (CANDIDATE, CHAMPION, GOLDEN)
    assert [gate.gate for gate in document.gates] == ["minimum", "regression", "slices"]
    assert (document.label, document.prediction_output) == ("late", "probability")
    assert document.window is not None
    assert str(document.window.since) == "2026-01-01 00:00:00+00:00"
    assert document.training_window is not None
    assert document.training_window.until is not None
    assert [one.snapshot for one in document.training] == ["history-1"]
    assert (document.storage.bucket, document.storage.prefix) == ("models", f"plumb/{NAMESPACE}")
    assert document.owner.job == open_jobs(kube)[0]["metadata"]["name"]


async def test_a_new_champion_or_newer_golden_rows_do_not_judge_again() -> None:
    world = World("frozen", version(), REGISTRY)
    kube = world.kube()
    before = await settle(ROOM, world, kube)
    running = [job["metadata"]["name"] for job in open_jobs(kube)]
    kube.put(deployment())
    kube.put(available(model(), golden=digest("7")))

    after = await settle(ROOM, world, kube)

    assert [job["metadata"]["name"] for job in open_jobs(kube)] == running
    assert after["status"]["evaluation"] == before["status"]["evaluation"]


async def test_other_gates_judge_again_against_today() -> None:
    world = judged("raised", PASSED, approval("yes"))
    kube = world.kube()
    await settle(ROOM, world, kube)
    raised = {"name": "good", "minimum": {"metric": "auc", "value": 0.9}}
    kube.put(model(raised))
    kube.put(available(kube.look("RegisteredModel", "flights", NAMESPACE) or {}, golden=digest("7")))
    kube.put(deployment())

    during = await settle(ROOM, replace(world, actor=None), kube)
    after = await settle(ROOM, replace(world, actor=answering(evaluated(verdict(word="Fail")))), kube)

    assert (ready_of(during), condition(during, "GatesPassed")[0]) == (("False", "Evaluating"), "Unknown")
    assert during["status"]["evaluation"]["predictions"] == PREDICTIONS
    assert ready_of(after) == ("False", "GateFailed")
    assert after["status"]["evaluation"]["golden"]["digest"] == digest("7")
    assert after["status"]["evaluation"]["champion"]["version"] == "flights-1"


async def test_other_approval_rules_or_words_do_not_judge_again() -> None:
    world = judged("renamed", PASSED, approval("yes"))
    kube = world.kube()
    await settle(ROOM, world, kube)
    kube.put(available(model(description="Better words.", approvals={"required": 2})))

    own = await settle(ROOM, world, kube)

    assert ready_of(own) == ("False", "AwaitingApproval")
    assert [write.kind for write in kube.writes if write.verb == "apply"] == ["Job"]


async def test_whoever_asks_again_gets_a_new_evaluation() -> None:
    world = judged("again", answering(evaluated(verdict(word="Inconclusive")), evaluated(verdict())), approval("yes"))
    kube = world.kube()
    before = await settle(ROOM, world, kube)
    kube.edit(before, metadata={"annotations": {REQUESTED_AT: "now"}})

    after = await settle(ROOM, world, kube)

    assert (ready_of(before), ready_of(after)) == (("False", "GateInconclusive"), ("True", "Approved"))
    assert after["status"]["lastRequestedAt"] == "now"


async def test_trouble_is_tried_again_after_a_rest() -> None:
    actor = answering(
        Report(outcome=Outcome.TROUBLE, reason="EndpointUnreachable", message="No route."), evaluated(verdict())
    )
    world = judged("tired", actor, approval("yes"))
    kube = world.kube()

    resting = await settle(ROOM, world, kube)
    rested = await settle(ROOM, replace(world, now=NOW + timedelta(seconds=31)), kube)

    assert condition(resting, "Reconciling") == ("True", "EndpointUnreachable")
    assert ready_of(rested) == ("True", "Approved")
    assert rested["status"]["attempt"] == 2


async def test_an_approval_that_expires_takes_approved_away_and_says_so() -> None:
    world = judged("brief", PASSED, approval("yes", expiresAt=IN_AN_HOUR))
    kube = world.kube()
    before = await settle(ROOM, world, kube)
    again = await loop_on(kube).reconcile(ROOM, world.key, NOW)

    after = await settle(ROOM, replace(world, now=NOW + timedelta(hours=1)), kube)

    assert (ready_of(before), again) == (("True", "Approved"), timedelta(hours=1))
    assert ready_of(after) == ("False", "ApprovalExpired")
    assert condition(after, "Approved") == ("False", "ApprovalExpired")
    assert "Expired: grace" in after["status"]["conditions"][0]["message"]
    assert [event["reason"] for event in kube.events] == ["Approved", "ApprovalExpired"]


async def test_taking_the_approval_back_takes_approved_away() -> None:
    world = judged("revoked", PASSED, approval("yes"))
    kube = world.kube()
    await settle(ROOM, world, kube)
    kube.remove(approval("yes"))

    own = await settle(ROOM, world, kube)

    assert ready_of(own) == ("False", "AwaitingApproval")
    assert "approvals" not in own["status"] or own["status"]["approvals"] == []


async def test_a_message_names_the_failing_gate_and_its_numbers() -> None:
    world = judged("told", answering(evaluated(verdict(word="Fail", value=0.5, message="auc is 0.5, needs 0.7"))))

    own = await settle(ROOM, world, world.kube())

    assert own["status"]["conditions"][0]["message"] == "1 of 1 gates failed. good: auc is 0.5, needs 0.7"


async def test_approvals_that_do_not_count_are_named_with_their_reason() -> None:
    world = judged("own", PASSED, approval("own", "ada"))

    own = await settle(ROOM, world, world.kube())

    message = own["status"]["conditions"][0]["message"]
    assert "0 of 1 required approvals" in message
    assert "own (SelfApproval)" in message


async def test_a_status_holds_only_so_many_approvals_and_denials_first() -> None:
    crowd = [approval(f"yes-{index:03}", f"person-{index}") for index in range(60)]
    world = judged("crowd", PASSED, *crowd, approval("zz-no", "linus", decision="Deny"))

    own = await settle(ROOM, world, world.kube())

    assert len(own["status"]["approvals"]) == 50
    assert own["status"]["approvals"][0]["decision"] == "Deny"


async def test_the_job_does_not_start_while_its_storage_is_not_ready() -> None:
    world = World("interrupted", version(), REGISTRY)
    kube = world.kube()
    await settle(ROOM, world, kube)
    kube.remove(open_jobs(kube)[0])
    kube.put(not_ready(connection(), "AccessDenied"))

    own = await settle(ROOM, world, kube)

    assert ready_of(own) == ("False", "ConnectionNotReady")
    assert kube.all("Job") == []


async def test_a_running_evaluation_is_left_alone_when_its_storage_blinks() -> None:
    world = World("blinking", version(), REGISTRY)
    kube = world.kube()
    await settle(ROOM, world, kube)
    kube.put(not_ready(connection(), "EndpointUnreachable"))

    own = await settle(ROOM, world, kube)

    assert ready_of(own) == ("False", "Evaluating")
    assert len(open_jobs(kube)) == 1


async def test_an_approval_nobody_can_read_is_passed_over() -> None:
    broken = approval("broken") | {"spec": {"version": {"name": "flights-2"}}}
    world = judged("broken approval", PASSED, broken, approval("yes"))

    assert ready_of(await settle(ROOM, world, world.kube())) == ("True", "Approved")


def test_a_version_is_woken_by_model_and_storage_and_wakes_its_model() -> None:
    made = version()

    assert ROOM.dependencies(made) == (
        Key("RegisteredModel", NAMESPACE, "flights"),
        Key("Connection", NAMESPACE, "storage"),
    )
    assert ROOM.wakes(made) == (Key("RegisteredModel", NAMESPACE, "flights"),)


async def test_twenty_passing_gates_survive_the_short_termination_message() -> None:
    names = [f"gate-{index:02}-with-a-rather-long-and-telling-name" for index in range(20)]
    gates = [{"name": name, "minimum": {"metric": "auc", "value": 0.7}} for name in names]
    told = [verdict(name, value=0.8123456789012345, message="measured and compared " * 20) for name in names]
    world = judged("many", answering(evaluated(*told)), approval("yes"), of=model(*gates))

    assert ready_of(await settle(ROOM, world, world.kube())) == ("True", "Approved")
