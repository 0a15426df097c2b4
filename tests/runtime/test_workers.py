"""Workers: every key comes up again when it has to, a bug harms nobody else, and a shutdown begins nothing more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from plumbline_operator.kube.errors import Conflict, Unreachable
from plumbline_operator.model.meta import Key
from plumbline_operator.runtime.loop import Loop
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from plumbline_operator.runtime.workers import Workers
from tests.runtime.toy import KIND, ROOM
from tests.support.clock import Clock
from tests.support.fake_kube import FakeKube
from tests.support.worlds import NOW, loop_on, raw

BEAR, DOLL = Key("Toy", "team", "bear"), Key("Toy", "team", "doll")


@dataclass(slots=True)
class Bench:
    """Workers on a fake API server with two toys, and a clock that a test moves."""

    kube: FakeKube = field(
        default_factory=lambda: FakeKube(raw(KIND, "bear", {"size": 3}), raw(KIND, "doll", {"size": 1}))
    )
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(default_factory=Metrics)
    queue: WorkQueue[Key] = field(init=False)
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(self.clock, jitter=lambda: 1.0)
        self.workers = Workers({"Toy": ROOM}, self.queue, loop_on(self.kube), self.metrics, lambda: NOW)

    def count(self, outcome: str) -> float:
        """How many reconciles of toys ended so."""
        labels = {"kind": "Toy", "outcome": outcome}
        return self.metrics.registry.get_sample_value("plumbline_reconcile_seconds_count", labels) or 0.0

    @asynccontextmanager
    async def working(self, number: int = 1) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Workers at work until the end of the block."""
        tasks = [asyncio.create_task(self.workers.work()) for _ in range(number)]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact, at most two seconds."""
    deadline = time.monotonic() + 2
    while True:
        if fact():
            return
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.001)


def slow(monkeypatch: pytest.MonkeyPatch, until_done: Callable[[Key], Awaitable[timedelta | None]]) -> None:
    """Let a reconcile be this instead."""

    async def reconcile(self: Loop, room: object, key: Key, now: object) -> timedelta | None:
        return await until_done(key)

    monkeypatch.setattr(Loop, "reconcile", reconcile)


async def test_a_key_is_reconciled_and_comes_up_again_when_the_plan_says_so() -> None:
    bench = Bench()
    async with bench.working():
        bench.queue.add(BEAR)
        await until(lambda: bench.count("done") == 1)
        assert bench.kube.look("Job", "bear-play") is not None
        assert bench.queue.depth() == 0
        bench.clock.pass_(60)  # the toy's plan says: again in a minute
        bench.queue.add(DOLL)
        await until(lambda: bench.count("done") == 3)


async def test_trouble_is_tried_again_with_growing_pauses_and_success_forgets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, tried = Bench(), []

    async def away(key: Key) -> timedelta | None:
        tried.append((key, bench.clock()))
        if key == BEAR and bench.clock() < 6:
            raise Unreachable("get", "toys", 503, "away")
        return None

    slow(monkeypatch, away)
    async with bench.working():
        bench.queue.add(BEAR)
        await until(lambda: tried)
        for second in range(1, 9):
            bench.clock.pass_(1)
            bench.queue.add(DOLL)  # somebody else's change, by which the worker notices that time has gone by
            await until(lambda now=second: (DOLL, now) in tried)
    assert [moment for key, moment in tried if key == BEAR] == [0, 1, 3, 7]
    assert bench.queue.retry(BEAR) == 1.0


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    bench = Bench()
    bench.kube.fail("get", "Toy", Unreachable("get", "toys", 429, "busy", retry_after=30.0))
    async with bench.working():
        bench.queue.add(BEAR)
        await until(lambda: bench.count("trouble") == 1)
        bench.clock.pass_(29)
        assert bench.queue.depth() == 0
        bench.clock.pass_(2)
        assert bench.queue.depth() == 1


async def test_what_the_server_had_wait_does_not_come_back_all_at_once() -> None:
    bench, shares = Bench(), iter((1.0, 0.5))
    bench.queue.jitter = lambda: next(shares)
    for _ in range(2):
        bench.kube.fail("get", "Toy", Unreachable("get", "toys", 429, "busy", retry_after=30.0))
    async with bench.working():
        bench.queue.add(BEAR)
        bench.queue.add(DOLL)
        await until(lambda: bench.count("trouble") == 2)
        bench.clock.pass_(31)
        assert bench.queue.depth() == 1
        bench.clock.pass_(15)
        assert bench.queue.depth() == 2


async def test_a_lost_race_is_read_again_soon() -> None:
    bench = Bench()
    bench.kube.fail("apply_status", "Toy", Conflict("apply_status", "toys", 409, "somebody was faster"))
    async with bench.working():
        bench.queue.add(BEAR)
        await until(lambda: bench.count("trouble") == 1)
        bench.clock.pass_(1.1)
        assert bench.queue.depth() == 1


async def test_a_bug_in_a_room_is_logged_and_harms_no_other_object(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench, worked = Bench(), []

    async def broken(key: Key) -> timedelta | None:
        if key == BEAR:
            raise ZeroDivisionError("a bug")
        worked.append(key)
        return None

    slow(monkeypatch, broken)
    async with bench.working():
        bench.queue.add(BEAR)
        bench.queue.add(DOLL)
        await until(lambda: worked == [DOLL])
    assert bench.count("bug") == 1
    assert "Toy team/bear" in caplog.text
    assert "ZeroDivisionError: a bug" in caplog.text
    bench.clock.pass_(1.1)
    assert bench.queue.depth() == 1


async def test_several_workers_never_have_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, inside, most = Bench(), [], []

    async def noting(key: Key) -> timedelta | None:
        inside.append(key)
        most.append(inside.count(key))
        bench.queue.add(key)  # a change during the work
        await asyncio.sleep(0)
        inside.remove(key)
        return None

    slow(monkeypatch, noting)
    async with bench.working(4):
        bench.queue.add(BEAR)
        bench.queue.add(DOLL)
        await until(lambda: len(most) > 50)
    assert max(most) == 1


async def test_a_shutdown_finishes_what_is_in_work_and_begins_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, begun, go, finished = Bench(), asyncio.Event(), asyncio.Event(), []

    async def waiting(key: Key) -> timedelta | None:
        begun.set()
        await go.wait()
        finished.append(key)
        return None

    slow(monkeypatch, waiting)
    async with bench.working() as tasks:
        bench.queue.add(BEAR)
        await until(begun.is_set)
        bench.queue.add(DOLL)
        draining = asyncio.create_task(bench.workers.drain(10))
        await asyncio.sleep(0)
        assert not draining.done()
        go.set()
        await asyncio.wait_for(draining, 2)
        await asyncio.wait_for(tasks[0], 2)
    assert finished == [BEAR]


async def test_a_shutdown_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, working = Bench(), asyncio.Event()

    async def endless(key: Key) -> timedelta | None:
        working.set()
        await asyncio.Event().wait()
        return None

    slow(monkeypatch, endless)
    async with bench.working():
        bench.queue.add(BEAR)
        await until(working.is_set)
        begun = time.monotonic()
        await bench.workers.drain(0.1)
        assert 0.1 <= time.monotonic() - begun < 2


async def test_a_shutdown_waits_for_nobody_who_waits_for_the_lease_and_lets_none_of_them_begin() -> None:
    bench, asked, ours = Bench(), asyncio.Event(), asyncio.Event()

    async def confirmed() -> None:
        asked.set()
        await ours.wait()

    bench.workers.confirmed = confirmed
    async with bench.working() as tasks:
        bench.queue.add(BEAR)
        await until(asked.is_set)
        await asyncio.wait_for(bench.workers.drain(10), 1)
        ours.set()
        await asyncio.wait_for(tasks[0], 2)
    assert bench.kube.writes == []
