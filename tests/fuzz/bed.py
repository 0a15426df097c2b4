"""An API server with the chart's objects, the operator's real process on it, and a world that is Ready."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_contract import runspec
from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.meta import Manifest
from tests.apiserver.installation import installed
from tests.faults.lane import soon
from tests.faults.oracles import log_errors
from tests.fuzz import goods
from tests.fuzz.goods import World, named
from tests.fuzz.judge import standing
from tests.fuzz.subjects import KINDS
from tests.fuzz.users import Users
from tests.support.cluster import Cluster
from tests.support.faultproxy import upstream
from tests.support.pod_actor import PodActor, good_report
from tests.support.render import NAMESPACE as SYSTEM

NAMESPACE = "fuzz"
PATIENCE_SECONDS = 240.0  # until the world is Ready, on a machine that has other things to do


@dataclass(slots=True)
class Bed:
    """Where chains run."""

    users: Users
    world: World
    log: Path
    process: asyncio.subprocess.Process

    def complaints(self) -> list[str]:
        """Tracebacks and errors the operator has logged, and its death."""
        lines = log_errors(self.log.read_text())
        if self.process.returncode is not None:
            lines.append(f"the operator has ended with {self.process.returncode}")
        return lines


def play(spec: Any) -> Report:
    """How a Job ends: well, unless it is asked for what its real self would refuse."""
    match spec:
        case runspec.VerifyConnection(s3=runspec.Bucket(bucket="no-such-bucket")):
            return _refused("BucketNotFound", "The store has no bucket no-such-bucket.")
        case runspec.Ingest(key="no-such-key"):
            return _refused("SourceNotFound", "The bucket has no object no-such-key.")
        case runspec.Drift():
            unknown = [one.name for one in spec.features if one.name not in (*goods.INPUTS, "*")]
            if unknown:
                known = ", ".join(goods.INPUTS)
                return _refused("UnknownFeature", f"The model has no input {unknown[0][:80]!r}. It has: {known}.")
    return good_report(spec)


@contextmanager
def ground(name: str) -> Iterator[Cluster]:
    """A Bed A with CRDs, rights and admission policies of the chart, and somebody who plays kubelet."""
    with installed(name) as cluster, PodActor(cluster.kubeconfig, play):
        cluster.kubectl("create", "namespace", NAMESPACE)
        yield cluster


@asynccontextmanager
async def bed(cluster: Cluster, folder: Path) -> AsyncIterator[Bed]:
    """The operator at work in the namespace, and everything the good specs stand on, Ready."""
    log = folder / "operator.log"
    async with Users(upstream(cluster.kubeconfig), NAMESPACE) as users:
        with log.open("wb") as output:
            command = (sys.executable, "-m", "plumbline_operator")
            process = await asyncio.create_subprocess_exec(
                *command, env=_environment(cluster), stdout=output, stderr=output
            )
        try:
            yield Bed(users, await _world(users), log, process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def write(users: Users, *objects: Manifest) -> None:
    """Write objects that must be taken. Raises AssertionError with the API server's words."""
    for one in objects:
        answer = await users.replace(KINDS[one["kind"]].ref, one["metadata"]["name"], one["spec"])
        assert answer.taken, f"{one['kind']} {one['metadata']['name']}: {answer.message}"


async def ready(users: Users, kind: str, name: str, seconds: float) -> float:
    """Wait until an object is Ready; how long it took. Raises Late."""

    async def is_so() -> bool:
        now = standing(await users.read(KINDS[kind].ref, name))
        return now.current and now.ready == "True"

    return await soon(f"{kind} {name} is Ready", is_so, seconds)


async def _world(users: Users) -> World:
    await write(users, *goods.first_objects())
    for run in (goods.RUN, goods.OTHER_RUN):
        await ready(users, "TrainingRun", run, PATIENCE_SECONDS)
    versions = {one["metadata"]["name"]: one["spec"] for one in await users.every(KINDS["ModelVersion"].ref)}
    about = {"name": goods.RUN, "manifest": versions[goods.RUN]["manifest"], "author": goods.AUTHOR}
    consent = {"approver": goods.APPROVER, "version": about, "decision": "Approve"}
    await write(users, named("Approval", "consent", consent))
    await ready(users, "ModelDeployment", goods.SERVED, PATIENCE_SECONDS)
    found = await users.every(KINDS["Dataset"].ref)
    latest = {one["metadata"]["name"]: one["status"]["latestSnapshot"] for one in found}
    return World(
        versions={name: spec["manifest"] for name, spec in versions.items()},
        snapshots={name: (one["name"], one["digest"]) for name, one in latest.items()},
    )


def _refused(reason: str, message: str) -> Report:
    return Report(outcome=Outcome.REFUSED, reason=reason, message=message)


def _environment(cluster: Cluster) -> dict[str, str]:
    images = {f"PLUMBLINE_{one}_IMAGE": f"plumbline/{one.lower()}:test" for one in ("JOBS", "SERVING", "ROUTER")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLUMBLINE_", "KUBERNETES_"))}
    return {
        **inherited,
        **images,
        "KUBECONFIG": str(cluster.kubeconfig),
        "POD_NAME": "operator-1",
        "PLUMBLINE_HEALTH_HOST": "127.0.0.1",
        "PLUMBLINE_HEALTH_PORT": "0",
        "PLUMBLINE_NAMESPACES": NAMESPACE,
        "PLUMBLINE_LEASE_NAMESPACE": SYSTEM,
    }
