"""Brings in a new version: wait for its pods, go through the steps, promote it. The picture is in traffic/steps.py."""

from datetime import datetime, timedelta

from plumbline_operator.model.plan import Note
from plumbline_operator.rooms.modeldeployment import words
from plumbline_operator.rooms.modeldeployment.api import (
    Failure,
    MeasuredStatus,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    Served,
    StepStatus,
)
from plumbline_operator.rooms.modeldeployment.compare import agreement_of, compare
from plumbline_operator.rooms.modeldeployment.decision import (
    SOON,
    Decision,
    Mood,
    changed,
    fingerprint,
    promoted,
    waiting,
    whole,
)
from plumbline_operator.rooms.modeldeployment.reasons import Reason
from plumbline_operator.rooms.modeldeployment.world import Observed, complaint
from plumbline_operator.traffic.measure import Counts, counted_since, counters
from plumbline_operator.traffic.steps import Canary, Cause, Numbers, Shadow, Step, Verdict, following, judge, split

POLL = timedelta(seconds=3)  # how often routers are asked while a step runs
MEASURED_EVERY = timedelta(seconds=10)  # how often numbers alone are worth a write


def steps_of(spec: ModelDeploymentSpec) -> tuple[Step, ...]:
    """The steps of a deployment's strategy."""
    found: list[Step] = []
    for one in spec.strategy.steps:
        hold = timedelta(seconds=one.hold_seconds)
        if one.shadow is not None:
            found.append(Shadow(one.name, one.shadow.percent, hold, one.min_requests, one.min_agreement))
        elif one.canary is not None:
            found.append(Canary(one.name, one.canary.weight, hold, one.min_requests, one.max_failure_percent))
    return tuple(found)


def roll(seen: Observed, status: ModelDeploymentStatus, target: Served, now: datetime) -> Decision:
    """The next move of a rollout to a version that may be served."""
    spec, status = seen.deployment.spec, _position(seen, status, target)
    failure = status.failure
    if failure is not None:
        text = f"{failure.message} Stable keeps all requests. Change the spec to go on."
        return Decision(status, Mood.STALLED, failure.reason, text)
    wanted = spec.real_time.replicas.min if status.step is None else 1
    if seen.ready_pods(target.variant) < wanted:
        return _without_pods(seen, status, target)
    if status.stable is None or status.stable.variant == target.variant:
        note = Note(Reason.PROMOTED, f"{target.version} is the first version and answers all requests.")
        return _promotion(status, target, now, note, first=True)
    if status.step is None:
        return _enter(seen, status, target, -1, now)
    return _inside(seen, status, target, status.step, now)


def _position(seen: Observed, status: ModelDeploymentStatus, target: Served) -> ModelDeploymentStatus:
    """The status, at the beginning of a rollout unless it is under way; a new generation forgets a failure."""
    mark = fingerprint(target, seen.deployment.spec)
    generation = seen.deployment.metadata.generation
    failed_before = status.failure is not None and status.failure.generation != generation
    if status.rollout == mark and not failed_before:
        return changed(status, target=target)
    return changed(status, target=target, rollout=mark, step=None, failure=None, measured=None, shadow=None)


def _without_pods(seen: Observed, status: ModelDeploymentStatus, target: Served) -> Decision:
    """Nobody to send requests to. A step that was running begins anew once pods are back."""
    step = status.step
    if step is not None:
        step = StepStatus(index=step.index, name=step.name)
    text = words.pods_missing(target, complaint(seen, target.variant))
    return waiting(changed(status, step=step, measured=None), Reason.VERSION_NOT_READY, text)


def _promotion(
    status: ModelDeploymentStatus, target: Served, now: datetime, note: Note, *, first: bool = False
) -> Decision:
    after = promoted(status, target, "First" if first else "Rollout", now)
    return Decision(after, Mood.READY, Reason.PROMOTED, words.serving(target), notes=(note,), again=SOON)


def _enter(seen: Observed, status: ModelDeploymentStatus, target: Served, index: int, now: datetime) -> Decision:
    """The step after `index`, or promotion after the last."""
    steps = steps_of(seen.deployment.spec)
    number = following(steps, index)
    if number is None:
        return _promotion(status, target, now, Note(Reason.PROMOTED, f"{target.version} answers all requests."))
    step = steps[number]
    reason = _reason(step)
    text = words.entered(target, step)
    status = changed(status, step=StepStatus(index=number, name=step.name), measured=None)
    return waiting(status, reason, text, split=split(step), notes=(Note(reason, text),), again=SOON)


