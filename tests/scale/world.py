"""Many teams, each with a golden path that has ended and a history of versions and snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from plumbline_operator.kube.http import HttpKube
from plumbline_operator.kube.refs import ref_of
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.approval.api import KIND as APPROVAL
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from tests.faults.lane import NAMESPACES, soon
from tests.faults.objects import RUN, approval, manifests
from tests.support.cluster import Cluster
from tests.support.worlds import ready_of

TEAM_OBJECTS = 100
VERSION_SHARE = 0.6  # of a team's objects: versions are kept for years, the rest is replaced
AT_ONCE = 8  # teams filled side by side
SETTLE_SECONDS = 900.0


@asynccontextmanager
async def admin(cluster: Cluster) -> AsyncIterator[HttpKube]:
    """The API server with all rights, as a cluster's administrator."""
    kube = HttpKube(await admin_configuration(cluster))
    try:
        yield kube
    finally:
        await kube.close()


async def admin_configuration(cluster: Cluster) -> Configuration:
    """How an administrator reaches the API server."""
    configuration = Configuration()
    configuration.retries = None
    await load_kube_config(config_file=str(cluster.kubeconfig), client_configuration=configuration)
    return configuration


@dataclass(frozen=True, slots=True)
class Team:
    """One namespace. `fill` needs an operator and a pod actor at work."""

    kube: HttpKube
    namespace: str

    async def fill(self) -> None:
        """Walk the golden path to its end, then add copies of what it made until there are TEAM_OBJECTS."""
        await self.kube.create(
            NAMESPACES,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "namespace": None}},
        )
        written = [await self._create(one) for one in manifests()]
        await soon("the version is registered", self._registered, SETTLE_SECONDS)
        version = await self._one(VERSION.ref, RUN)
        written.append(await self._create(approval(version)))
        await soon(f"{self.namespace} is Ready", lambda: self._all_ready(written), SETTLE_SECONDS)
        await self._multiply(len(written))

    async def versions(self) -> list[Manifest]:
        """All its ModelVersions."""
        return await self.kube.list(VERSION.ref, self.namespace)

    async def consent(self, version: Manifest, number: int) -> Manifest:
        """Approve a version once more; the new Approval."""
        made = approval(version)
        return await self._create(made | {"metadata": {"name": f"{version['metadata']['name']}-consent-{number}"}})

    async def forget_consents(self) -> None:
        """Delete the Approvals that `consent` made, so that the next round begins where this one did."""
        for one in await self.kube.list(APPROVAL.ref, self.namespace):
            if "-consent-" in one["metadata"]["name"]:
                await self.kube.delete(APPROVAL.ref, self.namespace, one["metadata"]["name"], one["metadata"]["uid"])

    async def _multiply(self, written: int) -> None:
        version, (snapshot, *others) = (
            await self._one(VERSION.ref, RUN),
            await self.kube.list(SNAPSHOT.ref, self.namespace),
        )
        have = written + 1 + 1 + len(others)
        versions = int(TEAM_OBJECTS * VERSION_SHARE) - 1
        for number in range(versions):
            await self._copy(version, f"{RUN}-c{number}")
        for number in range(TEAM_OBJECTS - have - versions):
            await self._copy(snapshot, f"{snapshot['metadata']['name']}-c{number}")

    async def _copy(self, original: Manifest, name: str) -> None:
        """The same object under another name, with the same status."""
        meta = original["metadata"]
        kept = {part: meta[part] for part in ("labels", "annotations", "ownerReferences") if part in meta}
        head = {part: original[part] for part in ("apiVersion", "kind")}
        made = await self._create(head | {"metadata": {"name": name, **kept}, "spec": original["spec"]})
        fresh = {key: made["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        status = head | {"metadata": fresh, "status": original["status"]}
        await self.kube.apply_status(ref_of(original), status)

    async def _create(self, one: Manifest) -> Manifest:
        placed = one | {"metadata": {**one["metadata"], "namespace": self.namespace}}
        head = {part: one[part] for part in ("apiVersion", "kind")}
        return head | await self.kube.create(ref_of(one), placed)

    async def _one(self, ref: Any, name: str) -> Manifest:
        found = await self.kube.get(ref, self.namespace, name)
        assert found is not None, f"{ref.kind} {self.namespace}/{name} is gone"
        return found

    async def _registered(self) -> bool:
        return await self.kube.get(VERSION.ref, self.namespace, RUN) is not None

    async def _all_ready(self, written: Sequence[Manifest]) -> bool:
        for one in reversed(written):
            if ready_of(await self._one(ref_of(one), one["metadata"]["name"]))[0] != "True":
                return False
        return True


async def fill(kube: HttpKube, objects: int) -> list[Team]:
    """So many objects, a hundred in each team, all settled or about to be."""
    teams = [Team(kube, f"team-{number}") for number in range(objects // TEAM_OBJECTS)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(team: Team) -> None:
        async with gate:
            await team.fill()

    await asyncio.gather(*(one(team) for team in teams))
    return teams
