"""Router pods asked over real HTTP on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from plumbline_contract.routes import Measured
from plumbline_operator.signals.http import HttpSignals

ANSWER = Measured(pod="r-1", generation=3, requests={"a": 7}).canonical()
Serve = Callable[[bytes, int], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server on a loopback port that answers GET /measured with a body and a status."""
    servers: list[asyncio.Server] = []

    async def start(body: bytes, status: int) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = await reader.readuntil(b"\r\n\r\n")
            code = status if asked.startswith(b"GET /measured ") else 404
            head = f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def asked(port: int, hosts: str) -> tuple[Measured, ...] | None:
    signals = HttpSignals(port=port)
    try:
        return await signals.measured(hosts)
    finally:
        await signals.close()


async def test_every_pod_is_asked(serve: Serve) -> None:
    port = await serve(ANSWER, 200)
    found = await asked(port, "127.0.0.1,localhost")
    assert found is not None
    assert [one.requests for one in found] == [{"a": 7}, {"a": 7}]


async def test_one_silent_pod_makes_the_whole_answer_none(serve: Serve) -> None:
    port = await serve(ANSWER, 200)
    assert await asked(port, "127.0.0.1,127.0.0.2") is None


async def test_no_pod_is_no_answer(serve: Serve) -> None:
    port = await serve(ANSWER, 200)
    assert await asked(port, "") is None


@pytest.mark.parametrize(("body", "status"), [(ANSWER, 503), (b"<html>", 200), (b'{"pod": "r-1"}', 200)])
async def test_an_answer_that_is_none_counts_as_silence(serve: Serve, body: bytes, status: int) -> None:
    port = await serve(body, status)
    assert await asked(port, "127.0.0.1") is None
