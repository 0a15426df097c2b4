"""The chart's rights and policies on a Bed A, the operator's real process under its own ServiceAccount, a kubelet."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from plumbline_operator.model.meta import Manifest
from tests.apiserver.installation import PODS, apply
from tests.rights.caller import Caller
from tests.support.cluster import Cluster, start
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.embedded import EmbeddedCluster
from tests.support.pod_actor import Play, Stuck, good_report
from tests.support.render import NAMESPACE as SYSTEM
from tests.support.render import documents

ACCOUNT = f"system:serviceaccount:{SYSTEM}:plumbline"
POLL_SECONDS = 0.25
STOP_SECONDS = 40.0


class Late(AssertionError):
    """Something did not come true in time."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A running operator and its log."""

    process: asyncio.subprocess.Process
    log: Path

    def logged(self) -> str:
        """Everything it has said."""
        return self.log.read_text()


@contextmanager
def installed(name: str, *arguments: str, namespaces: tuple[str, ...] = (), guarded: bool = False) -> Iterator[Cluster]:
    """A Bed A with these namespaces and all of the chart but its Deployment; `arguments` are helm's.

    guarded: owner references need rights of their own there.
    """
    cluster = start(bed="A", name=f"{name}-{os.getpid()}")
    try:
        install(cluster, *arguments, namespaces=namespaces)
        if guarded:
            guard_owners(cluster)
        yield cluster
    finally:
        cluster.stop()


def install(cluster: Cluster, *arguments: str, namespaces: tuple[str, ...] = ()) -> None:
    """Everything of the chart but its Deployment, and these namespaces, which take restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one, "labels": labels}}
        for one in (SYSTEM, *namespaces)
    ]
    found = documents(*arguments)
    kinds = [one for one in found if one["kind"] == "CustomResourceDefinition"]
    apply(cluster, *spaces, *kinds)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    apply(cluster, *(one for one in found if one["kind"] not in {"CustomResourceDefinition", *PODS}))


@asynccontextmanager
async def operator(cluster: Cluster, folder: Path, **settings: str) -> AsyncIterator[Operator]:
    """The operator's process with the chart's ServiceAccount, ended in order. `settings`: PLUMBLINE_*."""
    kubeconfig = await asyncio.to_thread(cluster.service_account_kubeconfig, SYSTEM, "plumbline")
    images = {f"PLUMBLINE_{one}_IMAGE": f"plumbline/{one.lower()}:test" for one in ("JOBS", "SERVING", "ROUTER")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLUMBLINE_", "KUBERNETES_"))}
    own = {
        "KUBECONFIG": str(kubeconfig),
        "POD_NAME": "operator",
        "PLUMBLINE_HEALTH_HOST": "127.0.0.1",
        "PLUMBLINE_HEALTH_PORT": "0",
        "PLUMBLINE_LEASE_NAMESPACE": SYSTEM,
    }
    log = folder / "operator.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "plumbline_operator"),
            env=inherited | images | own | settings,
            stdout=output,
            stderr=2,
        )
    try:
        yield Operator(process, log)
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop a process, so that it gives its Lease up; kill it when it does not."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()


def careful(kubeconfig: Path) -> Play:
    """How Jobs end where a kubelet minds Secrets: a pod does not start without those of its own namespace."""
    api = config.new_client_from_config(str(kubeconfig))
    core, batch = client.CoreV1Api(api), client.BatchV1Api(api)

    def play(spec: Any) -> Any:
        try:
            job = api.sanitize_for_serialization(batch.read_namespaced_job(spec.owner.job, spec.owner.namespace))
            for container, secret in _secrets(job["spec"]["template"]["spec"]):
                try:
                    core.read_namespaced_secret(secret, spec.owner.namespace)
                except ApiException as error:
                    if error.status != 404:
                        raise
                    return _waits(container, f'secret "{secret}" not found')
        except ApiException as error:
            if error.status != 404:
                raise
            return None  # the Job is gone, and its pod goes
        return good_report(spec)

    return play


def _secrets(pod: Mapping[str, Any]) -> Iterator[tuple[Manifest, str]]:
    """Every container with each Secret that feeds its environment."""
    for one in (*pod.get("initContainers", ()), *pod["containers"]):
        names = {e.get("valueFrom", {}).get("secretKeyRef", {}).get("name") for e in one.get("env", ())}
        yield from ((one, name) for name in sorted(names - {None}))


def _waits(container: Manifest, message: str) -> Stuck:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    state = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    return Stuck({"phase": "Pending", "containerStatuses": [state | {"state": waiting}]})


def audit(cluster: Cluster, user: str, since: datetime | None = None) -> list[Manifest]:
    """The audit log's lines of this user, from this moment on."""
    whole, _, _ = cluster.audit_log.read_text().rpartition("\n")
    lines = [json.loads(line) for line in whole.splitlines() if user in line]
    own = [line for line in lines if line["user"]["username"] == user]
    return [one for one in own if since is None or received(one) >= since]


def received(line: Manifest) -> datetime:
    """When a request of the audit log came in."""
    return datetime.fromisoformat(line["requestReceivedTimestamp"])


def now() -> datetime:
    """This moment, comparable with the audit log's."""
    return datetime.now(UTC)


async def soon(what: str, fact: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """Wait until an awaited fact holds; how long it took. Raises Late."""
    started = time.monotonic()
    while not await fact():
        if time.monotonic() - started > seconds:
            raise Late(f"{what}: not so after {seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - started


async def made(caller: Caller, namespace: str, *objects: Manifest) -> None:
    """Create objects that must be taken."""
    for one in objects:
        answer = await caller.create(namespace, one)
        assert answer.ok, f"{one['kind']} {one['metadata']['name']} in {namespace}: {answer.text}"


class _Guarded(ControlPlane):
    """An API server that guards owner references, as OpenShift's does: off by default elsewhere."""

    def _apiserver(self) -> list[str | Path]:
        return [*super()._apiserver(), "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"]


def guard_owners(cluster: Cluster) -> None:
    """Start the cluster's API server again, so that owner references need rights of their own."""
    assert isinstance(cluster, EmbeddedCluster)
    plane = cluster.control_plane
    guarded = _Guarded(plane.layout, plane.record, plane.addresses, plane.disabled_controllers)
    # Kubernetes' own controllers begin with it, and with our kinds: the garbage collector looks for new ones twice a
    # minute, and an owner that it has not seen before it is deleted costs it minutes.
    for part in ("controller-manager", "apiserver"):
        guarded.stop_part(part)
    for part in ("apiserver", "controller-manager"):
        guarded.start_part(part)
        guarded.wait_for(part)
