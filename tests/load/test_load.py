"""The generator tells the truth: of its clock, of slow answers, of broken ones, and of its own bounds."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.load import Load, failures, post, quantile
from tests.load.shots import Shot, read_line

REQUEST = post("/v2/models/m/infer", b"{}", {"x-plumbline-unit": "u"})
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-plumbline-variant: blue\r\n\r\n{}"
Handler = Callable[[int, asyncio.StreamWriter], Coroutine[None, None, bool]]


async def good(_: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(GOOD)
    return True


@contextmanager
def server(handler: Handler) -> Iterator[tuple[int, list[int]]]:
    """A server that hands every request's number to `handler`, which says whether the connection lives on."""
    seen: list[int] = []
    told: queue.SimpleQueue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.SimpleQueue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n{}"):
                seen.append(len(seen))
                if not await handler(seen[-1], writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        stop = asyncio.Event()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            told.put((listening.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    port, loop, stop = told.get(timeout=10)
    try:
        yield port, seen
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def test_the_rate_is_the_asked_one_and_every_request_is_written_down_once(tmp_path: Path) -> None:
    with server(good) as (port, seen):
        shots = Load(tmp_path, port, [REQUEST], 200, most_seconds=2.0).run(5)
    assert len(shots) == len(seen) == 400
    assert sorted(shot.number for shot in shots) == list(range(400))
    assert failures(shots) == []
    assert {shot.variant for shot in shots} == {"blue"}
    due = sorted(shot.due for shot in shots)
    assert due[-1] - due[0] == pytest.approx(399 / 200, abs=1e-3)


def test_a_server_that_stalls_is_seen_as_slow_by_all_who_were_due_meanwhile(tmp_path: Path) -> None:
    async def stall(number: int, writer: asyncio.StreamWriter) -> bool:
        if number == 20:
            time.sleep(0.5)  # noqa: ASYNC251  the whole server stands still, as one with a long pause does
        return await good(number, writer)

    with server(stall) as (port, _):
        shots = Load(tmp_path, port, [REQUEST], 100, most_seconds=1.5).run(5)
    assert failures(shots) == []
    assert sum(shot.seconds > 0.1 for shot in shots) >= 30  # due in the first 0.4 s of it; a closed loop would see one
    assert quantile(shots, 1.0) >= 0.45


def test_timeouts_resets_refusals_and_other_answers_are_failures(tmp_path: Path) -> None:
    async def bad(number: int, writer: asyncio.StreamWriter) -> bool:
        if number % 4 == 0:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno")
            return True
        if number % 4 == 1:
            writer.transport.abort()
        elif number % 4 == 2:
            writer.write(GOOD[:40])
            return False
        else:
            await asyncio.sleep(30)
        return False

    with server(bad) as (port, seen):
        shots = Load(tmp_path, port, [REQUEST], 40, most_seconds=0.5, timeout=0.5).run(3)
    assert len(shots) == len(seen) == 20  # nothing was sent twice
    assert all(shot.failed for shot in shots)
    text = " ".join(failures(shots))
    assert "503" in text
    assert "timeout after 0.5 s" in text
    assert "ConnectionLost" in text
    shots = Load(tmp_path, port, [REQUEST], 10, most_seconds=0.2).run(2)
    assert "ConnectionRefusedError" in " ".join(failures(shots))


def test_connections_are_used_again_unless_the_answer_says_close(tmp_path: Path) -> None:
    async def closing(number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(GOOD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") if number % 5 == 0 else GOOD)
        return number % 5 != 0

    with server(closing) as (port, _):
        shots = Load(tmp_path, port, [REQUEST], 100, most_seconds=1.0, connections=1).run(3)
    assert failures(shots) == []
    assert sum(shot.closed for shot in shots) == 20


def test_connections_are_bounded_and_those_who_wait_are_timed(tmp_path: Path) -> None:
    busy = [0, 0]

    async def slow(number: int, writer: asyncio.StreamWriter) -> bool:
        busy[0] += 1
        busy[1] = max(busy)
        await asyncio.sleep(0.1)
        busy[0] -= 1
        return await good(number, writer)

    with server(slow) as (port, _):
        shots = Load(tmp_path, port, [REQUEST], 50, most_seconds=1.0, connections=3).run(5)
    assert busy[1] <= 3
    assert failures(shots) == []
    assert quantile(shots, 0.95) > 0.3  # 30 a second are answered, 50 are due


def test_a_load_can_be_watched_and_stopped(tmp_path: Path) -> None:
    with server(good) as (port, _), Load(tmp_path, port, [REQUEST], 100) as load:
        before = len(load.shots())
        assert len(load.more(50).shots()) >= before + 50
        assert failures(load.stop()) == []
        assert load.stop() == load.shots()


def test_a_shot_survives_being_written_down() -> None:
    shot = Shot(1.5, 0.25, 0, "v", "ConnectionLost: 'x'", True, 7)
    assert read_line(shot.line()) == shot
    with pytest.raises(ValueError, match="no request"):
        quantile([], 0.5)
