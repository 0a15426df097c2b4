"""The laws every room obeys, whatever it does."""

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from plumbline_operator.model.meta import GROUP, MANAGED_BY, MANAGED_VALUE, Manifest, controller, plain
from plumbline_operator.runtime.loop import model_of
from plumbline_operator.runtime.room import Room, Sight
from tests.support.fake_kube import FakeKube
from tests.support.worlds import IMAGES, World, loop_on, settle

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")  # DNS-1123 label
SHARED_REASONS = frozenset({"InvalidSpec", "NameTaken", "Refused"})
STATUS_LIMIT = 64 * 1024  # bytes
KSTATUS = frozenset({"Ready", "Reconciling", "Stalled"})


async def check_laws(room: Room, worlds: Sequence[World], *, rounds: int = 20) -> None:
    """Check every law in every world. Raises AssertionError that names the world and the law."""
    assert worlds, f"{room.kind.kind}: no world to check the laws in"
    every_reason_is_explained(room)
    for world in worlds:
        await plan_is_pure(room, world)
        kube = world.kube()
        own = await settle(room, world, kube, rounds=rounds)
        only_the_status_is_written(world, kube)
        children_are_owned(world, kube)
        status_is_complete(room, world, own)
        await settled_means_silent(room, world, kube)
        await foreign_fields_do_not_matter(room, world, kube)
        await the_dying_are_left_alone(room, world)


def every_reason_is_explained(room: Room) -> None:
    """Each member of the reason enumeration has a cause and a fix, and the shared reasons are among them."""
    reasons = room.kind.reasons
    enumeration = type(next(iter(reasons)))
    missing = [str(r) for r in enumeration if r not in reasons]
    assert not missing, f"{room.kind.kind}: reasons without explanation: {missing}"
    absent = SHARED_REASONS - {str(r) for r in reasons}
    assert not absent, f"{room.kind.kind}: shared reasons missing from its enumeration: {sorted(absent)}"
    empty = [str(r) for r, e in reasons.items() if not (e.cause.strip() and e.fix.strip())]
    assert not empty, f"{room.kind.kind}: reasons with an empty cause or fix: {empty}"


async def plan_is_pure(room: Room, world: World) -> None:
    """The same world and time give the same plan, and planning changes nothing it was shown."""
    kube = world.kube()
    raw = await kube.get(room.kind.ref, world.key.namespace, world.key.name)
    assert raw is not None
    seen = await room.observe(model_of(room, raw), Sight(kube, world.signals, IMAGES))
    kept = copy.deepcopy(seen)
    first, second = room.plan(seen, world.now), room.plan(seen, world.now)
    assert first == second, f"{world.title}: two plans of one world differ"
    assert seen == kept, f"{world.title}: plan changed what it was shown"
    assert not kube.writes, f"{world.title}: observe wrote"


def only_the_status_is_written(world: World, kube: FakeKube) -> None:
    """The object's spec, labels and annotations belong to its user."""
    key = world.key
    wrong = [w.verb for w in kube.writes if (w.kind, w.name) == (key.kind, key.name) and w.verb != "apply_status"]
    assert not wrong, f"{world.title}: wrote to its own object: {wrong}"


def children_are_owned(world: World, kube: FakeKube) -> None:
    """Every child has a controller, our label and a name that is valid everywhere."""
    for write in kube.writes:
        if write.verb != "apply":
            continue
        what = f"{world.title}: {write.kind} {write.name}"
        assert controller(write.body) is not None, f"{what} has no controller owner reference"
        labels = write.body["metadata"].get("labels", {})
        assert labels.get(MANAGED_BY) == MANAGED_VALUE, f"{what} lacks the label {MANAGED_BY}={MANAGED_VALUE}"
        named_by_user = write.name == world.key.name
        assert named_by_user or LABEL.match(write.name), f"{what} is no DNS-1123 label of at most 63 characters"


