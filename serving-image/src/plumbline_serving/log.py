"""The prediction log: a bounded queue in front, a thread that writes segments behind.

```
event loop            bounded queue          thread "prediction-log"
append(record) ─────▶ [ · · · · · · ] ─────▶ every flush_seconds, or early when half full:
  full: count, drop                          table → Parquet → put, tried a few times, then counted as lost
```
Nothing here waits on the event loop's side. What is not in the bucket at the end is in a counter.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

from plumbline_contract.layout import join, prediction_hour
from plumbline_contract.routes import ServingSettings
from plumbline_serving.metrics import Metrics
from plumbline_serving.segment import MILLISECONDS_PER_HOUR, Columns, Record, by_hour, parquet, table_of
from plumbline_serving.storage import StorageTrouble

logger = logging.getLogger(__name__)

SEGMENT_ROWS = 50_000  # one segment's memory stays at some ten MiB for a usual table
ATTEMPTS = 4
BACKOFF_SECONDS = 1.0  # before the second attempt; doubles
CLOSE_SECONDS = 15.0  # what is left of a pod's usual 30 s grace after draining


class Sink(Protocol):
    """Where segments go."""

    def put(self, key: str, data: bytes) -> None:
        """Store one object. Raises StorageTrouble."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the segments of this server lie, and what keeps their names apart from those of other servers."""

    prefix: str
    namespace: str
    deployment: str
    variant: str
    writer: str

    def key(self, hour: int, sequence: int) -> str:
        """The object key of one segment; `hour` in hours since the epoch."""
        when = datetime.fromtimestamp(hour * MILLISECONDS_PER_HOUR / 1000, tz=UTC)
        folder = prediction_hour(self.prefix, self.namespace, self.deployment, self.variant, when)
        return join(folder, f"{self.writer}-{sequence:06d}.parquet")


def place_of(settings: ServingSettings, pod: str, started_milliseconds: int) -> Place:
    """The place of a server's log. The start time is in the name: a restarted container keeps its pod's name."""
    return Place(
        prefix=settings.prefix,
        namespace=settings.namespace,
        deployment=settings.deployment,
        variant=settings.variant,
        writer=f"{pod}-{started_milliseconds:012x}",
    )


class PredictionLog:
    """A bounded queue of records and the thread that empties it."""

    def __init__(
        self,
        sink: Sink,
        place: Place,
        columns: Columns,
        metrics: Metrics,
        *,
        flush_seconds: float,
        queue_rows: int,
        backoff_seconds: float = BACKOFF_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._place, self._columns, self._metrics = sink, place, columns, metrics
        self._flush_seconds, self._limit, self._backoff_seconds, self._clock = (
            flush_seconds,
            queue_rows,
            backoff_seconds,
            clock,
        )
        self._records: deque[Record] = deque()
        self._taken = 0  # written by the thread only; metrics.log_queued by the event loop only
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._sequence = 0
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def append(self, record: Record) -> None:
        """Queue a record, or count its rows as dropped when the queue is full. Never waits."""
        metrics = self._metrics
        waiting = metrics.log_queued - self._taken + record.rows
        if waiting > self._limit:
            metrics.log_dropped["queue_full"] += record.rows
            return
        self._records.append(record)
        metrics.log_queued += record.rows
        if waiting * 2 > self._limit and not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what is queued, for at most this long; what then remains is counted as lost."""
        self._deadline = self._clock() + seconds
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds + 1.0)

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        """Write what was queued when it began; what comes meanwhile waits for the next time, in fewer segments."""
        queued = self._metrics.log_queued
        while self._taken < queued:
            batch, rows = self._take()
            for hour, records in by_hour(batch).items():
                self._write(hour, records)
            self._taken += rows

    def _take(self) -> tuple[list[Record], int]:
        batch: list[Record] = []
        rows = 0
        while self._records and rows < SEGMENT_ROWS:
            record = self._records.popleft()
            batch.append(record)
            rows += record.rows
        return batch, rows

    def _write(self, hour: int, records: list[Record]) -> None:
        rows = sum(record.rows for record in records)
        key = self._place.key(hour, self._sequence)
        self._sequence += 1
        try:
            data = parquet(table_of(records, self._columns))
        except (pa.ArrowException, ValueError) as exc:
            # A text that is no UTF-8, say: one such batch must not end the thread, and with it the log.
            logger.error("prediction log: cannot encode %d rows: %s; they are counted as dropped", rows, exc)
            self._metrics.log_dropped["encoding"] += rows
            return
        if self._put(key, data):
            self._metrics.log_written += rows
            self._metrics.log_segments += 1
        else:
            self._metrics.log_dropped["storage"] += rows

    def _put(self, key: str, data: bytes) -> bool:
        """Whether storage took the object, after at most ATTEMPTS tries and never beyond the closing deadline."""
        for attempt in range(ATTEMPTS):
            try:
                self._sink.put(key, data)
            except StorageTrouble as exc:
                logger.warning("prediction log, attempt %d of %d: %s", attempt + 1, ATTEMPTS, exc)
            else:
                return True
            pause = self._backoff_seconds * 2**attempt
            if attempt + 1 == ATTEMPTS or self._clock() + pause > self._deadline:
                break
            self._closing.wait(pause)
        logger.error("prediction log: gave up on %s (%d bytes); its rows are counted as dropped", key, len(data))
        return False
