"""The proxy does to requests what it is told, and forwards the rest unchanged."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.faultproxy import Answer, Call, Crash, FaultProxy, Journal, Reset, Upstream
from tests.support.faultproxy.call import call_of

JOB = "/apis/batch/v1/namespaces/team/jobs/a"
EVENTS = [{"type": "ADDED", "object": {"n": 1}}, {"type": "MODIFIED", "object": {"n": 2}}]


@dataclass(slots=True)
class Server:
    """Stands for the API server: keeps what reached it."""

    seen: list[tuple[str, str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer anything; a watch gets two events."""
        self.seen.append((request.method, request.path_qs, (await request.read()).decode()))
        if request.query.get("watch"):
            reply = web.StreamResponse()
            await reply.prepare(request)
            for event in EVENTS:
                await reply.write(json.dumps(event).encode() + b"\n")
            return reply
        return web.json_response({"kind": "Job"}, status=201 if request.method == "PATCH" else 200)


@dataclass(slots=True)
class Way:
    """A client, the proxy, and the server behind it."""

    server: Server
    proxy: FaultProxy
    client: aiohttp.ClientSession
    kills: list[int]

    async def ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Status and text of the answer."""
        async with self.client.request(method, path, data=body or None) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    server, kills = Server(), []
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target = Upstream(f"http://127.0.0.1:{runner.addresses[0][1]}", ssl.create_default_context())
    proxy = FaultProxy(target, Journal(tmp_path / "journal.jsonl"), kill=lambda: kills.append(1))
    await proxy.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{proxy.port}") as client:
        yield Way(server, proxy, client, kills)
    await proxy.stop()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("PATCH", JOB, Call("PATCH", "jobs", "team", "a")),
        ("PATCH", f"{JOB}/status", Call("PATCH", "jobs", "team", "a", "status")),
        ("GET", "/api/v1/namespaces/team/pods", Call("GET", "pods", "team")),
        ("GET", "/api/v1/namespaces/team", Call("GET", "namespaces", "", "team")),
        ("GET", "/apis/batch/v1/jobs", Call("GET", "jobs")),
        ("GET", "/version", Call("GET", "")),
    ],
)
def test_a_path_says_what_is_asked_for(method: str, path: str, call: Call) -> None:
    assert call_of(method, path, {}) == call
    assert call_of("GET", path, {"watch": "true"}).watch


def test_only_changes_of_state_have_numbers() -> None:
    assert Call("PATCH", "jobs").counted
    assert not Call("GET", "jobs").counted
    assert not Call("PUT", "leases").counted
    assert not Call("PUT", "leases").disturbs
    assert Call("PATCH", "events").disturbs
    assert not Call("PATCH", "events").counted
    assert not Call("POST", "selfsubjectaccessreviews").changes


async def test_it_forwards_path_query_body_and_answer(way: Way) -> None:
    assert await way.ask("PATCH", f"{JOB}?force=true", "{}") == (201, '{"kind": "Job"}')
    assert way.server.seen == [("PATCH", f"{JOB}?force=true", "{}")]
    (entry,) = way.proxy.journal.writes()
    assert (entry.number, entry.code, entry.call.place) == (1, 201, "jobs/a")
    assert json.loads(way.proxy.journal.path.read_text())["place"] == "jobs/a"


@pytest.mark.parametrize(("side", "forwarded"), [("before", 1), ("after", 2)])
async def test_it_kills_at_the_numbered_write_and_nowhere_else(way: Way, side: str, forwarded: int) -> None:
    way.proxy.crash = Crash(2, side)
    await way.ask("PATCH", JOB)
    await way.ask("GET", JOB)
    assert way.kills == []
    with pytest.raises(aiohttp.ClientError):
        await way.ask("PATCH", JOB)
    assert way.kills == [1]
    assert sum(method == "PATCH" for method, _, _ in way.server.seen) == forwarded
    assert [one.code for one in way.proxy.journal.writes()] == [201, 201 if side == "after" else 0]
    assert await way.ask("PATCH", JOB) == (201, '{"kind": "Job"}')


async def test_it_refuses_with_retry_after_and_does_not_forward(way: Way) -> None:
    way.proxy.trouble = lambda call: Answer(429, retry_after=2) if call.method == "PATCH" else None
    async with way.client.patch(JOB) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        assert (await answer.json())["kind"] == "Status"
    assert (await way.ask("GET", JOB))[0] == 200
    assert [method for method, _, _ in way.server.seen] == ["GET"]


@pytest.mark.parametrize(("side", "forwarded"), [("before", 0), ("after", 1)])
async def test_it_cuts_the_connection_before_or_after_the_effect(way: Way, side: str, forwarded: int) -> None:
    way.proxy.trouble = lambda call: Reset(side)
    with pytest.raises(aiohttp.ClientError):
        await way.ask("PATCH", JOB)
    assert len(way.server.seen) == forwarded


async def test_it_loses_the_events_it_is_told_to(way: Way) -> None:
    way.proxy.drop = lambda call, event: event["type"] == "ADDED"
    async with asyncio.timeout(10):
        status, text = await way.ask("GET", "/apis/batch/v1/jobs?watch=true")
    assert (status, [json.loads(line) for line in text.splitlines()]) == (200, EVENTS[1:])
