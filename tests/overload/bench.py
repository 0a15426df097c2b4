"""A server under ten times the load it can carry: what it answers, what it refuses, and how it comes back."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.load import Load, Shot, post, quantile
from tests.serving.processes import Caller, rows, until

SERVER_CORE, LOAD_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
TIMES = 10  # the capacity
FEW = 12  # connections that load a server fully: fewer than it ever refuses
MANY = 2000  # connections of the overload, a router's circuit breaker is wider
SOON = 0.75  # seconds for an answer to count as back to normal: the longest wait in the line, and the work itself
REFUSED = (429, 503)
BODY = json.dumps(rows((1, 2, 3))).encode()
REQUEST = post("/v2/models/fraud/infer", BODY)


@dataclass(frozen=True)
class Seconds:
    """How long the parts of one run last."""

    peak: float
    overload: float
    after: float


@dataclass(frozen=True)
class Seen:
    """One run. Rates are per second; `refusals` and `answers` are the shots of the overload.

    busy: seconds of a core that the server had in each second, at the peak and in the overload. A server with more
    work than time takes all it is given, and on a machine that others use, too, that is not the same at all times.
    """

    way: str
    peak: float
    offered: float
    goodput: float
    answers: list[Shot]
    refusals: list[Shot]
    lost: list[Shot]
    recovery: float
    grown: int
    busy: tuple[float, float]

    @property
    def kept(self) -> float:
        """Goodput as a share of the peak, both for each second of the core that the server had."""
        return (self.goodput / self.busy[1]) / (self.peak / self.busy[0])

    def line(self) -> str:
        """For the report."""
        refused = (
            [f"{quantile(self.refusals, part) * 1e3:.1f}" for part in (0.5, 0.9, 0.99)] if self.refusals else ["-"]
        )
        return (
            f"{self.way}: peak {self.peak:.0f}/s, offered {self.offered:.0f}/s, goodput {self.goodput:.0f}/s, which is "
            f"{self.kept:.0%} for a second of the core it had ({self.busy[0]:.2f} and {self.busy[1]:.2f} s a second); "
            f"p99 {quantile(self.answers, 0.99) * 1e3:.0f} ms, {len(self.refusals)} refused in p50/p90/p99 "
            f"{'/'.join(refused)} ms, {len(self.lost)} lost, recovered in {self.recovery:.1f} s, "
            f"memory +{self.grown / 2**20:.0f} MiB"
        )


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside stays on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def overload(way: str, port: int, watched: Sequence[int], folder: Path, time_for: Seconds) -> Seen:
    """One run against a port. `watched`: process ids whose memory must not grow without bound."""
    before = peak_memory(watched)
    peak, busy = capacity(port, watched, time_for.peak)
    with on_core(LOAD_CORE):
        probe = Load(folder, port, [REQUEST], peak / TIMES).start()
        flood = Load(folder, port, [REQUEST], TIMES * peak, connections=MANY).start()
    began, used = time.monotonic(), core_seconds(watched)
    wait(time_for.overload)
    ended, used = time.monotonic(), core_seconds(watched) - used
    shots = flood.stop()
    wait(ended + time_for.after - time.monotonic())
    later = [shot for shot in probe.stop() if shot.due > ended]
    late = [shot.due - ended for shot in later if shot.failed or shot.seconds > SOON]
    good = [shot for shot in shots if shot.status == 200]
    return Seen(
        way=way,
        peak=peak,
        offered=rate([shot.due for shot in shots], began, ended),
        goodput=rate([shot.due + shot.seconds for shot in good], began, ended),
        answers=good,
        refusals=[shot for shot in shots if shot.status in REFUSED],
        lost=[shot for shot in shots if shot.status not in (200, *REFUSED)],
        recovery=max(late, default=0.0) if later else float("inf"),
        grown=peak_memory(watched) - before,
        busy=(busy, used / (ended - began)),
    )


def capacity(port: int, watched: Sequence[int], seconds: float) -> tuple[float, float]:
    """Answers per second when there always is a next request and none is refused, and the core seconds they took."""
    answered: list[float] = []
    stop = threading.Event()

    def call() -> None:
        os.sched_setaffinity(0, {LOAD_CORE})  # of this thread alone
        caller = Caller(port)
        while not stop.is_set():
            if caller.infer(BODY).status == 200:
                answered.append(time.monotonic())
        caller.close()

    threads = [threading.Thread(target=call) for _ in range(FEW)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 5 * FEW, "the model is warm")
    began, used = time.monotonic(), core_seconds(watched)
    wait(seconds)
    ended, used = time.monotonic(), core_seconds(watched) - used
    stop.set()
    for thread in threads:
        thread.join()
    return rate(answered, began, ended), used / (ended - began)


def rate(moments: Sequence[float], began: float, ended: float) -> float:
    """How many of these moments lie in the span, per second."""
    return sum(began <= moment < ended for moment in moments) / (ended - began)


def wait(seconds: float) -> None:
    """Let a load of known length go on."""
    time.sleep(max(0.0, seconds))


def core_seconds(processes: Sequence[int]) -> float:
    """Seconds of a core that these processes have had since they started."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def peak_memory(processes: Sequence[int]) -> int:
    """The most bytes that these processes have had resident, all together."""
    return sum(int(_high_water(Path(f"/proc/{pid}/status").read_text())) * 1024 for pid in processes)


def _high_water(status: str) -> str:
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None, status
    return found[1]
