"""No version serves by the word of its author alone, whichever of fourteen ways is tried and whoever is faster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from plumbline_operator.model.meta import Manifest
from tests.faults import objects as golden
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.rights.caller import placed
from tests.rights.consents import decisions, moves, unapproved
from tests.rights.ground import ACCOUNT, audit, careful, installed, made, operator, soon
from tests.rights.neighbours import KINDS, secret, until_ready
from tests.rights.people import ALICE, APPROVERS, BOB, TEAM, Cast, cast, training
from tests.rights.races import run_races
from tests.rights.ways import WAYS
from tests.support.cluster import Cluster
from tests.support.pod_actor import PodActor
from tests.support.worlds import ready_of

GOAL = "four-eyes"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

WAITING, RACED = "waits", ("raced-0", "raced-1", "raced-2", "raced-3")
UNAPPROVED = (("False", "AwaitingApproval"), ("False", "ApprovalExpired"), ("False", "Evaluating"))
SEED = 20261124
PATH_SECONDS = 120.0
REACTION = timedelta(seconds=5 if is_whole() else 10)  # from an answer of the API server to what follows from it


async def test_nobody_gets_around_a_second_pair_of_eyes(tmp_path: Path) -> None:
    raced = size(GOAL) - len(WAYS)
    with (
        installed("four-eyes", namespaces=(TEAM,)) as cluster,
        PodActor(cluster.kubeconfig, careful(cluster.kubeconfig)),
    ):
        async with cast(cluster) as people:
            async with operator(cluster, tmp_path):
                await set_up(people)
            bad = await take_turn(people, "absent")
            async with operator(cluster, tmp_path):
                people.watched = True
                bad += await take_turn(people, "present")
                await honestly_approved(people)
                versions = [await people.admin.look(KINDS["ModelVersion"], TEAM, name) for name in RACED]
                await run_races(people, versions, raced, SEED)
                promoted, wrong = raced_promotions(cluster, versions)
                bad += wrong
    figure = (
        f"{len(WAYS)} ways refused without and with an operator; {raced} races, {promoted} promotions, 0 unapproved"
    )
    record(GOAL, runs=len(WAYS) + raced, bad=len(bad), figure=figure, seed=str(SEED))
    assert bad == []
    assert promoted > 0, "no race ended in a promotion: nothing was proved"


async def set_up(people: Cast) -> None:
    """A served version, one by alice that waits for approval, and some for the races."""
    admin = people.admin
    await made(admin, TEAM, secret("keys", "ours"))
    objects = [_governed(one) for one in golden.manifests() if one["kind"] != "DriftMonitor"]
    await made(admin, TEAM, *objects)
    for name in (WAITING, *RACED):
        answer = await people.alice.create(TEAM, training(name))
        assert answer.ok, answer.text
    for name in (golden.RUN, WAITING, *RACED):
        await soon(f"{name} waits for approval", awaits(people, name), PATH_SECONDS)
    people.version = await admin.look(KINDS["ModelVersion"], TEAM, golden.RUN)
    people.turn = "first"
    answer = await people.bob.create(TEAM, people.decision("honest", BOB))
    assert answer.ok, answer.text
    await until_ready(admin, TEAM, objects)
    people.version = await admin.look(KINDS["ModelVersion"], TEAM, WAITING)


def awaits(people: Cast, name: str) -> Callable[[], Awaitable[bool]]:
    """Whether a version has passed its gates and waits for people."""

    async def fact() -> bool:
        live = await people.admin.look(KINDS["ModelVersion"], TEAM, name)
        return ready_of(live) == ("False", "AwaitingApproval")

    return fact


async def take_turn(people: Cast, turn: str) -> list[str]:
    """Every way once; complaints, those of the traffic and of what the operator wrote included."""
    people.turn = turn
    bad = []
    for way in WAYS:
        bad += [f"{way.__name__} ({turn}): {one}" for one in await way(people)]
    return bad + await effects(people, turn)


async def effects(people: Cast, turn: str) -> list[str]:
    """Whether the version that waits was approved or served at any moment."""
    name, manifest = people.version["metadata"]["name"], people.version["spec"]["manifest"]
    live = await people.admin.look(KINDS["ModelVersion"], TEAM, name)
    bad = [] if ready_of(live) in UNAPPROVED else [f"{turn}: {name} is {ready_of(live)}"]
    bad += [] if live["spec"] == people.version["spec"] else [f"{turn}: the spec of {name} was changed"]
    lines = await asyncio.to_thread(audit, people.cluster, ACCOUNT)
    bad += [f"{turn}: {one.deployment} gave traffic to {name}" for one in moves(lines, {name: manifest})]
    for line in lines:
        about = line.get("objectRef", {})
        if (about.get("resource"), about.get("name")) == ("modelversions", name) and _approves(line):
            bad.append(f"{turn}: the operator called {name} approved")
    return bad


async def honestly_approved(people: Cast) -> None:
    """What was tried in vain above needs one honest approval: then the version is served at once."""
    answer = await people.bob.create(TEAM, people.decision("honest", BOB))
    assert answer.ok, answer.text
    late = KINDS["ModelDeployment"]

    async def served() -> bool:
        live = await people.admin.look(late, TEAM, "late")
        return bool(live["status"].get("stable", {}).get("version") == WAITING)

    await soon(f"late serves {WAITING}", served, PATH_SECONDS)


def raced_promotions(cluster: Cluster, versions: list[Manifest]) -> tuple[int, list[str]]:
    """How many deployments took a version in, and those that must not have."""
    whole, _, _ = cluster.audit_log.read_text().rpartition("\n")
    lines = [json.loads(line) for line in whole.splitlines() if "race" in line]
    digests = {one["metadata"]["name"]: one["spec"]["manifest"] for one in versions}
    found = moves((line for line in lines if line["user"]["username"] == ACCOUNT), digests)
    decided = decisions(lines, ALICE, frozenset({APPROVERS}))
    return len({(one.deployment, one.digest) for one in found}), unapproved(found, decided, REACTION)


def _approves(line: Manifest) -> bool:
    conditions = ((line.get("requestObject") or {}).get("status") or {}).get("conditions", ())
    return any((one["type"], one["status"]) == ("Approved", "True") for one in conditions)


def _governed(obj: Manifest) -> Manifest:
    """The object; a RegisteredModel that counts only what approvers of the group decide."""
    if obj["kind"] != "RegisteredModel":
        return obj
    return placed(obj, TEAM) | {"spec": obj["spec"] | {"approvals": {"required": 1, "groups": [APPROVERS]}}}
