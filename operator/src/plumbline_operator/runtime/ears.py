"""Hears of changes and wakes whom they concern. Handlers only put keys into the queue: they cannot fail.

our kinds ───────► the object, who depends on it, whom it names
children ────────► the owner, by label; by owner reference should the label be gone

What is remembered only wakes; it never decides.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kopf

from plumbline_operator.kube import refs
from plumbline_operator.kube.auth import service_account
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

LABELLED = (refs.PODS, *refs.CHILDREN)  # watched by our label; our own kinds are watched whole
# Seconds; no gap longer than 8, so that an outage is noticed to be over. When they are used up, kopf asks once more
# after a second, whatever Retry-After says: that is to be rare.
ERROR_BACKOFFS = (1, 2, 3, 5, *[8] * 40)
LOGIN_BACKOFF = 2.0  # seconds, when the token cannot be read
OURS = f"{MANAGED_BY}={MANAGED_VALUE}"  # server side: only our children cross the wire


def at_once(task: Callable[..., None], *arguments: Any) -> None:
    """Run a task here and now."""
    task(*arguments)


@dataclass(slots=True)
class Ears:
    """What is known of every watched object, and where news of it goes.

    `heard` keeps the newest resourceVersion known of each object, ours and children, whoever told of it; `told` keeps
    for each type and namespace the newest one that a watch told of, so that a resync can tell a silent watch from a
    quiet world. `post` brings a task from the listener's thread into ours. `labels` finds an owner whose name was too
    long for a label.
    """

    rooms: Mapping[str, Room]
    queue: WorkQueue[Key]
    links: Links
    metrics: Metrics
    post: Callable[..., Any] = at_once
    heard: dict[Key, int] = field(default_factory=dict)
    told: dict[tuple[Ref, str], int] = field(default_factory=dict)
    _owners: dict[Key, tuple[Key, ...]] = field(default_factory=dict)
    _labels: dict[Key, Key] = field(default_factory=dict)
    _heads: dict[Key, int] = field(default_factory=dict)  # of those whose status tells nobody else

    def listen(self, refused: Callable[[], None] = lambda: None) -> kopf.OperatorRegistry:
        """A kopf registry that brings every event of our kinds and of their children here.

        `refused` is called when the API server refuses our token.
        """
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, backoff=LOGIN_BACKOFF)(login_once(refused))
        for ref in self.watched():
            _subscribe(registry, ref, self._on_event(ref))
        return registry

    def watched(self) -> tuple[Ref, ...]:
        """Every type that is watched: our kinds, then children's."""
        return (*(room.kind.ref for room in self.rooms.values()), *LABELLED)

    def newest(self, ref: Ref, namespace: str | None) -> int:
        """The newest version that the watch of this type has told of; None: the watch of all namespaces."""
        return max((v for (one, space), v in self.told.items() if one == ref and namespace in (None, space)), default=0)

    def hear(self, ref: Ref, raw: Manifest, gone: bool) -> None:
        """A watch tells of an object."""
        watch = (ref, raw["metadata"]["namespace"])
        self.told[watch] = max(self.told.get(watch, 0), version_of(raw))
        self.learn(ref, raw, gone=gone)

    def learn(self, ref: Ref, raw: Manifest, *, gone: bool = False) -> None:
        """An object, ours or a child, is as `raw` says, or is gone, whoever told of it: wake everybody concerned.

        What is older than what is known already comes late: it wakes, and nothing of it is kept.
        """
        key, room = key_of(ref, raw), self.rooms.get(ref.kind)
        late = version_of(raw) < self.heard.get(key, -1)
        quiet = not gone and room is not None and not room.status_tells and self._heads.get(key) == head_of(raw)
        if gone and not late:
            self.forget(key)
        elif not late:
            self.heard[key] = version_of(raw)
            if room is not None:
                self._note(room, key, raw)
        owners = self._owners_of(raw)
        if owners and key in self.heard:
            self._owners[key] = owners
        concerned = set() if quiet else {*owners, *(room.wakes(raw) if room else ())}
        for woken in concerned | ({key, *self.links.dependents(key)} if room else set()):
            self.queue.add(woken)

    def miss(self, key: Key) -> None:
        """An object has gone and no watch told of it: wake everybody concerned, and forget it."""
        for woken in (*self.links.dependents(key), *self._owners.get(key, ())):
            self.queue.add(woken)
        self.forget(key)

    def forget(self, key: Key) -> None:
        """An object is gone. Who depends on it still does, and must be woken by whoever learnt of it."""
        self.heard.pop(key, None)
        self._owners.pop(key, None)
        if key.kind in self.rooms:
            self._labels.pop(_label_key(key), None)
            self._heads.pop(key, None)
            self.metrics.drop(key)
            self.links.replace(key, ())

    def _note(self, room: Room, key: Key, raw: Manifest) -> None:
        self.metrics.show(key, raw)
        self.links.replace(key, room.dependencies(raw))
        self._labels[_label_key(key)] = key
        if not room.status_tells:
            self._heads[key] = head_of(raw)

    def _on_event(self, ref: Ref) -> Any:
        async def noticed(type: str | None, body: kopf.RawBody, **_: Any) -> None:
            self.post(self.hear, ref, dict(body), type == "DELETED")

        return noticed

    def _owners_of(self, raw: Manifest) -> tuple[Key, ...]:
        """Whom an object's labels name as its owner, and whom its owner references name, should the labels be wrong."""
        meta = raw["metadata"]
        labels, references = meta.get("labels", {}), meta.get("ownerReferences", ())
        named = [(one["kind"], one["name"]) for one in references if _is_ours(one)]
        if labels.get(OWNER_NAME):
            named.append((labels.get(OWNER_KIND), labels[OWNER_NAME]))
        keys = {Key(kind, meta["namespace"], name) for kind, name in named if kind in self.rooms}
        return tuple(self._labels.get(key, key) for key in keys)


