"""The line before the model: who waits, who is refused, and that nothing is held for callers who left."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plumbline_contract.routes import ServingSettings
from plumbline_serving.app import App, Message
from plumbline_serving.infer import Inference
from plumbline_serving.line import LEAST, MOST_BYTES, SLICE_SECONDS, TOGETHER_BYTES, WAIT_SECONDS, Line
from plumbline_serving.metrics import Metrics
from tests.serving import models
from tests.serving.bucket import Bucket
from tests.serving.processes import Served, answers, ask, serving, until
from tests.serving.test_connections import BODY, infer, rest, until_received
from tests.serving.test_protocol import metrics

CALLERS = 80
JSON = {"content-type": "application/json"}
ASKS = "expect: 100-continue"  # such a request goes uvicorn's own way, and must meet the same limits
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
WAYS = pytest.mark.parametrize("headers", [(), (ASKS,)], ids=["direct", "asks first"])


STALL = 0.3  # seconds in which a busy node does not schedule the process


class Timed(Line):
    """A line whose time passes only while a model computes, so that how busy the machine is changes nothing."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 0.0


class Asked:
    """A request that takes a while to answer."""

    def __init__(self, said: list[int], number: int, line: Timed, seconds: float = 0.0) -> None:
        self._said, self._number, self._line, self._seconds = said, number, line, seconds
        self.size = 1000

    def read(self) -> None:
        pass

    def compute(self) -> None:
        self._line.now += self._seconds

    def answer(self) -> None:
        pass

    def send(self) -> bool:
        self._said.append(self._number)
        return self._seconds > 0


STEPS = ("read", "compute", "answer", "send")


class Stepping:
    """A request that notes its steps."""

    def __init__(self, taken: list[tuple[str, int]], number: int, size: int) -> None:
        self._taken, self._number, self.size = taken, number, size

    def __getattr__(self, step: str) -> Callable[[], bool]:
        def note() -> bool:
            self._taken.append((step, self._number))
            return True

        return note


async def answered(line: Timed, count: int, seconds: float) -> int:
    """Have so many requests of so many seconds answered, in order. In how many turns of the event loop."""
    said, loop = list[int](), asyncio.get_running_loop()
    for number in range(count):
        line.join(Asked(said, number, line, seconds), loop)
    turns = 0
    while len(said) < count:
        await asyncio.sleep(0)
        turns += 1
    assert said == list(range(count))
    return turns


async def test_the_line_is_answered_in_order_and_sockets_are_looked_at_between_slices() -> None:
    assert await answered(Timed(), 10, SLICE_SECONDS) >= 10


async def test_requests_go_through_each_step_together_unless_they_are_large() -> None:
    small, large = await steps_of(size=1000), await steps_of(size=TOGETHER_BYTES)
    assert small == [(step, number) for step in STEPS for number in range(3)]
    assert large == [(step, number) for number in range(3) for step in STEPS]


async def steps_of(size: int) -> list[tuple[str, int]]:
    """What happens, in order, when three requests of this size wait for a model that is known to be quick."""
    line, loop, taken = Timed(), asyncio.get_running_loop(), list[tuple[str, int]]()
    await answered(line, 1, 0.0001)
    for number in range(3):
        line.join(Stepping(taken, number, size), loop)
    for _ in range(10):  # turns of the event loop, more than it takes
        await asyncio.sleep(0)
    return taken


async def test_a_line_is_full_when_the_next_would_wait_too_long() -> None:
    line = Timed()
    await answered(line, 100, 0.004)
    await answered(line, 100, 0.0)  # wrong requests, which cost nothing and teach nothing
    assert LEAST < fill(line, 200) < 1.1 * WAIT_SECONDS / 0.004
    await asyncio.sleep(0)  # the wrong ones cost nothing: a slice answers them all
    assert not line.full()


def fill(line: Timed, most: int) -> int:
    """Let so many requests wait, or as many as the line takes. How many it took."""
    loop = asyncio.get_running_loop()
    for number in range(most):
        if line.full():
            return number
        line.join(Asked([], number, line), loop)
    return most


async def test_one_stall_refuses_nobody_of_a_modest_backlog() -> None:
    line = Timed()
    await answered(line, 100, 0.001)
    await answered(line, 1, STALL)
    came = int(STALL * 300)  # meanwhile, of callers that keep a third of a core busy
    assert fill(line, came) == came


async def test_a_lasting_slowdown_is_learned_within_tens_of_answers() -> None:
    line = Timed()
    await answered(line, 100, 0.001)
    await answered(line, 50, 0.02)
    assert fill(line, 1000) < 1.5 * WAIT_SECONDS / 0.02


