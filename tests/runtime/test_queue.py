"""The work queue's promises."""

from __future__ import annotations

import asyncio

import pytest

from plumbline_operator.runtime.queue import FIRST_RETRY, LONGEST_RETRY, WorkQueue


class Clock:
    """Seconds that move when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock, jitter=lambda: 1.0)


async def taken(queue: WorkQueue[str]) -> str | None:
    """The next key, or None when nothing is due."""
    try:
        return await asyncio.wait_for(queue.take(), 0.05)
    except TimeoutError:
        return None


async def test_a_key_is_queued_at_most_once(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


async def test_the_earliest_wish_wins(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", 60)
    queue.add("a", 10)
    queue.add("a", 30)
    assert await taken(queue) is None
    clock.now += 10
    assert await taken(queue) == "a"
    queue.done("a")
    clock.now += 60
    assert await taken(queue) is None


async def test_two_workers_never_have_one_key(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    assert await taken(queue) is None


async def test_a_change_during_work_causes_exactly_one_more(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    queue.add("a")
    queue.done("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


async def test_a_waiting_worker_is_woken_by_a_new_key(queue: WorkQueue[str]) -> None:
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 1) == "a"


async def test_due_keys_come_in_the_order_of_their_times(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("late", 3)
    queue.add("early", 1)
    clock.now += 5
    assert [await taken(queue), await taken(queue)] == ["early", "late"]


def test_retries_double_to_a_bound_and_success_forgets_them(queue: WorkQueue[str]) -> None:
    delays = [queue.retry("a") for _ in range(12)]
    assert delays[:4] == [FIRST_RETRY, 2.0, 4.0, 8.0]
    assert delays[-1] == LONGEST_RETRY
    queue.forget("a")
    assert queue.retry("a") == FIRST_RETRY


def test_who_retries_may_bound_the_pauses(queue: WorkQueue[str]) -> None:
    assert max(queue.retry("a", at_most=8.0) for _ in range(9)) == 8.0


def test_jitter_spreads_retries_between_half_and_whole() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0)
    delays = {queue.retry(str(n)) for n in range(200)}
    assert len(delays) > 100
    assert min(delays) >= FIRST_RETRY / 2
    assert max(delays) <= FIRST_RETRY


def test_depth_counts_what_is_due_and_not_in_work(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("b", 60)
    assert queue.depth() == 1
