"""DriftMonitor: one Job per interval, and an alarm that lasts as long as what it is about.

    interval   |──────────────|──────────────|──────────────|
    log written     ^ a little after the interval's end: the window [end - windowSeconds, end) is evaluated
    requested-at           ^ at once: the window up to now

A monitor never starts a training: it says what it sees, and people decide.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from plumbline_contract import layout
from plumbline_contract.manifest import SnapshotRef
from plumbline_contract.report import Report
from plumbline_contract.runspec import Drift, DriftFeature, Owner, Window
from plumbline_operator.build.job import Resources, job, resources_of
from plumbline_operator.model.attempts import SeenJob, Stage, Turn, conditions_for, leftovers, take_turn, tell, written
from plumbline_operator.model.conditions import Conditions, find, stamp
from plumbline_operator.model.meta import REQUESTED_AT, Manifest, plain
from plumbline_operator.model.plan import Note, Plan
from plumbline_operator.rooms.connection.api import bucket_of, credentials_of, unusable
from plumbline_operator.rooms.connection.api import read_spec as read_connection
from plumbline_operator.rooms.driftmonitor.api import (
    DriftMonitor,
    DriftMonitorSpec,
    DriftMonitorStatus,
    Evaluation,
    Reason,
    ReportPlace,
)
from plumbline_operator.rooms.driftmonitor.verdict import drifting, judged
from plumbline_operator.rooms.modeldeployment.api import ModelDeployment, Served, written_after
from plumbline_operator.rooms.modelversion.api import ModelVersion, ModelVersionSpec, SnapshotUse
from plumbline_operator.runtime.room import Images

VERB = "drift"
EVERY_INPUT = "*"  # in a Drift document: the bound of every input that is not named
PATIENCE = timedelta(minutes=5)
RESOURCES = Resources({"cpu": "200m", "memory": "256Mi"}, {"memory": "2Gi"})


@dataclass(frozen=True, slots=True)
class Observed:
    """A monitor and what it watches: the deployment, the version that serves there and what that was made from.

    baseline: profile of the snapshot the version was trained on, when it is known and all of it was trained on.
    output: the model's output that is watched; empty when its RegisteredModel is gone.
    """

    monitor: DriftMonitor
    images: Images
    deployment: ModelDeployment | None = None
    version: ModelVersion | None = None
    connection: Manifest | None = None
    baseline: str | None = None
    output: str = ""
    jobs: tuple[SeenJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything an evaluation needs, all of it there."""

    deployment: ModelDeployment
    stable: Served
    version: ModelVersion
    training: SnapshotUse
    connection: Manifest


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing can be evaluated. `lasting`: only a human can help."""

    reason: Reason
    message: str
    lasting: bool = False


def plan(seen: Observed, now: datetime) -> Plan:
    """What to do next about a DriftMonitor."""
    monitor = seen.monitor
    conditions = conditions_for(monitor.metadata, monitor.status, now)
    subject = subject_of(seen)
    if isinstance(subject, Obstacle):
        say = conditions.stalled if subject.lasting else conditions.waiting
        say(subject.reason, subject.message)
        return _answer(seen, monitor.status, conditions, Plan(delete=leftovers(seen.jobs, keep=""), again=PATIENCE))
    evaluation = next_evaluation(seen, subject, now)
    if evaluation is None:
        # Refused, and asking the same again would be refused again.
        return _again_refused(seen, conditions)
    return _evaluate(seen, subject, evaluation, conditions, now)


def subject_of(seen: Observed) -> Subject | Obstacle:
    """What is to be evaluated, or what is missing; the first that is missing decides."""
    spec, deployment = seen.monitor.spec, seen.deployment
    name = spec.deployment_ref.name
    if deployment is None:
        return Obstacle(Reason.DEPLOYMENT_NOT_FOUND, f"ModelDeployment {name} does not exist. Waiting for it.")
    stable = deployment.status.stable
    if stable is None:
        return Obstacle(Reason.NO_VERSION_SERVING, f"ModelDeployment {name} serves no version yet. Waiting for one.")
    if seen.version is None:
        text = f"ModelVersion {stable.version}, which serves in {name}, does not exist any more. Restore it."
        return Obstacle(Reason.VERSION_NOT_FOUND, text)
    if not seen.version.spec.snapshots:
        text = f"ModelVersion {stable.version} names no snapshot it was trained on, so nothing can be compared."
        return Obstacle(Reason.TRAINING_DATA_UNKNOWN, text, lasting=True)
    if spec.prediction is not None and not seen.output:
        model = seen.version.spec.model_ref.name
        return Obstacle(Reason.MODEL_NOT_FOUND, f"RegisteredModel {model} does not exist. Waiting for it.")
    if spec.prediction is not None and not _is_evaluated(seen.version):
        text = f"ModelVersion {stable.version} is not evaluated yet, so its predictions have no baseline. Waiting."
        return Obstacle(Reason.VERSION_NOT_EVALUATED, text)
    trouble = unusable(stable.storage, seen.connection)
    if trouble or seen.connection is None:
        return Obstacle(Reason.CONNECTION_NOT_READY, trouble)
    return Subject(deployment, stable, seen.version, seen.version.spec.snapshots[0], seen.connection)


def _is_evaluated(version: ModelVersion) -> bool:
    """Whether it is known if its predictions have a profile. One that was made again is evaluated again first."""
    judgement = version.status.evaluation
    return judgement is not None and bool(judgement.digest or judgement.predictions)


def next_evaluation(seen: Observed, subject: Subject, now: datetime) -> Evaluation | None:
    """The evaluation to be at: the one under way or done last, or a new one when that is due.

    None when the last named a feature the model has not, and nothing has changed since: asking again cannot help. What
    else was refused, credentials for example, may have been mended by the next interval.
    """
    monitor = seen.monitor
    spec, status, last = monitor.spec, monitor.status, monitor.status.evaluation
    complete = now - written_after(subject.deployment.spec)  # predictions until then are in the bucket
    asked = monitor.metadata.annotations.get(REQUESTED_AT, "") != status.last_requested_at
    end = _whole(complete) if asked or last is None else interval_end(complete, spec)
    fresh = Evaluation(
        since=end - timedelta(seconds=spec.window_seconds),
        until=end,
        version=subject.stable.version,
        manifest=subject.stable.manifest,
        variant=subject.stable.variant,
    )
    if last is None or asked:
        return fresh
    ended = status.ended
    if ended is None:
        return last
    other_version = last.variant != subject.stable.variant
    same_spec = ended.generation == monitor.metadata.generation
    if ended.reason == Reason.UNKNOWN_FEATURE and same_spec and not other_version:
        return None
    return fresh if end > last.until else last


def interval_end(moment: datetime, spec: DriftMonitorSpec) -> datetime:
    """The end of the last whole interval before a moment; intervals are counted from the epoch, so they align."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % spec.interval_seconds, tz=UTC)


