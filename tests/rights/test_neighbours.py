"""Whoever points at another namespace's object gets nothing of it, and is told that it is missing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from plumbline_operator.model.meta import Manifest
from tests.faults.objects import RUN, manifests
from tests.faults.oracles import log_errors
from tests.proof.goals import is_whole, seconds
from tests.proof.ledger import record
from tests.rights.caller import Caller, caller
from tests.rights.ground import ACCOUNT, audit, careful, installed, made, now, operator, received, soon
from tests.rights.neighbours import (
    KINDS,
    MARK,
    NAME,
    OURS,
    THEIRS,
    Case,
    cases,
    dump,
    leaks,
    marked,
    named_theirs,
    secret,
    subject,
    until_ready,
    walk,
)
from tests.support.cluster import Cluster
from tests.support.pod_actor import PodActor
from tests.support.worlds import ready_of

GOAL = "cross-namespace"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

REST_SECONDS = 5.0 if is_whole() else 3.0
TOLD_SECONDS = 60.0 if is_whole() else 180.0


async def test_nothing_of_a_neighbour_is_read_copied_or_served(tmp_path: Path) -> None:
    with installed("neighbours", namespaces=(OURS, THEIRS)) as cluster:
        play = careful(cluster.kubeconfig)
        with PodActor(cluster.kubeconfig, play):
            async with (
                caller(cluster.kubeconfig) as admin,
                operator(cluster, tmp_path, PLUMBLINE_RESYNC_SECONDS="3600") as one,
            ):
                await settle_theirs(admin, cluster)
                begun = now()
                everything = list(cases())
                bad = await point_across(admin, everything)
                await at_rest(cluster, OURS)
                bad += await what_they_say(admin, everything)
                bad += intrusions(cluster, begun)
                ours, theirs = await dump(admin, OURS), await dump(admin, THEIRS, own_only=True)
                bad += leaks(ours, theirs, [*written(everything), *own_path()])
                bad += log_errors(one.logged())
                if MARK in one.logged().split(begun.isoformat()[:19])[-1]:
                    bad.append("the operator's log speaks of their values")
    figure = f"{len(everything)} ways to point across from {len({c.place for c in everything})} fields"
    record(
        GOAL, runs=len(everything), bad=len(bad), figure=f"{figure}: no request, no value, each told what is missing"
    )
    assert bad == []


async def settle_theirs(admin: Caller, cluster: Cluster) -> None:
    """Their namespace: everything there by a name of its own and by the names that we use too, and at rest."""
    await made(admin, THEIRS, secret("keys", MARK), secret(NAME, MARK), subject("DatasetSnapshot", NAME))
    unique = [marked(one, MARK) for one in named_theirs()]
    same = [marked(one, MARK) for one in manifests()]
    await asyncio.gather(walk(admin, THEIRS, unique, NAME), walk(admin, THEIRS, same, RUN))
    await at_rest(cluster, THEIRS)


async def point_across(admin: Caller, everything: list[Case]) -> list[str]:
    """Our own golden path beside every case; which of them the API server took or refused against expectation."""
    await made(admin, OURS, secret("keys", "ours"))
    ours = asyncio.create_task(walk(admin, OURS, own_path(), RUN))
    bad = []
    for case in everything:
        for obj in case.objects:
            answer = await admin.create(OURS, obj, fieldValidation="Strict" if case.strict else "Ignore")
            if answer.ok == case.refused and obj is case.objects[0]:
                bad.append(f"{case.title}: {'taken' if answer.ok else answer.text}")
            if not answer.ok:
                break
    await ours
    await until_told(admin, everything)
    await until_ready(admin, OURS, own_path())
    return bad


async def until_told(admin: Caller, everything: list[Case]) -> None:
    """Wait until every case has been looked at; whether rightly is judged later."""
    left = [case for case in everything if not case.refused]

    async def told() -> bool:
        left[:] = [case for case in left if not await answered(admin, case)]
        return not left

    try:
        await soon("every case is told", told, TOLD_SECONDS)
    except AssertionError as late:
        raise AssertionError(f"{late}: {[await said(admin, case) for case in left]}") from late


async def answered(admin: Caller, case: Case) -> bool:
    """Whether the watched object says what it has to."""
    live = await watched(admin, case)
    messages = " ".join(one["message"] for one in conditions(live))
    return bool(messages) and (case.name in messages or not case.followed)


async def what_they_say(admin: Caller, everything: list[Case]) -> list[str]:
    """Cases that are Ready although what they name is not there, or do not name it."""
    bad = []
    for case in everything:
        if case.refused or not case.followed:
            continue
        live = await watched(admin, case)
        if ready_of(live)[0] == "True" or not await answered(admin, case):
            bad.append(await said(admin, case))
    return bad


async def watched(admin: Caller, case: Case) -> Manifest:
    """The live object that has to tell."""
    kind, name = case.watched
    return await admin.look(KINDS[kind], OURS, name)


async def said(admin: Caller, case: Case) -> str:
    """A case with what its object says."""
    return f"{case.title}: {[(c['reason'], c['message']) for c in conditions(await watched(admin, case))]}"


def conditions(live: Manifest) -> list[Manifest]:
    """The conditions of an object."""
    found: list[Manifest] = live.get("status", {}).get("conditions", [])
    return found


def own_path() -> list[Manifest]:
    """Our golden path, under the very names that they use too."""
    return [marked(one, "ours") for one in manifests()]


def written(everything: list[Case]) -> list[Manifest]:
    """What users of ours wrote."""
    return [obj for case in everything for obj in case.objects]


async def at_rest(cluster: Cluster, namespace: str) -> None:
    """Wait until the operator asks nothing about a namespace any more."""

    async def silent() -> bool:
        last = max((received(one) for one in requests(cluster, namespace)), default=now())
        return now() - last > timedelta(seconds=REST_SECONDS)

    await soon(f"{namespace} is at rest", silent, TOLD_SECONDS)


def requests(cluster: Cluster, namespace: str, since: datetime | None = None) -> list[Manifest]:
    """The operator's requests into a namespace."""
    return [one for one in audit(cluster, ACCOUNT, since) if one.get("objectRef", {}).get("namespace") == namespace]


def intrusions(cluster: Cluster, begun: datetime) -> list[str]:
    """Requests into their namespace while only ours was changed."""
    found = requests(cluster, THEIRS, begun)
    return [f"the operator asked {one['verb']} {one['requestURI']}" for one in found[:10]]
