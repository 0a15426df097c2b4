"""Decides whether versions of a model can be judged, and reports who is champion."""

from dataclasses import dataclass
from datetime import datetime

from plumbline_operator.model.attempts import conditions_for, written
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Plan
from plumbline_operator.rooms.connection.api import unusable
from plumbline_operator.rooms.registeredmodel.api import (
    Champion,
    GoldenSnapshot,
    Reason,
    RegisteredModel,
    RegisteredModelSpec,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The model and, raw, what it stands on. snapshot: the one that golden rows would come from now."""

    model: RegisteredModel
    connection: Manifest | None
    dataset: Manifest | None
    snapshot: Manifest | None
    champion: Champion | None
    versions: int


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why versions cannot be judged now. passing: it may go away without a change of this object."""

    reason: Reason
    message: str
    passing: bool


def plan(seen: Seen, now: datetime) -> Plan:
    """The next status; a model's versions are registered by their runs."""
    model = seen.model
    conditions = conditions_for(model.metadata, model.status, now)
    obstacle = find_obstacle(seen)
    if obstacle is None:
        conditions.ready(Reason.AVAILABLE, _available(seen))
    elif obstacle.passing:
        conditions.waiting(obstacle.reason, obstacle.message)
    else:
        conditions.stalled(obstacle.reason, obstacle.message)
    status = model.status.model_copy(
        update={
            "champion": seen.champion,
            "versions": seen.versions,
            "golden_snapshot": None if obstacle else _golden(seen.snapshot),
        }
    )
    return Plan(status=written(status, conditions))


def find_obstacle(seen: Seen) -> Obstacle | None:
    """The first thing that keeps versions from being judged, or None."""
    spec = seen.model.spec
    problem = unusable(spec.storage_ref.name, seen.connection)
    if problem:
        return Obstacle(Reason.CONNECTION_NOT_READY, problem, passing=True)
    if seen.snapshot is None:
        return _without_snapshot(seen)
    if not spec.golden.snapshot_ref and not is_true(seen.dataset):
        return Obstacle(Reason.DATASET_NOT_READY, _dataset_problem(spec, seen.dataset), passing=True)
    return _unfit(spec, seen.snapshot)


def _without_snapshot(seen: Seen) -> Obstacle:
    golden = seen.model.spec.golden
    if golden.snapshot_ref is not None:
        text = (
            f"DatasetSnapshot {golden.snapshot_ref.name} of Dataset {golden.dataset_ref.name}, named by "
            "spec.golden.snapshotRef, does not exist. Correct the name or leave it out."
        )
        return Obstacle(Reason.SNAPSHOT_NOT_FOUND, text, passing=False)
    return Obstacle(Reason.DATASET_NOT_READY, _dataset_problem(seen.model.spec, seen.dataset), passing=True)


def _dataset_problem(spec: RegisteredModelSpec, dataset: Manifest | None) -> str:
    """What keeps the golden Dataset from being used, in its own words."""
    name = spec.golden.dataset_ref.name
    if dataset is None:
        return f"Dataset {name}, named by spec.golden.datasetRef, does not exist. Waiting for it."
    said = find(dataset.get("status", {}).get("conditions", ()), "Ready") or {}
    if said.get("status") == "True" and is_true(dataset):
        return f"Dataset {name} is Ready, but its latest snapshot cannot be found. Waiting for it."
    return f"Dataset {name} is not Ready ({said.get('reason', 'NotYetObserved')}). Waiting; will look when it changes."


def _unfit(spec: RegisteredModelSpec, snapshot: Manifest) -> Obstacle | None:
    """Why the golden snapshot cannot serve as one, or None. Waiting does not help against any of these."""
    name, held, golden = snapshot["metadata"]["name"], snapshot["spec"], spec.golden
    owner = held.get("datasetRef", {}).get("name")
    if owner != golden.dataset_ref.name:
        text = f"DatasetSnapshot {name} is of Dataset {owner}, but spec.golden.datasetRef is {golden.dataset_ref.name}."
        return Obstacle(Reason.SNAPSHOT_NOT_FOUND, f"{text} Correct one of the two.", passing=False)
    storage = held.get("storageRef", {}).get("name")
    if storage != spec.storage_ref.name:
        text = (
            f"DatasetSnapshot {name} lies in Connection {storage}, but spec.storageRef is {spec.storage_ref.name}. "
            "One Job reads both: give Dataset and RegisteredModel the same storageRef."
        )
        return Obstacle(Reason.STORAGE_MISMATCH, text, passing=False)
    columns = [column["name"] for column in held.get("columns", ())]
    if golden.label not in columns:
        text = f"spec.golden.label is {golden.label}, but DatasetSnapshot {name} has no such column."
        return Obstacle(Reason.LABEL_NOT_FOUND, f"{text} It has: {', '.join(columns[:40])}.", passing=False)
    if not held.get("eventTime") and _needs_event_time(spec):
        text = f"{_needs_event_time(spec)} needs an event time, but Dataset {golden.dataset_ref.name} declares none."
        return Obstacle(Reason.EVENT_TIME_MISSING, f"{text} Set spec.eventTime there.", passing=False)
    return None


def _needs_event_time(spec: RegisteredModelSpec) -> str:
    """The field that asks for an event time; empty when none does."""
    if spec.golden.since or spec.golden.until:
        return "spec.golden.since/until"
    monthly = (gate.name for gate in spec.gates if gate.slices and gate.slices.per_month)
    return next((f"perMonth of gate {name}" for name in monthly), "")


def _golden(snapshot: Manifest | None) -> GoldenSnapshot | None:
    if snapshot is None:
        return None
    return GoldenSnapshot(name=snapshot["metadata"]["name"], digest=snapshot["spec"]["manifest"])


def _available(seen: Seen) -> str:
    name = seen.snapshot["metadata"]["name"] if seen.snapshot else ""
    gates = len(seen.model.spec.gates)
    judged = f"{gates} gate{'' if gates == 1 else 's'}" if gates else "no gates: every version passes"
    champion = f"champion is {seen.champion.version}" if seen.champion else "no champion yet"
    return f"Versions are judged on {name} with {judged}; {champion}."
