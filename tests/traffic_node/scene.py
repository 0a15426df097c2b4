"""A deployment that serves, with two versions to move between, however it came to be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_operator.build.router import router_labels
from tests.load import Load
from tests.support.cluster import Cluster
from tests.support.demo.people import Person, Raw, condition

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Scene:
    """Where requests go in, and who may move them. old serves; new and fresh may serve and have never."""

    cluster: Cluster
    person: Person
    deployment: str
    old: str
    new: str
    fresh: str
    port: int
    requests: Sequence[bytes]

    @property
    def namespace(self) -> str:
        return self.person.namespace

    def status(self) -> Raw:
        """The deployment's status."""
        status: Raw = self.person.get("modeldeployment", self.deployment)["status"]
        return status

    def variant(self, version: str) -> str:
        """The variant that serves a version which is or was stable."""
        status = self.status()
        served = [status["stable"], *status.get("previous", ()), *filter(None, [status.get("target")])]
        return str(next(one["variant"] for one in served if one["version"] == version))

    def ask(self, version: str) -> None:
        """Change the spec to this version, as a commit would."""
        patch = json.dumps({"spec": {"versionRef": {"name": version}}})
        self.person.kubectl("patch", "modeldeployment", self.deployment, "--type=merge", f"--patch={patch}")

    def until_stable(self, version: str, seconds: float) -> Raw:
        """Return when this version alone answers and all is well."""

        def is_so(raw: Raw) -> bool:
            serves = raw.get("status", {}).get("stable", {}).get("version") == version
            return serves and condition(raw, "Ready").get("status") == "True"

        return self.person.until("modeldeployment", self.deployment, f"serving {version}", is_so, seconds)

    def release_pin(self, name: str, version: str) -> dict[str, Any]:
        """A ReleasePin of this deployment to this version."""
        return {
            "apiVersion": "plumbline.dev/v1alpha1",
            "kind": "ReleasePin",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "deploymentRef": {"name": self.deployment},
                "versionRef": {"name": version},
                "reason": "The new one is wrong.",
            },
        }

    def pin(self, name: str, version: str) -> None:
        """Write a ReleasePin."""
        self.person.kubectl("create", "-f", "-", stdin=json.dumps(self.release_pin(name, version)))

    def unpin(self, *names: str) -> None:
        self.person.kubectl("delete", "releasepin", *names, "--wait=false")

    def routers(self) -> list[Raw]:
        """The router's pods that are not leaving."""
        return self.pods(router_labels(self.deployment))

    def servers(self, version: str) -> list[Raw]:
        """The pods that serve a version and are not leaving."""
        return self.pods({"plumbline.dev/variant": self.variant(version)})

    def pods(self, labels: dict[str, str]) -> list[Raw]:
        """Pods by label that are not leaving."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = self.person.list("pods", f"--selector={selector}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def until_ready(self, labels: dict[str, str], count: int, seconds: float = 180) -> None:
        """Return when this many pods with these labels are ready."""

        def enough() -> bool:
            pods = self.pods(labels)
            return sum(is_ready(pod) for pod in pods) >= count

        until(enough, f"{count} pods with {labels} are ready", seconds)

    def load(self, folder: Path, per_second: float, most_seconds: float = 1800.0) -> Load:
        """Requests at this rate, not started yet."""
        return Load(folder, self.port, self.requests, per_second, most_seconds=most_seconds)


def is_ready(pod: Raw) -> bool:
    """Whether a pod says that it is ready."""
    found = [one["status"] for one in pod.get("status", {}).get("conditions", ()) if one["type"] == "Ready"]
    return found == ["True"]


def until(fact: Callable[[], Any], what: str, seconds: float) -> float:
    """Wait for a fact; how long it took. Raises TimeoutError."""
    begun = time.monotonic()
    while not fact():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - begun
