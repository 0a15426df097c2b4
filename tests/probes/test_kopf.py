"""What the operator relies on in kopf (decision 0002). When a new release breaks one of these, do not upgrade."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms import ROOMS
from plumbline_operator.runtime.ears import LABELLED, OURS, Ears, listener_settings, login
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from tests.support.cluster import Cluster, start

pytestmark = pytest.mark.apiserver

SECONDS = 30
FINALIZER = "example.com/keep"
LABEL, VALUE = OURS.split("=")


@dataclass(slots=True)
class Heard:
    """The events that a listener was told: (type, name) and the object as it was told."""

    events: list[tuple[str | None, str]] = field(default_factory=list)
    bodies: list[Manifest] = field(default_factory=list)

    async def on_event(self, type: str | None, name: str, body: kopf.RawBody, **_: Any) -> None:
        """The handler, of the same shape as the operator's."""
        self.events.append((type, name))
        self.bodies.append(dict(body))

    async def until(self, *wanted: tuple[str | None, str]) -> None:
        """Return once all of these were heard."""
        await until(lambda: set(wanted) <= set(self.events), f"{wanted}; heard {self.events}")


@dataclass(frozen=True, slots=True)
class Bench:
    """A namespace of its own on a real API server."""

    cluster: Cluster
    namespace: str

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """A kubectl command in the namespace; the listener goes on meanwhile."""
        return await asyncio.to_thread(self.cluster.kubectl, "-n", self.namespace, *arguments, stdin=stdin)

    async def create(self, name: str, **metadata: Any) -> None:
        """Create a ConfigMap."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "1"}}
        await self.kubectl("create", "-f", "-", stdin=json.dumps(body))

    async def look(self, name: str) -> Manifest:
        """The ConfigMap as it is."""
        found: Manifest = json.loads(
            await self.kubectl("get", "configmap", name, "-o", "json", "--show-managed-fields=true")
        )
        return found

    @asynccontextmanager
    async def listening(self, settings: kopf.OperatorSettings | None = None) -> AsyncIterator[Heard]:
        """kopf with the operator's settings and one handler, listening until the end of the block."""
        heard, stop, ready = Heard(), asyncio.Event(), asyncio.Event()
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(login)
        kopf.on.event("", "v1", "configmaps", registry=registry)(heard.on_event)
        run = asyncio.create_task(
            kopf.operator(
                registry=registry,
                settings=settings or listener_settings(clusterwide=False),
                namespaces=[self.namespace],
                standalone=True,
                ready_flag=ready,
                stop_flag=stop,
            )
        )
        try:
            await asyncio.wait_for(ready.wait(), SECONDS)
            yield heard
        finally:
            stop.set()
            await asyncio.wait_for(run, SECONDS)
            forget_connections()


@pytest.fixture(scope="module")
def bed() -> Iterator[Cluster]:
    """Bed A, bare."""
    cluster = start(bed="A", name=f"probes-{os.getpid()}")
    yield cluster
    cluster.stop()


