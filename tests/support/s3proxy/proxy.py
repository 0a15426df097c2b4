"""A reverse proxy in front of a real S3 server, plain HTTP on loopback.

client ── number the write ── trouble? ── kill before? ── forward ── kill after? ── answer, perhaps altered

Requests go on with their headers as they came, `Host` too, so that signatures stay good: the server checks them, and
the digest of a body that is sent. One proxy serves many clients; each bucket has its own faults, crash and numbers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Literal

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.support.s3proxy.call import Call, call_of
from tests.support.s3proxy.faults import (
    Cut,
    Fail,
    Fault,
    Flip,
    Other,
    Reset,
    Short,
    Slow,
    Stale,
    Trouble,
    flipped,
    no_trouble,
)
from tests.support.s3proxy.journal import Entry, Journal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGEST = 1 << 26  # bytes of a request's body
HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "content-length", "upgrade"})
MADE_ANEW = ("Host", "Accept", "Accept-Encoding", "User-Agent", "Content-Type")  # by aiohttp, unless told not to


@dataclass(frozen=True, slots=True)
class Crash:
    """Where the client is killed: at the write with this number, before or after it takes effect."""

    number: int
    side: Literal["before", "after"]


@dataclass(slots=True)
class Visitor:
    """How the client of one bucket is treated. `kill` ends it; `crash` says where, and is None once it has happened."""

    trouble: Trouble = no_trouble
    crash: Crash | None = None
    kill: Callable[[], None] = lambda: None
    count: int = 0


@dataclass(slots=True)
class Answered:
    """The real server's answer, whole."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


@dataclass(slots=True)
class S3Proxy:
    """`upstream` is the real server's URL. `visitors`: bucket → treatment; a bucket without one meets no trouble.

    `own` reads other objects than those asked for, when that is the fault.
    """

    upstream: str
    own: S3Client
    journal: Journal
    visitors: dict[str, Visitor] = field(default_factory=dict)
    port: int = 0
    _first_listings: dict[str, Answered] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None
    _runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> str:
        """The URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Begin to answer on a free port of loopback."""
        self._session = aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=MADE_ANEW, timeout=aiohttp.ClientTimeout(total=120)
        )
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionError:
            return _cut(request)  # the client is gone, and what it sent of a body counts for nothing
        call = call_of(request.method, request.rel_url.raw_path, request.query, len(body))
        visitor = self.visitors.setdefault(call.bucket, Visitor())
        visitor.count += call.writes
        entry = Entry(time.time(), call, visitor.count if call.writes else 0, fault=visitor.trouble(call))
        try:
            return await self._treated(request, body, visitor, entry)
        except ConnectionError:
            entry.note += "client gone"
            return _cut(request)
        finally:
            self.journal.add(entry)

    async def _treated(self, request: web.Request, body: bytes, visitor: Visitor, entry: Entry) -> web.StreamResponse:
        fault = entry.fault
        if isinstance(fault, Fail):
            entry.status = fault.status
            return _refusal(fault, entry.call)
        if _is_here(visitor, entry, "before"):
            return _die(request, visitor, entry)
        if isinstance(fault, Reset) and fault.side == "before":
            return _cut(request)
        answer = await self._answer(request, body, entry)
        entry.status = answer.status
        if _is_here(visitor, entry, "after"):
            return _die(request, visitor, entry)
        if isinstance(fault, Reset):
            return _cut(request)
        return await _told(request, answer, fault if entry.call.reads else None)

    async def _answer(self, request: web.Request, body: bytes, entry: Entry) -> Answered:
        """What the real server says, or the answer to another question when that is the fault."""
        fault, call = entry.fault, entry.call
        if isinstance(fault, Flip) and call.writes:
            body = flipped(body, fault.share)
        if isinstance(fault, Other) and call.reads:
            return await asyncio.to_thread(self._other, call, fault.share)
        answer = await self._forward(request, body)
        if call.listing and answer.status == 200:
            first = self._first_listings.setdefault(str(request.rel_url), answer)
            return first if isinstance(fault, Stale) else answer
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> Answered:
        assert self._session is not None
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in HOP)
        url = URL(self.upstream + request.raw_path, encoded=True)
        data = body if body or request.method in ("PUT", "POST") else None
        async with self._session.request(request.method, url, headers=headers, data=data) as answer:
            return Answered(answer.status, CIMultiDict(answer.headers), await answer.read())

    def _other(self, call: Call, share: float) -> Answered:
        """Another object of the bucket, with its own headers; the same one when there is no other."""
        listed = self.own.list_objects_v2(Bucket=call.bucket).get("Contents", [])
        keys = sorted(one["Key"] for one in listed if one["Key"] != call.key) or [call.key]
        found = self.own.get_object(Bucket=call.bucket, Key=keys[int(len(keys) * share)])
        headers = CIMultiDict({"ETag": found["ETag"], "Content-Type": found["ContentType"]})
        return Answered(200, headers, found["Body"].read())


def _is_here(visitor: Visitor, entry: Entry, side: str) -> bool:
    crash = visitor.crash
    return crash is not None and entry.number > 0 and (crash.number, crash.side) == (entry.number, side)


def _die(request: web.Request, visitor: Visitor, entry: Entry) -> web.StreamResponse:
    assert visitor.crash is not None
    entry.note = f"killed {visitor.crash.side}"
    visitor.crash = None
    visitor.kill()
    return _cut(request)


async def _told(request: web.Request, answer: Answered, fault: Fault | None) -> web.StreamResponse:
    """The answer, with the fault of its body."""
    body = flipped(answer.body, fault.share) if isinstance(fault, Flip) else answer.body
    sent = body[: int(len(body) * fault.share)] if isinstance(fault, Cut | Short) else body
    promised = len(sent) if isinstance(fault, Short) and fault.honest else len(body)
    headers = CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in HOP)
    is_head = request.method == "HEAD"  # its answer has no body, and yet a length
    headers["Content-Length"] = answer.headers.get("Content-Length", "0") if is_head else str(promised)
    reply = web.StreamResponse(status=answer.status, headers=headers)
    await reply.prepare(request)
    if isinstance(fault, Slow) and not await _trickled(reply, sent, fault):
        return _cut(request)
    if not is_head and not isinstance(fault, Slow):
        await reply.write(sent)
    if isinstance(fault, Cut):
        return _cut(request)
    if len(sent) < promised:
        return _closed(request)
    await reply.write_eof()
    return reply


async def _trickled(reply: web.StreamResponse, body: bytes, fault: Slow) -> bool:
    """Send the body slowly; whether all of it was sent in the time there is."""
    deadline = time.monotonic() + fault.seconds
    step = max(fault.rate // 4, 1)
    for start in range(0, len(body), step):
        await reply.write(body[start : start + step])
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.25)
    return True


def _refusal(fault: Fail, call: Call) -> web.Response:
    error = f"<Error><Code>{fault.code}</Code><Message>fault proxy</Message><Resource>{call.bucket}</Resource></Error>"
    headers = {"Date": formatdate(time.time() + fault.clock, usegmt=True), "Content-Type": "application/xml"}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    return web.Response(status=fault.status, body=error.encode(), headers=headers)


def _cut(request: web.Request) -> web.Response:
    """Reset the connection; what was sent last may be lost with it."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


def _closed(request: web.Request) -> web.Response:
    """End the connection in an orderly way: what was sent arrives, and nothing more."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
