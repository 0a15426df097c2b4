"""What strangers do to an object, and what must be true of it soon afterwards.

Each action is done to one object while the operator runs; `Done` says how long it took to be as it was, or what is
wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.runtime.owned import APPLIED
from tests.faults.lane import Late, soon
from tests.faults.oracles import OUR_KINDS
from tests.faults.state import HASH, TIME
from tests.foreign import stranger
from tests.foreign.fields import Path, editable, others, owned, value_at, with_value
from tests.foreign.stage import RANGE, Stage
from tests.proof.goals import is_whole

MARK = "stranger.example.com/was-here"  # a label and an annotation
HOLD = "stranger.example.com/hold"  # a finalizer
HELD_SECONDS = 2.0 if is_whole() else 1.0  # how long a stranger's finalizer is watched to be left alone
CONFLICTS = 5  # tries to be faster than whoever else writes to the object
# These the API server lets nobody write without the version that was read.
VERSIONED = OUR_KINDS | {"PodDisruptionBudget"}
NOT_TAKEN = object()
MOST_WRITES = 3  # to an object whose deletion a stranger holds up, in that time


@dataclass(frozen=True, slots=True)
class Done:
    """One action on one object. `bad`: what was not as it should be; `note`: what was done exactly."""

    phase: str
    kind: str
    name: str
    action: str
    seconds: float
    bad: str = ""
    note: str = ""


Action = Callable[[Stage, Ref, Manifest], Awaitable[str]]
"""Does it, waits until all is as it was, and gives a note. Raises Late or AssertionError."""


async def try_action(stage: Stage, phase: str, name: str, ref: Ref, before: Manifest) -> Done:
    """Carry out one action on one object, and see what becomes of it."""
    started = asyncio.get_running_loop().time()
    bad = note = ""
    try:
        note = await ACTIONS[name](stage, ref, before)
    except (Late, AssertionError, stranger.Refusal) as wrong:
        bad = str(wrong) or type(wrong).__name__
    seconds = asyncio.get_running_loop().time() - started
    return Done(phase, before["kind"], before["metadata"]["name"], name, seconds, bad, note)


async def edited(stage: Stage, ref: Ref, before: Manifest) -> str:
    """Every field of ours that the API server lets somebody change, changed at once."""
    for _ in range(CONFLICTS):
        changed, paths = await _vandalised(stage, ref, before)
        if not paths:
            assert before["kind"] in OUR_KINDS, "nothing of it can be edited, which cannot be true"
            return "refused"
        try:
            await stage.stranger.replace(ref, changed)
        except stranger.Refusal as refusal:
            if "409" not in str(refusal):
                raise
            continue
        await restored(stage, ref, before)
        return f"{len(paths)} fields"
    raise AssertionError("always somebody else was faster")


async def unlabelled(stage: Stage, ref: Ref, before: Manifest) -> str:
    """All labels removed."""
    return await _without(stage, ref, before, "labels")


async def unannotated(stage: Stage, ref: Ref, before: Manifest) -> str:
    """All annotations removed."""
    return await _without(stage, ref, before, "annotations")


async def orphaned(stage: Stage, ref: Ref, before: Manifest) -> str:
    """The owner references removed."""
    return await _without(stage, ref, before, "ownerReferences")


async def bare(stage: Stage, ref: Ref, before: Manifest) -> str:
    """One of our labels that lead to the owner changed to another's name, and the owner's own left."""
    label = "plumbline.dev/owner-name"
    await _patch(stage, ref, before, {"metadata": {"labels": {label: "somebody-else"}}})
    await restored(stage, ref, before)
    return ""


async def marked(stage: Stage, ref: Ref, before: Manifest) -> str:
    """A label and an annotation of the stranger's added, and one of ours removed: his stay, ours comes back."""
    mine = {MARK: "yes"}
    labels = mine | dict.fromkeys(before["metadata"].get("labels", {}))
    await _patch(stage, ref, before, {"metadata": {"labels": labels, "annotations": mine}})
    live = await restored(stage, ref, before)
    meta = live["metadata"]
    assert meta["labels"].get(MARK) == meta["annotations"].get(MARK) == "yes", "the stranger's own marks are gone"
    assert _manages(live, stranger.NAME), "the stranger's marks are not his any more"
    await _patch(stage, ref, before, {"metadata": {"labels": {MARK: None}, "annotations": {MARK: None}}})
    return ""


