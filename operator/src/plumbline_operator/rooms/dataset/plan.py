"""Dataset: ingest the source once per change, and cut a snapshot only when every test passed.

Connections Ready? ── foreign Datasets Ready? ── Job ── tests passed? ── DatasetSnapshot, Validated
       no │                   no │                        no │
  ConnectionNotReady       DatasetNotReady            TestFailed: no snapshot, consumers wait
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_contract.runspec import Ingest
from plumbline_operator.build.job import Resources, job, resources_of
from plumbline_operator.model.attempts import SeenJob, Stage, Turn, conditions_for, take_turn, tell, written
from plumbline_operator.model.conditions import Conditions
from plumbline_operator.model.jobs import Phase
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Plan
from plumbline_operator.rooms.connection.api import ConnectionSpec, bucket_of, credentials_of, read_spec, unusable
from plumbline_operator.rooms.dataset.api import DatasetResource, DatasetStatus, LatestSnapshot, Reason, latest, unready
from plumbline_operator.rooms.dataset.ingest import (
    SOURCE_ENV,
    ingest_document,
    inputs_of,
    named,
    results_from,
    snapshot_child,
    stored_by,
)

VERB = "ingest"
SLOWLY = timedelta(minutes=5)  # links wake a waiting Dataset; this is the bound should one be missed
RESOURCES = Resources({"cpu": "500m", "memory": "1Gi"}, {"memory": "4Gi"})
ADVICE = "Declare fewer columns and set unknownColumns to Drop, or shorten spec.tests and lists of allowed values."


@dataclass(frozen=True, slots=True)
class Observed:
    """A Dataset, what it stands on, and its ingest Jobs. None: the object does not exist."""

    dataset: DatasetResource
    storage: Manifest | None
    source: Manifest | None
    referenced: Mapping[str, Manifest | None]  # Datasets that foreignKey tests refer to, by name
    jobs: tuple[SeenJob, ...]
    image: str
    pull_policy: str = "IfNotPresent"


def plan(seen: Observed, now: datetime) -> Plan:
    """What to do next about a Dataset. Raises Impossible when no Job could be told what it declares."""
    conditions = conditions_for(seen.dataset.metadata, seen.dataset.status, now)
    missing = _missing(seen, ready=False)
    if missing:
        return _wait(seen, conditions.waiting(*missing))
    turn = _turn(seen, now)
    missing = _missing(seen, ready=True)
    if missing and turn.stage is Stage.WORKING and turn.sight.phase is Phase.ABSENT:
        return _wait(seen, conditions.waiting(*missing))
    return _act(seen, turn, conditions)


def _missing(seen: Observed, *, ready: bool) -> tuple[Reason, str] | None:
    """What is missing, as reason and message. Ready ones are needed to start work, not to keep what was cut."""
    spec = seen.dataset.spec
    for name, raw in ((spec.source.connection_ref.name, seen.source), (spec.storage_ref.name, seen.storage)):
        if text := unusable(name, raw, ready=ready):
            return Reason.CONNECTION_NOT_READY, text
    for name, raw in seen.referenced.items():
        if text := unready(name, raw, ready=ready):
            return Reason.DATASET_NOT_READY, text
    return None


def _wait(seen: Observed, conditions: Conditions) -> Plan:
    return Plan(status=written(seen.dataset.status, conditions), again=SLOWLY)


def _turn(seen: Observed, now: datetime) -> Turn:
    dataset = seen.dataset
    inputs = inputs_of(_document(seen, job=""))
    return take_turn(dataset.status, dataset.metadata, seen.jobs, now, verb=VERB, inputs=inputs)


def _act(seen: Observed, turn: Turn, conditions: Conditions) -> Plan:
    """Start, tell or keep, as the turn says."""
    name = seen.dataset.metadata.name
    status = _next_status(seen, turn)
    cut = status.latest_snapshot
    children: tuple[Manifest, ...] = ()
    if turn.stage is Stage.DONE and cut is not None:
        children = (snapshot_child(seen.dataset.spec, name, cut),)
        conditions.ready(Reason.VALIDATED, _praise(cut, len(seen.dataset.spec.tests)))
    elif turn.stage is Stage.DONE:
        conditions.stalled(Reason.JOB_FAILED, f"Job {turn.job} answered Done without naming what it stored.")
    else:
        children = (_ingest_job(seen, turn),) if turn.stage is Stage.WORKING else ()
        tell(turn, conditions, Reason, Reason.INGESTING, f"Reading {seen.dataset.spec.source.key}")
    return Plan(
        apply=children,
        delete=turn.leftovers,
        status=written(status, conditions),
        notes=turn.notes(Reason.VALIDATED, _praise(cut, len(seen.dataset.spec.tests)) if cut else ""),
        again=turn.again,
    )


def _next_status(seen: Observed, turn: Turn) -> DatasetStatus:
    """The status with what a fresh answer says; a refused ingest leaves the last good snapshot in place."""
    status: DatasetStatus = seen.dataset.status.model_copy(update=turn.memory())
    cut = status.latest_snapshot
    if turn.report is not None:
        status = status.model_copy(update={"tests": results_from(turn.report)})
        cut = stored_by(turn.report)
    if turn.stage is not Stage.DONE:
        return status
    dataset = seen.dataset
    return status.model_copy(update={"latest_snapshot": cut and named(dataset.spec, dataset.metadata.name, cut)})


def _praise(cut: LatestSnapshot, tests: int) -> str:
    return f"Snapshot {cut.name} has {cut.rows:,} rows and passed its declaration and {tests} tests."


def _ingest_job(seen: Observed, turn: Turn) -> Manifest:
    storage, source = _specs(seen)
    return job(
        turn.job,
        _document(seen, turn.job),
        seen.image,
        credentials=[credentials_of(storage), credentials_of(source, SOURCE_ENV)],
        resources=resources_of(seen.dataset.spec.resources, RESOURCES),
        pull_policy=seen.pull_policy,
        advice=ADVICE,
    )


def _document(seen: Observed, job: str) -> Ingest:
    storage, source = _specs(seen)
    buckets = bucket_of(storage, seen.dataset.metadata.namespace), bucket_of(source, env=SOURCE_ENV)
    found = {name: latest(raw) for name, raw in seen.referenced.items() if raw is not None}
    targets = {name: cut for name, cut in found.items() if cut is not None}
    return ingest_document(seen.dataset, *buckets, targets, job)


def _specs(seen: Observed) -> tuple[ConnectionSpec, ConnectionSpec]:
    """The storage and the source; only asked for once `_missing` found both."""
    if seen.storage is None or seen.source is None:
        raise ValueError("a Connection is missing")
    return read_spec(seen.storage), read_spec(seen.source)
