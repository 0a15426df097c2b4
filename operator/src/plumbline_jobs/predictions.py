"""Reads the prediction log: the segments of one variant's hours, a few at a time, always in the order of their keys."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from plumbline_contract import layout
from plumbline_contract.prediction import FIXED_COLUMNS
from plumbline_contract.runspec import Owner
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.store import Listed, NotThere, Store
from plumbline_jobs.log import log
from plumbline_jobs.snapshot import utc

HOUR = timedelta(hours=1)
READERS = 8  # a day of one server is thousands of small segments, and reading one is mostly waiting for storage

Role = Literal["primary", "shadow"]


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval of prediction time: since <= t < until, UTC. `late` more hours after it are read, too."""

    since: datetime
    until: datetime
    late: int = 0

    def hours(self) -> Iterator[datetime]:
        """The first moments of all hours with predictions of the span in them."""
        hour = utc(self.since).replace(minute=0, second=0, microsecond=0)
        end = utc(self.until) + self.late * HOUR
        while hour < end:
            yield hour
            hour += HOUR


@dataclass(frozen=True, slots=True)
class PredictionLog:
    """The log of one deployment."""

    store: Store
    owner: Owner
    deployment: str
    folder: Path

    def frames(self, variant: str, role: Role, span: Span, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of this variant in this role, one segment at a time, with `time` and those of `columns` it has.

        Rows of the hours read after the span are in it; `between` cuts them off. Raises Refused for a damaged segment.
        """
        with ThreadPoolExecutor(READERS) as pool:
            reading: deque[Future[pl.DataFrame]] = deque()
            for listed in self._listed(variant, span):
                reading.append(pool.submit(self._segment, listed, columns))
                if len(reading) == READERS:
                    yield reading.popleft().result().filter(pl.col("role") == role)
            while reading:
                yield reading.popleft().result().filter(pl.col("role") == role)

    def _listed(self, variant: str, span: Span) -> Iterator[Listed]:
        for hour in span.hours():
            place = layout.prediction_hour(self.store.prefix, self.owner.namespace, self.deployment, variant, hour)
            for listed in self.store.keys(place):
                if listed.key.endswith(".parquet"):
                    yield listed

    def _segment(self, listed: Listed, columns: Sequence[str]) -> pl.DataFrame:
        path = self.folder / uuid4().hex
        try:
            self.store.copy(listed, path)
            return _read(path, listed.key, columns)
        except NotThere:
            log("segment gone", key=listed.key)  # deleted, by its retention, since it was listed
            return pl.DataFrame(schema={"time": pl.Datetime("ms", "UTC"), "role": pl.String})
        finally:
            path.unlink(missing_ok=True)


def between(frame: pl.DataFrame, span: Span) -> pl.DataFrame:
    """The rows whose prediction was made in the span."""
    return frame.filter(pl.col("time") >= utc(span.since), pl.col("time") < utc(span.until))


def _read(path: Path, key: str, columns: Sequence[str]) -> pl.DataFrame:
    try:
        with pq.ParquetFile(path) as file:
            held = set(file.schema_arrow.names)
            lacking = [name for name in FIXED_COLUMNS if name not in held]
            if lacking:
                raise Refused(
                    "DataUnavailable", f"the segment {key} has no column `{lacking[0]}`; it is no log of ours"
                )
            wanted = [name for name in dict.fromkeys(("time", "role", *columns)) if name in held]
            return pl.DataFrame(pl.from_arrow(file.read(columns=wanted, use_threads=False)))
    except (pa.ArrowException, OSError) as error:
        raise Refused("DataUnavailable", f"the segment {key} is not readable as Parquet; remove it") from error
