"""Every pod that anything of ours can make: by every room in worlds in memory, and by the chart."""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

from plumbline_contract import runspec
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.connection.handlers import ROOM as CONNECTIONS
from plumbline_operator.rooms.dataset.handlers import ROOM as DATASETS
from plumbline_operator.rooms.driftmonitor.handlers import ROOM as MONITORS
from plumbline_operator.rooms.modelversion.handlers import ROOM as VERSIONS
from plumbline_operator.rooms.trainingrun.handlers import ROOM as RUNS
from tests.rooms import data_objects as data
from tests.rooms import registry_objects as registry
from tests.rooms import release_objects as release
from tests.rooms.modeldeployment.lives import serving
from tests.support.fake_kube import FakeKube
from tests.support.render import documents
from tests.support.worlds import World, settle, with_status

SOURCES = Path("operator/src/plumbline_operator")
MAKERS = {  # everything that writes down containers
    "build/job.py pod_spec",
    "build/router.py _deployment",
    "build/variant.py _pod",
}
GPU = {"limits": {"nvidia.com/gpu": "2", "memory": "64Gi"}, "requests": {"cpu": "8", "memory": "64Gi"}}
BIG = {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}
CHARTS = {
    "by default": (),
    "with all that can be set": (
        "--set=podMonitor.enabled=true,networkPolicy.enabled=true,operator.nodeSelector.disk=ssd",
        "--set=operator.podAnnotations.note=yes,imagePullSecrets[0].name=pull",
        "--set=operator.extraEnv[0].name=NOTE,operator.extraEnv[0].value=yes",
        "--set=operator.tolerations[0].operator=Exists",
    ),
}


def worlds() -> dict[str, tuple[Any, World]]:
    """Title → a room and a world in which it makes a Job."""
    stand = (data.validated(data.dataset()), *data.STANDING)
    judged = (registry.connection(), registry.available(registry.model()))
    served = (*release.surroundings(release.approved("v1", release.FIRST)), _serving())
    return {
        "verify a bucket": (CONNECTIONS, World("bucket", data.connection())),
        "verify a repository": (CONNECTIONS, World("git", data.repository())),
        "ingest": (DATASETS, World("ingest", data.dataset(), data.STANDING)),
        "ingest much": (DATASETS, World("much", data.dataset(resources=BIG), data.STANDING)),
        "train": (RUNS, World("train", data.run(), stand)),
        "train without data": (RUNS, World("free", data.run(inputs=None, split=None, code=None), stand)),
        "train on GPUs": (RUNS, World("gpu", data.run(resources=GPU), stand)),
        "evaluate": (VERSIONS, World("evaluate", registry.version(), judged)),
        "watch for drift": (MONITORS, World("drift", release.monitor(), served)),
        "watch much": (MONITORS, World("big", release.monitor(resources=BIG), served)),
    }


async def templates() -> AsyncIterator[tuple[str, Manifest]]:
    """Title → pod template, of everything."""
    for title, (room, world) in worlds().items():
        kube = world.kube()
        await settle(room, world, kube)
        for one in _templates(title, kube):
            yield one
    async for one in _served():
        yield one
    for title, arguments in CHARTS.items():
        for found in documents(*arguments):
            pod = found.get("spec", {}).get("template", {}) if isinstance(found.get("spec"), dict) else {}
            if "containers" in pod.get("spec", {}):
                yield f"chart {title}: {found['kind']} {found['metadata']['name']}", pod


def verbs(pod: Manifest) -> set[str]:
    """What the steps of a Job's pod are asked to do."""
    steps = (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    variables = [one for step in steps for one in step.get("env", ()) if one["name"] == runspec.RUNSPEC_VARIABLE]
    return {json.loads(one["value"])["verb"] for one in variables}


def every_verb() -> set[str]:
    """Everything that can be asked of a Job."""
    union = get_args(runspec.RunSpec)[0]
    return {get_args(one.model_fields["verb"].annotation)[0] for one in get_args(union)}


def makers() -> set[str]:
    """The functions of the operator that write down containers, as `file function`."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _writes_containers(node):
                found.add(f"{path.relative_to(SOURCES)} {node.name}")
    return found


def _writes_containers(function: ast.AST) -> bool:
    keys = (key for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys)
    return any(isinstance(key, ast.Constant) and key.value in ("containers", "initContainers") for key in keys)


async def _served() -> AsyncIterator[tuple[str, Manifest]]:
    """Servers, routers and comparisons, small and large."""
    cluster = await serving(release.SHADOW)
    cluster.go_to("v2")
    await cluster.step(3)
    cluster.wait(31)
    cluster.count("mirrored", "v2", 12)
    await cluster.step(2)
    cluster.wait(8)
    await cluster.step(2)
    for one in _templates("serve beside a shadow", cluster.kube):
        yield one
    large = {"replicas": {"min": 2, "max": 4}, "resources": BIG, "routerReplicas": 2}
    cluster = await serving()
    cluster.change(realTime=large, nodePort=30080)
    await cluster.until_settled()
    for one in _templates("serve much", cluster.kube):
        yield one


def _templates(title: str, kube: FakeKube) -> list[tuple[str, Manifest]]:
    """The pod templates among what was applied, whether it is still there or not."""
    applied = [one for one in kube.writes if one.verb == "apply" and one.kind in ("Job", "Deployment")]
    return [(f"{title}: {one.kind} {one.name}", one.body["spec"]["template"]) for one in applied]


def _serving() -> Manifest:
    stable = {
        "version": "v1",
        "manifest": release.FIRST,
        "variant": "late-v-1",
        "image": "plumbline/serving:test",
        "storage": "storage",
    }
    return with_status(release.deployment("v1"), stable=stable)
