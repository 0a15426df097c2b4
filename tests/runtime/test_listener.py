"""The listener's thread: begun again when it falls, ended when told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from plumbline_operator.runtime import listener
from plumbline_operator.runtime.listener import Listener


@dataclass(slots=True)
class Lives:
    """What each life did; `fall` says what happens at the beginning of the life with this number."""

    fall: Callable[[int], None] = lambda number: None
    threads: list[str] = field(default_factory=list)

    async def live(self, stop: asyncio.Event, ending: Callable[[], None]) -> None:
        """One life."""
        self.threads.append(threading.current_thread().name)
        self.fall(len(self.threads))
        await stop.wait()


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact, at most five seconds."""
    async with asyncio.timeout(5):
        while True:
            if fact():
                return
            await asyncio.sleep(0.01)


async def ended(one: Listener, running: Awaitable[None]) -> None:
    """End a listener and wait for it."""
    one.end()
    await asyncio.wait_for(running, 5)


async def test_it_lives_in_a_thread_of_its_own_until_it_is_told_to_end() -> None:
    lives = Lives()
    one = Listener(lives.live)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 1)
    assert lives.threads == ["listener"]
    await ended(one, running)


async def test_it_begins_again_when_it_falls_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    def fall(number: int) -> None:
        if number < 3:
            raise ValueError(f"life {number} is over")

    lives = Lives(fall)
    one = Listener(lives.live, first_pause=0.01)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 3)
    assert "the watches fell: ValueError: life 2 is over" in caplog.text
    await ended(one, running)


async def test_a_renewal_begins_a_new_life_at_once_and_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    lives = Lives()
    one = Listener(lives.live, first_pause=3600)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 1)
    one.renew()
    await until(lambda: len(lives.threads) == 2)
    assert caplog.text == ""
    await ended(one, running)


async def test_it_ends_also_while_it_waits_to_begin_again() -> None:
    def fall(number: int) -> None:
        raise ValueError("over")

    lives = Lives(fall)
    one = Listener(lives.live, first_pause=3600)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 1)
    await ended(one, running)


async def test_what_it_cancels_when_it_ends_is_none_of_ours() -> None:
    async def live(stop: asyncio.Event, ending: Callable[[], None]) -> None:
        await stop.wait()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    one = Listener(live)
    running, ours = asyncio.create_task(one.run()), asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0.05)
    await ended(one, running)
    assert not ours.done()
    ours.cancel()


async def test_an_end_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "END_SECONDS", 0.1)

    async def live(stop: asyncio.Event, ending: Callable[[], None]) -> None:
        lives.threads.append("one")
        if len(lives.threads) == 1:
            ending()
            await asyncio.Event().wait()
        await stop.wait()

    lives = Lives()
    one = Listener(live, first_pause=0.01)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 2)
    await ended(one, running)


async def test_it_begins_again_when_the_process_was_asked_to_exit_in_its_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fall(number: int) -> None:
        if number == 1:
            raise SystemExit("enough")

    lives = Lives(fall)
    one = Listener(lives.live, first_pause=0.01)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 2)
    assert "the watches fell: SystemExit: enough" in caplog.text
    await ended(one, running)


async def test_what_a_life_leaves_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LEFT_SECONDS", 0.1)

    async def stubborn() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.Event().wait()

    async def live(stop: asyncio.Event, ending: Callable[[], None]) -> None:
        open_ones.append(stubborn())
        await anext(open_ones[-1])
        if len(open_ones) > 1:
            await stop.wait()

    open_ones: list[AsyncIterator[None]] = []
    one = Listener(live, first_pause=0.01)
    running = asyncio.create_task(one.run())
    await until(lambda: len(open_ones) == 2)
    await ended(one, running)


async def test_it_begins_again_when_its_loop_is_stopped_while_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(loop: asyncio.AbstractEventLoop) -> None:
        loop.close()
        raise RuntimeError("Event loop stopped before Future completed.")

    def fall(number: int) -> None:
        if number == 1:
            raise ValueError("over")

    monkeypatch.setattr(listener, "_close", torn)
    lives = Lives(fall)
    one = Listener(lives.live, first_pause=0.01)
    running = asyncio.create_task(one.run())
    await until(lambda: len(lives.threads) == 2)
    await ended(one, running)
