"""DatasetSnapshot: it is sealed as soon as it exists, because its Dataset creates it after the bytes are stored."""

from dataclasses import dataclass
from datetime import datetime

from plumbline_operator.model.attempts import conditions_for, written
from plumbline_operator.model.plan import Plan
from plumbline_operator.rooms.datasetsnapshot.api import DatasetSnapshotResource, Reason


@dataclass(frozen=True, slots=True)
class Observed:
    """A snapshot; nothing else matters to it."""

    snapshot: DatasetSnapshotResource


def plan(seen: Observed, now: datetime) -> Plan:
    """Say that it can be relied on."""
    meta, spec, status = seen.snapshot.metadata, seen.snapshot.spec, seen.snapshot.status
    message = f"{spec.rows:,} rows of {spec.dataset_ref.name} under {spec.manifest}."
    return Plan(status=written(status, conditions_for(meta, status, now).ready(Reason.SEALED, message)))