def _evaluate(seen: Observed, subject: Subject, evaluation: Evaluation, conditions: Conditions, now: datetime) -> Plan:
    """Run the Job of this evaluation, or say what it found."""
    monitor = seen.monitor
    inputs = {"evaluation": plain(evaluation), "rule": plain(monitor.spec)}
    turn = take_turn(monitor.status, monitor.metadata, seen.jobs, now, verb=VERB, inputs=inputs)
    status = monitor.status.model_copy(update={**turn.memory(), "evaluation": evaluation})
    if turn.stage is Stage.DONE:
        if turn.report is not None:
            status = _taken(seen, subject, evaluation, status, turn.report)
        text = f"Window until {stamp(evaluation.until)} of {evaluation.version} was evaluated."
        conditions.ready(Reason.EVALUATED, text)
    else:
        tell(turn, conditions, Reason, Reason.EVALUATING, f"Evaluating the window until {stamp(evaluation.until)}")
        _keep_ready(monitor.status, conditions, turn)
    jobs = (_job(seen, subject, evaluation, turn),) if turn.stage is Stage.WORKING else ()
    bound = _next_due(subject.deployment, monitor.spec, now)
    again = min(turn.again, bound) if turn.again else bound
    return _answer(seen, status, conditions, Plan(apply=jobs, delete=turn.leftovers, again=again))


def _taken(
    seen: Observed, subject: Subject, evaluation: Evaluation, status: DriftMonitorStatus, report: Report
) -> DriftMonitorStatus:
    """The status with this answer. Another version's drift is another story, which starts anew."""
    meta, digest = seen.monitor.metadata, report.digests.get("report")
    before = status.last_window
    if before is not None and before.variant != evaluation.variant:
        status = status.model_copy(update={"drifting_since": None})
    place = None
    if digest is not None:
        prefix = bucket_of(read_connection(subject.connection), meta.namespace).prefix
        place = ReportPlace(digest=digest, key=layout.blob(prefix, digest))
    return judged(status, seen.monitor.spec, evaluation, report).model_copy(update={"report": place})


