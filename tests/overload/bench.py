"""A server under ten times the load it can carry: what it answers, what it refuses, and how it comes back."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import timeit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import mean, median

import numpy as np
from onnxruntime import InferenceSession

from tests.load import Load, Shot, post, quantile
from tests.serving import models
from tests.serving.processes import Caller, rows, until

SERVER_CORE, LOAD_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
TIMES = 10  # the capacity
FEW = 12  # connections that load a server fully: fewer than it ever refuses
MANY = 2000  # connections of the overload, a router's circuit breaker is wider
SOON = 0.75  # seconds for an answer to count as back to normal: the longest wait in the line, and the work itself
RECOVERY_SECONDS = 60.0  # until it is a failure, however little of the machine a server has
REFUSED = (429, 503)
BODY = json.dumps(rows((1, 2, 3))).encode()
REQUEST = post("/v2/models/fraud/infer", BODY)


@dataclass(frozen=True)
class Seconds:
    """How long the parts of one turn last, and how long its callers wait for an answer before it counts as lost."""

    peak: float
    overload: float
    after: float
    patience: float


@dataclass(frozen=True)
class Turn:
    """The peak, and at once the overload. Rates are per second; `refusals` and `answers` are the overload's shots.

    busy: seconds of a core that the server had in each second, at the peak and in the overload. A server with more
    work than time takes all it is given, and on a machine that others use, too, that is not the same at all times.
    """

    peak: float
    offered: float
    goodput: float
    answers: list[Shot]
    refusals: list[Shot]
    lost: list[Shot]
    recovery: float
    grown: int
    busy: tuple[float, float]


@dataclass(frozen=True)
class Seen:
    """One run: turns, so that a while in which the machine is slow or fast meets peak and overload alike."""

    way: str
    turns: list[Turn]

    @property
    def kept(self) -> float:
        """Goodput as a share of the peak, both for each second of the core that the server had, over all turns."""
        return kept(self.turns)

    @property
    def offered(self) -> float:
        """What was asked for in the overload, in times the peak."""
        return sum(turn.offered for turn in self.turns) / sum(turn.peak for turn in self.turns)

    @property
    def refusals(self) -> list[Shot]:
        """What was answered with a refusal."""
        return [shot for turn in self.turns for shot in turn.refusals]

    @property
    def lost(self) -> list[Shot]:
        """What was neither answered nor refused."""
        return [shot for turn in self.turns for shot in turn.lost]

    @property
    def recovery(self) -> float:
        """Seconds after an overload until all is as before, the longest."""
        return max(turn.recovery for turn in self.turns)

    @property
    def grown(self) -> int:
        """Bytes that the most memory ever used has grown by."""
        return sum(turn.grown for turn in self.turns)

    def line(self) -> str:
        """For the report."""
        answers = [shot for turn in self.turns for shot in turn.answers]
        refused = (
            [f"{quantile(self.refusals, part) * 1e3:.1f}" for part in (0.5, 0.9, 0.99)] if self.refusals else ["-"]
        )
        single = sorted(kept([turn]) for turn in self.turns)
        return (
            f"{self.way}: peak {mean(turn.peak for turn in self.turns):.0f}/s, offered {self.offered:.1f} times that, "
            f"goodput {mean(turn.goodput for turn in self.turns):.0f}/s, which is {self.kept:.0%} for a second of the "
            f"core it had ({single[0]:.0%} to {single[-1]:.0%} in {len(single)} turns); "
            f"p99 {quantile(answers, 0.99) * 1e3:.0f} ms, {len(self.refusals)} refused in p50/p90/p99 "
            f"{'/'.join(refused)} ms, {len(self.lost)} lost, recovered in {self.recovery:.1f} s, "
            f"memory +{self.grown / 2**20:.0f} MiB"
        )


def kept(turns: Sequence[Turn]) -> float:
    """Goodput for a second of the core, as a share of the peak's."""
    return mean(turn.goodput / turn.busy[1] for turn in turns) / mean(turn.peak / turn.busy[0] for turn in turns)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside stays on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def model(work: float) -> bytes:
    """A model that takes about so many seconds of a core for an answer, here and now."""
    with on_core(SERVER_CORE):
        one = InferenceSession(models.slow(1), providers=["CPUExecutionProvider"])
        taken = timeit.repeat(lambda: one.run(None, {"X": np.zeros((1, 3), np.float32)}), number=1, repeat=50)
    return models.slow(max(1, round(work / median(taken))))


def overload(way: str, port: int, watched: Sequence[int], folder: Path, time_for: Seconds, turns: int) -> Seen:
    """One run against a port. `watched`: process ids whose memory must not grow without bound."""
    return Seen(way, [turn(port, watched, folder, time_for) for _ in range(turns)])


def turn(port: int, watched: Sequence[int], folder: Path, time_for: Seconds) -> Turn:
    """The most the server can do, then ten times that, then quiet until all is as before."""
    before = peak_memory(watched)
    peak, busy = capacity(port, watched, time_for.peak)
    with on_core(LOAD_CORE):
        probe = Load(folder, port, [REQUEST], peak / TIMES, timeout=time_for.patience).start()
        flood = Load(folder, port, [REQUEST], TIMES * peak, connections=MANY, timeout=time_for.patience).start()
    began, used = time.monotonic(), core_seconds(watched)
    wait(time_for.overload)
    ended, used = time.monotonic(), core_seconds(watched) - used
    shots = flood.stop()
    wait(ended + time_for.after - time.monotonic())
    until(lambda: not any(map(is_late, probe.shots()[-FEW:])), "answers come soon again", RECOVERY_SECONDS)
    later = [shot for shot in probe.stop() if shot.due > ended]
    good = [shot for shot in shots if shot.status == 200]
    return Turn(
        peak=peak,
        offered=rate([shot.due for shot in shots], began, ended),
        goodput=rate([shot.due + shot.seconds for shot in good], began, ended),
        answers=good,
        refusals=[shot for shot in shots if shot.status in REFUSED],
        lost=[shot for shot in shots if shot.status not in (200, *REFUSED)],
        recovery=max((shot.due - ended for shot in later if is_late(shot)), default=0.0) if later else inf,
        grown=peak_memory(watched) - before,
        busy=(busy, used / (ended - began)),
    )


def is_late(shot: Shot) -> bool:
    """Whether a caller would notice that the server has too much to do."""
    return shot.failed or shot.seconds > SOON


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
