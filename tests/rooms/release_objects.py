"""Objects of the release rooms as the API server would hold them, and the parts other actors play."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from plumbline_contract.routes import ROUTES_KEY, Measured, Routes
from plumbline_operator.build.router import ROUTER_LABEL, routes_name
from plumbline_operator.model.meta import REQUESTED_AT, Key, Manifest
from plumbline_operator.rooms.driftmonitor.api import KIND as MONITOR
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.releasepin.api import KIND as PIN
from plumbline_operator.runtime.room import Room
from tests.rooms.registry_objects import approval, connection, digest, model, snapshot, version
from tests.rooms.registry_objects import available as model_available
from tests.support.fake_kube import FakeKube
from tests.support.worlds import (
    NAMESPACE,
    NOW,
    FakeSignals,
    available,
    condition,
    loop_on,
    not_ready,
    raw,
    ready,
    thing,
)

NAME = "late"
FIRST, SECOND, THIRD = digest("1"), digest("2"), digest("3")
SHADOW = {"name": "shadow", "shadow": {"percent": 50}, "holdSeconds": 30, "minRequests": 10, "minAgreement": 0.9}
CANARY = {"name": "canary", "canary": {"weight": 10}, "holdSeconds": 60, "minRequests": 100, "maxFailurePercent": 2}
HALF = {"name": "half", "canary": {"weight": 50}, "holdSeconds": 60, "minRequests": 100, "maxFailurePercent": 2}


def deployment(version_name: str = "v1", *steps: Manifest, **changes: Any) -> Manifest:
    """A ModelDeployment `late` of `flights` that nobody has looked at yet."""
    spec = {
        "modelRef": {"name": "flights"},
        "versionRef": {"name": version_name},
        "strategy": {"steps": list(steps)},
        "logging": {"flushSeconds": 1},
    }
    return raw(DEPLOYMENT, NAME, spec | changes, creationTimestamp="2026-02-01T00:00:00Z")


def approved(name: str, manifest: str) -> Manifest:
    """A ModelVersion that may serve."""
    return condition(ready(version(name, manifest=manifest), "Approved"), "Approved", "True", "Approved")


def denied(name: str, manifest: str) -> Manifest:
    """A ModelVersion whose approval was withdrawn."""
    return condition(not_ready(version(name, manifest=manifest), "Denied"), "Approved", "False", "Denied")


def pin(
    name: str = "incident", version_name: str = "v1", *, created: str = "2026-03-01T11:00:00Z", **more: Any
) -> Manifest:
    """A ReleasePin of the deployment."""
    spec = {"deploymentRef": {"name": NAME}, "versionRef": {"name": version_name}, "reason": "Wrong predictions."}
    return raw(PIN, name, spec | more, creationTimestamp=created)


def monitor(*, requested: str = "", **changes: Any) -> Manifest:
    """A DriftMonitor of the deployment."""
    spec = {
        "deploymentRef": {"name": NAME},
        "windowSeconds": 3600,
        "intervalSeconds": 600,
        "minRows": 100,
        "severity": "Ticket",
    }
    annotations = {REQUESTED_AT: requested} if requested else {}
    return raw(MONITOR, "drift", spec | changes, annotations=annotations, creationTimestamp="2026-02-01T00:00:00Z")


def trained_on(**changes: Any) -> Manifest:
    """The snapshot that the versions were trained on, with one personal column, and without another."""
    columns = [
        {"name": "distance", "type": "Int64"},
        {"name": "tail", "type": "String", "pii": True, "handling": "Hash"},
    ]
    return snapshot("history-1", columns=columns, dropped=["crew"], manifest=digest("8"), **changes)


def surroundings(*versions: Manifest) -> tuple[Manifest, ...]:
    """Everything a deployment needs besides itself."""
    found = versions or (approved("v1", FIRST), approved("v2", SECOND), approved("v3", THIRD))
    return (connection(), model_available(model()), trained_on(), *found, *(consent(one) for one in found))


def consent(version: Manifest, title: str = "consent", **changes: Any) -> Manifest:
    """Somebody's decision on a ModelVersion as it is, for it unless changed."""
    name, spec = version["metadata"]["name"], version["spec"]
    about = {"name": name, "manifest": spec["manifest"], "author": spec["author"]}
    return approval(f"{title}-{name}", version=about, **changes)


