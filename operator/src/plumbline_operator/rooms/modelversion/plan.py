"""Decides whether a version may serve: our own evaluation, its gates, and people's consent.

registered ── Evaluating ──┬── GateFailed, GateInconclusive           (a human: other gates, or another version)
     frozen: golden rows,  │
     champion, gates       └── GatesPassed ──┬── AwaitingApproval ──(enough)── Approved ──(expiresAt)──┐
                                             ├── Denied                                                │
                                             └──────────────── ApprovalExpired ────────────────────────┘
other gates or golden rule, or another plumbline.dev/requested-at: evaluated again, against today's champion.
another champion, or a newer golden snapshot: nothing; what was judged stays judged.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_operator.build.job import Resources, job
from plumbline_operator.model.attempts import SeenJob, Stage, Turn, conditions_for, take_turn, tell, written
from plumbline_operator.model.conditions import Conditions, State, find, is_true
from plumbline_operator.model.jobs import Phase
from plumbline_operator.model.meta import REQUESTED_AT, Manifest
from plumbline_operator.model.plan import Note, Plan
from plumbline_operator.rooms.approval.api import Approval
from plumbline_operator.rooms.connection.api import bucket_of, credentials_of, unusable
from plumbline_operator.rooms.connection.api import read_spec as connection_spec
from plumbline_operator.rooms.modelversion import consent, evaluation
from plumbline_operator.rooms.modelversion.api import (
    ChampionUse,
    GoldenUse,
    Judgement,
    ModelVersion,
    ModelVersionStatus,
    Reason,
)
from plumbline_operator.rooms.registeredmodel.api import Champion, RegisteredModelSpec

RESOURCES = Resources({"cpu": "100m", "memory": "512Mi"}, {"memory": "4Gi"})  # golden rows and two models in memory
ANNOUNCED = frozenset(
    {Reason.APPROVED, Reason.DENIED, Reason.APPROVAL_EXPIRED, Reason.GATE_FAILED, Reason.GATE_INCONCLUSIVE}
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A version, and what it is judged by. model_raw, connection: as read; model: the former's spec, if usable."""

    version: ModelVersion
    model: RegisteredModelSpec | None
    model_raw: Manifest | None
    connection: Manifest | None
    champion: Champion | None
    approvals: tuple[Approval, ...]
    jobs: tuple[SeenJob, ...]
    image: str
    pull_policy: str = "IfNotPresent"


def plan(seen: Seen, now: datetime) -> Plan:
    """What to do next about a version."""
    version, status = seen.version, seen.version.status
    conditions = conditions_for(version.metadata, status, now)
    if seen.model is None:
        return _without_model(seen, conditions)
    tally = consent.count(seen.approvals, version.spec, seen.model, now)
    consent.say(tally, conditions)
    status = status.model_copy(update={"approvals": tally.shown})
    judgement = _standing(seen, seen.model)
    if judgement is None:
        obstacle = _obstacle(seen, seen.model)
        if obstacle is not None:
            return _held(seen, status, conditions, obstacle, tally.again)
        judgement = _start(seen, seen.model)
    inputs = evaluation.inputs_of(version.spec, judgement)
    turn = take_turn(status, version.metadata, seen.jobs, now, verb=evaluation.VERB, inputs=inputs)
    status = _remember(status, turn, judgement, seen.model)
    if turn.stage is Stage.DONE:
        return _judged(seen, status, conditions, tally, turn)
    return _under_way(seen, seen.model, status, conditions, tally, turn)


def _without_model(seen: Seen, conditions: Conditions) -> Plan:
    name = seen.version.spec.model_ref.name
    text = (
        f"RegisteredModel {name} does not exist or cannot be used. Waiting for it: it says what a version must reach."
    )
    conditions.waiting(Reason.MODEL_NOT_FOUND, text)
    conditions.set("GatesPassed", State.UNKNOWN, Reason.MODEL_NOT_FOUND, text)
    conditions.set("Approved", State.FALSE, Reason.MODEL_NOT_FOUND, text)
    return Plan(status=written(seen.version.status.model_copy(update={"approvals": ()}), conditions))


def _standing(seen: Seen, model: RegisteredModelSpec) -> Judgement | None:
    """The evaluation that was started by the present rules and for the present request, or None."""
    status = seen.version.status
    asked = seen.version.metadata.annotations.get(REQUESTED_AT, "")
    found = status.evaluation
    if found is None or found.policy != evaluation.policy_of(model) or status.last_requested_at != asked:
        return None
    return found


def _start(seen: Seen, model: RegisteredModelSpec) -> Judgement:
    """A new evaluation against the golden rows and the champion of this moment."""
    golden = (seen.model_raw or {})["status"]["goldenSnapshot"]
    before, champion = seen.version.status.evaluation, seen.champion
    return Judgement(
        policy=evaluation.policy_of(model),
        golden=GoldenUse(snapshot=golden["name"], digest=golden["digest"]),
        champion=ChampionUse(version=champion.version, manifest=champion.manifest) if champion else None,
        # The profile of the predictions on the training rows does not depend on gates, and drift needs it meanwhile.
        predictions=before.predictions if before else "",
    )


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an evaluation cannot start now. passing: it may go away without a new version."""

    reason: Reason
    message: str
    passing: bool = True


def _obstacle(seen: Seen, model: RegisteredModelSpec) -> Obstacle | None:
    spec = seen.version.spec
    storage, name = spec.storage_ref.name, spec.model_ref.name
    if storage != model.storage_ref.name:
        text = f"The version lies in Connection {storage}, but RegisteredModel {name} has {model.storage_ref.name}."
        advice = "One Job reads model and golden rows: give both the same storageRef."
        return Obstacle(Reason.STORAGE_MISMATCH, f"{text} {advice}", passing=False)
    if not is_true(seen.model_raw) or not (seen.model_raw or {}).get("status", {}).get("goldenSnapshot"):
        return _model_obstacle(name, seen.model_raw)
    problem = unusable(storage, seen.connection)
    return Obstacle(Reason.CONNECTION_NOT_READY, problem) if problem else None


def _model_obstacle(name: str, raw: Manifest | None) -> Obstacle:
    """The model's own reason where this kind has it too, so that the cause shows without another look."""
    said = find((raw or {}).get("status", {}).get("conditions", ()), "Ready") or {}
    inherited = {Reason.DATASET_NOT_READY, Reason.CONNECTION_NOT_READY, Reason.STORAGE_MISMATCH}
    reason = next((one for one in inherited if one == said.get("reason")), Reason.MODEL_NOT_READY)
    why = f"{said.get('reason', 'NotYetObserved')}: {said.get('message', 'it was not looked at yet')}"
    return Obstacle(reason, f"RegisteredModel {name} is not Ready ({why}). Waiting; will look when it changes.")


