"""Compares a shadow's predictions with the stable version's, when a shadow step has seen enough of them.

held, enough copies ── until = now ──(logs are written)── Job compare ──┬─ agreement ── judged by the step
                         ^                                              └─ too few pairs
                         └───────────────── half a minute later ────────┘
"""

from datetime import datetime, timedelta
from typing import Any

from plumbline_contract.report import Outcome, Report
from plumbline_contract.runspec import Compare, Owner
from plumbline_operator.build.job import Resources, job
from plumbline_operator.model.attempts import Stage, Turn, conditions_for, take_turn, tell
from plumbline_operator.model.conditions import find, stamp
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.connection.api import bucket_of, credentials_of, unusable
from plumbline_operator.rooms.connection.api import read_spec as read_connection
from plumbline_operator.rooms.modeldeployment.api import (
    ModelDeploymentStatus,
    Served,
    ShadowResult,
    StepStatus,
    written_after,
)
from plumbline_operator.rooms.modeldeployment.decision import SOON, Decision, Mood, changed, waiting, whole
from plumbline_operator.rooms.modeldeployment.reasons import Reason
from plumbline_operator.rooms.modeldeployment.world import Observed
from plumbline_operator.traffic.steps import Agreement, Shadow, split

VERB = "compare"
AGAIN_AFTER = timedelta(seconds=30)  # a comparison with too few pairs is made again
DEADLINE_SECONDS = 1800
RESOURCES = Resources({"cpu": "200m", "memory": "256Mi"}, {"memory": "2Gi"})


def agreement_of(status: ModelDeploymentStatus, at: StepStatus) -> Agreement | None:
    """The result of the comparison that this step asked for last, if it is there."""
    result = status.shadow
    if result is None or at.compare_until is None or result.until != at.compare_until:
        return None
    return Agreement(result.pairs, result.agreement)


def compare(
    seen: Observed, status: ModelDeploymentStatus, target: Served, at: StepStatus, step: Shadow, now: datetime
) -> Decision:
    """Fix the window, wait until its logs are written, compare, and once more when there was too little."""
    result, until = agreement_of(status, at), at.compare_until
    if until is None or (result is not None and now >= until + _patience(seen)):
        until = whole(now) + timedelta(seconds=1)  # whole seconds, and none of the copies counted by now is left out
        status, result = changed(status, step=at.model_copy(update={"compare_until": until})), None
    due = until + (written_after(seen.deployment.spec) if result is None else _patience(seen))
    if result is not None:
        text = _too_few(step, result, due)
        return waiting(status, Reason.HOLDING_INSUFFICIENT_REQUESTS, text, split=split(step), again=due - now)
    if now < due:
        text = f"Step {step.name}: predictions are compared at {stamp(due)}, when all of them are written."
        return waiting(status, Reason.COMPARING, text, split=split(step), again=due - now)
    return _ask(seen, status, target, at, step, until, now)


def _patience(seen: Observed) -> timedelta:
    return written_after(seen.deployment.spec) + AGAIN_AFTER


def _too_few(step: Shadow, result: Agreement, due: datetime) -> str:
    wanted = max(1, step.min_requests)
    return f"Step {step.name}: {result.pairs} of {wanted} pairs of predictions were found; next look at {stamp(due)}."


def _ask(
    seen: Observed,
    status: ModelDeploymentStatus,
    target: Served,
    at: StepStatus,
    step: Shadow,
    until: datetime,
    now: datetime,
) -> Decision:
    trouble = unusable(target.storage, seen.connections.get(target.storage), ready=False)
    if trouble:
        return waiting(status, Reason.CONNECTION_NOT_READY, trouble, split=split(step))
    question = _question(seen, status, target, at, until)
    meta = seen.deployment.metadata
    turn = take_turn(status, meta, seen.jobs, now, verb=VERB, inputs=question)
    status = changed(status, **turn.memory())
    if turn.stage is Stage.DONE:
        result = _result(turn.report or Report(outcome=Outcome.DONE), until)
        text = f"Step {step.name}: predictions were compared."
        status = changed(status, shadow=result)
        return waiting(status, Reason.COMPARING, text, split=split(step), job=turn.job, again=SOON)
    jobs = (_job(seen, target, question, turn),) if turn.stage is Stage.WORKING else ()
    listed = tell(turn, conditions_for(meta, status, now), Reason, Reason.COMPARING, _working(step)).list()
    ready = find(listed, "Ready") or {}
    mood = Mood.STALLED if find(listed, "Stalled") else Mood.WAITING
    return Decision(
        status, mood, ready["reason"], ready["message"], split(step), jobs=jobs, job=turn.job, again=turn.again
    )


def _working(step: Shadow) -> str:
    return f"Step {step.name}: comparing predictions"


def _result(report: Report, until: datetime) -> ShadowResult:
    """What the Job found. Numbers it did not give count as nothing found."""
    pairs, share = report.numbers.get("pairs", 0), report.numbers.get("agreement", 0.0)
    return ShadowResult(pairs=int(pairs), agreement=float(f"{share:.6g}"), until=until)


def _question(
    seen: Observed, status: ModelDeploymentStatus, target: Served, at: StepStatus, until: datetime
) -> dict[str, Any]:
    """What is to be compared: the canonical inputs of the work, and the part of the Job's document that varies."""
    rule = seen.deployment.spec.agreement
    return {
        "primary": status.stable.variant if status.stable else "",
        "shadow": target.variant,
        "since": stamp(at.since or until),
        "until": stamp(until),
        "output": rule.output,
        "tolerance": rule.tolerance,
    }


def _job(seen: Observed, target: Served, question: dict[str, Any], turn: Turn) -> Manifest:
    meta = seen.deployment.metadata
    connection = read_connection(seen.connections[target.storage])
    owner = Owner(namespace=meta.namespace, kind="ModelDeployment", name=meta.name, uid=meta.uid, job=turn.job)
    storage = bucket_of(connection, meta.namespace)
    return job(
        turn.job,
        Compare(owner=owner, storage=storage, deployment=meta.name, **question),
        seen.images.jobs,
        credentials=[credentials_of(connection)],
        resources=RESOURCES,
        pull_policy=seen.images.pull_policy,
        deadline_seconds=DEADLINE_SECONDS,
    )
