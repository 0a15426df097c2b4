"""Records turned into what one segment is made of, without a log around it."""

from __future__ import annotations

from collections.abc import Iterable

from plumbline_serving.pending import Pending
from plumbline_serving.record import MILLISECONDS_PER_HOUR, Columns, Record


def pending(records: Iterable[Record], columns: Columns) -> list[Pending]:
    """The records, one after the other; a new beginning wherever the hour changes."""
    found: list[Pending] = []
    for record in records:
        hour = record.milliseconds // MILLISECONDS_PER_HOUR
        if not found or found[-1].hour != hour:
            found.append(Pending(hour, columns))
        found[-1].add(record)
    return found
