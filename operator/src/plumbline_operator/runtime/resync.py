"""Every ten minutes: list everything once more, repair what the watches missed, and notice a watch that is dead.

list ──► a version that nobody has told of ──► as if it had been heard
  ├────► known, but listed no more ──► forgotten; who depends on it, or owns it, is woken
  ├────► one of 24 parts of all objects, another each time ──► queued whatever was heard, spread over the period
  └────► newer than all that its watch told of ── two minutes later, still? ──► the watches are begun anew
"""

import asyncio
import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from plumbline_operator.kube.errors import KubeError
from plumbline_operator.kube.protocol import Reader
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE, Key, Ref
from plumbline_operator.runtime.ears import Ears, key_of, version_of

GRACE_SECONDS = 120.0  # how late a watch may bring what a list has already shown
AGAIN_SECONDS = 15.0  # until the next try when a list could not be had
PARTS = 24  # at the usual period, each object is looked at once in four hours even if nothing happens to it

Watch = tuple[Ref, str | None]  # a type, and the namespace (None: all)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A list showed this version, and so far its watch has told of nothing as new. `since` by the clock."""

    version: int
    since: float


@dataclass(slots=True)
class Resync:
    """The periodic look at everything. `namespaces` empty: the whole cluster. `renew` begins all watches anew."""

    kube: Reader
    ears: Ears
    period_seconds: float
    namespaces: Sequence[str] = ()
    renew: Callable[[], None] = lambda: None
    grace_seconds: float = GRACE_SECONDS
    clock: Callable[[], float] = time.monotonic
    doubts: dict[Watch, Doubt] = field(default_factory=dict)
    _looks: int = 0

    async def run(self) -> None:
        """Repeat for ever; judge the watches also between two looks."""
        due = self.clock() + self.period_seconds
        while True:
            ends = (one.since + self.grace_seconds for one in self.doubts.values())
            await asyncio.sleep(max(0.0, min([due, *ends]) - self.clock()))
            self.judge()
            if self.clock() >= due:
                complete = await self.look()
                due = self.clock() + (self.period_seconds if complete else min(AGAIN_SECONDS, self.period_seconds))

    async def look(self) -> bool:
        """List everything that is watched, once; whether all lists could be had."""
        complete = True
        for ref in self.ears.watched():
            for namespace in self.namespaces or (None,):
                try:
                    await self._look_at(ref, namespace)
                except KubeError as error:
                    log.warning("the resync of %s was cut short: %s", ref.plural, error)
                    complete = False
        self._looks += 1
        return complete

    def judge(self) -> None:
        """Begin the watches anew when one of them has been in doubt for the whole grace period."""
        now = self.clock()
        for watch, doubt in list(self.doubts.items()):
            if self.ears.newest(*watch) >= doubt.version:
                del self.doubts[watch]
            elif now >= doubt.since + self.grace_seconds:
                log.warning(
                    "the watch of %s has told of nothing for %.0f s though there were changes; all watches begin anew",
                    watch[0].plural,
                    now - doubt.since,
                )
                self.doubts.clear()
                self.renew()
                return

    async def _look_at(self, ref: Ref, namespace: str | None) -> None:
        """Compare one list with what was heard."""
        known = {
            key: version
            for key, version in self.ears.heard.items()
            if key.kind == ref.kind and namespace in (None, key.namespace)
        }
        ours = ref.kind in self.ears.rooms
        newest = 0
        for raw in await self.kube.list(ref, namespace, None if ours else {MANAGED_BY: MANAGED_VALUE}):
            key, version = key_of(ref, raw), version_of(raw)
            known.pop(key, None)
            newest = max(newest, version)
            if self.ears.heard.get(key, -1) < version:
                self.ears.learn(ref, raw)
            elif ours and self._is_turn_of(key):
                self.ears.queue.add(key, self.period_seconds * _share(key))
        self._lay(known)
        self._doubt((ref, namespace), newest)

    def _is_turn_of(self, key: Key) -> bool:
        return _hash(key) % PARTS == self._looks % PARTS

    def _lay(self, ghosts: Mapping[Key, int]) -> None:
        """Forget what is gone; an object heard of again since the list began is none."""
        for key, version in ghosts.items():
            if self.ears.heard.get(key) == version:
                self.ears.miss(key)

    def _doubt(self, watch: Watch, newest: int) -> None:
        """Remember the first version that a watch has not told of; one that told of anything as new is alive."""
        before, told = self.doubts.get(watch), self.ears.newest(*watch)
        if before is None or told >= before.version:
            self.doubts.pop(watch, None)
            if newest > told:
                self.doubts[watch] = Doubt(newest, self.clock())


def _share(key: Key) -> float:
    """From 0 to 1, another for each object: all at once, two hundred of 5,000 objects would be a gust of requests."""
    return _hash(key) // PARTS % 1024 / 1024


def _hash(key: Key) -> int:
    return zlib.crc32(str(key).encode())
