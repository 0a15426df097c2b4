"""The generator's own process: requests on a clock, bounded in rate, connections, time and patience."""

from __future__ import annotations

import asyncio
import itertools
import signal
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import uvloop

from tests.load.shots import OK, Shot
from tests.load.wire import Connection, ConnectionLost

LENGTH = struct.Struct("<I")
IDLE_SECONDS = 3.0  # an unused connection is closed, as every careful client does, before a server may close it
FLUSH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """What to send. `requests`: a file of `pack`; they are sent in turn, over and over. Times in seconds."""

    host: str
    port: int
    requests: Path
    output: Path
    per_second: float
    most_seconds: float
    connections: int
    timeout: float


def pack(requests: Iterator[bytes], path: Path) -> None:
    """Write requests to a file, each behind its length."""
    with path.open("wb") as sink:
        for request in requests:
            sink.write(LENGTH.pack(len(request)) + request)


def unpack(path: Path) -> list[bytes]:
    """The requests in a file that `pack` wrote."""
    content, found, place = path.read_bytes(), [], 0
    while place < len(content):
        (length,) = LENGTH.unpack_from(content, place)
        place += LENGTH.size
        found.append(content[place : place + length])
        place += length
    return found


class Generator:
    """Sends what a job says and writes down every request as it ends."""

    def __init__(self, job: Job, sink: TextIO) -> None:
        self._job, self._sink = job, sink
        self._idle: deque[Connection] = deque()
        self._gate = asyncio.Semaphore(job.connections)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more; what is on its way is waited for."""
        self._stop.set()

    async def run(self) -> None:
        """Send until stopped or until the time is over, then wait for what is under way."""
        requests = itertools.cycle(unpack(self._job.requests))
        begun = time.monotonic()
        flusher = asyncio.create_task(self._flush())
        async with asyncio.TaskGroup() as group:
            for number in range(int(self._job.per_second * self._job.most_seconds)):
                due = begun + number / self._job.per_second
                if await self._stopped_before(due):
                    break
                group.create_task(self._one(number, due, next(requests)))
        flusher.cancel()
        self._sink.flush()

    async def _stopped_before(self, due: float) -> bool:
        """Wait for the moment; whether there is nothing more to do."""
        while (left := due - time.monotonic()) > 0:
            if self._stop.is_set():
                return True
            await asyncio.sleep(min(left, FLUSH_SECONDS))
        return self._stop.is_set()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._sink.flush()

    async def _one(self, number: int, due: float, request: bytes) -> None:
        status, variant, error, closed = 0, "", "", False
        connection: Connection | None = None
        try:
            # Also the wait for a free connection counts: callers of a real service would be waiting as well.
            async with asyncio.timeout(due + self._job.timeout - time.monotonic()), self._gate:
                connection = await self._connection()
                answer = await connection.ask(request)
                status, variant, closed = answer.status, answer.variant, answer.closes
                error = "" if status == OK else repr(answer.text)
                self._keep(connection)
                connection = None
        except TimeoutError:
            error = f"timeout after {self._job.timeout} s"
        except (OSError, ConnectionLost) as exc:
            error = f"{type(exc).__name__}: {exc}"
        if connection is not None:
            connection.abort()
        shot = Shot(due, time.monotonic() - due, status, variant, error, closed, number)
        self._sink.write(shot.line() + "\n")

    async def _connection(self) -> Connection:
        """The connection that was unused longest, or a new one. Raises OSError when there is nobody."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.usable and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Connection, self._job.host, self._job.port)
        return made

    def _keep(self, connection: Connection) -> None:
        if connection.usable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)


def generate(job: Job) -> None:
    """Do the job; SIGTERM ends it early."""

    async def main() -> None:
        with job.output.open("w", encoding="utf-8") as sink:
            generator = Generator(job, sink)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, generator.stop)
            await generator.run()

    uvloop.run(main())
