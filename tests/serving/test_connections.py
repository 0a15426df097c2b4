"""What happens on one connection, byte by byte."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from plumbline_contract.routes import ServingSettings
from plumbline_serving.app import MAX_BODY_BYTES, App
from plumbline_serving.direct import DirectProtocol
from plumbline_serving.infer import Inference
from plumbline_serving.metrics import Metrics
from tests.serving.processes import Caller, Served, rows
from tests.serving.test_protocol import metrics

BODY = json.dumps(rows((1, 2, 3))).encode()


def infer(body: bytes = BODY, *headers: str, version: str = "1.1", length: int | None = None) -> bytes:
    """An inference request as it goes over the wire."""
    size = len(body) if length is None else length
    lines = ["POST /v2/models/fraud/infer HTTP/" + version, "host: x", "content-type: application/json"]
    return "\r\n".join([*lines, f"content-length: {size}", *headers, "", ""]).encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


@pytest.fixture
def wire(logistic: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", logistic.port), timeout=20) as connection:
        yield connection


def until_received(wire: socket.socket, mark: bytes, times: int = 1) -> bytes:
    """What came up to the n-th appearance of a mark."""
    received = b""
    while received.count(mark) < times:
        piece = wire.recv(65536)
        assert piece, f"the server closed after {received!r}"
        received += piece
    return received


def rest(wire: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    while piece := wire.recv(65536):
        received += piece
    return received


def test_answers_of_both_ways_keep_the_order_of_their_requests(wire: socket.socket) -> None:
    named = [json.dumps(rows((1, 2, 3)) | {"id": name}).encode() for name in ("first", "second")]
    wire.sendall(get("/v2") + infer(named[0]) + get("/v2/health/live") + infer(named[1]) + get("/v2/nothing"))
    received = until_received(wire, b"nothing is served")
    order = [received.index(mark) for mark in (b"plumbline-serving", b"first", b'"live"', b"second", b"nothing is")]
    assert order == sorted(order)


def test_a_request_in_single_bytes_is_one_request(wire: socket.socket) -> None:
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in infer():
        wire.sendall(bytes([byte]))
    assert b" 200 OK" in until_received(wire, b'"outputs"')


@pytest.mark.parametrize("request_", [infer(BODY, "connection: close"), infer(version="1.0")])
def test_a_caller_that_wants_no_more_is_closed_after_its_answer(wire: socket.socket, request_: bytes) -> None:
    wire.sendall(request_)
    received = rest(wire)
    assert b" 200 OK" in received
    assert b"connection: close" in received.lower()
    assert received.count(b'"outputs"') == 1


def test_a_caller_that_asks_first_is_told_to_go_on(wire: socket.socket) -> None:
    head = infer(b"", "expect: 100-continue", length=len(BODY))
    wire.sendall(head)
    assert b"100 Continue" in until_received(wire, b"\r\n\r\n")
    wire.sendall(BODY)
    assert b" 200 OK" in until_received(wire, b'"outputs"')


def test_a_caller_that_asks_first_and_is_refused_is_closed(wire: socket.socket) -> None:
    wire.sendall(infer(b"", "expect: 100-continue", "content-encoding: gzip", length=len(BODY)))
    received = rest(wire)
    assert b" 415 " in received
    assert b"connection: close" in received.lower()
    assert b"100 Continue" not in received


def test_a_caller_that_leaves_in_the_middle_is_no_request(logistic: Served, caller: Caller) -> None:
    before = metrics(caller)
    with socket.create_connection(("127.0.0.1", logistic.port), timeout=20) as connection:
        connection.sendall(infer(BODY[:10], length=len(BODY)))
    assert caller.infer(rows((1, 2, 3))).status == 200
    after = metrics(caller)
    answered = [name for name in after if name.startswith("plumbline_serving_requests_total")]
    assert sum(after[name] - before.get(name, 0.0) for name in answered) == 1


def test_after_a_refused_body_nothing_more_is_answered(wire: socket.socket) -> None:
    wire.sendall(infer(b"", length=MAX_BODY_BYTES + 1))
    received = until_received(wire, b"send fewer rows")
    assert b" 413 " in received
    assert b"connection: close" in received
    assert b'"outputs"' not in received
    assert rest(wire) == b""


def test_what_is_no_http_is_400_and_closed(wire: socket.socket) -> None:
    wire.sendall(b"nonsense\r\n\r\n")
    assert b" 400 " in rest(wire)


def test_an_upgrade_is_not_taken_and_the_request_is_answered(wire: socket.socket) -> None:
    wire.sendall(infer(BODY, "connection: upgrade", "upgrade: websocket"))
    assert b"HTTP/1.1 " in until_received(wire, b"\r\n\r\n")


def test_a_path_with_escapes_or_a_query_is_the_same_path(wire: socket.socket) -> None:
    for path in (b"/v2/models/fraud/infer?x=1", b"/v2/models/%66raud/infer"):
        wire.sendall(infer().replace(b"/v2/models/fraud/infer", path))
        assert b" 200 OK" in until_received(wire, b'"outputs"')


def test_a_caller_that_says_no_more_still_gets_its_answer(wire: socket.socket) -> None:
    wire.sendall(infer())
    wire.shutdown(socket.SHUT_WR)
    assert b" 200 OK" in rest(wire)


IDLE_SECONDS = 2


async def test_only_a_connection_on_which_nothing_is_asked_is_closed() -> None:
    model = SimpleNamespace(name="fraud", manifest="sha256:0")
    inference = SimpleNamespace(
        model=model, read=lambda _: None, compute=lambda _: None, answer=lambda _: (b"{}", list[tuple[bytes, bytes]]())
    )
    settings = ServingSettings.model_construct(model_name="fraud", variant="fraud-v-idle")
    app = App(settings, cast(Inference, inference), Metrics("fraud-v-idle", "", ""))
    config = uvicorn.Config(app, interface="asgi3", log_config=None, timeout_keep_alive=IDLE_SECONDS)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: DirectProtocol(config, ServerState(), {}), "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(3):
            writer.write(infer())
            assert (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200")
            asked = time.monotonic()
            # Well within the time for the next request, and beyond it for the first one's answer at the last.
            await asyncio.sleep(0.4 * IDLE_SECONDS)
        assert await reader.read() == b""
        writer.close()
    assert time.monotonic() - asked > IDLE_SECONDS
