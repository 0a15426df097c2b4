"""Live traffic: recorded departures replayed against the router's node port, at a steady rate, on loopback.

The loop is open: requests start on a clock, whether or not earlier ones have ended, so a slow server is seen as such
and not hidden by a client that waits. It is bounded in rate, in flight and in time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from plumbline_contract.routes import PREDICTION_HEADER, UNIT_HEADER, VARIANT_HEADER

MAX_IN_FLIGHT = 200  # a stuck server must not make the client grow without bound
MAX_SECONDS = 1800  # the traffic ends by itself even if nobody stops it
TIMEOUT_SECONDS = 10

Request = tuple[str, dict[str, Any]]  # unit key, request body


@dataclass(slots=True)
class Tally:
    """What the client saw. `arms` maps a unit to the variants that answered it, in order of first sight.

    The client's thread writes it; who reads a table while that runs takes a copy by `mark` or `arms_seen`.
    """

    sent: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    arms: dict[str, list[str]] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    last_seen: dict[str, float] = field(default_factory=dict)  # variant → monotonic time at which its request began
    last_prediction: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mark(self) -> Counter[str]:
        """A copy of the counts, to subtract later."""
        with self.lock:
            return Counter(self.answered)

    def arms_seen(self) -> dict[str, int]:
        """How many variants have answered each unit by now."""
        with self.lock:
            return {unit: len(seen) for unit, seen in self.arms.items()}

    def note(self, unit: str, variant: str, prediction: str, started: float) -> None:
        """A request that was answered well."""
        with self.lock:
            self.answered[variant] += 1
            self.last_seen[variant] = max(started, self.last_seen.get(variant, 0.0))
            self.latencies.append(time.monotonic() - started)
            self.last_prediction = prediction
            seen = self.arms.setdefault(unit, [])
            if variant not in seen:
                seen.append(variant)


class Traffic:
    """Requests at a steady rate from a thread of their own, until stopped."""

    def __init__(self, url: str, requests: Callable[[], Iterator[Request]], per_second: float) -> None:
        self.url, self.per_second = url, per_second
        self.tally = Tally()
        self._source = requests()
        self._stop = threading.Event()
        self._swap = threading.Lock()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def replay(self, requests: Callable[[], Iterator[Request]]) -> None:
        """Send these from now on."""
        with self._swap:
            self._source = requests()

    def stop(self) -> Tally:
        """End, wait for what is in flight, and return what was seen."""
        self._stop.set()
        self._thread.join(timeout=60)
        return self.tally

    async def _run(self) -> None:
        gate = asyncio.Semaphore(MAX_IN_FLIGHT)
        begun = time.monotonic()
        connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            while not self._stop.is_set() and time.monotonic() - begun < MAX_SECONDS:
                await gate.acquire()
                with self._swap:
                    unit, body = next(self._source)
                group.create_task(self._one(session, gate, unit, body))
                self.tally.sent += 1
                await asyncio.sleep(max(0.0, begun + self.tally.sent / self.per_second - time.monotonic()))

    async def _one(self, session: aiohttp.ClientSession, gate: asyncio.Semaphore, unit: str, body: Any) -> None:
        started = time.monotonic()
        try:
            async with session.post(self.url, json=body, headers={UNIT_HEADER: unit}) as answer:
                text = await answer.read()
                if answer.status != 200:
                    self.tally.failures.append(f"{answer.status}: {text[:200]!r}")
                    return
                headers = answer.headers
                self.tally.note(unit, headers.get(VARIANT_HEADER, ""), headers.get(PREDICTION_HEADER, ""), started)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tally.failures.append(f"{type(error).__name__}: {error}")
        finally:
            gate.release()
