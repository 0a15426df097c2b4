"""A real API server with our kinds, a namespace for each test, and the rooms run on it step by step."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from plumbline_operator.crdgen import definition
from plumbline_operator.kube.errors import Conflict, Refused
from plumbline_operator.kube.http import HttpKube
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms import ROOMS
from plumbline_operator.runtime.events import Recorder
from plumbline_operator.runtime.loop import Loop
from plumbline_operator.runtime.room import Sight
from tests.support.cluster import Cluster, start
from tests.support.pod_actor import PodActor
from tests.support.worlds import IMAGES, FakeSignals

KINDS = {room.kind.kind: room.kind for room in ROOMS}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Bench:
    """A namespace of a real API server, its admin's client, and the operator's loop on it."""

    cluster: Cluster
    kube: HttpKube
    namespace: str
    loop: Loop

    def apply(self, *objects: Manifest) -> None:
        """What a user's `kubectl apply` does."""
        placed = [one | {"metadata": {**_user(one), "namespace": self.namespace}} for one in objects]
        text = yaml.safe_dump_all([{k: v for k, v in one.items() if k != "status"} for one in placed])
        self.cluster.kubectl("apply", "-f", "-", stdin=text)

    async def look(self, kind: str, name: str) -> Manifest:
        """One of our objects, which must be there."""
        found = await self.kube.get(KINDS[kind].ref, self.namespace, name)
        assert found is not None, f"{kind} {name} does not exist"
        return found

    async def step(self) -> None:
        """Reconcile every object of every room once. Losing a race is as good as being a step behind."""
        for room in ROOMS:
            for raw in await self.kube.list(room.kind.ref, self.namespace):
                key = Key(room.kind.kind, self.namespace, raw["metadata"]["name"])
                try:
                    await self.loop.reconcile(room, key, datetime.now(UTC))
                except (Conflict, Refused):
                    continue

    async def until(self, kind: str, name: str, holds: Callable[[Manifest], bool], seconds: float = 30) -> Manifest:
        """Step until something holds of an object; AssertionError with its status when it does not in time."""
        deadline = time.monotonic() + seconds
        while True:
            await self.step()
            own = await self.look(kind, name)
            if holds(own):
                return own
            assert time.monotonic() < deadline, f"{kind} {name} after {seconds} s: {own.get('status')}"
            await asyncio.sleep(0.1)  # the pod actor's turn; the loop above waits for the fact


@pytest.fixture(scope="session")
def bed() -> Iterator[Cluster]:
    """Bed A with the CustomResourceDefinitions of all rooms."""
    cluster = start(bed="A", name=f"apiserver-{os.getpid()}")
    text = yaml.safe_dump_all([definition(kind) for kind in KINDS.values()])
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    yield cluster
    cluster.stop()


@pytest.fixture
def actor(bed: Cluster) -> Iterator[PodActor]:
    """Somebody who plays kubelet; set `actor.play` to say how Jobs end."""
    with PodActor(bed.kubeconfig) as one:
        yield one


@pytest.fixture
async def bench(bed: Cluster) -> AsyncIterator[Bench]:
    """A fresh namespace and the loop."""
    namespace = f"team-{next(_numbers)}"
    bed.kubectl("create", "namespace", namespace)
    kube = HttpKube(await _configuration(bed.kubeconfig))
    yield Bench(bed, kube, namespace, Loop(kube, Sight(kube, FakeSignals(), IMAGES), Recorder(kube)))
    await kube.close()


async def _configuration(kubeconfig: Path) -> Configuration:
    configuration = Configuration()
    configuration.retries = None
    await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    return configuration


def _user(obj: Manifest) -> Manifest:
    """The metadata a user writes."""
    return {k: v for k, v in obj["metadata"].items() if k in ("name", "labels", "annotations")}
