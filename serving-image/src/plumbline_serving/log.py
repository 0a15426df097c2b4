"""The prediction log: a bounded queue in front, a thread that writes segments behind.

```
event loop            bounded queue          thread "prediction-log"
append(record) ─────▶ [ ▤ ▤ ▤ ▤ ▤ ▤ ] ─────▶ often enough that nothing waits longer than flush_seconds:
  full: count, drop     pending segments       table → Parquet → put, tried until the bucket takes it
```
Nothing here waits on the event loop's side. A bucket that is away fills the queue; what does not fit is counted. A
killed process loses what it answered within the last flush_seconds at most, as long as the bucket takes a segment in
half of that; its tally tells the next process in the pod how much that was.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from plumbline_serving.errors import StorageTrouble, Unencodable
from plumbline_serving.metrics import Metrics
from plumbline_serving.pending import Pending
from plumbline_serving.place import Place
from plumbline_serving.record import MILLISECONDS_PER_HOUR, Columns, Record
from plumbline_serving.segment import encode
from plumbline_serving.tally import SIZE, Tally

logger = logging.getLogger(__name__)

SEGMENT_ROWS = 50_000  # one segment's memory stays at some ten MiB for a usual table
SEGMENT_BYTES = 16 * 1024 * 1024  # of requests and answers; more than that only for a single request
QUEUE_BYTES = 64 * 1024 * 1024  # of requests and answers that wait; rows alone would not bound wide ones
BACKOFF_SECONDS = 1.0  # before the second attempt; doubles up to
BACKOFF_LIMIT = 15.0
CLOSE_SECONDS = 30.0  # what is left of the pod's 60 s grace after draining (8 s) and finishing answers (10 s)
CLOSING_PAUSE = 0.5  # between attempts while closing
MARGIN = 2.0  # a segment may take so many times what the slowest of late has taken
DECAY = 0.9  # of the slowest, with each flush


class Sink(Protocol):
    """Where segments go."""

    def put(self, key: str, data: bytes) -> None:
        """Store one object. Raises StorageTrouble."""


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
        tally: Tally | None = None,
        backoff_seconds: float = BACKOFF_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._place, self._columns, self._metrics = sink, place, columns, metrics
        self._limit, self._backoff_seconds, self._clock = queue_rows, backoff_seconds, clock
        self._pace = Pace(flush_seconds)
        self._tally = tally or Tally(bytearray(SIZE))
        self._pending: deque[Pending] = deque()  # the last one grows
        self._growing = threading.Lock()  # held while it does, and when the thread takes one: a microsecond
        self._size = 0  # bytes queued in all; the event loop's alone, as metrics.log_queued
        self._taken = self._taken_size = 0  # rows and bytes that are settled; the thread's alone, as
        self._begun = 0  # rows that are being written, or were
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._sequence = 0
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin to write. A process's first file takes fifty times as long as others, so one is made for nobody."""
        encode(Pending(0, self._columns), self._columns)
        self._thread.start()

    def append(self, record: Record) -> None:
        """Queue a record, or count its rows as dropped when the queue is full. Never waits."""
        metrics = self._metrics
        waiting = metrics.log_queued - self._taken + record.rows
        if waiting > self._limit or self._size - self._taken_size > QUEUE_BYTES:
            metrics.log_dropped["queue_full"] += record.rows
            return
        self._add(record)
        metrics.log_queued += record.rows
        self._size += record.size
        self._tally.queued(metrics.log_queued)
        # What is being written just now is no reason to write again right after it.
        if (metrics.log_queued - self._begun) * 2 > self._limit and not self._wake.is_set():
            self._wake.set()

    def hurry(self) -> None:
        """Write at short intervals from now on: the process is about to end."""
        self._pace.seconds = CLOSING_PAUSE
        self._wake.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> int:
        """Write what is queued, for at most this long. How many rows then remain; they are counted as dropped."""
        self._deadline = self._clock() + seconds
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds + 1.0)
        remaining = self._metrics.log_queued - self._taken
        if remaining:
            logger.error("prediction log: %d rows are lost: the bucket did not take them in %.0f s", remaining, seconds)
            self._metrics.log_dropped["storage"] += remaining
        return remaining

    def _add(self, record: Record) -> None:
        hour = record.milliseconds // MILLISECONDS_PER_HOUR
        with self._growing:
            last = self._pending[-1] if self._pending else None
            if last is None or last.hour != hour or last.rows >= SEGMENT_ROWS or last.size >= SEGMENT_BYTES:
                last = Pending(hour, self._columns)
                self._pending.append(last)
            last.add(record)

    def _take(self) -> Pending:
        """What waits longest; nothing is added to it any more. Raises IndexError when nothing waits."""
        with self._growing:
            taken = self._pending.popleft()
        self._begun += taken.rows
        return taken

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._pace.pause)
            self._wake.clear()
            if not self._flush():
                return
        self._flush()

    def _flush(self) -> bool:
        """Write what was queued when it began; what comes meanwhile waits for the next time, in fewer segments.

        False when the log must end before storage took all.
        """
        began, moment = self._clock(), time.time()
        queued = self._metrics.log_queued
        something = self._taken < queued
        while self._taken < queued:
            if not self._write(self._take()):
                return False
        self._metrics.log_complete_until = moment
        self._pace.took(self._clock() - began if something else 0.0)
        return True

    def _write(self, pending: Pending) -> bool:
        """Whether these records are settled: stored, or counted because no file can hold them."""
        hour, rows, size = pending.hour, pending.rows, pending.size
        sequence = self._sequence
        self._sequence += 1
        try:
            data = encode(pending, self._columns)
        except Unencodable as exc:
            # One such batch must not end the thread, and with it the log.
            logger.error("prediction log: cannot encode %d rows: %s; they are counted as dropped", rows, exc)
            self._metrics.log_dropped["encoding"] += rows
        else:
            self._tally.sends(hour, sequence, rows)
            if not self._put(self._place.key(hour, sequence), data):
                return False
            self._metrics.log_written += rows
            self._metrics.log_segments += 1
        self._tally.settles(rows)
        self._taken += rows
        self._taken_size += size
        return True

    def _put(self, key: str, data: bytes) -> bool:
        """Whether storage took the object; tried again and again, but never beyond the closing deadline."""
        pause = self._backoff_seconds
        while True:
            try:
                self._sink.put(key, data)
            except StorageTrouble as exc:
                logger.warning("prediction log: %s; %d rows wait", exc, self._metrics.log_queued - self._taken)
            else:
                return True
            if self._closing.is_set():
                if self._clock() + CLOSING_PAUSE > self._deadline:
                    return False
                time.sleep(CLOSING_PAUSE)
            else:
                self._closing.wait(pause)
                pause = min(2 * pause, BACKOFF_LIMIT)


class Pace:
    """How long to pause between flushes, so that a row queued just after one began is stored within `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.pause = seconds / 2
        self._slowest = seconds / (4 * MARGIN)

    def took(self, seconds: float) -> None:
        """A flush has ended after so long, 0 when there was nothing to write.

        The next one must begin `MARGIN` times its own expected time before the row's time is up, and not more than
        twice in it: a bucket as slow as that gets one segment after the other, and what is lost grows with it.
        """
        if seconds:
            self._slowest = max(seconds, DECAY * self._slowest)
        whole = max(self.seconds - MARGIN * self._slowest, self.seconds / 2)
        self.pause = max(whole - seconds, 0.0)
