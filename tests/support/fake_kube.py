"""An API server in memory, faithful in what the operator relies on.

Kept: uid, resourceVersion, generation (grows when the spec changes), one intent per field manager (a field no longer
sent is removed unless another manager sends it too), `status` apart from the rest, immutable specs of Jobs and of some
of our kinds, owner garbage collection, preconditions by uid and by version, finalizers. Not kept: defaulting,
validation, watches.
"""

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plumbline_operator.kube.errors import Conflict, KubeError, Refused
from plumbline_operator.kube.refs import EVENTS, ref_of
from plumbline_operator.model.conditions import is_ours
from plumbline_operator.model.meta import MANAGER, STATUS_MANAGER, Manifest, Ref

IMMUTABLE = frozenset({"Job", "DatasetSnapshot", "ModelVersion", "TrainingRun", "Approval"})
MUTABLE = {("Job", field) for field in ("activeDeadlineSeconds", "backoffLimit", "parallelism", "suspend")}
CREATED = "2026-01-01T00:00:00Z"

Place = tuple[str, str, str, str]  # group, plural, namespace, name


@dataclass(frozen=True, slots=True)
class Write:
    """One writing request, whether it changed something or not."""

    verb: str  # apply | apply_status | delete | event
    kind: str
    namespace: str
    name: str
    body: Manifest = field(default_factory=dict, compare=False)


