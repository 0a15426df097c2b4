"""The work queue: every key at most once, never two workers on one key, back-off after trouble.

add ──► waiting (due time) ──► take ──► in work ──► done
          ▲                                │
          └── added meanwhile, or retry ───┘
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

FIRST_RETRY = 1.0  # seconds
LONGEST_RETRY = 300.0  # seconds; as long as a reader of a dashboard is willing to wait for a recovery

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(slots=True)
class WorkQueue(Generic[KeyT]):
    """Keys with due times. `clock` gives seconds that never go back; `jitter` a share from 0.5 to 1.

    A heap holds due times; an entry whose time is no longer the key's is stale and skipped when it comes up.
    """

    clock: Callable[[], float]
    jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0)  # spreads retries; nothing secret
    _due: dict[KeyT, float] = field(default_factory=dict)
    _heap: list[tuple[float, int, KeyT]] = field(default_factory=list)
    _working: set[KeyT] = field(default_factory=set)
    _tries: dict[KeyT, int] = field(default_factory=dict)
    _entries: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: KeyT, delay: float = 0.0) -> None:
        """Have `key` worked on after `delay` seconds; of several wishes the earliest wins.

        A key in work is held back until it is done, and then comes up once more.
        """
        due = self.clock() + delay
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        if key not in self._working:
            self._push(key, due)

    async def take(self) -> KeyT:
        """The next key that is due; waits for one. The caller must call done() with it."""
        while True:
            key = self._next()
            if key is not None:
                return key
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._until_next())
            except TimeoutError:
                continue

    def done(self, key: KeyT) -> None:
        """The work on `key` has ended; if it was added meanwhile it is due again."""
        self._working.discard(key)
        if key in self._due:
            self._push(key, self._due[key])

    def retry(self, key: KeyT, at_most: float = LONGEST_RETRY) -> float:
        """Have `key` worked on again after trouble: 1 s, doubling up to `at_most`, jittered; returns the delay."""
        tries = self._tries.get(key, 0)
        self._tries[key] = tries + 1
        delay = min(at_most, FIRST_RETRY * 2.0 ** min(tries, 20)) * self.jitter()
        self.add(key, delay)
        return delay

    def forget(self, key: KeyT) -> None:
        """The work on `key` succeeded: the next trouble starts from the shortest delay."""
        self._tries.pop(key, None)

    def depth(self) -> int:
        """How many keys are due now and not in work."""
        now = self.clock()
        return sum(due <= now for key, due in self._due.items() if key not in self._working)

    def _push(self, key: KeyT, due: float) -> None:
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, key))
        self._changed.set()

    def _next(self) -> KeyT | None:
        while self._heap and self._heap[0][0] <= self.clock():
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due and key not in self._working:
                del self._due[key]
                self._working.add(key)
                return key
        return None

    def _until_next(self) -> float | None:
        return max(0.0, self._heap[0][0] - self.clock()) if self._heap else None