def status_is_complete(room: Room, world: World, own: Manifest) -> None:
    """observedGeneration everywhere, known reasons, no field the schema would prune, a bounded size."""
    generation = own["metadata"]["generation"]
    status = own.get("status", {})
    assert status.get("observedGeneration") == generation, f"{world.title}: status.observedGeneration is missing or old"
    conditions = status.get("conditions", [])
    assert any(c["type"] == "Ready" for c in conditions), f"{world.title}: no Ready condition"
    known = {str(r) for r in room.kind.reasons}
    for one in conditions:
        what = f"{world.title}: condition {one['type']}"
        assert one.get("observedGeneration") == generation, f"{what}: observedGeneration is missing or old"
        assert one.get("message"), f"{what}: no message"
        assert one["type"] not in KSTATUS or one["reason"] in known, f"{what}: reason {one['reason']} is not declared"
    absent = {"Reconciling", "Stalled"} & {c["type"] for c in conditions if c["status"] != "True"}
    assert not absent, f"{world.title}: {sorted(absent)} must be present only while True"
    _is_in_the_schema(world, status, plain(room.kind.status.model_validate(status)), "status")
    size = len(json.dumps(status))
    assert size <= STATUS_LIMIT, f"{world.title}: the status has {size} bytes, more than {STATUS_LIMIT}"


async def settled_means_silent(room: Room, world: World, kube: FakeKube) -> None:
    """A settled world produces no write, not even one that would change nothing."""
    before = len(kube.writes)
    loop = loop_on(kube, world.signals)
    for _ in range(3):
        await loop.reconcile(room, world.key, world.now)
    assert not kube.writes[before:], f"{world.title}: writes although settled: {kube.writes[before:]}"


async def foreign_fields_do_not_matter(room: Room, world: World, kube: FakeKube) -> None:
    """What the API server or others add to children, and foreign conditions, cause no write."""
    for child in [o for kind in _kinds_applied(kube) for o in kube.all(kind)]:
        body = {k: v for k, v in child.items() if k not in ("metadata", "status", "apiVersion", "kind")}
        kube.put(_decorated(child, body))
    own = kube.look(world.key.kind, world.key.name, world.key.namespace)
    assert own is not None
    foreign = {"type": "example.com/Audited", "status": "True", "reason": "Seen", "message": "By somebody else."}
    foreign["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    kube.say(own, own["status"] | {"conditions": [*own["status"]["conditions"], foreign]})
    before = len(kube.writes)
    await loop_on(kube, world.signals).reconcile(room, world.key, world.now)
    assert not kube.writes[before:], f"{world.title}: writes because of foreign fields: {kube.writes[before:]}"


async def the_dying_are_left_alone(room: Room, world: World) -> None:
    """An object that is being deleted is not written to, and gets no new children."""
    kube = world.kube()
    own = kube.look(world.key.kind, world.key.name, world.key.namespace)
    assert own is not None
    kube.edit(own, metadata={"finalizers": ["example.com/hold"]})
    kube.remove(own)
    await loop_on(kube, world.signals).reconcile(room, world.key, world.now)
    assert not kube.writes, f"{world.title}: writes while being deleted: {kube.writes}"


def _kinds_applied(kube: FakeKube) -> list[str]:
    return sorted({w.kind for w in kube.writes if w.verb == "apply"})


def _decorated(child: Manifest, body: Manifest) -> Manifest:
    # Immutable kinds of ours compare whole specs in the fake, so only what Kubernetes itself would default is added.
    ours = child["apiVersion"].startswith(GROUP)
    meta = child["metadata"] | {"annotations": child["metadata"].get("annotations", {}) | {"example.com/seen": "yes"}}
    return child | (body if ours else {k: _with_extras(v, k) for k, v in body.items()}) | {"metadata": meta}


def _with_extras(value: Any, name: str) -> Any:
    """The value with an unknown field in every map that the API server might default."""
    if isinstance(value, dict):
        if name in ("data", "matchLabels", "selector", "nodeSelector", "labels"):
            return value
        return {k: _with_extras(v, k) for k, v in value.items()} | {"defaultedByServer": "yes"}
    if isinstance(value, list):
        return [_with_extras(one, name) for one in value]
    return value


def _is_in_the_schema(world: World, status: Any, known: Any, path: str) -> None:
    """Fields the model does not know would be pruned by the API server, and then be written again for ever."""
    if isinstance(status, dict):
        assert isinstance(known, dict), f"{world.title}: {path} is not what the model makes of it"
        for name, value in status.items():
            assert name in known, f"{world.title}: {path}.{name} is not in the model, the API server would prune it"
            _is_in_the_schema(world, value, known[name], f"{path}.{name}")
    elif isinstance(status, list):
        for index, (one, other) in enumerate(zip(status, known, strict=True)):
            _is_in_the_schema(world, one, other, f"{path}[{index}]")
