"""The same changes on an API server in memory: no plan raises, and every object says where it stands."""

from __future__ import annotations

import pytest

from plumbline_contract.runspec import RUNSPEC_VARIABLE
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms import ROOMS
from tests.fuzz import goods
from tests.fuzz.bed import play
from tests.fuzz.changes import Change, Changes
from tests.fuzz.goods import World
from tests.fuzz.judge import standing, state_complaint
from tests.fuzz.scripts import Sort
from tests.fuzz.subjects import KINDS, subjects
from tests.support.fake_kube import FakeKube
from tests.support.pod_actor import RUN_SPECS
from tests.support.worlds import NAMESPACE, NOW, answer, available, loop_on, open_jobs, raw

SEED = 20130101
CHAINS, STEPS, ROUNDS = 2, 20, 12
BY_THE_API_SERVER = "Refused"  # only a real one refuses a child
FIXED = ("ModelDeployment", "spec.modelRef.name")  # a rule keeps it once a version serves


def act(kube: FakeKube) -> None:
    """Everybody else: Jobs end, pods start."""
    for job in open_jobs(kube):
        env = {one["name"]: one.get("value", "") for one in job["spec"]["template"]["spec"]["containers"][-1]["env"]}
        answer(kube, job, play(RUN_SPECS.validate_json(env[RUNSPEC_VARIABLE])))
    available(kube)


async def spin(kube: FakeKube, only: Key | None = None) -> None:
    """Reconcile everything, or one object, until nothing changes any more."""
    loop = loop_on(kube)
    for _ in range(ROUNDS):
        before = kube.version
        for room in ROOMS:
            for one in await kube.list(room.kind.ref, NAMESPACE):
                key = Key(room.kind.kind, NAMESPACE, one["metadata"]["name"])
                if only in (None, key):
                    await loop.reconcile(room, key, NOW)
        act(kube)
        if kube.version == before:
            return


def made(kind: str, name: str, spec: goods.Spec) -> Manifest:
    """An object as the API server holds it."""
    return raw(KINDS[kind], name, spec, creationTimestamp="2026-03-01T11:30:00Z")


async def world() -> tuple[FakeKube, World]:
    """Everything the good specs stand on, Ready."""
    kube = FakeKube(*(made(one["kind"], one["metadata"]["name"], one["spec"]) for one in goods.first_objects()))
    await spin(kube)
    versions = {one["metadata"]["name"]: one["spec"]["manifest"] for one in kube.all("ModelVersion")}
    about = {"name": goods.RUN, "manifest": versions[goods.RUN], "author": goods.AUTHOR}
    kube.put(made("Approval", "consent", {"approver": goods.APPROVER, "version": about, "decision": "Approve"}))
    await spin(kube)
    cut = {one["metadata"]["name"]: one["status"]["latestSnapshot"] for one in kube.all("Dataset")}
    return kube, World(versions, {name: (one["name"], one["digest"]) for name, one in cut.items()})


@pytest.mark.parametrize("kind", KINDS)
async def test_no_change_that_a_schema_lets_through_breaks_a_room(kind: str) -> None:
    kube, found = await world()
    changes = Changes(subjects()[kind], SEED, found)
    for chain in range(CHAINS):
        for one in changes.subject.beside(chain):
            kube.put(made(one["kind"], one["metadata"]["name"], one["spec"]))
        await spin(kube)
        for step in range(STEPS):
            name = f"own-{chain}-{step}" if changes.subject.frozen else f"own-{chain}"
            change = changes.next(chain, step, changes.good(chain), name)
            taken = change.sort in (Sort.VALID, Sort.DANGLING, Sort.MEANING) and (kind, change.way) != FIXED
            if taken:
                assert await trouble(kube, kind, name, change) == ""


async def trouble(kube: FakeKube, kind: str, name: str, change: Change) -> str:
    """What is wrong after a change; empty when nothing is."""
    live = kube.look(kind, name)
    kube.put(made(kind, name, change.spec) if live is None else {**live, "spec": change.spec})
    await spin(kube, Key(kind, NAMESPACE, name))
    now = standing(kube.look(kind, name))
    if not now.decided:
        return f"{change.way} {change.what}: {now}"
    return "" if change.says == BY_THE_API_SERVER else state_complaint(change, now)
