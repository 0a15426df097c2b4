"""What the prediction log keeps of one request, before it becomes a row of a file."""

from collections.abc import Sequence
from typing import NamedTuple

from plumbline_serving.redaction import Side
from plumbline_serving.tensors import Array

MILLISECONDS_PER_HOUR = 3_600_000


class Record(NamedTuple):
    """One answered request: what was asked (already redacted) and what was said."""

    milliseconds: int
    request_id: str
    role: str
    unit: str
    rows: int
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    size: int = 0  # bytes it came in and went out with, by and large: what a bound on memory counts


class Columns(NamedTuple):
    """Which model and which tensors the records of this server hold."""

    variant: str
    manifest: str
    inputs: Side
    outputs: Side


def by_hour(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Records by the hour of their prediction, as hours since the epoch."""
    hours: dict[int, list[Record]] = {}
    for record in records:
        hours.setdefault(record.milliseconds // MILLISECONDS_PER_HOUR, []).append(record)
    return hours
