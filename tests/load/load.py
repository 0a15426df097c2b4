"""A load from the side of who asks for it: start, look, stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from tests.load.generator import Job, pack
from tests.load.shots import Shot, read_line

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.05
START_SECONDS = 60.0  # of a Python process on a busy machine


class Load:
    """Requests at a steady rate against a port of this machine, from a process of its own, until stopped.

    requests: raw, as `post` makes them; sent in turn, over and over. per_second: how many are due each second.
    most_seconds: it ends by itself after this long. connections: at most so many requests are on their way; later
    ones wait, and their time runs. timeout: seconds after which a request has failed. folder: for its two files.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        requests: Iterable[bytes],
        per_second: float,
        *,
        most_seconds: float = 1800.0,
        connections: int = 256,
        timeout: float = 5.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"load-{port}-{time.monotonic_ns()}"
        self._job = Job(
            host=LOOPBACK,
            port=port,
            requests=stem.with_suffix(".requests"),
            output=stem.with_suffix(".shots"),
            per_second=per_second,
            most_seconds=most_seconds,
            connections=connections,
            timeout=timeout,
        )
        pack(iter(requests), self._job.requests)
        self._shots: list[Shot] = []
        self._read = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Load:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Load:
        """Begin; returns once the first answer or failure has been seen."""
        told = json.dumps(asdict(self._job), default=str)
        self._process = subprocess.Popen([sys.executable, "-m", "tests.load", told])
        return self.more(1, START_SECONDS)

    def run(self, seconds: float) -> list[Shot]:
        """Everything sent in about this many seconds, or before `most_seconds` end it."""
        self.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._ended():
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        return self.stop()

    def shots(self) -> list[Shot]:
        """Everything that has ended so far, in the order in which it ended."""
        if self._job.output.exists():
            with self._job.output.open("rb") as source:
                source.seek(self._read)
                content = source.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._read += len(whole)
            self._shots.extend(read_line(line) for line in whole.decode().splitlines())
        return self._shots

    def more(self, count: int, seconds: float = 60.0) -> Load:
        """Return after this many further requests have ended. Raises TimeoutError."""
        wanted, deadline = len(self.shots()) + count, time.monotonic() + seconds
        while len(self.shots()) < wanted:
            if time.monotonic() > deadline or self._ended():
                raise TimeoutError(f"{len(self._shots)} of {wanted} requests ended in {seconds} s")
            time.sleep(POLL_SECONDS)
        return self

    def stop(self) -> list[Shot]:
        """Send nothing more, wait for what is under way, and return everything. May be called again."""
        if self._process is not None:
            if not self._ended():
                self._process.send_signal(signal.SIGTERM)
            code = self._process.wait(timeout=self._job.timeout + 30)
            if code != 0:
                raise RuntimeError(f"the load generator ended with exit code {code}; its words are in the output above")
        return self.shots()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None
