"""Counts of the prediction log that outlive a killed process, so that its successor can say what was lost.

A container that is killed is started again in its pod, and the pod's scratch volume stays. Eight numbers in a mapped
file cost some ten nanoseconds a request, and the kernel keeps them whatever happens to the process:

    queued ──────────▶ rows whose callers were answered, or are about to be
    settled ─────────▶ rows in the bucket, or counted as dropped
    hour, sequence, base, rows: the segment on its way, of which only the bucket knows whether it arrived

lost = queued - settled, less the segment on its way when the bucket has it.
"""

import fcntl
import logging
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

_STARTED, _QUEUED, _SETTLED, _HOUR, _SEQUENCE, _BASE, _ROWS, _LOST = range(8)
SIZE = 8 * 8


class Ended(NamedTuple):
    """What a process that ended has left: when it started (ms since the epoch), its rows, its segment on the way."""

    started: int
    queued: int
    settled: int
    hour: int
    sequence: int
    base: int
    rows: int

    def lost(self, arrived: Callable[["Ended"], bool]) -> int:
        """How many of its rows are nowhere. `arrived` is asked once, and only when it matters."""
        if self.queued <= self.settled:
            return 0
        settled = self.settled
        if self.rows and self.base + self.rows > settled and arrived(self):
            settled = self.base + self.rows
        return max(0, self.queued - settled)


class Tally:
    """The counts of this process. `queued` is called by the event loop's thread, the others by the log's."""

    def __init__(self, memory: bytearray | mmap.mmap) -> None:
        self._memory = memory  # kept: the view is of it
        self._view = memoryview(memory).cast("Q")

    @property
    def lost(self) -> int:
        """Rows that killed processes of this pod have lost, all together."""
        return self._view[_LOST]

    def ended(self) -> Ended | None:
        """What the process before this one has left, None for the first in its pod."""
        view = self._view
        if not view[_STARTED]:
            return None
        return Ended(*(view[field] for field in (_STARTED, _QUEUED, _SETTLED, _HOUR, _SEQUENCE, _BASE, _ROWS)))

    def begin(self, started: int, lost: int) -> None:
        """Count for the process that started at this moment; `lost` more rows were lost before it."""
        view = self._view
        view[_LOST] += lost
        for field in (_QUEUED, _SETTLED, _HOUR, _SEQUENCE, _BASE, _ROWS):
            view[field] = 0
        view[_STARTED] = started

    def queued(self, rows: int) -> None:
        """So many rows have been queued in all."""
        self._view[_QUEUED] = rows

    def sends(self, hour: int, sequence: int, rows: int) -> None:
        """A segment with so many rows goes to the bucket now."""
        view = self._view
        view[_ROWS] = 0  # first: a kill between two of these lines must leave no false segment
        view[_HOUR], view[_SEQUENCE], view[_BASE] = hour, sequence, view[_SETTLED]
        view[_ROWS] = rows

    def settles(self, rows: int) -> None:
        """So many more rows are in the bucket, or counted as dropped."""
        self._view[_SETTLED] += rows


def open_tally(path: Path) -> Tally:
    """The tally in this file; one in memory alone, with a line in the log, where there can be no file."""
    try:
        return Tally(_mapped(path))
    except OSError as exc:
        logger.warning(
            "no file for the prediction log's counts: %s; a successor of this process cannot say what a kill cost", exc
        )
        return Tally(bytearray(SIZE))


def _mapped(path: Path) -> mmap.mmap:
    """The file as memory, this process's alone. Raises OSError, also when another process uses the file."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(handle, SIZE)
        mapped = mmap.mmap(handle, SIZE)
    except OSError:
        with suppress(OSError):
            os.close(handle)
        raise
    return mapped  # the handle stays open, and with it the lock, as long as the process lives
