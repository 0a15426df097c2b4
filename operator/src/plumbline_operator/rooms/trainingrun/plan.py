"""TrainingRun: check what it stands on, freeze its inputs, run its pod, register what came out.

succeeded? ── yes: keep its ModelVersion
    │ no
started? ── no: split honest? model there? Connections Ready? Datasets Ready? ── any no: say which, wait
    │                                                                   │ yes
    │                                            freeze snapshots in the status, and only then
  the Job:  fetch ─ train ─ collect ── Done ── status, then the Job goes
    │
    ├── the surroundings failed: Retrying, on the same snapshots, up to spec.maxAttempts
    └── the code, the data or the deadline: Stalled; running it again cannot help
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from plumbline_contract.report import Outcome
from plumbline_operator.build.job import resources_of
from plumbline_operator.build.training import TRAIN, TRAINING, VERB, Training, image_digest, training_job
from plumbline_operator.model.attempts import (
    SeenJob,
    Stage,
    Turn,
    conditions_for,
    leftovers,
    pods_of,
    take_turn,
    tell,
    written,
)
from plumbline_operator.model.conditions import Conditions, stamp
from plumbline_operator.model.jobs import Fault, Phase
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Plan
from plumbline_operator.rooms.connection.api import bucket_of, credentials_of, read_spec, unusable
from plumbline_operator.rooms.trainingrun.api import Reason, TrainingRunResource, TrainingRunStatus
from plumbline_operator.rooms.trainingrun.documents import (
    collect_document,
    fetch_document,
    inputs_of,
    learned,
    version_child,
)
from plumbline_operator.rooms.trainingrun.inputs import frozen, snapshot_refusal, split_refusal, waits_for

SLOWLY = timedelta(minutes=5)  # links wake a waiting run; this is the bound should one be missed
SOON = timedelta(seconds=1)  # the next step needs what was stored just now


@dataclass(frozen=True, slots=True)
class Observed:
    """A run, what it stands on, and its Jobs. None: the object does not exist. Keys are names."""

    run: TrainingRunResource
    storage: Manifest | None
    code: Manifest | None
    datasets: Mapping[str, Manifest | None]
    snapshots: Mapping[str, Manifest | None]
    model: Manifest | None
    version: Manifest | None
    jobs: tuple[SeenJob, ...]
    image: str
    pull_policy: str = "IfNotPresent"


def plan(seen: Observed, now: datetime) -> Plan:
    """What to do next about a run."""
    run, status = seen.run, seen.run.status
    conditions = conditions_for(run.metadata, status, now)
    if status.ended is not None and status.ended.outcome is Outcome.DONE:
        return _keep(seen, status, conditions)
    if status.attempt == 0:
        refusal = split_refusal(run.spec, seen.datasets) or snapshot_refusal(run.spec, seen.snapshots)
        if refusal:
            return Plan(status=written(status, conditions.stalled(*refusal)), again=SLOWLY)
        missing = _missing(seen)
        if missing:
            return _wait(status, conditions.waiting(*missing))
        if len(status.snapshots) < len(run.spec.inputs):
            return _freeze(seen, conditions)
    turn = _judged(
        take_turn(status, run.metadata, seen.jobs, now, verb=VERB, inputs=inputs_of(run), limit=run.spec.max_attempts)
    )
    missing = _connection_missing(seen)
    if missing and turn.stage is Stage.WORKING and turn.sight.phase is Phase.ABSENT:
        return _wait(status, conditions.waiting(*missing))
    return _act(seen, turn, conditions, startable=not missing)


def _missing(seen: Observed) -> tuple[Reason, str] | None:
    """What the run cannot start without, as reason and message."""
    spec, frozen_already = seen.run.spec, len(seen.run.status.snapshots) == len(seen.run.spec.inputs)
    if spec.model_ref is not None and seen.model is None:
        name = spec.model_ref.name
        return Reason.MODEL_NOT_FOUND, f"RegisteredModel {name} does not exist in this namespace. Create it."
    connection = _connection_missing(seen)
    if connection or frozen_already:
        return connection
    text = waits_for(spec, seen.datasets, seen.snapshots)
    return (Reason.DATASET_NOT_READY, text) if text else None


def _connection_missing(seen: Observed) -> tuple[Reason, str] | None:
    spec = seen.run.spec
    text = unusable(spec.storage_ref.name, seen.storage)
    if not text and spec.code is not None:
        text = unusable(spec.code.connection_ref.name, seen.code, "git")
    return (Reason.CONNECTION_NOT_READY, text) if text else None


def _wait(status: TrainingRunStatus, conditions: Conditions) -> Plan:
    return Plan(status=written(status, conditions), again=SLOWLY)


def _freeze(seen: Observed, conditions: Conditions) -> Plan:
    """Write down what will be read. The Job starts once this is stored, so no retry ever reads anything else."""
    snapshots = frozen(seen.run.spec, seen.datasets, seen.snapshots)
    status = seen.run.status.model_copy(update={"snapshots": snapshots})
    names = ", ".join(one.snapshot for one in snapshots)
    conditions.waiting(Reason.RUNNING, f"Inputs are frozen: {names}. The pod starts next.")
    return Plan(status=written(status, conditions), again=SOON)


def _judged(turn: Turn) -> Turn:
    """The turn with a failure in the words of a run: what its own command did is the user's code."""
    if not turn.fresh or turn.ended is None or turn.ended.outcome is Outcome.DONE:
        return turn
    reason, message = turn.ended.reason, turn.ended.message
    if turn.sight.container == TRAIN and reason == Fault.JOB_FAILED:
        reason = Reason.USER_CODE
    elif turn.sight.container == TRAIN and reason == Fault.OOM_KILLED:
        message = f"{message} Raise spec.resources.limits.memory in another run, or train on less at a time."
    elif reason == Fault.DEADLINE:
        message = f"{message} Raise spec.deadlineSeconds in another run, or train on less."
    return replace(turn, ended=turn.ended.model_copy(update={"reason": str(reason), "message": message}))


