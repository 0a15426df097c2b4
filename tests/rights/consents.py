"""What had been decided when: read from the audit log, and held against every write that moved traffic."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_contract.routes import ROUTES_KEY
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.world import variant_name
from tests.rights.rules import code

IMAGE = "plumbline/serving:test"
NEVER = datetime.max


@dataclass(frozen=True, slots=True)
class Decision:
    """An Approval that was taken. It counted at the latest from `known` on and until `gone`, surely not before `made`
    and not after `over`."""

    decision: str
    digest: str
    made: datetime
    known: datetime
    gone: datetime
    over: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """Traffic given to a version by a write of routes."""

    at: datetime
    deployment: str
    digest: str
    weight: int


def decisions(lines: Iterable[Manifest], author: str, groups: frozenset[str]) -> list[Decision]:
    """Every Approval with a right to count that was ever taken, from the audit log of everybody.

    author: of all versions. groups: whose decision counts.
    """
    ends: dict[str, tuple[datetime, datetime]] = {}
    starts: dict[str, tuple[Manifest, datetime, datetime]] = {}
    for line in lines:
        about = line.get("objectRef", {})
        if about.get("resource") != "approvals" or about.get("subresource") or not 200 <= code(line) <= 299:
            continue
        name, times = about.get("name", ""), (_time(line, "requestReceivedTimestamp"), _time(line, "stageTimestamp"))
        if line["verb"] == "create":
            body = line["requestObject"]
            starts[body["metadata"]["name"]] = (body["spec"], *times)
        elif line["verb"] == "delete":
            ends[name] = times
    found = []
    for name, (spec, made, known) in starts.items():
        if spec["approver"] == author or spec.get("group") not in groups:
            continue
        gone, over = ends.get(name, (NEVER, NEVER))
        found.append(
            Decision(spec["decision"], spec["version"]["manifest"], made, known, _at(gone, made), _at(over, made))
        )
    return found


def moves(lines: Iterable[Manifest], digests: Mapping[str, str]) -> list[Move]:
    """Every write of routes that gave traffic to a version. digests: version → digest."""
    found = []
    for line in lines:
        data = (line.get("requestObject") or {}).get("data", {})
        if line.get("objectRef", {}).get("resource") != "configmaps" or ROUTES_KEY not in data or code(line) > 299:
            continue
        routes = json.loads(data[ROUTES_KEY])
        variants = {variant_name(routes["deployment"], one, IMAGE): one for one in digests.values()}
        for backend in routes["backends"]:
            if backend["weight"] and backend["variant"] in variants:
                at = _time(line, "requestReceivedTimestamp")
                found.append(Move(at, routes["deployment"], variants[backend["variant"]], backend["weight"]))
    return found


def unapproved(found: Iterable[Move], decided: list[Decision], reaction: timedelta) -> list[str]:
    """Traffic that came in although at no moment of the `reaction` before it the version was approved and not denied.

    Only a deployment's first write counts that gives a version traffic: what serves already is asked for nothing.
    """
    bad, seen = [], set()
    for move in sorted(found, key=lambda one: one.at):
        if (move.deployment, move.digest) in seen:
            continue
        seen.add((move.deployment, move.digest))
        if not was_approved(move.digest, decided, move.at - reaction, move.at):
            bad.append(
                f"{move.deployment} gave {move.weight} % to {move.digest} at {move.at}, unapproved for {reaction}"
            )
    return bad


def was_approved(digest: str, decided: list[Decision], since: datetime, until: datetime) -> bool:
    """Whether there may have been a moment between these at which the digest was approved and not denied."""
    own = [one for one in decided if one.digest == digest]
    yes = [one for one in own if one.decision == "Approve"]
    no = [one for one in own if one.decision == "Deny"]
    # The state changes at these moments only; just after each of them is as good as any between.
    moments = {since, until, *(m for one in own for m in (one.made, one.gone, one.over) if since <= m <= until)}
    return any(
        any(one.made <= moment <= one.over for one in yes) and not any(one.known <= moment < one.gone for one in no)
        for moment in moments
    )


def _time(line: Manifest, part: str) -> datetime:
    return datetime.fromisoformat(line[part])


def _at(moment: datetime, like: datetime) -> datetime:
    return moment.replace(tzinfo=like.tzinfo) if moment.tzinfo is None else moment
