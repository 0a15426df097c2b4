"""Two routers of our own beside the operator's, side by side: one with a shadow that misbehaves, the other without.

Both carry the same load at the same time to the same servers and change roles from window to window, so what the
machine does by itself meets both, and the shadow is all that differs. What is seen is what a shadow does to the router
that copies to it; one on a machine of its own can do nothing else to callers.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plumbline_contract.routes import MEASURE_PORT, Backend, Measured, Routes
from plumbline_operator.build.router import Router, router_children, router_labels, routes_map
from tests.load import Load
from tests.support.cluster.addons import listens
from tests.traffic_node import misbehaving
from tests.traffic_node.scene import Scene, until

NAMES, PORTS = ("probe-left", "probe-right"), (30091, 30092)
ABSENT = "is not there"  # it fails its health checks, so it is sent nothing
WAYS = {  # what the shadow does → its port, and the percent of the requests it gets
    "hangs": (misbehaving.HANGS, 100),
    "resets every connection": (misbehaving.RESETS, 100),
    ABSENT: (misbehaving.CLOSED, 100),
    "answers 10 MB": (misbehaving.FLOODS, 7),
}
SETTLE_SECONDS = 0.5  # after routes have changed, before a window begins
PART = 0.99
RESAMPLES, SEED = 1000, 20261128


@dataclass(slots=True)
class Probe:
    """One router pod in front of the version that serves, and the address of the server that misbehaves."""

    scene: Scene
    address: str
    name: str
    port: int
    generation: int = 0

    def start(self) -> None:
        """Bring up the router; returns when its port takes requests."""
        operator = self.scene.person.kubectl("get", "deployment", f"{self.scene.deployment}-router", "-o", "json")
        image = json.loads(operator)["spec"]["template"]["spec"]["containers"][0]["image"]
        router = Router(self.name, self.scene.namespace, image, "IfNotPresent", replicas=1, node_port=self.port)
        self._apply(*router_children(router))
        self.route(None)
        until(lambda: listens(self.port), f"port {self.port} takes requests", 60)

    def route(self, way: str | None) -> None:
        """Have this shadow, or none; returns when the router works so."""
        self.generation += 1
        serving = self.scene.status()["stable"]["variant"]
        shadow = None
        if way is not None:
            port, percent = WAYS[way]
            shadow = Backend(variant="shadow", host=self.address, port=port, weight=percent)
        stable = Backend(variant=serving, host=f"{serving}.{self.scene.namespace}.svc", weight=100)
        routes = Routes(generation=self.generation, deployment=self.name, backends=(stable,), shadow=shadow)
        self._apply(routes_map(routes))
        until(self._follows, f"routes {self.generation} of {self.name} are in force", 120)

    def copies(self) -> int:
        """Requests copied to a shadow, or not because it did not keep up or was put aside."""
        counted = self._measured()
        return sum(one.get("shadow", 0) for one in (counted.mirrored, counted.mirror_dropped))

    def _follows(self) -> bool:
        pods = self.scene.pods(router_labels(self.name))
        if len(pods) != 1 or not pods[0]["status"].get("podIP"):
            return False
        try:
            return self._measured().generation == self.generation
        except OSError:
            return False

    def _measured(self) -> Measured:
        (pod,) = self.scene.pods(router_labels(self.name))
        url = f"http://{pod['status']['podIP']}:{MEASURE_PORT}/measured"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            return Measured.model_validate_json(answer.read())

    def _apply(self, *objects: dict[str, Any]) -> None:
        for one in objects:
            one["metadata"]["namespace"] = self.scene.namespace
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.scene.person.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


@dataclass(frozen=True, slots=True)
class Side:
    """A probe under load."""

    probe: Probe
    load: Load

    def window(self, since: float, seconds: float) -> list[float]:
        """The seconds that the requests took which were due in this window, once all are answered."""
        end = since + seconds

        def complete() -> bool:
            before = [shot.number for shot in self.load.shots() if shot.due < end]
            return len(self.load.shots()) > len(before) == max(before) + 1

        until(complete, "all requests of the window are answered", 30)
        return [shot.seconds for shot in self.load.shots() if since <= shot.due < end]


@dataclass(slots=True)
class Compared:
    """The seconds of answers with a shadow and of those beside them without, a list for each window of both."""

    shadowed: list[list[float]] = field(default_factory=list)
    alone: list[list[float]] = field(default_factory=list)
    copies: int = 0

    @property
    def ratio(self) -> float:
        """The p99 of all answers with the shadow, by that of all without."""
        return self._ratio(range(len(self.alone)))

    def told(self) -> str:
        """The ratio, the interval in which it is by 95 % (windows drawn again and again), and of what."""
        draws = np.random.default_rng(SEED).integers(0, len(self.alone), (RESAMPLES, len(self.alone)))
        low, high = np.quantile([self._ratio(draw) for draw in draws], [0.025, 0.975])
        alone = 1e3 * _p99(self.alone, range(len(self.alone)))
        return f"x{self.ratio:.3f} ({low:.2f} to {high:.2f}, {len(self.alone)} windows) of {alone:.1f} ms"

    def _ratio(self, windows: Iterable[int]) -> float:
        return _p99(self.shadowed, windows) / _p99(self.alone, windows)


def _p99(seconds: list[list[float]], windows: Iterable[int]) -> float:
    return float(np.quantile(np.concatenate([seconds[number] for number in windows]), PART))


def compare(sides: Sequence[Side], way: str | None, count: int, seconds: float) -> Compared:
    """So many windows in which one of two sides has the shadow, in turn; with no way, neither has."""
    found, before = Compared(), _copies(sides)
    for number in range(count):
        shadowed, alone = sides if number % 2 else reversed(sides)
        shadowed.probe.route(way)
        alone.probe.route(None)
        time.sleep(SETTLE_SECONDS)  # the window begins when the change is over
        since = time.monotonic()
        time.sleep(seconds)  # the window itself
        found.shadowed.append(shadowed.window(since, seconds))
        found.alone.append(alone.window(since, seconds))
    found.copies = _copies(sides) - before
    return found


def _copies(sides: Iterable[Side]) -> int:
    return sum(side.probe.copies() for side in sides)
