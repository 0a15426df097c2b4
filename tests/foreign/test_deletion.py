"""Namespaces go with all that is in them, and an installation goes without a trace, by the documented commands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.rooms import ROOMS
from plumbline_operator.rooms.driftmonitor.api import KIND as MONITOR
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from tests.faults import oracles
from tests.faults.lane import NAMESPACES, Lane, lane, soon
from tests.faults.objects import RUN, manifests
from tests.faults.state import objects_of
from tests.faults.users import consent, first_service
from tests.foreign.ground import SLOW, Ground, bed, types_of
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.rooms import data_objects as data
from tests.rooms import registry_objects as registry
from tests.rooms import release_objects as release
from tests.support.blocks import blocks
from tests.support.cluster import Cluster, programs
from tests.support.helm import helm, helm_program
from tests.support.render import CHART, NAMESPACE
from tests.support.worlds import ready_of

GOAL = "deletion"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

LIMIT_SECONDS = 60.0
SAMPLE_LIMIT_SECONDS = 240.0  # in a sample other tests run beside this one
PAGE = Path("docs/how-to/uninstall.md")
PHASES = ("ready", "working or waiting", "stalled")
OURS = frozenset(room.kind.kind for room in ROOMS)
GOLDEN = 13  # objects of our kinds at the end of the golden path
Thing = tuple[str, str, str]  # type, namespace, name
NOISE = frozenset({"events"})  # an hour ends them


async def test_namespaces_and_installations_go_without_a_trace(tmp_path: Path) -> None:
    with bed(f"deletion-{os.getpid()}") as (cluster, holds):
        before = await _at_rest(cluster)
        helm(cluster, "install", "plumbline", str(CHART), "--namespace", NAMESPACE, "--create-namespace")
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        place = Ground(cluster, tmp_path, holds, _limit())
        wrong = await asyncio.gather(*(_namespace(place, operator) for operator in ("running", "absent")))
        left = await _uninstall(place, before)
    assert [line for lines in wrong for line in lines] == []
    assert left == []


async def _namespace(place: Ground, operator: str) -> list[str]:
    """One namespace, filled and deleted; what is wrong."""
    objects = size(GOAL) // 2
    async with lane(place.cluster, *place.place(operator), partial(_users, more=objects - GOLDEN)) as one:
        await one.start_operator()
        await soon("objects in all phases", partial(_are_mixed, one, objects), 180)
        found = [obj for obj in await objects_of(one.kube, one.namespace) if obj["kind"] in OURS]
        if operator == "absent":
            await one.end_operator()
        took, wrong = await _delete_namespace(place, one)
        wrong += oracles.log_errors(one.logs())
    wrong += [] if len(found) >= objects else [f"only {len(found)} objects"]
    phases = _phases(found)
    wrong += [] if len(phases) == len(PHASES) else [f"not in every phase: {dict(phases)}"]
    told = ", ".join(f"{phases[name]} {name}" for name in PHASES)
    figure = f"{len(found)} objects ({told}), operator {operator}: gone in {took:.1f} s"
    record(GOAL, runs=len(found), bad=len(wrong), figure=figure)
    return wrong


async def _uninstall(place: Ground, before: list[Thing]) -> list[Thing]:
    """Use the installation once more and remove it; what is left."""
    namespace, folder = place.place("uninstall")
    async with lane(place.cluster, namespace, folder, first_service, PLUMBLINE_LEASE_NAMESPACE=NAMESPACE) as one:
        await one.start_operator()
        await soon("the golden path ends", one.has_ended, 180)
        made = len(await asyncio.to_thread(everything, place.cluster)) - len(before)
        await one.end_operator()
        for command in blocks(PAGE, "bash")[2].splitlines():
            await asyncio.to_thread(run, place.cluster, command)
    after = await _at_rest(place.cluster)
    own = {("Namespace.v1", "<none>", namespace)}  # of the users, with what Kubernetes puts into every namespace
    own |= {("ConfigMap.v1", namespace, "kube-root-ca.crt"), ("ServiceAccount.v1", namespace, "default")}
    left = [thing for thing in after if thing not in before and thing not in own]
    record(GOAL, runs=1, bad=len(left), figure=f"installed and used {made} objects, uninstalled: {len(left)} are left")
    assert made > 50
    return left


async def _users(one: Lane, more: int) -> None:
    """The golden path, and beside it as many more objects that wait, hang or cannot work."""
    await one.write(*manifests(), *(_another(number) for number in range(more)))
    await consent(one, RUN, "consent")


def _another(number: int) -> Manifest:
    """An object that hangs in work, waits for another, or was refused."""
    kinds: list[Manifest] = [
        release.pin(f"never-{number}", "v9"),
        data.connection(f"{SLOW}{number}"),
        data.dataset(f"waits-{number}", source={"connectionRef": {"name": "nowhere"}, "key": "k", "format": "CSV"}),
        data.dataset(f"{SLOW}{number}"),
        data.run(f"waits-{number}", inputs=[{"name": "flights", "datasetRef": {"name": "nowhere"}}]),
        registry.approval(f"unknown-{number}"),
    ]
    chosen = kinds[number % len(kinds)]
    return {part: chosen[part] for part in ("apiVersion", "kind", "spec")} | {
        "metadata": {"name": chosen["metadata"]["name"]}
    }


async def _are_mixed(one: Lane, objects: int) -> bool:
    """Whether all are there and the operator has spoken of each."""
    for ref in (MONITOR.ref, VERSION.ref):  # what comes last on the golden path
        golden = await one.kube.list(ref, one.namespace)
        if not golden or ready_of(golden[0])[0] != "True":
            return False
    found = [obj for obj in await objects_of(one.kube, one.namespace) if obj["kind"] in OURS]
    return len(found) >= objects and all("status" in obj for obj in found)


async def _delete_namespace(place: Ground, one: Lane) -> tuple[float, list[str]]:
    """By the documented command; how long it took, and what is stuck."""
    command = blocks(PAGE, "bash")[0].replace("team", one.namespace).strip()
    started = time.monotonic()
    await asyncio.to_thread(run, place.cluster, f"{command} --wait=false")
    space: Any = True
    while space is not None and time.monotonic() - started < place.limit:
        await asyncio.sleep(0.5)
        space = await one.kube.get(NAMESPACES, "", one.namespace)
    if space is None:
        return time.monotonic() - started, []
    left = await objects_of(one.kube, one.namespace)
    return place.limit, [f"{one['kind']} {one['metadata']['name']} is stuck" for one in left] or ["the namespace is"]


def run(cluster: Cluster, command: str) -> None:
    """One command line of the documentation, as its reader would run it. Raises AssertionError with its words."""
    folders = {helm_program().parent, programs.program(programs.KUBERNETES, "kubectl").parent}
    path = os.pathsep.join([*(str(one) for one in folders), os.environ["PATH"]])
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def everything(cluster: Cluster) -> list[Thing]:
    """Every object of every type in the cluster, but for what comes and goes by itself."""
    found: list[Thing] = []
    for namespaced in (True, False):
        types = [ref for ref in types_of(cluster, namespaced=namespaced) if ref.plural not in NOISE]
        names = ",".join(_full(ref) for ref in types)
        columns = "K:.kind,G:.apiVersion,S:.metadata.namespace,N:.metadata.name"
        where = ["--all-namespaces"] if namespaced else []
        text = cluster.kubectl("get", names, *where, "--no-headers", "-o", f"custom-columns={columns}")
        rows = [line.split() for line in text.splitlines()]
        found += [(f"{kind}.{group}", space, name) for kind, group, space, name in rows]
    return found


async def _at_rest(cluster: Cluster) -> list[Thing]:
    """Everything, once it is the same twice."""
    last: list[list[Thing]] = [[]]

    async def same() -> bool:
        now = await asyncio.to_thread(everything, cluster)
        before, last[0] = last[0], now
        return now == before

    await soon("a cluster at rest", same, 120)
    return last[0]


def _full(ref: Ref) -> str:
    return f"{ref.plural}.{ref.version}.{ref.group}" if ref.group else ref.plural


def _phases(found: Iterable[Manifest]) -> Counter[str]:
    return Counter(_phase(obj) for obj in found)


def _phase(obj: Manifest) -> str:
    conditions = {one["type"]: one["status"] for one in obj.get("status", {}).get("conditions", ())}
    if conditions.get("Ready") == "True":
        return "ready"
    return "stalled" if conditions.get("Stalled") == "True" else "working or waiting"


def _limit() -> float:
    return LIMIT_SECONDS if is_whole() else SAMPLE_LIMIT_SECONDS