async def deleted(stage: Stage, ref: Ref, before: Manifest) -> str:
    """Deleted."""
    await stage.stranger.delete(ref, before["metadata"]["name"])
    await restored(stage, ref, before, reborn=True)
    return ""


async def held(stage: Stage, ref: Ref, before: Manifest) -> str:
    """Deleted while a stranger's finalizer holds it: the operator leaves both alone, and makes it anew afterwards."""
    name = before["metadata"]["name"]
    await _patch(stage, ref, before, {"metadata": {"finalizers": [*before["metadata"].get("finalizers", ()), HOLD]}})
    await stage.stranger.delete(ref, name)
    writes = len(_writes_to(stage, ref, name))
    await asyncio.sleep(HELD_SECONDS)  # the time in which nothing may happen
    live = await stage.stranger.look(ref, name)
    assert live is not None, "gone in spite of a stranger's finalizer"
    assert HOLD in live["metadata"].get("finalizers", ()), "a stranger's finalizer was removed"
    more = len(_writes_to(stage, ref, name)) - writes
    assert more <= MOST_WRITES, f"{more} writes to what is on its way out"
    await _patch(stage, ref, before, {"metadata": {"finalizers": None}})
    await restored(stage, ref, before, reborn=True)
    return ""


async def forged(stage: Stage, ref: Ref, before: Manifest) -> str:
    """A status that knows nothing any more, by somebody who is not the operator; a condition of his own stays.

    A forged consent is another matter: others act upon it at once, and so it is admission that refuses it.
    """
    status = before["status"]
    lies = [_lie(one) for one in status["conditions"]] + [_lie(status["conditions"][0], "example.com/Seen")]
    await _patch(stage, ref, before, {"status": {"conditions": lies, "observedGeneration": 99}}, "status")

    async def told() -> bool:
        live = await stage.stranger.look(ref, before["metadata"]["name"])
        return live is not None and _told(live["status"]) == _told(status)

    await soon(f"the status of {_title(before)}", told, stage.ground.limit)
    live = await stage.stranger.look(ref, before["metadata"]["name"])
    seen = [one["type"] for one in (live or {}).get("status", {}).get("conditions", ())]
    assert "example.com/Seen" in seen, "the stranger's own condition is gone"
    others = [one for one in (live or {})["status"]["conditions"] if one["type"] != "example.com/Seen"]
    await _patch(stage, ref, before, {"status": {"conditions": others}}, "status")
    return ""


def actions_on(obj: Manifest, *, made: bool) -> list[str]:
    """What can be done to an object; made: by the operator, and not written by a user."""
    if not made:
        return ["status forged"]
    return [name for name in ACTIONS if name != "status forged" or obj["kind"] in OUR_KINDS]


ACTIONS: dict[str, Action] = {
    "edited": edited,
    "labels removed": unlabelled,
    "label changed": bare,
    "annotations removed": unannotated,
    "owner stripped": orphaned,
    "marked": marked,
    "deleted": deleted,
    "deleted, held": held,
    "status forged": forged,
}


async def restored(stage: Stage, ref: Ref, before: Manifest, *, reborn: bool = False) -> Manifest:
    """Wait until the object is as it was, or was made again so. Raises Late with the first difference."""
    found: list[Manifest] = []
    wrong = ["it is gone"]

    async def whole() -> bool:
        live = await stage.stranger.look(ref, before["metadata"]["name"])
        wrong[:] = ["it is gone"] if live is None else lacking(before, live | {"kind": ref.kind}, reborn=reborn)
        found[:] = [live] if live is not None else []
        return not wrong

    try:
        await soon(_title(before), whole, stage.ground.limit)
    except Late as late:
        raise Late(f"{late}; {'; '.join(wrong[:3])}") from late
    return found[0]