async def test_a_few_long_answers_among_many_short_ones_count_with_all_they_take() -> None:
    line = Timed()
    for _ in range(100):
        await answered(line, 19, 0.0001)
        await answered(line, 1, 0.02)
    average = (19 * 0.0001 + 0.02) / 20
    assert fill(line, 10_000) < 2 * WAIT_SECONDS / average


async def test_a_few_callers_of_a_slow_model_may_always_wait() -> None:
    line, loop = Timed(), asyncio.get_running_loop()
    await answered(line, 3, 10 * WAIT_SECONDS / LEAST)
    for number in range(LEAST):
        assert not line.full()
        line.join(Asked([], number, line), loop)
    assert line.full()


@pytest.fixture(scope="module")
def slow(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = bucket.settings(bucket.put_model(models.slow(products=20, size=512)), variant="fraud-v-slow")
    with serving(settings, Path(tmp_path_factory.mktemp("slow"))) as served:
        yield served


@pytest.fixture
def wires(slow: Served) -> Iterator[list[socket.socket]]:
    """Many connections to the slow model, which has answered once."""
    until(lambda: served_now(slow), "nobody waits any more")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", slow.port), timeout=60)) for _ in range(CALLERS)
        ]


@WAYS
def test_more_callers_than_time_are_refused_at_once_and_the_others_answered(
    wires: list[socket.socket], headers: tuple[str, ...]
) -> None:
    for wire in wires:
        wire.sendall(infer(BODY, *headers))
    heads = [said(wire) for wire in wires]
    assert set(heads) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}, heads
    assert heads.count(b"HTTP/1.1 200") >= LEAST
    for wire in wires:
        wire.sendall(infer(b"{}", *headers))
    again = {said(wire) for wire in wires}
    assert again <= {b"HTTP/1.1 400", b"HTTP/1.1 503"}, "all stay connected"


def said(wire: socket.socket) -> bytes:
    """Version and status of one answer."""
    return until_received(wire, b"}").removeprefix(GO_ON)[:12]


def test_a_refused_caller_is_told_to_ask_later(slow: Served, wires: list[socket.socket]) -> None:
    for wire in wires:
        wire.sendall(infer(BODY, "connection: close"))
    refused = next(said for said in map(rest, reversed(wires)) if b" 503 " in said)
    assert b"retry-after: 1" in refused
    assert b"ask again later" in refused
    assert answers(slow.port, "/v2/health/ready")


@WAYS
def test_bodies_that_never_end_do_not_fill_the_memory(
    slow: Served, wires: list[socket.socket], headers: tuple[str, ...]
) -> None:
    piece = b" " * (15 * 2**20)
    enough = MOST_BYTES // len(piece)
    before = refusals(slow)
    for wire in wires[:enough]:
        wire.sendall(infer(piece, *headers, length=len(piece) + 1))
    # One byte more than there is room for: whichever connection brings it in is refused.
    last = piece[: MOST_BYTES - enough * len(piece) + 1]
    wires[enough].sendall(infer(last, *headers, length=len(last) + 1))
    until(lambda: refusals(slow) == before + 1, "one caller is refused", 20)
    for wire in wires:
        wire.close()
    until(lambda: served_now(slow), "memory is free")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """An application without a model, whose patience is short."""
    monkeypatch.setattr("plumbline_serving.app.BODY_SECONDS", 0.05)
    settings = ServingSettings.model_construct(model_name="fraud", variant="fraud-v-impatient")
    model = SimpleNamespace(name="fraud", manifest="sha256:0")
    return App(settings, cast(Inference, SimpleNamespace(model=model)), Metrics("fraud-v-impatient", "", ""))


async def test_a_body_that_comes_uvicorns_way_must_come_soon_and_its_memory_is_freed(app: App) -> None:
    held, sent = list[int](), list[dict[str, Any]]()
    pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Message:
        for piece in pieces:
            return piece
        held.append(app.line.bytes)
        return await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        sent.append(dict(message))

    headers = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"expect", b"100-continue")]
    scope = {"type": "http", "method": "POST", "path": "/v2/models/fraud/infer", "headers": headers}
    async with asyncio.timeout(10):
        await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert (held, app.line.bytes) == ([1], 0)


def served_now(slow: Served) -> bool:
    return ask(slow.port, "POST", "/v2/models/fraud/infer", BODY, JSON).status == 200


def refusals(slow: Served) -> float:
    caller = slow.caller()
    found = metrics(caller)
    caller.close()
    return found.get('plumbline_serving_requests_total{code="503"}', 0.0)