def _act(seen: Observed, turn: Turn, conditions: Conditions, *, startable: bool) -> Plan:
    """Start, tell, or take the answer in, as the turn says."""
    status = _next_status(seen, turn, conditions.now)
    if turn.stage is Stage.DONE:
        kept = _keep(seen, status, conditions)
        made = status.model_copy(update={"version": (kept.status or {}).get("version", "")})
        notes = turn.notes(Reason.SUCCEEDED, _praise(made))
        return replace(kept, delete=turn.leftovers, notes=notes, again=turn.again)
    if turn.stage is Stage.RESTING and turn.ended is not None and turn.ended.retry_at is not None:
        text = (
            f"Attempt {turn.attempt} of {seen.run.spec.max_attempts} was lost ({turn.ended.reason}: "
            f"{turn.ended.message}) The next starts at {stamp(turn.ended.retry_at)}."
        )
        conditions.waiting(Reason.RETRYING, text)
    else:
        tell(turn, conditions, Reason, Reason.RUNNING, f"Training with {seen.run.spec.image}")
    return Plan(
        apply=(_job(seen, turn),) if turn.stage is Stage.WORKING and startable else (),
        delete=turn.leftovers,
        status=written(status, conditions),
        notes=turn.notes(Reason.SUCCEEDED, ""),
        again=turn.again,
    )


def _next_status(seen: Observed, turn: Turn, now: datetime) -> TrainingRunStatus:
    """The status with what the Job and its pod show now."""
    before = seen.run.status
    status: TrainingRunStatus = before.model_copy(update=turn.memory())
    if (before.inputs, before.attempt) != (turn.inputs, turn.attempt) or not before.started_at:
        status = status.model_copy(update={"started_at": stamp(now), "finished_at": ""})
    digest = image_digest(pods_of(seen.jobs, turn.job))
    if digest:
        status = status.model_copy(update={"image_digest": digest})
    if turn.fresh:
        status = status.model_copy(update={"finished_at": stamp(now)})
    return learned(status, turn.report) if turn.report and turn.stage is Stage.DONE else status


def _keep(seen: Observed, status: TrainingRunStatus, conditions: Conditions) -> Plan:
    """A run that ended well stays so, and its ModelVersion stays there. Its Jobs may go."""
    gone = leftovers(seen.jobs, keep="")
    if seen.run.spec.model_ref is None:
        conditions.ready(Reason.SUCCEEDED, _praise(status))
        return Plan(status=written(status, conditions), delete=gone)
    if not status.model:
        text = f"The run left no model.onnx in /plumbline/out, but spec.modelRef wants one ({status.manifest})."
        return Plan(status=written(status, conditions.stalled(Reason.USER_CODE, text)), delete=gone)
    if seen.model is None:
        name = seen.run.spec.model_ref.name
        text = f"RegisteredModel {name} is gone, so there is nothing to register the model at. Create it again."
        return Plan(status=written(status, conditions.waiting(Reason.MODEL_NOT_FOUND, text)), delete=gone, again=SLOWLY)
    if seen.version is not None and seen.version.get("spec", {}).get("manifest") != status.manifest:
        text = (
            f"ModelVersion {seen.run.metadata.name} exists and is the result of another run ({status.manifest} is "
            "not its manifest). Nothing was overwritten. Create this run under another name."
        )
        return Plan(status=written(status, conditions.stalled(Reason.NAME_TAKEN, text)), delete=gone)
    status = status.model_copy(update={"version": seen.run.metadata.name})
    conditions.ready(Reason.SUCCEEDED, _praise(status))
    return Plan(apply=(version_child(seen.run, status, seen.model),), status=written(status, conditions), delete=gone)


def _praise(status: TrainingRunStatus) -> str:
    return f"The run's result is {status.manifest}" + (f", ModelVersion {status.version}." if status.version else ".")


def _job(seen: Observed, turn: Turn) -> Manifest:
    """The Job of this attempt. Only asked for while both Connections are Ready."""
    if seen.storage is None:
        raise ValueError("the storage Connection is missing")
    run, spec = seen.run, seen.run.spec
    storage = read_spec(seen.storage)
    bucket = bucket_of(storage, run.metadata.namespace)
    git = read_spec(seen.code).git if seen.code is not None else None
    url = git.url if git else ""
    training = Training(
        fetch=fetch_document(run, bucket, url, turn.job),
        collect=collect_document(run, bucket, url, turn.job, turn.attempt),
        jobs_image=seen.image,
        pull_policy=seen.pull_policy,
        credentials=credentials_of(storage),
        image=spec.image,
        command=spec.command,
        parameters=spec.parameters,
        seeds=spec.seeds,
        resources=resources_of(spec.resources, TRAINING),
        deadline_seconds=spec.deadline_seconds,
    )
    return training_job(turn.job, training)
