"""What must hold in every run, whatever was done to it. Each oracle gives its complaints; none is good."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from plumbline_contract.routes import ROUTES_KEY, SERVING_VARIABLE
from plumbline_operator.kube.refs import ref_of
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms import ROOMS
from tests.faults.lane import Lane
from tests.support.faultproxy import Entry
from tests.support.worlds import ready_of

OUR_KINDS = frozenset(room.kind.kind for room in ROOMS)
MADE = frozenset({"datasetsnapshots", "modelversions"})  # made by the operator, named by others
CREATED = 201
RETRIED = ("Request attempt", "will retry")  # kopf's words, at error level, for a call that it only sends again


async def complaints(lane: Lane, objects: list[Manifest]) -> list[str]:
    """Everything that is wrong with a run that has ended."""
    entries = lane.proxy.journal.entries
    return [
        *doubled_jobs(entries),
        *orphans(objects),
        *odd_weights(entries, objects),
        *foreign_specs(entries),
        *lost_references(entries, objects),
        *early_traffic(entries, objects),
        *await changed_specs(lane),
        *undecided(objects),
        *log_errors(lane.logs()),
    ]


def doubled_jobs(entries: Iterable[Entry]) -> list[str]:
    """A Job's name is its attempt: made twice, the work was done twice."""
    made = Counter(one.call.name for one in entries if one.call.resource == "jobs" and one.code == CREATED)
    return [f"Job {name} was made {number} times" for name, number in made.items() if number > 1]


def orphans(objects: Iterable[Manifest]) -> list[str]:
    """Jobs that stay when all is done, and children whose owner is not there."""
    everything = list(objects)
    alive = {one["metadata"]["uid"] for one in everything}
    lines = [f"Job {one['metadata']['name']} is left over" for one in everything if one["kind"] == "Job"]
    for one in everything:
        for owner in one["metadata"].get("ownerReferences", ()):
            if owner["uid"] not in alive:
                lines.append(f"{one['kind']} {one['metadata']['name']} has lost its owner {owner['name']}")
    return lines


def odd_weights(entries: Iterable[Entry], objects: Iterable[Manifest]) -> list[str]:
    """Routes and statuses whose weights do not make up the whole."""
    seen = [one.body for one in entries if isinstance(one.body, dict)]
    lines = []
    for one in [*seen, *objects]:
        weights = _weights(one)
        if weights and sum(weights) != 100:
            lines.append(f"{one['kind']} {one['metadata']['name']} has weights {weights}")
    return lines


def foreign_specs(entries: Iterable[Entry]) -> list[str]:
    """Writes of ours to the specs of users' kinds."""
    own = {room.kind.ref.plural for room in ROOMS} - {"datasetsnapshots", "modelversions"}
    bad = [one for one in entries if one.call.changes and one.call.resource in own and one.call.subresource != "status"]
    return [f"the operator wrote {one.call.method} {one.call.place}" for one in bad]


def lost_references(entries: Iterable[Entry], objects: Iterable[Manifest]) -> list[str]:
    """Deletions of snapshots and versions that something still names."""
    texts = {(one["kind"], one["metadata"]["name"]): json.dumps(one) for one in objects}
    lines = []
    for one in entries:
        if one.call.method == "DELETE" and one.call.resource in MADE:
            users = [place for place, text in texts.items() if f'"{one.call.name}"' in text]
            lines += [f"{one.call.place} was deleted, which {kind} {name} names" for kind, name in users]
    return lines


def early_traffic(entries: Iterable[Entry], objects: Iterable[Manifest]) -> list[str]:
    """Routes that lead to a variant whose digest nobody had approved when they were written."""
    approved = [one for one in objects if one["kind"] == "Approval" and one["spec"]["decision"] == "Approve"]
    digests: dict[str, str] = {}
    lines = []
    for entry in entries:
        body = entry.body if isinstance(entry.body, dict) else {}
        if body.get("kind") == "Deployment":
            digests |= _served(body)
        for variant in _routed(body):
            digest = digests.get(variant, "")
            if not any(one["spec"]["version"]["manifest"] == digest and _made(one) <= entry.at for one in approved):
                lines.append(f"traffic to {variant} before anybody approved {digest or 'what it serves'}")
    return lines


async def changed_specs(lane: Lane) -> list[str]:
    """Users' objects that are not as their users wrote them."""
    lines = []
    for one in lane.written:
        live = await lane.kube.get(ref_of(one), lane.namespace, one["metadata"]["name"])
        if live is None or live["spec"] != one["spec"]:
            lines.append(f"the spec of {one['kind']} {one['metadata']['name']} was changed")
    return lines


def undecided(objects: Iterable[Manifest]) -> list[str]:
    """Objects that are neither Ready nor Stalled, or do not say why."""
    lines = []
    for one in objects:
        if one["kind"] not in OUR_KINDS:
            continue
        conditions = {c["type"]: c for c in one.get("status", {}).get("conditions", ())}
        deciding = [conditions[t] for t in ("Ready", "Stalled") if conditions.get(t, {}).get("status") == "True"]
        if not deciding or not all(c.get("reason") and c.get("message") for c in deciding):
            lines.append(f"{one['kind']} {one['metadata']['name']} is neither Ready nor Stalled: {ready_of(one)}")
    return lines


def log_errors(log: str) -> list[str]:
    """Tracebacks, lines at error level, and lines that are no JSON, but for one cut off by a kill."""
    lines = []
    for line in log.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            if not line.startswith('{"time"'):
                lines.append(f"the operator wrote {line[:200]!r}")
            continue
        if all(words in said["message"] for words in RETRIED):
            continue
        if said["level"] in ("error", "critical") or "exception" in said:
            lines.append(f"the operator logged {said['message'][:200]!r} {said.get('exception', '')[-600:]}")
    return lines


def _served(deployment: Manifest) -> dict[str, str]:
    """Variant → digest, for a Deployment that serves a model."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    values = [env["value"] for one in containers for env in one.get("env", ()) if env["name"] == SERVING_VARIABLE]
    return {deployment["metadata"]["name"]: json.loads(values[0])["manifest"]} if values else {}


def _routed(one: Manifest) -> list[str]:
    """The variants that get traffic, if these are routes."""
    if one.get("kind") != "ConfigMap" or ROUTES_KEY not in one.get("data", {}):
        return []
    return [backend["variant"] for backend in json.loads(one["data"][ROUTES_KEY])["backends"] if backend["weight"]]


def _made(one: Manifest) -> float:
    """When an object was created, in seconds of the epoch."""
    return datetime.fromisoformat(one["metadata"]["creationTimestamp"]).timestamp()


def _weights(one: Manifest) -> list[int]:
    if one.get("kind") == "ConfigMap" and ROUTES_KEY in one.get("data", {}):
        routes: dict[str, Any] = json.loads(one["data"][ROUTES_KEY])
        return [backend["weight"] for backend in routes["backends"]]
    return list((one.get("status") or {}).get("weights", {}).values()) if one.get("kind") == "ModelDeployment" else []