class FakeKube:
    """Implements kube.protocol.Kube; `writes` are the operator's requests. `put`, `edit`, `say` act as all others."""

    def __init__(self, *objects: Manifest) -> None:
        self.writes: list[Write] = []
        self.events: list[Manifest] = []
        self.denied: set[tuple[str, str]] = set()  # (verb, plural) that `may` answers with no
        self.failures: list[tuple[str, str, KubeError]] = []  # (verb, kind, error) raised once each, in order
        self.version = 0  # grows with every change, whoever made it
        self._objects: dict[Place, Manifest] = {}
        self._intents: dict[tuple[Place, str], Manifest] = {}
        self._uids = itertools.count(1)
        for one in objects:
            self.put(one)

    # ---------------------------------------------------------------- what the operator calls

    async def get(self, ref: Ref, namespace: str, name: str) -> Manifest | None:
        self._fail("get", ref.kind)
        return copy.deepcopy(self._objects.get((ref.group, ref.plural, namespace, name)))

    async def list(
        self, ref: Ref, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        self._fail("list", ref.kind)
        wanted = (labels or {}).items()
        return [
            copy.deepcopy(raw)
            for (group, plural, space, _), raw in sorted(self._objects.items())
            if (group, plural) == (ref.group, ref.plural)
            and namespace in (None, space)
            and wanted <= raw["metadata"].get("labels", {}).items()
        ]

    async def apply(self, ref: Ref, manifest: Manifest) -> Manifest:
        sent = _clean(manifest)
        place = self._record("apply", ref, sent)
        sent.pop("status", None)
        live = self._objects.get(place)
        wanted_uid = sent["metadata"].pop("uid", None)
        if wanted_uid is not None and (live is None or live["metadata"]["uid"] != wanted_uid):
            raise Conflict("apply", str(place), 409, "Precondition failed: UID in precondition does not match")
        version = sent["metadata"].pop("resourceVersion", None)
        if version is not None and (live is None or live["metadata"]["resourceVersion"] != version):
            raise Conflict("apply", str(place), 409, "the object has been modified")
        after = self._merged(place, MANAGER, live or _shell(ref, sent), sent)
        if live is not None and ref.kind in IMMUTABLE and _fixed(after) != _fixed(live):
            raise Refused("apply", str(place), 422, "spec: Invalid value: field is immutable")
        self._store(place, after, live)
        self._intents[place, MANAGER] = sent
        return copy.deepcopy(self._objects[place])

    async def apply_status(self, ref: Ref, manifest: Manifest) -> Manifest:
        sent = _clean(manifest)
        place = self._record("apply_status", ref, sent)
        live = self._objects.get(place)
        version = sent["metadata"]["resourceVersion"]
        if live is None or live["metadata"]["resourceVersion"] != version:
            raise Conflict("apply_status", str(place), 409, "the object has been modified")
        intent = {"status": sent.get("status", {})}
        after = self._merged(place, STATUS_MANAGER, live, intent)
        types = {one["type"] for one in intent["status"].get("conditions", ())}
        known = after["status"].pop("conditions", [])
        kept = [one for one in known if one["type"] in types or not is_ours(one["type"])]
        after["status"] = copy.deepcopy(intent["status"]) | ({"conditions": kept} if kept else {})
        self._store(place, after, live)
        self._intents[place, STATUS_MANAGER] = intent
        return copy.deepcopy(self._objects[place])

    async def delete(self, ref: Ref, namespace: str, name: str, uid: str) -> None:
        self._fail("delete", ref.kind)
        self.writes.append(Write("delete", ref.kind, namespace, name, {"uid": uid}))
        live = self._objects.get((ref.group, ref.plural, namespace, name))
        if live is not None and live["metadata"]["uid"] == uid:
            self.remove(live)

    async def event(self, manifest: Manifest) -> None:
        sent = _clean(manifest)
        self._record("event", EVENTS, sent)
        self.events.append(sent)

    async def may(self, verb: str, ref: Ref, namespace: str | None, subresource: str = "", name: str = "") -> bool:
        del namespace, name
        return (verb, f"{ref.plural}/{subresource}" if subresource else ref.plural) not in self.denied

    # ---------------------------------------------------------------- what tests and other actors call

    def put(self, raw: Manifest) -> Manifest:
        """Store an object as a user would with `kubectl replace`: metadata is completed, spec changes count."""
        sent = _clean(raw)
        ref = ref_of(sent)
        place = _place(ref, sent)
        live = self._objects.get(place)
        after = _shell(ref, sent) | sent
        if live is not None:
            kept = {k: live["metadata"][k] for k in ("uid", "generation", "creationTimestamp")}
            after["metadata"] = after["metadata"] | kept
        self._store(place, after, live)
        return copy.deepcopy(self._objects[place])

    def look(self, kind: str, name: str, namespace: str = "team") -> Manifest | None:
        """The object of this kind, or None; for assertions."""
        found = next((o for o in self.all(kind) if _name(o) == (namespace, name)), None)
        return copy.deepcopy(found)

    def all(self, kind: str) -> Sequence[Manifest]:
        """Every object of this kind, by namespace and name."""
        return [raw for _, raw in sorted(self._objects.items()) if raw["kind"] == kind]

    def edit(self, raw: Manifest, **changes: Any) -> Manifest:
        """Change top-level parts (spec=…, status=…, metadata=…) of a stored object, each deep-merged."""
        live = self._objects[_place(ref_of(raw), raw)]
        after = copy.deepcopy(live)
        for part, change in changes.items():
            after[part] = _merge(after.get(part, {}), change)
        self._store(_place(ref_of(raw), raw), after, live)
        return copy.deepcopy(self._objects[_place(ref_of(raw), raw)])

    def say(self, raw: Manifest, status: Manifest) -> Manifest:
        """Replace the status of a stored object, as its controller would."""
        live = self._objects[_place(ref_of(raw), raw)]
        after = copy.deepcopy(live) | {"status": copy.deepcopy(status)}
        self._store(_place(ref_of(raw), raw), after, live)
        return copy.deepcopy(self._objects[_place(ref_of(raw), raw)])

    def remove(self, raw: Manifest) -> None:
        """Delete an object and, with it, what only it owns. A finalizer keeps it, marked as being deleted."""
        place = _place(ref_of(raw), raw)
        live = self._objects[place]
        self.version += 1
        if live["metadata"].get("finalizers"):
            live["metadata"]["deletionTimestamp"] = CREATED
            return
        del self._objects[place]
        for key in [k for k in self._intents if k[0] == place]:
            del self._intents[key]
        for orphan in list(self._orphans_of(live["metadata"]["uid"])):
            self.remove(orphan)

    def fail(self, verb: str, kind: str, error: KubeError) -> None:
        """Let the next call of this verb on this kind raise."""
        self.failures.append((verb, kind, error))

    # ---------------------------------------------------------------- inside

    def _orphans_of(self, uid: str) -> Iterator[Manifest]:
        alive = {o["metadata"]["uid"] for o in self._objects.values()}
        for raw in list(self._objects.values()):
            owners = [o["uid"] for o in raw["metadata"].get("ownerReferences", ())]
            if uid in owners and not alive.intersection(owners):
                yield raw

    def _record(self, verb: str, ref: Ref, sent: Manifest) -> Place:
        self._fail(verb, ref.kind)
        place = _place(ref, sent)
        self.writes.append(Write(verb, ref.kind, place[2], place[3], copy.deepcopy(sent)))
        return place

    def _fail(self, verb: str, kind: str) -> None:
        for index, (at_verb, at_kind, error) in enumerate(self.failures):
            if (at_verb, at_kind) == (verb, kind):
                del self.failures[index]
                raise error

    def _merged(self, place: Place, manager: str, live: Manifest, sent: Manifest) -> Manifest:
        others = [i for (where, who), i in self._intents.items() if where == place and who != manager]
        after = copy.deepcopy(live)
        _forget(after, self._intents.get((place, manager), {}), sent, others)
        return _merge(after, sent)

    def _store(self, place: Place, after: Manifest, live: Manifest | None) -> None:
        meta = after["metadata"]
        meta.setdefault("uid", f"uid-{next(self._uids)}")
        meta.setdefault("creationTimestamp", CREATED)
        meta.setdefault("generation", 1)
        if live is not None:
            if after == live:
                return
            if after.get("spec") != live.get("spec"):
                meta["generation"] = live["metadata"]["generation"] + 1
        self.version += 1
        meta["resourceVersion"] = str(self.version)
        self._objects[place] = after


def _clean(manifest: Manifest) -> Manifest:
    """A deep copy that went through JSON, so that what is no JSON fails here as it would on the wire."""
    return json.loads(json.dumps(manifest))


def _fixed(raw: Manifest) -> Manifest:
    """The part of an immutable object's spec that the API server does not let anybody change."""
    return {k: v for k, v in raw.get("spec", {}).items() if (raw["kind"], k) not in MUTABLE}


def _place(ref: Ref, raw: Manifest) -> Place:
    return (ref.group, ref.plural, *_name(raw))


def _name(raw: Manifest) -> tuple[str, str]:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]


