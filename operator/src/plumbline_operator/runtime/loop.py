"""One reconcile: read, decide, carry out.

get ─ model ─ observe ─ plan ─ children ─ deletions ─ status ─ Events
                                  │
                                  └ name taken, or refused by the API server: Stalled, nothing overwritten
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from plumbline_operator.kube.errors import Conflict, Refused
from plumbline_operator.kube.protocol import Kube
from plumbline_operator.kube.refs import ref_of
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.model.plan import Impossible, Plan
from plumbline_operator.runtime.contain import contains
from plumbline_operator.runtime.events import Recorder
from plumbline_operator.runtime.owned import APPLIED, NameTaken, Standing, complete, holder, standing
from plumbline_operator.runtime.reports import impossible, invalid_spec, same_status, stalled
from plumbline_operator.runtime.room import Room, Sight

IMMUTABLE = frozenset({"Job", "DatasetSnapshot", "ModelVersion"})  # children whose spec is never changed once made
MUTABLE = {"Job": ("activeDeadlineSeconds", "backoffLimit", "parallelism")}  # but for these
QUEUED = "suspend"  # of a Job: a queue's field; sent back as it was read, it would undo what the queue did meanwhile
REFUSED_AGAIN = timedelta(minutes=5)  # a quota or a policy may change; nothing tells us when
LEAVING_AGAIN = timedelta(seconds=2)  # background deletion of a child usually takes less than a second

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loop:
    """Everything a reconcile needs besides the room and the key."""

    kube: Kube
    sight: Sight
    recorder: Recorder

    async def reconcile(self, room: Room, key: Key, now: datetime) -> timedelta | None:
        """Bring one object one step closer; safe at any time, any number of times.

        Returns when to look again even if nothing happens. Raises KubeError when the API server cannot be used.
        """
        raw = await self.kube.get(room.kind.ref, key.namespace, key.name)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            return None  # children go by owner reference
        raw |= {"apiVersion": room.kind.ref.api_version, "kind": room.kind.kind}
        try:
            resource = model_of(room, raw)
        except ValidationError as exc:
            return await self.carry_out(Plan(status=invalid_spec(raw, exc, now)), raw, now)
        seen = await room.observe(resource, self.sight)
        try:
            plan = room.plan(seen, now)
        except Impossible as exc:
            plan = Plan(status=impossible(raw, exc, now))
        return await self.carry_out(plan, raw, now)

    async def carry_out(self, plan: Plan, raw: Manifest, now: datetime) -> timedelta | None:
        """Do what a plan says, in its order: children, deletions, status, Events."""
        try:
            leaving = [child for child in plan.apply if not await self._apply(child, raw)]
        except (NameTaken, Refused) as exc:
            await self._store(stalled(raw, exc, now), raw)
            return REFUSED_AGAIN
        for target in plan.delete:
            await self.kube.delete(target.ref, raw["metadata"]["namespace"], target.name, target.uid)
        if plan.status is not None:
            await self._store(plan.status, raw)
        for note in plan.notes:
            await self.recorder.publish(raw, note, now)
        return min(plan.again or LEAVING_AGAIN, LEAVING_AGAIN) if leaving else plan.again

    async def _apply(self, manifest: Manifest, owner: Manifest) -> bool:
        """Make one child exist as decided. False when a namesake must go first.

        A child with a resourceVersion was decided on that one: Conflict when it has changed, or is gone, since then.
        """
        child = complete(manifest, owner)
        ref = ref_of(child)
        live = await self.kube.get(ref, child["metadata"]["namespace"], child["metadata"]["name"])
        if live is None:
            if "resourceVersion" in child["metadata"]:
                raise Conflict(
                    "apply", f"{child['kind']} {child['metadata']['name']}", 409, "it is gone since it was read"
                )
            await self.kube.apply(ref, child)
            return True
        match standing(live, child):
            case Standing.FOREIGN:
                raise NameTaken(child["kind"], child["metadata"]["name"], holder(live))
            case Standing.LEAVING:
                return False
        wanted = _metadata_only(child, live) if child["kind"] in IMMUTABLE else child
        if not _is_applied(live, wanted):
            await self.kube.apply(ref, wanted)
        return True

    async def _store(self, status: Mapping[str, Any], raw: Manifest) -> None:
        """Write the status if it differs from the stored one; conditions of other managers are not ours to compare."""
        if same_status(status, raw):
            return
        meta = {k: raw["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion")}
        manifest = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": meta, "status": dict(status)}
        await self.kube.apply_status(ref_of(raw), manifest)


def model_of(room: Room, raw: Manifest) -> Any:
    """The object as its pydantic model. A status we cannot read any more counts as empty: it is only our report."""
    parts = {"metadata": raw["metadata"], "spec": raw.get("spec", {}), "status": raw.get("status", {})}
    try:
        return room.kind.resource.model_validate(parts)
    except ValidationError as exc:
        if any(error["loc"][:1] != ("status",) for error in exc.errors()):
            raise
        log.warning("status could not be read, starting over", extra={"object": raw["metadata"]["name"]})
        return room.kind.resource.model_validate(parts | {"status": {}})


def _metadata_only(child: Manifest, live: Manifest) -> Manifest:
    """The manifest of an existing immutable child: our metadata, and whatever its spec is.

    What of the spec can be changed nevertheless is put back, unless we would make the child differently today.
    """
    kept = {part: value for part, value in live.items() if part not in ("metadata", "status")}
    meta = child["metadata"]
    stamp = live["metadata"].get("annotations", {}).get(APPLIED, meta["annotations"][APPLIED])
    ours, spec = child.get("spec", {}), dict(kept.get("spec", {}))
    if child["kind"] in MUTABLE and QUEUED not in ours:
        spec.pop(QUEUED, None)
    if stamp == meta["annotations"][APPLIED]:
        spec |= {k: ours[k] for k in MUTABLE.get(child["kind"], ()) if k in ours}
    kept["spec"] = spec
    return kept | {"metadata": meta | {"annotations": meta["annotations"] | {APPLIED: stamp}}}


def _is_applied(live: Manifest, wanted: Manifest) -> bool:
    same_hash = live["metadata"].get("annotations", {}).get(APPLIED) == wanted["metadata"]["annotations"][APPLIED]
    return same_hash and contains(live, wanted)
