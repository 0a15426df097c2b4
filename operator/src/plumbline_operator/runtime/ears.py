"""Hears of changes and wakes whom they concern. Handlers only put keys into the queue: they cannot fail.

our kinds ───────► the object, who depends on it, whom it names
children ────────► the owner, by label
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import kopf

from plumbline_operator.kube.refs import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES
from plumbline_operator.model.meta import (
    GROUP,
    MANAGED_BY,
    MANAGED_VALUE,
    OWNER_KIND,
    OWNER_NAME,
    Key,
    Manifest,
    Ref,
)
from plumbline_operator.model.names import label_value
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from plumbline_operator.runtime.room import Room

CHILDREN = (JOBS, PODS, DEPLOYMENTS, SERVICES, CONFIG_MAPS)
OURS = f"{MANAGED_BY}={MANAGED_VALUE}"  # server side: only our children cross the wire


@dataclass(slots=True)
class Ears:
    """What the watches have told so far, and where it goes.

    `heard` keeps the last resourceVersion of each of our objects, so that a resync can tell a silent watch from a
    quiet world. `labels` finds an owner whose name was too long for a label.
    """

    rooms: Mapping[str, Room]
    queue: WorkQueue[Key]
    links: Links
    metrics: Metrics
    heard: dict[Key, int] = field(default_factory=dict)
    _labels: dict[Key, Key] = field(default_factory=dict)

    def listen(self) -> kopf.OperatorRegistry:
        """A kopf registry that brings every event of our kinds and of their children here."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(login)
        for room in self.rooms.values():
            _subscribe(registry, room.kind.ref, self._on_own(room))
        for ref in CHILDREN:
            _subscribe(registry, ref, self._on_child)
        return registry

    def note(self, room: Room, raw: Manifest, *, gone: bool = False) -> None:
        """One of our objects is as `raw` says, or is gone: wake it and whom it concerns."""
        key = key_of(room, raw)
        if gone:
            self.forget(key)
        else:
            self.heard[key] = int(raw["metadata"].get("resourceVersion", 0))
            self.metrics.show(key, raw)
            self.links.replace(key, room.dependencies(raw))
            self._labels[_label_key(key)] = key
        for woken in {key, *self.links.dependents(key), *room.wakes(raw)}:
            self.queue.add(woken)

    def forget(self, key: Key) -> None:
        """An object is gone. Who depends on it still does, and must be woken by whoever learnt of it."""
        self.heard.pop(key, None)
        self._labels.pop(_label_key(key), None)
        self.metrics.drop(key)
        self.links.replace(key, ())

    def _on_own(self, room: Room) -> Any:
        async def noticed(type: str | None, body: kopf.RawBody, **_: Any) -> None:
            raw = dict(body)
            self.note(room, raw, gone=type == "DELETED")
            self._wake_owner(raw)

        return noticed

    async def _on_child(self, body: kopf.RawBody, **_: Any) -> None:
        self._wake_owner(dict(body))

    def _wake_owner(self, raw: Manifest) -> None:
        labels = raw["metadata"].get("labels", {})
        kind, name = labels.get(OWNER_KIND), labels.get(OWNER_NAME)
        if kind in self.rooms and name:
            key = Key(kind, raw["metadata"]["namespace"], name)
            self.queue.add(self._labels.get(key, key))


def key_of(room: Room, raw: Manifest) -> Key:
    """The key of one of our objects."""
    return Key(room.kind.kind, raw["metadata"]["namespace"], raw["metadata"]["name"])


def _label_key(key: Key) -> Key:
    """The key as a child's labels spell it."""
    return Key(key.kind, key.namespace, label_value(key.name))


def _subscribe(registry: kopf.OperatorRegistry, ref: Ref, handler: Any) -> None:
    kopf.on.event(ref.group, ref.version, ref.plural, registry=registry, id=ref.plural)(handler)


async def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
    """Log kopf in as a pod by its ServiceAccount, elsewhere by the kubeconfig."""
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no copy of a spec on anybody's object; only state-tracking handlers would, and there are none."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was ever stored."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


def listener_settings(*, clusterwide: bool) -> kopf.OperatorSettings:
    """kopf as a pure listener. The reasons are in decision 0002."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # a Lease elects the leader, before kopf starts
    settings.posting.enabled = False  # our recorder publishes Events
    settings.scanning.disabled = not clusterwide  # a namespaced install has no right to list CRDs
    # Never equal to a finalizer of ours: kopf removes its own from objects that it has no handler for.
    settings.persistence.finalizer = f"{GROUP}/kopf-unused"
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.queueing.worker_limit = None  # a limit can deadlock, and our handlers only enqueue
    settings.execution.max_workers = 2  # there are no synchronous handlers
    settings.watching.chunk_size = 500  # smaller peaks on the first list
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 300
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.enforce_retry_after = True
    for ref in CHILDREN:
        settings.watching.label_selectors[ref.group, ref.version, ref.plural] = OURS
    return settings