def _shell(ref: Ref, sent: Manifest) -> Manifest:
    meta = {k: v for k, v in sent["metadata"].items() if k in ("name", "namespace")}
    return {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta}


def _key_of(items: Any) -> str | None:
    """The merge key of a list: lists of things with a name, a uid or (conditions) a type are maps in disguise."""
    if not isinstance(items, list) or not items or not all(isinstance(one, dict) for one in items):
        return None
    return next((k for k in ("uid", "name", "type") if all(k in one for one in items)), None)


def _merge(live: Any, sent: Any) -> Any:
    if isinstance(live, dict) and isinstance(sent, dict):
        return live | {k: _merge(live.get(k), v) for k, v in sent.items()}
    key = _key_of(sent)
    if key is not None and key == _key_of(live):
        new = {one[key]: one for one in sent}
        kept = [_merge(one, new.pop(one[key])) if one[key] in new else one for one in live]
        return kept + [one for one in sent if one[key] in new]
    return copy.deepcopy(sent)


def _forget(live: Any, before: Any, now: Any, others: list[Any]) -> None:
    """Remove from `live` what a manager sent `before`, does not send `now`, and no other manager sends."""
    if isinstance(live, dict) and isinstance(before, dict):
        for name in list(before):
            theirs = [o[name] for o in others if isinstance(o, dict) and name in o]
            if name in live and name not in (now or {}) and not theirs:
                del live[name]
            elif name in live:
                _forget(live[name], before[name], (now or {}).get(name), theirs)
        return
    key = _key_of(before)
    if key is None or not isinstance(live, list):
        return
    sent = {one[key]: one for one in now or () if isinstance(one, dict) and key in one}
    for old in before:
        theirs = [one for o in others if isinstance(o, list) for one in o if one.get(key) == old[key]]
        mine = next((one for one in live if one.get(key) == old[key]), None)
        if mine is not None and old[key] not in sent and not theirs:
            live.remove(mine)
        elif mine is not None:
            _forget(mine, old, sent.get(old[key]), theirs)
