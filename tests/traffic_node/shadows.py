"""A router of its own beside the operator's, whose shadow misbehaves; its routes are written by the test."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plumbline_contract.routes import MEASURE_PORT, Backend, Measured, Routes
from plumbline_operator.build.job import container_security, pod_security
from plumbline_operator.build.router import Router, router_children, router_labels, routes_map
from tests.load import Load, Shot, quantile
from tests.traffic_node import misbehaving
from tests.traffic_node.scene import Scene, until

NAME, PORT = "probe", 30091
BAD = "misbehaving"
ABSENT = "is not there"  # it fails its health checks, so it is sent nothing
WAYS = {  # what the shadow does → its port, and the percent of the requests it gets
    "hangs": (misbehaving.HANGS, 100),
    "resets every connection": (misbehaving.RESETS, 100),
    ABSENT: (misbehaving.CLOSED, 100),
    "answers 10 MB": (misbehaving.FLOODS, 10),
}
SETTLE_SECONDS = 0.5  # after routes have changed, before a window begins


@dataclass(slots=True)
class Probe:
    """One router pod in front of the version that serves, and the server that misbehaves."""

    scene: Scene
    generation: int = 0
    pairs: dict[str, list[float]] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)  # sent to each shadow, or dropped because it did not keep up

    def start(self) -> None:
        """Bring up both; returns when requests are answered."""
        operator = self.scene.person.kubectl("get", "deployment", f"{self.scene.deployment}-router", "-o", "json")
        image = json.loads(operator)["spec"]["template"]["spec"]["containers"][0]["image"]
        router = Router(NAME, self.scene.namespace, image, "IfNotPresent", replicas=1, node_port=PORT)
        self._apply(*_bad(image), *router_children(router))
        self.route(None)

    def route(self, way: str | None) -> None:
        """Have this shadow, or none; returns when the router works so."""
        self.generation += 1
        serving = self.scene.status()["stable"]["variant"]
        shadow = None
        if way is not None:
            port, percent = WAYS[way]
            shadow = Backend(variant="shadow", host=f"{BAD}.{self.scene.namespace}.svc", port=port, weight=percent)
        stable = Backend(variant=serving, host=f"{serving}.{self.scene.namespace}.svc", weight=100)
        self._apply(routes_map(Routes(generation=self.generation, deployment=NAME, backends=(stable,), shadow=shadow)))
        until(self._follows, f"routes {self.generation} of the probe are in force", 120)

    def _follows(self) -> bool:
        pods = self.scene.pods(router_labels(NAME))
        if len(pods) != 1 or not pods[0]["status"].get("podIP"):
            return False
        try:
            return self.measured().generation == self.generation
        except OSError:
            return False

    def measured(self) -> Measured:
        """What the probe has counted."""
        (pod,) = self.scene.pods(router_labels(NAME))
        url = f"http://{pod['status']['podIP']}:{MEASURE_PORT}/measured"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            return Measured.model_validate_json(answer.read())

    def compare(self, load: Load, way: str, count: int, seconds: float) -> None:
        """Windows with and without the shadow in turn, who is first changing; keeps the ratios of their p99."""
        before = self._copied()
        for number in range(count):
            order = (way, None) if number % 2 else (None, way)
            p99 = {one: quantile(self.window(load, one, seconds), 0.99) for one in order}
            self.pairs.setdefault(way, []).append(p99[way] / p99[None])
        self.copies[way] = self._copied() - before

    def _copied(self) -> int:
        counted = self.measured()
        return sum(one.get("shadow", 0) for one in (counted.mirrored, counted.mirror_dropped))

    def window(self, load: Load, way: str | None, seconds: float) -> list[Shot]:
        """The requests that were due in this many seconds with this shadow."""
        self.route(way)
        time.sleep(SETTLE_SECONDS)  # the window begins when the change is over
        since = time.monotonic()
        until(lambda: time.monotonic() >= since + seconds, "the window is over", seconds + 5)
        until(lambda: max(shot.due for shot in load.shots()[-50:]) >= since + seconds, "its answers are in", 30)
        return [shot for shot in load.shots() if since <= shot.due < since + seconds]

    def _apply(self, *objects: dict[str, Any]) -> None:
        for one in objects:
            one["metadata"]["namespace"] = self.scene.namespace
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.scene.person.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def middle(ratios: list[float]) -> str:
    """The median of the ratios and the half of them around it."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"x{median:.3f} ({low:.2f} to {high:.2f}, {len(ratios)} pairs)"


def _bad(image: str) -> list[dict[str, Any]]:
    """A pod that misbehaves on several ports, and its address."""
    labels = {"app": BAD}
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/srv/misbehaving.py"],
        "securityContext": container_security(),
        # A shadow on a node of its own would take nothing from the primary; here its part is bounded.
        "resources": {"limits": {"cpu": "200m", "memory": "256Mi"}},
        "volumeMounts": [{"name": "code", "mountPath": "/srv"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": BAD}}],
    }
    code = Path(misbehaving.__file__).read_text()
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": BAD}, "data": {"misbehaving.py": code}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": BAD}, "spec": spec},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": BAD, "labels": labels}, "spec": pod},
    ]