def _keep_ready(status: DriftMonitorStatus, conditions: Conditions, turn: Turn) -> None:
    """A monitor that has evaluated before stays Ready while it evaluates again and nothing is wrong."""
    listed = conditions.list()
    ready = find(listed, "Ready") or {}
    if status.last_window is not None and turn.ended is None and ready["reason"] == Reason.EVALUATING:
        conditions.set("Ready", True, Reason.EVALUATING, ready["message"])


def _again_refused(seen: Observed, conditions: Conditions) -> Plan:
    ended = seen.monitor.status.ended
    reason = ended.reason if ended and ended.reason in {one.value for one in Reason} else Reason.JOB_FAILED
    conditions.stalled(reason, ended.message if ended else "")
    return _answer(seen, seen.monitor.status, conditions, Plan(delete=leftovers(seen.jobs, keep="")))


def _answer(seen: Observed, status: DriftMonitorStatus, conditions: Conditions, rest: Plan) -> Plan:
    """The plan with its status, and an Event when an alarm begins or ends."""
    state, reason, message = drifting(status, seen.monitor.spec)
    conditions.set("Drifting", state, reason, message)
    before = next((one for one in seen.monitor.status.conditions if one.type == "Drifting"), None)
    notes: tuple[Note, ...] = ()
    if reason is Reason.DRIFTED and (before is None or before.reason != reason):
        notes = (Note(reason, message, warning=True),)
    if reason is Reason.NO_DRIFT and before is not None and before.reason == Reason.DRIFTED:
        notes = (Note(reason, message),)
    return Plan(apply=rest.apply, delete=rest.delete, status=written(status, conditions), notes=notes, again=rest.again)


def _next_due(deployment: ModelDeployment, spec: DriftMonitorSpec, now: datetime) -> timedelta:
    """How long until the next interval's predictions are all written."""
    wait = written_after(deployment.spec)
    following = interval_end(now - wait, spec) + timedelta(seconds=spec.interval_seconds)
    return following + wait - now


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def features_of(spec: DriftMonitorSpec) -> tuple[DriftFeature, ...]:
    """What the Job judges: the features in `only`, or every input with its bound."""
    own = {one.name: one.max_psi for one in spec.features.overrides}
    default = spec.features.max_psi
    if spec.features.only:
        return tuple(DriftFeature(name=name, maximum_psi=own.get(name, default)) for name in spec.features.only)
    named = tuple(DriftFeature(name=name, maximum_psi=limit) for name, limit in own.items())
    return (DriftFeature(name=EVERY_INPUT, maximum_psi=default), *named)


def _job(seen: Observed, subject: Subject, evaluation: Evaluation, turn: Turn) -> Manifest:
    meta, spec = seen.monitor.metadata, seen.monitor.spec
    connection = read_connection(subject.connection)
    trained = subject.training
    document = Drift(
        owner=Owner(namespace=meta.namespace, kind="DriftMonitor", name=meta.name, uid=meta.uid, job=turn.job),
        storage=bucket_of(connection, meta.namespace),
        deployment=subject.deployment.metadata.name,
        variant=evaluation.variant,
        since=evaluation.since,
        until=evaluation.until,
        manifest=evaluation.manifest,
        baseline=seen.baseline,
        training=SnapshotRef(
            input=trained.input, dataset=trained.dataset, snapshot=trained.snapshot, digest=trained.digest
        ),
        training_window=_window(subject.version.spec),
        predictions=_predictions(subject.version) if spec.prediction else None,
        features=features_of(spec),
        prediction_output=seen.output if spec.prediction else "",
        maximum_prediction_psi=spec.prediction.max_psi if spec.prediction else None,
        minimum_rows=spec.min_rows,
    )
    return job(
        turn.job,
        document,
        seen.images.jobs,
        credentials=[credentials_of(connection)],
        resources=resources_of(spec.resources, RESOURCES),
        pull_policy=seen.images.pull_policy,
    )


def _predictions(version: ModelVersion) -> str | None:
    judgement = version.status.evaluation
    return judgement.predictions or None if judgement else None


def _window(version: ModelVersionSpec) -> Window | None:
    window = version.training_window
    return None if window is None else Window(since=window.since, until=window.until)