def _held(
    seen: Seen, status: ModelVersionStatus, conditions: Conditions, obstacle: Obstacle, again: timedelta | None
) -> Plan:
    """Nothing can be evaluated now; the last evaluation, if any, was by other rules and counts no more."""
    say = conditions.waiting if obstacle.passing else conditions.stalled
    say(obstacle.reason, obstacle.message)
    conditions.set("GatesPassed", State.UNKNOWN, obstacle.reason, obstacle.message)
    return Plan(status=written(status, conditions), notes=_announcement(seen, conditions), again=again)


def _remember(
    status: ModelVersionStatus, turn: Turn, judgement: Judgement, model: RegisteredModelSpec
) -> ModelVersionStatus:
    """The status with the turn's memory, and with the answer while it is fresh."""
    update = {**turn.memory(), "evaluation": judgement}
    if turn.stage is not Stage.DONE:
        update["gates"] = ()
    elif turn.report is not None:
        update["evaluation"] = evaluation.answered(judgement, turn.report)
        update["gates"] = evaluation.verdicts(model.gates, judgement, turn.report)
    return status.model_copy(update=update)


def _judged(seen: Seen, status: ModelVersionStatus, conditions: Conditions, tally: consent.Tally, turn: Turn) -> Plan:
    """The evaluation is done: gates first, then consent."""
    reason, message = evaluation.say(status.gates, conditions)
    if reason is not Reason.GATES_PASSED:
        conditions.stalled(reason, message)
    elif tally.reason is Reason.APPROVED:
        conditions.ready(Reason.APPROVED, f"{message} {tally.message}{consent.until(tally)}")
    elif tally.reason is Reason.DENIED:
        conditions.stalled(Reason.DENIED, f"{message} {tally.message}")
    else:
        conditions.waiting(tally.reason, f"{message} {tally.message} {_invitation(seen)}")
    return Plan(
        delete=turn.leftovers,
        status=written(status, conditions),
        notes=_announcement(seen, conditions),
        again=_sooner(turn.again, tally.again),
    )


def _invitation(seen: Seen) -> str:
    spec = seen.version.spec
    return f"Anyone but {spec.author} can approve {spec.manifest}."


def _under_way(
    seen: Seen,
    model: RegisteredModelSpec,
    status: ModelVersionStatus,
    conditions: Conditions,
    tally: consent.Tally,
    turn: Turn,
) -> Plan:
    """The evaluation works, rests or was given up."""
    storage = seen.version.spec.storage_ref.name
    problem = ""
    if turn.stage is Stage.WORKING:
        problem = unusable(storage, seen.connection, ready=turn.sight.phase is Phase.ABSENT)
    if problem:
        conditions.waiting(Reason.CONNECTION_NOT_READY, problem)
    else:
        golden = status.evaluation.golden.snapshot if status.evaluation else ""
        tell(turn, conditions, Reason, Reason.EVALUATING, f"Scoring the model on the golden rows of {golden}")
    said = find(conditions.list(), "Ready") or {}
    conditions.set("GatesPassed", State.UNKNOWN, said["reason"], said["message"])
    starts = turn.stage is Stage.WORKING and not problem
    return Plan(
        apply=(_evaluate_job(seen, model, status, turn),) if starts else (),
        delete=turn.leftovers,
        status=written(status, conditions),
        notes=turn.notes(Reason.EVALUATING, ""),
        again=_sooner(turn.again, tally.again),
    )


def _evaluate_job(seen: Seen, model: RegisteredModelSpec, status: ModelVersionStatus, turn: Turn) -> Manifest:
    if seen.connection is None or status.evaluation is None:
        raise ValueError("an evaluation needs its storage and what it was started with")
    version, spec = seen.version, connection_spec(seen.connection)
    storage = bucket_of(spec, version.metadata.namespace)
    asked = evaluation.document(version, model, status.evaluation, storage, turn.job)
    return job(
        turn.job,
        asked,
        seen.image,
        credentials=[credentials_of(spec)],
        resources=RESOURCES,
        pull_policy=seen.pull_policy,
    )


def _announcement(seen: Seen, conditions: Conditions) -> tuple[Note, ...]:
    """The Event of a decision that was reached or lost in this very visit."""
    before = next((one.reason for one in seen.version.status.conditions if one.type == "Ready"), "")
    after = find(conditions.list(), "Ready") or {}
    if after["reason"] == before or after["reason"] not in ANNOUNCED:
        return ()
    return (Note(after["reason"], after["message"], warning=after["status"] != "True"),)


def _sooner(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    known = [span for span in (one, other) if span is not None]
    return min(known, default=None)
