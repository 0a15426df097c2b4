"""One golden path in a namespace of its own: users, the operator's real process, and the proxy between it and the API.

Each lane's operator watches its own namespace only, so that lanes run side by side on one API server.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from plumbline_operator.kube.errors import Conflict, Unreachable
from plumbline_operator.kube.http import HttpKube
from plumbline_operator.kube.refs import LEASES, ref_of
from plumbline_operator.model.meta import Manifest, Ref
from tests.support.cluster import Cluster
from tests.support.faultproxy import FaultProxy, Journal, upstream
from tests.support.worlds import ready_of

NAMESPACES = Ref("", "v1", "namespaces", "Namespace", namespaced=False)
LEASE = "plumbline-operator"
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 600.0  # of users, longer than any case lasts


class Late(Exception):
    """Something did not come true in time."""


@dataclass(slots=True)
class Lane:
    """A namespace, its users' objects as they wrote them, its operator and the proxy."""

    namespace: str
    folder: Path
    kube: HttpKube
    proxy: FaultProxy
    settings: dict[str, str] = field(default_factory=dict)
    written: list[Manifest] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    users: asyncio.Task[None] | None = None
    starts: int = 0

    def logs(self) -> str:
        """What all operators of this lane have logged."""
        return "".join(one.read_text() for one in sorted(self.folder.glob("operator-*.log")))

    async def start_operator(self) -> None:
        """Start the operator's process."""
        self.starts += 1
        with (self.folder / f"operator-{self.starts}.log").open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "plumbline_operator"), env=self._environment(), stdout=output, stderr=output
            )

    async def end_operator(self) -> None:
        """Kill the operator if it runs, and wait until it is gone."""
        if self.process is not None:
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def restart_operator(self) -> None:
        """Start the operator again after a crash, as the kubelet would.

        The dead one's Lease goes: that its time is waited out is another test's matter.
        """
        await self.end_operator()
        lease = await self.kube.get(LEASES, self.namespace, LEASE)
        if lease is not None:
            await self.kube.delete(LEASES, self.namespace, LEASE, lease["metadata"]["uid"])
        await self.start_operator()

    async def write(self, *objects: Manifest) -> None:
        """Create objects as a user does, past the proxy."""
        for one in objects:
            ref = ref_of(one)
            placed = one | {"metadata": {**one["metadata"], "namespace": self.namespace}}
            made = await self._created(ref, placed)
            self.written.append({"apiVersion": ref.api_version, "kind": ref.kind, **made})

    async def _created(self, ref: Ref, manifest: Manifest) -> Manifest:
        """Create an object, again and again while the API server is away, as people do."""
        for _ in range(round(PATIENCE_SECONDS / POLL_SECONDS)):
            try:
                return await self.kube.create(ref, manifest)
            except Unreachable:
                await asyncio.sleep(POLL_SECONDS)
            except Conflict:  # an answer was lost
                found = await self.kube.get(ref, self.namespace, manifest["metadata"]["name"])
                if found is None:
                    raise
                return found
        raise Late(f"{ref.kind} {manifest['metadata']['name']} could not be written")

    async def change(self, ref: Ref, name: str, spec: Manifest) -> None:
        """Change these fields of an object's spec, as `kubectl edit` does."""

        async def changed() -> bool:
            live = await self.kube.get(ref, self.namespace, name)
            assert live is not None, f"{ref.kind} {name} is gone"
            try:
                after = await self.kube.replace(ref, live | {"spec": live["spec"] | spec})
            except Conflict:  # somebody wrote at the same moment
                return False
            self.written = [one | {"spec": after["spec"]} if _is(one, ref, name) else one for one in self.written]
            return True

        await patiently(f"{ref.kind} {name} is changed", changed)

    async def look(self, ref: Ref, name: str, fact: Callable[[Manifest], bool]) -> Manifest:
        """Wait until an object is there of which this is true. People try again when the API server is away."""
        found: list[Manifest] = []

        async def so() -> bool:
            live = await self.kube.get(ref, self.namespace, name)
            found.extend([live] if live is not None and fact(live) else [])
            return bool(found)

        await patiently(f"{ref.kind} {name} is as wanted", so)
        return found[-1]

    async def has_ended(self) -> bool:
        """Whether users have done their part and all they wrote is Ready: a cheap question, before states are compared.

        Raises what went wrong with the users' own part.
        """
        if self.users is None or not self.users.done():
            return False
        self.users.result()
        return await self.all_ready()

    async def all_ready(self) -> bool:
        """Whether everything that users have written so far is Ready."""
        for one in reversed(self.written):  # what comes last on the path, first
            live = await self.kube.get(ref_of(one), self.namespace, one["metadata"]["name"])
            if live is None or ready_of(live)[0] != "True":
                return False
        return True

    def _environment(self) -> dict[str, str]:
        images = {f"PLUMBLINE_{one}_IMAGE": f"plumbline/{one.lower()}:test" for one in ("JOBS", "SERVING", "ROUTER")}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLUMBLINE_", "KUBERNETES_"))}
        return {
            **inherited,
            **images,
            "KUBECONFIG": str(self.proxy.kubeconfig(self.folder / "kubeconfig")),
            "POD_NAME": f"operator-{self.starts}",
            "PLUMBLINE_HEALTH_HOST": "127.0.0.1",
            "PLUMBLINE_HEALTH_PORT": "0",
            "PLUMBLINE_NAMESPACES": self.namespace,
            "PLUMBLINE_LEASE_NAMESPACE": self.namespace,
            "PLUMBLINE_LEASE_NAME": LEASE,
            **self.settings,
        }


Users = Callable[[Lane], Coroutine[Any, Any, None]]
"""What users do in a lane, from the beginning on."""


@asynccontextmanager
async def lane(
    cluster: Cluster,
    namespace: str,
    folder: Path,
    users: Users,
    **settings: str,
) -> AsyncIterator[Lane]:
    """A fresh namespace in which `users` write what they want; `settings` are the operator's."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    kube = HttpKube(await _admin(cluster.kubeconfig))
    proxy = FaultProxy(upstream(cluster.kubeconfig), Journal(folder / "journal.jsonl"))
    one = Lane(namespace, folder, kube, proxy, settings)
    proxy.kill = one.kill
    space = await kube.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "namespace": None}}
    )
    one.users = asyncio.create_task(users(one))
    try:
        await proxy.start()
        yield one
    finally:
        one.users.cancel()
        await asyncio.gather(one.users, return_exceptions=True)
        await one.end_operator()
        await proxy.stop()
        await kube.delete(NAMESPACES, None, namespace, space["metadata"]["uid"])
        await kube.close()


async def soon(what: str, fact: Callable[[], Any], seconds: float) -> float:
    """Wait until an awaited fact holds; how long it took. Raises Late."""
    started = time.monotonic()
    while not await fact():
        if time.monotonic() - started > seconds:
            raise Late(f"{what}: not so after {seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - started


async def patiently(what: str, fact: Callable[[], Any]) -> None:
    """Wait for an awaited fact as people do, who try again while the API server is away. Raises Late."""

    async def asked() -> bool:
        try:
            return bool(await fact())
        except Unreachable:
            return False

    await soon(what, asked, PATIENCE_SECONDS)


def _is(one: Manifest, ref: Ref, name: str) -> bool:
    return (one["kind"], one["metadata"]["name"]) == (ref.kind, name)


async def _admin(kubeconfig: Path) -> Configuration:
    configuration = Configuration()
    configuration.retries = None
    await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    return configuration