def _inside(seen: Observed, status: ModelDeploymentStatus, target: Served, at: StepStatus, now: datetime) -> Decision:
    step = steps_of(seen.deployment.spec)[at.index]
    if at.since is None:
        return _begin(seen, status, target, at, step, now)
    numbers, measured = _numbers(seen, status, target, at, now)
    verdict = judge(step, now - at.since, numbers, agreement_of(status, at))
    status = changed(status, measured=measured)
    if verdict.verdict is Verdict.PASS:
        return _enter(seen, status, target, at.index, now)
    if verdict.verdict is Verdict.FAIL:
        return _stop(seen, status, target, step, verdict.cause, numbers)
    if verdict.cause in (Cause.NOT_COMPARED, Cause.TOO_FEW_PAIRS) and isinstance(step, Shadow):
        return compare(seen, status, target, at, step, now)
    return _hold(status, target, at, step, verdict.cause)


def _begin(
    seen: Observed, status: ModelDeploymentStatus, target: Served, at: StepStatus, step: Step, now: datetime
) -> Decision:
    """The step's clock starts when every router pod serves its weights; what they counted by then does not count."""
    now_served = (status.weights.get(target.variant, 0), status.shadow_percent)
    written = now_served == (split(step).weight, split(step).mirrored)
    if seen.measured is None or not (written and seen.routers_follow()):
        text = words.routers_behind(step, status.routes_generation, answered=seen.measured is not None)
        return waiting(status, Reason.HOLDING_NO_MEASUREMENT, text, split=split(step), again=SOON)
    baseline = counters(seen.measured, _variants(status, target))
    at = at.model_copy(update={"since": whole(now), "baseline": baseline})
    return _hold(changed(status, step=at), target, at, step, Cause.HOLDING)


def _numbers(
    seen: Observed, status: ModelDeploymentStatus, target: Served, at: StepStatus, now: datetime
) -> tuple[Numbers | None, MeasuredStatus | None]:
    """What was counted since the step began, and what to show of it: numbers alone are written now and then only."""
    shown = status.measured
    if seen.measured is None or status.stable is None:
        return None, shown
    counts = counted_since(at.baseline, seen.measured, _variants(status, target))
    numbers = Numbers(
        stable=counts.requests.get(status.stable.variant, 0),
        target=counts.requests.get(target.variant, 0),
        target_failures=counts.failures.get(target.variant, 0),
        mirrored=counts.mirrored.get(target.variant, 0),
    )
    if shown is None or now - shown.at >= MEASURED_EVERY:
        shown = _shown(counts, numbers, shown, now)
    return numbers, shown


def _shown(counts: Counts, numbers: Numbers, before: MeasuredStatus | None, now: datetime) -> MeasuredStatus:
    fresh = MeasuredStatus(
        requests=dict(counts.requests),
        failures=dict(counts.failures),
        mirrored=dict(counts.mirrored),
        share_percent=round(numbers.share_percent, 3),
        at=whole(now),
    )
    same = before is not None and before.model_copy(update={"at": fresh.at}) == fresh
    return before if same and before is not None else fresh


def _hold(status: ModelDeploymentStatus, target: Served, at: StepStatus, step: Step, cause: Cause) -> Decision:
    reasons = {
        Cause.HOLDING: _reason(step),
        Cause.NO_MEASUREMENT: Reason.HOLDING_NO_MEASUREMENT,
        Cause.TOO_FEW_REQUESTS: Reason.HOLDING_INSUFFICIENT_REQUESTS,
    }
    text = words.holding(status, target, at, step, cause)
    return waiting(status, reasons[cause], text, split=split(step), again=POLL)


def _stop(
    seen: Observed, status: ModelDeploymentStatus, target: Served, step: Step, cause: Cause, numbers: Numbers | None
) -> Decision:
    """Weight to 0 for good. The target keeps its pods, so that somebody can look at them."""
    reason = Reason.SHADOW_DISAGREES if cause is Cause.DISAGREES else Reason.CANARY_FAILING
    text = words.stopped(status, target, step, numbers)
    generation = seen.deployment.metadata.generation
    failure = Failure(generation=generation, version=target.version, reason=reason, message=text)
    after = changed(status, step=None, failure=failure)
    full = f"{text} Stable keeps all requests. Change the spec to go on."
    return Decision(
        after,
        Mood.STALLED,
        reason,
        full,
        notes=(Note(reason, text, warning=True),),
    )


def _variants(status: ModelDeploymentStatus, target: Served) -> list[str]:
    return [target.variant, *([status.stable.variant] if status.stable else [])]


def _reason(step: Step) -> Reason:
    return Reason.SHADOW_RUNNING if isinstance(step, Shadow) else Reason.CANARY_PROGRESSING