def key_of(ref: Ref, raw: Manifest) -> Key:
    """The key of an object of this type."""
    return Key(ref.kind, raw["metadata"]["namespace"], raw["metadata"]["name"])


def version_of(raw: Manifest) -> int:
    """The resourceVersion of an object: grows with every change in the cluster."""
    return int(raw["metadata"].get("resourceVersion", 0))


def head_of(raw: Manifest) -> int:
    """A hash of all that can change of an object besides its status: of its metadata, which count changes of a spec."""
    head = {name: value for name, value in raw["metadata"].items() if name not in ("resourceVersion", "managedFields")}
    return hash(json.dumps(head, sort_keys=True))


def _label_key(key: Key) -> Key:
    """The key as a child's labels spell it."""
    return Key(key.kind, key.namespace, label_value(key.name))


def _is_ours(reference: Manifest) -> bool:
    return str(reference["apiVersion"]).partition("/")[0] == GROUP


def _subscribe(registry: kopf.OperatorRegistry, ref: Ref, handler: Any) -> None:
    kopf.on.event(ref.group, ref.version, ref.plural, registry=registry, id=ref.plural)(handler)


async def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
    """Log kopf in as kube.auth logs us in. kopf asks again when the token is refused."""
    account = service_account()
    if account is None:
        return kopf.login_with_kubeconfig(settings=settings)
    return kopf.ConnectionInfo(server=account.server, ca_path=account.authority, token=account.token())


def login_once(refused: Callable[[], None]) -> Callable[..., Awaitable[kopf.ConnectionInfo | None]]:
    """A login for one life of kopf. That kopf asks again means that the token was refused: `refused` is told.

    kopf's own way from there, to log in again while its requests wait, now and then never ends.
    """
    given: list[kopf.ConnectionInfo | None] = []

    async def once(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
        if given:
            refused()
            raise kopf.PermanentError("the API server refuses the token")
        given.append(await login(settings))
        return given[0]

    return once


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no copy of a spec on anybody's object; only state-tracking handlers would, and there are none."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """Nothing to compare: the copy of each object that comes in is a fifth of what hearing of it costs."""
        return kopf.BodyEssence()

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
    settings.watching.reconnect_backoff = 1.0  # seconds; the default of a tenth is a storm when all watches fall
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 15  # an answer that is lost keeps kopf from its whole list of types
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = ERROR_BACKOFFS
    settings.process.ultimate_exiting_timeout = None  # it would kill us; the listener begins again
    for ref in LABELLED:
        settings.watching.label_selectors[ref.group, ref.version, ref.plural] = OURS
    return settings
