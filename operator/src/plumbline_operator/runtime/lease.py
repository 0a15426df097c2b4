"""One Lease elects the leader before anything is watched; losing it to somebody else ends the process.

    acquire ── keep: renewed ◄──► not renewed in time: nothing is begun ── taken by another: leave

A Lease is no lock: two processes may overlap for a moment. That is safe because names are computed, applies are
idempotent, deletes carry uids, and what depends on a memory (a status, routes) is written only as it was read; the
Lease keeps the overlap rare and short. `leads` is asked before every write: who slept in mid-reconcile writes nothing.
"""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

from plumbline_operator.kube.errors import Conflict, KubeError
from plumbline_operator.kube.refs import LEASES
from plumbline_operator.model.meta import Manifest, Ref

LEASE_SECONDS = 15.0  # these three are the defaults of Kubernetes' own controllers
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
WAITING = "another one leads; standing by"

log = logging.getLogger(__name__)


class Locker(Protocol):
    """The calls an election needs: writes that fail when somebody else was faster."""

    async def get(self, ref: Ref, namespace: str, name: str) -> Manifest | None:
        """The object, or None."""

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Create it, or raise Conflict."""

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Replace it as it was read, or raise Conflict."""


class Grip(Enum):
    """What a try to take or renew the Lease came to."""

    OURS = "ours"
    THEIRS = "theirs"
    UNKNOWN = "unknown"  # the API server cannot be used, or somebody wrote at the same moment


def identity() -> str:
    """A name for this process that no other one has."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"


@dataclass(slots=True)
class Election:
    """This process's part in the election. `clock` gives seconds that never go back.

    Another holder's time is up when its Lease has not changed for its whole duration *by our own clock*, so clocks
    that disagree do no harm.
    """

    kube: Locker
    namespace: str
    name: str
    clock: Callable[[], float]
    holder: str = field(default_factory=identity)
    _seen: str = ""
    _seen_at: float = 0.0
    _renewed_at: float = 0.0
    _renewal: asyncio.Event = field(default_factory=asyncio.Event)

    async def acquire(self) -> None:
        """Return once this process is the leader; says once that it waits for another one."""
        waits = False
        while (grip := await self._try()) is not Grip.OURS:
            if grip is Grip.THEIRS and not waits:
                waits = True
                log.info(WAITING, extra={"holder": self.holder})
            await asyncio.sleep(RETRY_SECONDS)
        log.info("leading", extra={"holder": self.holder})

    async def keep(self) -> None:
        """Renew for as long as nobody else leads; returns when somebody does.

        An API server that is away takes the Lease from nobody: when it is back, whoever held the Lease goes on.
        """
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await self._try() is Grip.THEIRS:
                log.warning("somebody else leads; leaving", extra={"holder": self.holder})
                return

    def leads(self) -> bool:
        """Whether the Lease is surely ours.

        By the clock, not by what keep() has noticed: a process that slept must not do anything when it wakes.
        """
        return self.clock() - self._renewed_at <= RENEW_SECONDS

    async def confirmed(self) -> None:
        """Return at once while the Lease is surely ours, else as soon as it was renewed."""
        while not self.leads():
            self._renewal.clear()
            await self._renewal.wait()

    async def release(self) -> None:
        """Give the Lease up, so that the next leader need not wait; best effort."""
        try:
            lease = await self.kube.get(LEASES, self.namespace, self.name)
            if lease is not None and lease["spec"].get("holderIdentity") == self.holder:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self.kube.replace(LEASES, lease)
        except KubeError as error:
            log.warning("the Lease could not be released: %s", error)

    async def _try(self) -> Grip:
        """Take or renew the Lease. It counts from before the call: what the API server heard, it heard after that."""
        asked = self.clock()
        grip = await self._ask()
        if grip is Grip.OURS:
            self._renewed_at = asked
            self._renewal.set()
        return grip

    async def _ask(self) -> Grip:
        try:
            lease = await self.kube.get(LEASES, self.namespace, self.name)
            if lease is None:
                await self.kube.create(LEASES, self._fresh())
                return Grip.OURS
            if not self._is_free(lease):
                return Grip.THEIRS
            await self.kube.replace(LEASES, self._held(lease))
        except Conflict:
            return Grip.UNKNOWN
        except KubeError as error:
            log.warning("the Lease cannot be reached: %s", error)
            return Grip.UNKNOWN
        return Grip.OURS

    def _is_free(self, lease: Manifest) -> bool:
        spec = lease["spec"]
        if spec.get("holderIdentity") in (self.holder, "", None):
            return True
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen:
            self._seen, self._seen_at = version, self.clock()
        return self.clock() - self._seen_at > float(spec.get("leaseDurationSeconds", LEASE_SECONDS))

    def _fresh(self) -> Manifest:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": self._terms() | {"acquireTime": _now(), "leaseTransitions": 0},
        }

    def _held(self, lease: Manifest) -> Manifest:
        spec = dict(lease["spec"])
        if spec.get("holderIdentity") != self.holder:
            spec |= {"acquireTime": _now(), "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        meta = {k: v for k, v in lease["metadata"].items() if k != "managedFields"}
        return lease | {"metadata": meta, "spec": spec | self._terms()}

    def _terms(self) -> Manifest:
        return {"holderIdentity": self.holder, "leaseDurationSeconds": int(LEASE_SECONDS), "renewTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