@pytest.fixture
def bench(bed: Cluster, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A namespace named after the test, and kopf logged in as administrator."""
    namespace = request.node.name.replace("_", "-")[:63].rstrip("-")
    bed.kubectl("create", "namespace", namespace)
    monkeypatch.setenv("KUBECONFIG", str(bed.kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return Bench(bed, namespace)


def forget_connections() -> None:
    """Let go of the sockets that kopf leaves open when it is stopped while it connects, or while a stream closes.

    They go with its process or its thread; here they would be found during another test, which fails by the warning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def until(fact: Callable[[], bool], what: str) -> None:
    """Wait for a fact; AssertionError that names it when it does not come true."""
    deadline = time.monotonic() + SECONDS
    while True:
        if fact():
            return
        assert time.monotonic() < deadline, f"not so after {SECONDS} s: {what}"
        await asyncio.sleep(0.02)


def marked(**labels: str) -> dict[str, str]:
    """Labels of a child of ours."""
    return {LABEL: VALUE, **labels}


async def test_on_event_writes_nothing_to_what_it_hears_of(bench: Bench) -> None:
    await bench.create("older", labels=marked())
    before = await bench.look("older")
    async with bench.listening() as heard:
        await heard.until((None, "older"))
        await bench.create("newer", labels=marked(), annotations={"example.com/mine": "yes"})
        await heard.until(("ADDED", "newer"))
        await bench.kubectl("patch", "configmap", "newer", "--type=merge", "-p", '{"data": {"a": "2"}}')
        await heard.until(("MODIFIED", "newer"))
        changed = await bench.look("newer")
    assert await bench.look("older") == before
    after = await bench.look("newer")
    assert after == changed
    assert after["metadata"]["annotations"] == {"example.com/mine": "yes"}
    assert "finalizers" not in after["metadata"]
    assert {one["manager"] for one in after["metadata"]["managedFields"]} <= {"kubectl-create", "kubectl-patch"}


async def test_a_foreign_finalizer_survives(bench: Bench) -> None:
    await bench.create("held", labels=marked(), finalizers=[FINALIZER])
    async with bench.listening() as heard:
        await heard.until((None, "held"))
        await bench.kubectl("delete", "configmap", "held", "--wait=false")
        await until(lambda: any("deletionTimestamp" in one["metadata"] for one in heard.bodies), "the deletion is told")
        await bench.create("afterwards", labels=marked())
        await heard.until(("ADDED", "afterwards"))
        assert (await bench.look("held"))["metadata"]["finalizers"] == [FINALIZER]
        await bench.kubectl("patch", "configmap", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        await heard.until(("DELETED", "held"))


async def test_kopfs_own_finalizer_is_one_that_nobody_uses(bench: Bench) -> None:
    """kopf takes its own finalizer off what no handler claims, so ours must never have that name."""
    settings = listener_settings(clusterwide=False)
    unused = settings.persistence.finalizer
    assert unused.endswith("/kopf-unused")
    await bench.create("stray", labels=marked(), finalizers=[unused, FINALIZER])
    async with bench.listening(settings) as heard:
        await heard.until((None, "stray"))
        await heard.until(("MODIFIED", "stray"))
        assert (await bench.look("stray"))["metadata"]["finalizers"] == [FINALIZER]
    await bench.kubectl("patch", "configmap", "stray", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


async def test_a_child_whose_label_is_stripped_is_told_as_deleted(bench: Bench) -> None:
    async with bench.listening() as heard:
        await bench.create("child", labels=marked())
        await heard.until(("ADDED", "child"))
        await bench.kubectl("label", "configmap", "child", f"{LABEL}-")
        await heard.until(("DELETED", "child"))
        assert (await bench.look("child"))["metadata"].get("labels", {}) == {}


async def test_what_is_not_ours_does_not_cross_the_wire(bench: Bench) -> None:
    await bench.create("theirs")
    async with bench.listening() as heard:
        await bench.create("theirs-too", labels={LABEL: "somebody-else"})
        await bench.create("ours", labels=marked())
        await heard.until(("ADDED", "ours"))
        assert {name for _, name in heard.events} == {"ours"}


async def test_tasks_that_were_started_before_kopf_survive_its_end(bench: Bench) -> None:
    older = asyncio.create_task(asyncio.Event().wait())
    async with bench.listening():
        assert not older.done()
    assert not older.done()
    older.cancel()
    with pytest.raises(asyncio.CancelledError):
        await older


async def test_what_exists_at_the_start_is_told_without_a_type(bench: Bench) -> None:
    await bench.create("first", labels=marked())
    await bench.create("second", labels=marked())
    async with bench.listening() as heard:
        await heard.until((None, "first"), (None, "second"))


def registered() -> kopf.OperatorRegistry:
    """The registry that the operator runs with."""
    rooms = {room.kind.kind: room for room in ROOMS}
    queue: WorkQueue[Key] = WorkQueue(time.monotonic)
    return Ears(rooms, queue, Links(), Metrics()).listen()


def test_every_handler_is_asynchronous_and_only_listens() -> None:
    """A synchronous one would share a small thread pool; a state-tracking one would write to people's objects."""
    registry = registered()
    heard = registry._watching.get_all_handlers()
    assert len(heard) == len(ROOMS) + len(LABELLED)
    assert all(inspect.iscoroutinefunction(handler.fn) for handler in heard)
    for other in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert other.get_all_handlers() == []
    assert all(inspect.iscoroutinefunction(one.fn) for one in registry._activities.get_all_handlers())


def test_the_settings_name_every_child_and_store_nothing() -> None:
    settings = listener_settings(clusterwide=True)
    assert set(settings.watching.label_selectors.values()) == {OURS}
    assert len(settings.watching.label_selectors) == len(LABELLED)
    assert settings.persistence.diffbase_storage.fetch(body=kopf.Body({})) is None
    assert settings.peering.standalone
    assert not settings.posting.enabled