def lacking(before: Manifest, live: Manifest, *, reborn: bool = False) -> list[str]:
    """In what an object is not as it was: every field that we had applied has its value again."""
    meta, was = live["metadata"], before["metadata"]
    if meta.get("deletionTimestamp"):
        return ["it is being deleted"]
    if (meta["uid"] != was["uid"]) is not reborn:
        return ["it is another one" if not reborn else "it is still the old one"]
    now, then = owned(live), owned(before)
    # A field that holds nothing, like `readOnly: false`, is dropped by the API server, and with it who owned it.
    lines = [f"{path} is not ours" for path in then if path not in now and then[path] is not None]
    return lines + [
        f"{path} is {json.dumps(value_at(live, path))[:80]}, not {json.dumps(value)[:80]}"
        for path, value in then.items()
        if _plain(path, value_at(live, path)) != _plain(path, value)
    ]


def _plain(path: Path, value: Any) -> Any:
    """A value without what may differ: generations of routes and their hash, replicas within their range."""
    if path[-1] == APPLIED:
        return value is not None
    if path[-1] == "routes.json" and isinstance(value, str):
        try:
            return json.loads(value) | {"generation": 0}
        except ValueError:
            return value
    if path == ("spec", "replicas") and value is not None:
        return RANGE["replicas"]["min"] <= value <= RANGE["replicas"]["max"]
    return value


async def _vandalised(stage: Stage, ref: Ref, before: Manifest) -> tuple[Manifest, list[Path]]:
    """The object with every field changed that can be, and their paths."""
    live = await stage.stranger.look(ref, before["metadata"]["name"])
    assert live is not None, f"{_title(before)} is gone"
    if before["kind"] not in VERSIONED:
        live["metadata"].pop("resourceVersion")
    paths = editable(before)
    values = await asyncio.gather(*(_taken(stage, ref, live, path) for path in paths))
    changed, done = live, []
    for path, value in zip(paths, values, strict=True):
        if value is not NOT_TAKEN and value_at(changed, path) is not None:
            attempt = with_value(changed, path, value)
            if not done or await _complaint(stage, ref, attempt) == "":
                changed = attempt
                done.append(path)
    return changed, done


async def _taken(stage: Stage, ref: Ref, live: Manifest, path: Path) -> Any:
    """Another value for this field that the API server would take; NOT_TAKEN when it takes none."""
    for value in others(path, value_at(live, path)):
        complaint = await _complaint(stage, ref, with_value(live, path, value))
        if complaint == "":
            return value
        if "immutable" in complaint:
            break
    return NOT_TAKEN


async def _complaint(stage: Stage, ref: Ref, attempt: Manifest) -> str:
    """What the API server would say against it; empty when it would take it."""
    try:
        await stage.stranger.replace(ref, attempt, dry=True)
    except stranger.Refusal as refusal:
        return str(refusal)
    return ""


async def _without(stage: Stage, ref: Ref, before: Manifest, part: str) -> str:
    await _patch(stage, ref, before, {"metadata": {part: None}})
    await restored(stage, ref, before)
    return ""


async def _patch(stage: Stage, ref: Ref, before: Manifest, change: Manifest, subresource: str = "") -> None:
    await stage.stranger.patch(ref, before["metadata"]["name"], change, subresource)


def _writes_to(stage: Stage, ref: Ref, name: str) -> list[Any]:
    entries = stage.lane.proxy.journal.entries
    return [one for one in entries if (one.call.resource, one.call.name) == (ref.plural, name) and one.call.changes]


def _manages(live: Manifest, manager: str) -> bool:
    return any(entry["manager"] == manager for entry in live["metadata"].get("managedFields", ()))


def _lie(condition: Manifest, kind: str = "") -> Manifest:
    return condition | {"type": kind or condition["type"], "status": "Unknown", "reason": "Forged", "message": "forged"}


def _told(status: Manifest) -> str:
    """A status without times and hashes of inputs, and with our own conditions only."""
    kept = [one for one in status.get("conditions", ()) if not one["type"].startswith("example.com/")]
    told = status | {"conditions": sorted(kept, key=lambda one: str(one["type"]))}
    told.pop("routesGeneration", None)  # grows with every hand on the routes
    if "evaluation" in told:  # a version that was made again is judged against the champion of that day
        told["evaluation"] = {part: value for part, value in told["evaluation"].items() if part != "champion"}
    return HASH.sub("#", TIME.sub("<time>", json.dumps(told, sort_keys=True)))


def _title(obj: Manifest) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"
