"""Workers take keys from the queue and reconcile them, never two on one key."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from plumbline_operator.kube.errors import KubeError, Unreachable
from plumbline_operator.model.meta import Key
from plumbline_operator.runtime.loop import Loop
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from plumbline_operator.runtime.room import Room

TROUBLE_RETRY = 30.0  # seconds; an API server that is back is not left waiting for longer

log = logging.getLogger(__name__)


async def always() -> None:
    """Nothing has to be waited for."""


@dataclass(slots=True)
class Workers:
    """What a worker needs; any number of them may work() on one queue. `confirmed` returns while we lead."""

    rooms: Mapping[str, Room]
    queue: WorkQueue[Key]
    loop: Loop
    metrics: Metrics
    now: Callable[[], datetime]
    confirmed: Callable[[], Awaitable[None]] = always
    _draining: bool = False
    _begun: int = 0  # reconciles under way

    def __post_init__(self) -> None:
        """Have the queue counted whenever somebody asks for it; for each reconcile it would cost more than that."""
        self.metrics.queue.set_function(self.queue.depth)

    async def drain(self, seconds: float) -> None:
        """Begin nothing more; return when nothing that was begun is under way, or after this time.

        A worker that waits for the Lease has begun nothing: after a lost one it would wait for ever.
        """
        self._draining = True
        deadline = time.monotonic() + seconds
        while True:
            if not self._begun or time.monotonic() >= deadline:
                return
            await asyncio.sleep(0.05)

    async def work(self) -> None:
        """Take keys and reconcile them until cancelled, or until drain() was called."""
        while True:
            key = await self.queue.take()
            try:
                await self.confirmed()
                if self._draining:
                    return  # what is left in the queue is listed again by the next leader
                await self._measured(key)
            finally:
                self.queue.done(key)

    async def _measured(self, key: Key) -> None:
        """Reconcile one key, and show how it went."""
        self._begun += 1
        started = time.monotonic()
        try:
            outcome = await self._reconcile(key)
        finally:
            self._begun -= 1
        self.metrics.reconciles.labels(key.kind, outcome).observe(time.monotonic() - started)

    async def _reconcile(self, key: Key) -> str:
        """Reconcile one key; whatever happens, it comes up again if it has to."""
        try:
            again = await self.loop.reconcile(self.rooms[key.kind], key, self.now())
        except KubeError as error:
            delay = self._again(key, error)
            log.warning("%s: %s; again in %.1f s", key, error, delay)
            return "trouble"
        except Exception:  # the one place where a bug in a room must not end the process: the others go on
            delay = self.queue.retry(key)
            log.exception("%s: unexpected; again in %.1f s", key, delay)
            return "bug"
        self.queue.forget(key)
        if again is not None:
            self.queue.add(key, again.total_seconds())
        return "done"

    def _again(self, key: Key, error: KubeError) -> float:
        """Have a key come up again after trouble; the delay. When the API server says when, then not before that."""
        if isinstance(error, Unreachable) and error.retry_after:
            delay = error.retry_after * (2 - self.queue.jitter())  # nor all keys at that very moment
            self.queue.add(key, delay)
            return delay
        return self.queue.retry(key, at_most=TROUBLE_RETRY)
