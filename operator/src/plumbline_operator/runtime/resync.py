"""Every ten minutes: look at everything once more, and check that the watches are alive.

list ──► every object is queued, so that a missed event costs at most one period
  └────► heard of its resourceVersion? ── no ──► two minutes later, still not? ──► the watch is dead: leave
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plumbline_operator.kube.errors import KubeError
from plumbline_operator.kube.protocol import Reader
from plumbline_operator.model.meta import Key
from plumbline_operator.runtime.ears import Ears, key_of

GRACE_SECONDS = 120.0  # how late a watch may bring what a list has already shown

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Resync:
    """The periodic look at everything. `namespaces` empty: the whole cluster."""

    kube: Reader
    ears: Ears
    period_seconds: float
    namespaces: Sequence[str] = ()
    grace_seconds: float = GRACE_SECONDS
    unheard: dict[Key, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Repeat until a watch turns out to be dead; then return."""
        while True:
            await asyncio.sleep(self.period_seconds)
            try:
                await self.look()
                if await self._stays_deaf():
                    return
            except KubeError as error:
                log.warning("the resync was cut short: %s", error)

    async def look(self) -> None:
        """List all our objects, queue them, and remember those that no watch has told of yet.

        What was heard of before but is listed no more went while no watch told of it: it is forgotten, and who
        depends on it is woken.
        """
        self.unheard = {}
        ghosts = dict(self.ears.heard)
        for room in self.ears.rooms.values():
            for namespace in self.namespaces or (None,):
                for raw in await self.kube.list(room.kind.ref, namespace):
                    key = key_of(room, raw)
                    ghosts.pop(key, None)
                    version = int(raw["metadata"]["resourceVersion"])
                    if self.ears.heard.get(key, -1) < version:
                        self.unheard[key] = version
                    self.ears.queue.add(key)
        self._lay(ghosts)

    def _lay(self, ghosts: Mapping[Key, int]) -> None:
        """Forget what is gone; an object heard of again since the list began is none."""
        for key, version in ghosts.items():
            if self.ears.heard.get(key) == version:
                for woken in self.ears.links.dependents(key):
                    self.ears.queue.add(woken)
                self.ears.forget(key)

    async def _stays_deaf(self) -> bool:
        """Whether something that was listed is still unheard of after the grace period."""
        if not self.unheard:
            return False
        await asyncio.sleep(self.grace_seconds)
        deaf = await self._still_there(
            [k for k, version in self.unheard.items() if self.ears.heard.get(k, -1) < version]
        )
        if deaf:
            log.error("a watch is dead: %s changed %.0f s ago and was never heard of", deaf[0], self.grace_seconds)
        return bool(deaf)

    async def _still_there(self, keys: Sequence[Key]) -> list[Key]:
        """Those that exist; an object that was deleted meanwhile proves nothing."""
        found = []
        for key in keys:
            raw = await self.kube.get(self.ears.rooms[key.kind].kind.ref, key.namespace, key.name)
            if raw is not None:
                found.append(key)
        return found
