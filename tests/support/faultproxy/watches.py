"""The watches of one client, event by event: held back, lost, sent twice or out of order.

An event is known by the type it is about, its own type, and its number among those of both: the third MODIFIED of
Jobs. Bookmarks have no number and are only ever held.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.support.faultproxy.call import Call
from tests.support.faultproxy.journal import Entry, Journal

LATER_SECONDS = 2.0  # an event that should come after the next one comes by then even if there is no next one

Fate = Literal["pass", "lose", "twice", "later"]
"""What happens to an event; `later`: it comes after the next one of its watch."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch; `number` counts from 1 those of this resource and type, in this client's life."""

    resource: str
    type: str
    number: int
    name: str


Meddle = Callable[[Event], Fate]
"""Decides an event's fate."""


def leave_alone(event: Event) -> Fate:
    """Every event passes."""
    del event
    return "pass"


@dataclass(slots=True)
class Watches:
    """All watches of one client. `meddle` may be set at any time; `counts` has the events that came so far."""

    journal: Journal
    meddle: Meddle = leave_alone
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    streams: set[Stream] = field(default_factory=set)
    _held: dict[str, asyncio.Event] = field(default_factory=dict)

    def hold(self, resource: str) -> None:
        """Let nothing more of this resource's watches through, those that are opened later included."""
        self._held.setdefault(resource, asyncio.Event())

    def release(self, resource: str) -> None:
        """Let everything that was held through, and go on."""
        gate = self._held.pop(resource, None)
        if gate is not None:
            gate.set()

    async def passage(self, call: Call) -> None:
        """Return when events of this watch may pass."""
        gate = self._held.get(call.resource)
        if gate is not None:
            self.journal.add(Entry(time.time(), call, fault="held"))
            await gate.wait()

    async def expire(self) -> None:
        """End every open watch with the error 410, as an API server that has forgotten where they were."""
        for stream in list(self.streams):
            self.journal.add(Entry(time.time(), stream.call, fault="expired"))
            await stream.write(error_event(410))
            stream.cut()

    def fate(self, call: Call, event: dict[str, Any]) -> Fate:
        """What happens to an event, noted in the journal if it is anything."""
        if event.get("type") in (None, "BOOKMARK", "ERROR"):
            return "pass"
        place = call.resource, event["type"]
        self.counts[place] += 1
        name = event["object"].get("metadata", {}).get("name", "")
        found = self.meddle(Event(*place, self.counts[place], name))
        if found != "pass":
            fault = f"{found} {event['type']} {self.counts[place]} of {name}"
            self.journal.add(Entry(time.time(), call, fault=fault))
        return found


@dataclass(eq=False, slots=True)
class Stream:
    """One open watch, towards the client. With `broken` its first event is cut in half and the connection ends."""

    watches: Watches
    call: Call
    request: web.Request
    reply: web.StreamResponse
    broken: bool = False
    _waiting: bytes | None = None
    _timer: asyncio.TimerHandle | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, line: bytes) -> bool:
        """Do with one event what is its fate; False when the watch is over."""
        await self.watches.passage(self.call)
        if self.broken:
            await self.write(line[: len(line) // 2])
            self.cut()
            return False
        fate = self.watches.fate(self.call, json.loads(line))
        if fate == "later" and self._waiting is None:
            self._waiting = line
            self._timer = asyncio.get_running_loop().call_later(LATER_SECONDS, self._late)
            return True
        if fate != "lose":
            await self.write(line)
        if fate == "twice":
            await self.write(line)
        await self.flush()
        return True

    async def flush(self) -> None:
        """Send what waits for the next event."""
        if self._timer is not None:
            self._timer.cancel()
        line, self._waiting = self._waiting, None
        if line is not None:
            await self.write(line)

    async def write(self, line: bytes) -> None:
        """Send bytes to the client, unless it has gone."""
        if self.request.transport is not None and not self.request.transport.is_closing():
            await self.reply.write(line)

    def cut(self) -> None:
        """End the connection after what was sent."""
        if self.request.transport is not None:
            self.request.transport.close()

    def _late(self) -> None:
        task = asyncio.get_running_loop().create_task(self.flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def error_event(code: int) -> bytes:
    """An ERROR event with this code, as a line."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": code}
    return json.dumps({"type": "ERROR", "object": status | {"message": "fault proxy"}}).encode() + b"\n"
