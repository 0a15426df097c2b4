"""A reverse proxy between one client and the API server, plain HTTP on loopback towards the client.

client ── trouble? ── number the write ── kill before? ── forward ── kill after? ── answer, perhaps cut or old
            └ Answer, Delay, Reset, Expired                └ a watch: event by event, held, lost, twice, later
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.cluster.access import write_kubeconfig
from tests.support.faultproxy.call import Call, call_of
from tests.support.faultproxy.faults import Answer, Crash, Delay, Expired, Reset, Trouble, Truncate, no_trouble
from tests.support.faultproxy.journal import Entry, Journal
from tests.support.faultproxy.memory import Kept, Memory
from tests.support.faultproxy.upstream import Upstream
from tests.support.faultproxy.watches import Stream, Watches, error_event

LARGEST = 1 << 24  # bytes of a request's body
PASSED_ON = ("Accept", "Content-Type", "User-Agent")


@dataclass(slots=True)
class FaultProxy:
    """One client's way to the API server. `crash` and `trouble` may be set at any time, so may what `watches` and
    `memory` do; `kill` ends the client.

    A write that was forwarded is followed to its answer even when the client is gone, so that the journal is whole.
    """

    upstream: Upstream
    journal: Journal
    kill: Callable[[], None] = lambda: None
    crash: Crash | None = None
    trouble: Trouble = no_trouble
    memory: Memory = field(default_factory=Memory)
    watches: Watches = field(init=False)
    port: int = 0
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    _count: int = 0
    _session: aiohttp.ClientSession | None = None
    _runner: web.AppRunner | None = None
    _forwarding: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Watch over the watches."""
        self.watches = Watches(self.journal)

    async def start(self) -> None:
        """Begin to answer on a free port of loopback."""
        self._session = self.upstream.session()
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def listen_tls(self, trust: ssl.SSLContext) -> int:
        """Answer on one more port, by TLS, as pods expect it of the API server; the port."""
        assert self._runner is not None
        known = set(self._runner.addresses)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=trust).start()
        (address,) = set(self._runner.addresses) - known
        return int(address[1])

    async def stop(self) -> None:
        """Cut all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._forwarding:
            await asyncio.wait(self._forwarding, timeout=5)
        if self._session is not None:
            await self._session.close()

    def kubeconfig(self, path: Path, **user: str) -> Path:
        """A kubeconfig that leads here; `user` is its user's part, such as `tokenFile`."""
        return write_kubeconfig(
            path, server=f"http://127.0.0.1:{self.port}", ca_data=None, user=user or {"token": "unused"}
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = call_of(request.method, request.path, request.query, request.headers)
        self.journal.asked.append((time.monotonic(), call))
        fault = self.trouble(call)
        if fault is not None:
            self.journal.add(Entry(time.time(), call, fault=f"{fault}"))
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Answer):
            return _refusal(fault)
        if isinstance(fault, Expired):
            return web.Response(body=error_event(410)) if call.watch else _refusal(Answer(410))
        if isinstance(fault, Reset) and fault.side == "before":
            return _cut(request)
        try:
            return await self._forward(request, call, fault)
        except aiohttp.ClientError as error:  # the API server is away
            self.journal.add(Entry(time.time(), call, fault=f"away: {type(error).__name__}"))
            return _cut(request)

    async def _forward(self, request: web.Request, call: Call, fault: object) -> web.StreamResponse:
        if call.watch:
            return await self._stream(request, call, broken=isinstance(fault, Truncate))
        body = await request.read()
        lost = isinstance(fault, Reset)
        answer = await (self._write(request, call, body, lost=lost) if call.changes else self._read(request, call))
        return await _truncated(request, answer, fault) if isinstance(fault, Truncate) else answer

    async def _read(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Forward a question, or answer it as it was answered first."""
        place = str(request.rel_url)
        old = self.memory.recall(call, place)
        if old is not None:
            self.journal.add(Entry(time.time(), call, fault="old"))
            return web.Response(status=old.status, headers=old.headers, body=old.body)
        answer = await self._exchange(request, await request.read())
        assert isinstance(answer.body, bytes)
        headers = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
        self.memory.keep(place, Kept(answer.status, headers, answer.body))
        return answer

    async def _write(self, request: web.Request, call: Call, body: bytes, *, lost: bool) -> web.StreamResponse:
        self._count += call.counted
        entry = Entry(time.time(), call, self._count if call.counted else 0, body=_parsed(body))
        if self._is_here(entry, "before"):
            return self._die(request, entry)
        if call.disturbs:
            self.journal.changed()
        work = asyncio.create_task(self._exchange(request, body))
        self._forwarding.add(work)
        work.add_done_callback(lambda done: self._note(done, entry))
        answer = await asyncio.shield(work)
        if self._is_here(entry, "after"):
            return self._die(request, entry)
        return _cut(request) if lost else answer

    def _note(self, done: asyncio.Task[web.Response], entry: Entry) -> None:
        self._forwarding.discard(done)
        failed = done.cancelled() or done.exception() is not None
        entry.code = 0 if failed else done.result().status
        self.journal.add(entry)

    def _is_here(self, entry: Entry, side: str) -> bool:
        return (
            entry.number > 0 and self.crash is not None and (self.crash.number, self.crash.side) == (entry.number, side)
        )

    def _die(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        assert self.crash is not None
        entry.fault = f"killed {self.crash.side}"
        if self.crash.side == "before":
            self.journal.add(entry)
        self.crash = None
        self.kill()
        self.crashed.set()
        return _cut(request)

    async def _exchange(self, request: web.Request, body: bytes) -> web.Response:
        """Forward a request and read the whole answer."""
        assert self._session is not None
        async with self._session.request(
            request.method, request.rel_url, headers=_headers(request), data=body or None
        ) as answer:
            headers = {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)

    async def _stream(self, request: web.Request, call: Call, *, broken: bool) -> web.StreamResponse:
        """Forward a watch, event by event."""
        assert self._session is not None
        async with self._session.get(request.rel_url, headers=_headers(request)) as answer:
            reply = web.StreamResponse(
                status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "application/json")}
            )
            await reply.prepare(request)
            stream = Stream(self.watches, call, request, reply, broken)
            self.watches.streams.add(stream)
            try:
                async for line in answer.content:
                    if answer.status != 200:
                        await stream.write(line)
                    elif not await stream.take(line):
                        return reply
                await stream.flush()
            except (ConnectionResetError, aiohttp.ClientError):
                stream.cut()  # one of the two sides is gone; the other notices by the end of the connection
                return reply
            finally:
                self.watches.streams.discard(stream)
            await reply.write_eof()
            return reply


def _headers(request: web.Request) -> dict[str, str]:
    kept = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    return kept | {"Accept-Encoding": "identity"}


def _refusal(fault: Answer) -> web.Response:
    status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": fault.code, "message": "fault proxy"}
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(status, status=fault.code, headers=headers)


async def _truncated(request: web.Request, answer: web.StreamResponse, fault: Truncate) -> web.StreamResponse:
    """Half of an answer."""
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return answer  # cut already
    half = answer.body[: len(answer.body) // 2]
    headers = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
    if fault.how == "json":
        return web.Response(status=answer.status, headers=headers, body=half)
    reply = web.StreamResponse(status=answer.status, headers=headers)
    if fault.how == "length":
        reply.content_length = len(answer.body)
    else:
        reply.enable_chunked_encoding()
    await reply.prepare(request)
    await reply.write(half)
    if request.transport is not None:
        request.transport.close()
    return reply


def _cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