def router_pod(name: str = "late-router-1", ip: str = "10.0.0.1") -> Manifest:
    """A router pod that is ready."""
    status = {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return thing("v1", "Pod", name, {"status": status}, labels={ROUTER_LABEL: NAME})


@dataclass(slots=True)
class Stage:
    """A cluster in memory in which a deployment lives: reconcile, let pods start, let time and requests go by."""

    room: Room
    kube: FakeKube
    signals: FakeSignals = field(default_factory=FakeSignals)
    now: datetime = NOW
    counted: dict[str, dict[str, int]] = field(default_factory=lambda: {"requests": {}, "failures": {}, "mirrored": {}})
    routers_work: bool = True
    lag: int = 0  # by how many generations the routers are behind
    pods_start: bool = True
    again: timedelta | None = None  # when the operator wants to look again
    broken: set[str] = field(default_factory=set)  # Deployments that get no pod ready

    async def step(self, times: int = 1) -> Manifest:
        """Reconcile, then let the other actors act, so many times; the deployment as it is then."""
        for _ in range(times):
            self.answer()
            key = Key(self.room.kind.kind, NAMESPACE, NAME)
            self.again = await loop_on(self.kube, self.signals).reconcile(self.room, key, self.now)
            if self.pods_start:
                self._start_pods()
        return self.own()

    async def until_settled(self, rounds: int = 12) -> Manifest:
        """Reconcile until nothing is written any more."""
        for _ in range(rounds):
            before = len(self.kube.writes), self.kube.version
            await self.step()
            if before == (len(self.kube.writes), self.kube.version):
                return self.own()
        raise AssertionError(f"still writing: {self.kube.writes[-3:]}")

    def _start_pods(self) -> None:
        available(self.kube)
        for one in self.kube.all("Deployment"):
            if one["metadata"]["name"] in self.broken:
                self.kube.say(one, {"availableReplicas": 0})

    def answer(self) -> None:
        """Let the router pods say what they counted, and that they serve the present routes."""
        routes = self.routes() if self.routers_work else None
        generation = max(0, routes.generation - self.lag) if routes else 0
        known = Measured(pod="late-router-1", generation=generation, **self.counted)
        self.signals.anywhere = (known,) if self.routers_work else None

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)

    def count(self, what: str, version_name: str, number: int) -> None:
        """Let routers count this many more `requests`, `failures` or `mirrored` of a version."""
        variant = self.variant(version_name)
        self.counted[what][variant] = self.counted[what].get(variant, 0) + number

    def own(self) -> Manifest:
        """The deployment."""
        found = self.kube.look("ModelDeployment", NAME)
        assert found is not None
        return found

    def status(self) -> Manifest:
        """The deployment's status."""
        return dict(self.own().get("status", {}))

    def variant(self, version_name: str) -> str:
        """The variant of a version that serves, served, or is brought in."""
        status = self.status()
        entries = [status.get("stable"), status.get("target"), *status.get("previous", ())]
        return next(str(one["variant"]) for one in entries if one and one["version"] == version_name)

    def routes(self) -> Routes | None:
        """What routers are told."""
        found = self.kube.look("ConfigMap", routes_name(NAME))
        return None if found is None else Routes.model_validate(json.loads(found["data"][ROUTES_KEY]))

    def weights(self) -> dict[str, int]:
        """Percent of the requests by version, without those that get none."""
        routes, status = self.routes(), self.status()
        entries = [status.get("stable"), status.get("target"), *status.get("previous", ())]
        names = {one["variant"]: one["version"] for one in entries if one}
        return {} if routes is None else {names[b.variant]: b.weight for b in routes.backends if b.weight}

    def change(self, **spec: Any) -> None:
        """Change the deployment's spec, as a user would."""
        own = self.own()
        own["spec"] = own["spec"] | spec
        self.kube.put(own)

    def go_to(self, version_name: str) -> None:
        """Change spec.versionRef."""
        self.change(versionRef={"name": version_name})


def stage(room: Room, *objects: Manifest) -> Stage:
    """A cluster with these objects and one router pod."""
    return Stage(room, FakeKube(router_pod(), *objects))
