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

from tests.support.faultproxy import (
    Answer,
    Call,
    Crash,
    Event,
    Expired,
    Fate,
    FaultProxy,
    Journal,
    Reset,
    Truncate,
    Upstream,
)
from tests.support.faultproxy.call import call_of

JOB = "/apis/batch/v1/namespaces/team/jobs/a"
WATCH = "/apis/batch/v1/jobs?watch=true"
EVENTS = [
    {"type": "ADDED", "object": {"metadata": {"name": "a"}}},
    {"type": "BOOKMARK", "object": {"metadata": {}}},
    {"type": "MODIFIED", "object": {"metadata": {"name": "a"}}},
    {"type": "MODIFIED", "object": {"metadata": {"name": "b"}}},
]


@dataclass(slots=True)
class Server:
    """Stands for the API server: keeps what reached it. A watch stays open until `over` is set."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer anything; a watch gets the events."""
        self.seen.append((request.method, request.path_qs, (await request.read()).decode()))
        if request.query.get("watch"):
            reply = web.StreamResponse()
            await reply.prepare(request)
            for event in EVENTS:
                await reply.write(json.dumps(event).encode() + b"\n")
            await self.over.wait()
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
    server.over.set()
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


async def watched(way: Way, count: int) -> list[dict[str, object]]:
    """So many events of a watch."""
    async with asyncio.timeout(10), way.client.get(WATCH) as answer:
        return [json.loads(await answer.content.readline()) for _ in range(count)]


@pytest.mark.parametrize(
    ("fate", "wanted"),
    [
        ("pass", EVENTS),
        ("lose", [EVENTS[0], EVENTS[1], EVENTS[3]]),
        ("twice", [EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[2], EVENTS[3]]),
        ("later", [EVENTS[0], EVENTS[1], EVENTS[3], EVENTS[2]]),
    ],
)
async def test_an_event_has_its_fate(way: Way, fate: Fate, wanted: list[dict[str, object]]) -> None:
    way.proxy.watches.meddle = lambda event: fate if event == Event("jobs", "MODIFIED", 1, "a") else "pass"
    assert await watched(way, len(wanted)) == wanted
    assert way.proxy.watches.counts == {("jobs", "ADDED"): 1, ("jobs", "MODIFIED"): 2}
    faults = [one.fault for one in way.proxy.journal.entries]
    assert faults == ([] if fate == "pass" else [f"{fate} MODIFIED 1 of a"])


async def test_a_last_event_that_should_come_later_comes_all_the_same(way: Way) -> None:
    way.proxy.watches.meddle = lambda event: "later" if event.name == "b" else "pass"
    assert await watched(way, len(EVENTS)) == EVENTS


async def test_a_held_watch_tells_of_nothing_until_it_is_released(way: Way) -> None:
    way.proxy.watches.hold("jobs")
    watching = asyncio.create_task(watched(way, len(EVENTS)))
    async with asyncio.timeout(10):
        while True:
            if way.proxy.journal.entries:
                break
            await asyncio.sleep(0.01)
    assert [one.fault for one in way.proxy.journal.entries] == ["held"]
    assert not watching.done()
    way.proxy.watches.release("jobs")
    assert await watching == EVENTS


async def test_a_watch_is_told_that_its_place_is_forgotten(way: Way) -> None:
    way.proxy.trouble = lambda call: Expired()
    status, text = await way.ask("GET", WATCH)
    assert (status, json.loads(text)["type"], json.loads(text)["object"]["code"]) == (200, "ERROR", 410)
    assert (await way.ask("GET", JOB))[0] == 410
    assert way.server.seen == []


async def test_open_watches_are_ended_with_the_same_error(way: Way) -> None:
    async with asyncio.timeout(10), way.client.get(WATCH) as answer:
        for _ in EVENTS:
            await answer.content.readline()
        await way.proxy.watches.expire()
        assert json.loads(await answer.content.readline())["object"]["code"] == 410


@pytest.mark.parametrize("how", ["length", "chunked", "json"])
async def test_half_an_answer_comes_back(way: Way, how: str) -> None:
    way.proxy.trouble = lambda call: Truncate(how)
    if how == "json":
        assert (await way.ask("GET", JOB))[1] == '{"kind"'
        return
    with pytest.raises(aiohttp.ClientPayloadError):
        await way.ask("GET", JOB)
    assert len(way.server.seen) == 1


async def test_a_watch_is_cut_within_an_event(way: Way) -> None:
    way.proxy.trouble = lambda call: Truncate()
    with pytest.raises(aiohttp.ClientPayloadError):
        await way.ask("GET", WATCH)


async def test_what_was_said_first_is_said_again(way: Way) -> None:
    await way.ask("GET", JOB)
    assert len(way.server.seen) == 1
    way.proxy.memory.old = lambda call: call.agent == "lagging"
    async with way.client.get(JOB, headers={"User-Agent": "lagging"}) as answer:
        assert (answer.status, await answer.text()) == (200, '{"kind": "Job"}')
    assert len(way.server.seen) == 1
    assert [one.fault for one in way.proxy.journal.entries] == ["old"]
    await way.ask("GET", JOB)
    assert len(way.server.seen) == 2


async def test_trouble_may_depend_on_the_token(way: Way) -> None:
    way.proxy.trouble = lambda call: None if call.token == "fresh" else Answer(401)
    assert (await way.ask("GET", JOB))[0] == 401
    async with way.client.get(JOB, headers={"Authorization": "Bearer fresh"}) as answer:
        assert answer.status == 200


async def test_an_api_server_that_is_away_is_a_cut_connection(way: Way, tmp_path: Path) -> None:
    nobody = Upstream("http://127.0.0.1:1", ssl.create_default_context())
    proxy = FaultProxy(nobody, Journal(tmp_path / "away.jsonl"))
    await proxy.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{proxy.port}") as client:
        for method in ("GET", "PATCH"):
            with pytest.raises(aiohttp.ClientError):
                await client.request(method, JOB)
    await proxy.stop()
    away = [one.call.method for one in proxy.journal.entries if one.fault == "away: ClientConnectorError"]
    assert set(away) == {"GET", "PATCH"}  # the client itself repeats a question that was cut
