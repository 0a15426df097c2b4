"""Departures as the requests that a live caller would send.

    python replay.py --features DIR/features/departures.parquet --since 2013-09-01 --until 2014-01-01
    python replay.py --features DIR/features/departures.parquet --since 2013-07-01 --until 2013-09-01 --min-temp 85

prints one JSON line per request: {"unit": ..., "event_time": ..., "body": {...}}; `body` is an inference request of
the Open Inference Protocol v2. Nothing is sent and nothing waits: pace and transport are the caller's. The first
line replays months that no model here has seen, the second the heat of July and August: a weather shift that
happened. Needs polars only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

# Columns of the feature table that say which departure it is, or what came of it; every other one is an input.
NOT_INPUTS = (
    "departure_id", "event_time", "label_time", "late", "year", "month", "day", "sched_dep_time", "flight", "tailnum",
    "weather_age_hours",
)  # fmt: skip


class Request(NamedTuple):
    """One departure to score: its id (sticky routing and the later label go by it), what is sent, and when."""

    unit_key: str
    body: dict[str, Any]
    event_time: datetime


def requests(
    table: pl.DataFrame, since: str, until: str, seed: int | None = None, min_temp: float | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Unit key and body of each request that `replay` gives, for a caller who sets the pace itself."""
    return ((request.unit_key, request.body) for request in replay(table, since, until, seed, min_temp))


def replay(
    table: pl.DataFrame, since: str, until: str, seed: int | None = None, min_temp: float | None = None
) -> Iterator[Request]:
    """One request per departure that was due in [since, until), ISO dates at midnight UTC.

    seed: None gives them by scheduled departure. A number gives a fixed order of that number without any season in
    it, so that any thousand requests look like all of them; by time, the first weeks of September alone are a
    shift in `temp`.
    min_temp: only departures in at least this heat, in °F.
    """
    for row in chosen(table, since, until, seed, min_temp).iter_rows(named=True):
        yield Request(row["departure_id"], body(row), row["event_time"])


def chosen(
    table: pl.DataFrame, since: str, until: str, seed: int | None = None, min_temp: float | None = None
) -> pl.DataFrame:
    """The rows to replay, in the order that `replay` gives them; equal times go by departure id."""
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (since, until))
    rows = table.filter(pl.col("event_time").is_between(start, end, closed="left"))
    if min_temp is not None:
        rows = rows.filter(pl.col("temp") >= min_temp)
    if seed is None:
        return rows.sort("event_time", "departure_id")
    # A digest, because the orders that libraries make from a seed change with their versions.
    digests = [hashlib.sha256(f"{seed} {departure}".encode()).hexdigest() for departure in rows["departure_id"]]
    return rows.with_columns(digest=pl.Series(digests, dtype=pl.String)).sort("digest").drop("digest")


def body(row: dict[str, Any]) -> dict[str, Any]:
    """An inference request with one row: an input of shape [1, 1] per feature, by the feature's name."""
    return {
        "id": row["departure_id"],
        "inputs": [_input(name, row[name]) for name in row if name not in NOT_INPUTS],
    }


def _input(name: str, value: str | float) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [value]}
    return {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [float(value)]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the requests; exit status 0, also when the reader stops early."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--features", type=Path, required=True, help="departures.parquet of prepare.py")
    parser.add_argument("--since", default="2013-09-01", help="first day, UTC")
    parser.add_argument("--until", default="2014-01-02", help="day after the last, UTC")
    parser.add_argument("--min-temp", type=float, help="only departures in at least this heat, in °F")
    parser.add_argument("--seed", type=int, help="a fixed order without seasons (default: by scheduled departure)")
    parser.add_argument("--limit", type=int, help="print at most this many")
    options = parser.parse_args(arguments)
    table = pl.read_parquet(options.features)
    found = replay(table, options.since, options.until, options.seed, options.min_temp)
    try:
        for request in islice(found, options.limit):
            line = {
                "unit": request.unit_key,
                "event_time": request.event_time.isoformat(),
                "body": request.body,
            }
            print(json.dumps(line, separators=(",", ":")))
    except BrokenPipeError:
        sys.stderr.close()  # else Python complains about the same pipe once more at exit
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
