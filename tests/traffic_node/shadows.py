"""A router of its own beside the operator's, whose shadow misbehaves; its routes are written by the test."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from plumbline_contract.routes import MEASURE_PORT, Backend, Measured, Routes
from plumbline_operator.build.router import Router, router_children, router_labels, routes_map
from tests.load import Load, Shot, quantile
from tests.support.cluster.addons import listens
from tests.traffic_node import misbehaving
from tests.traffic_node.scene import Scene, until

NAME, PORT = "probe", 30091
ABSENT = "is not there"  # it fails its health checks, so it is sent nothing
WAYS = {  # what the shadow does → its port, and the percent of the requests it gets
    "hangs": (misbehaving.HANGS, 100),
    "resets every connection": (misbehaving.RESETS, 100),
    ABSENT: (misbehaving.CLOSED, 100),
    "answers 10 MB": (misbehaving.FLOODS, 10),
}
SETTLE_SECONDS = 0.5  # after routes have changed, before a window begins


@dataclass(frozen=True, slots=True)
class Pair:
    """The p99 in seconds of a window with a shadow, and of one without beside it."""

    shadowed: float
    alone: float

    @property
    def ratio(self) -> float:
        """What the shadow did to it."""
        return self.shadowed / self.alone


@dataclass(slots=True)
class Probe:
    """One router pod in front of the version that serves, and the address of the server that misbehaves."""

    scene: Scene
    address: str
    generation: int = 0
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    copies: dict[str, int] = field(
        default_factory=dict
    )  # sent to each shadow, or dropped: it did not keep up, or was put aside

    def start(self) -> None:
        """Bring up the router; returns when its port takes requests."""
        operator = self.scene.person.kubectl("get", "deployment", f"{self.scene.deployment}-router", "-o", "json")
        image = json.loads(operator)["spec"]["template"]["spec"]["containers"][0]["image"]
        router = Router(NAME, self.scene.namespace, image, "IfNotPresent", replicas=1, node_port=PORT)
        self._apply(*router_children(router))
        self.route(None)
        until(lambda: listens(PORT), f"port {PORT} takes requests", 60)

    def route(self, way: str | None) -> None:
        """Have this shadow, or none; returns when the router works so."""
        self.generation += 1
        serving = self.scene.status()["stable"]["variant"]
        shadow = None
        if way is not None:
            port, percent = WAYS[way]
            shadow = Backend(variant="shadow", host=self.address, port=port, weight=percent)
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
        """Windows with and without the shadow in turn, who is first changing; keeps their p99."""
        before = self._copied()
        for number in range(count):
            order = (way, None) if number % 2 else (None, way)
            p99 = {one: quantile(self.window(load, one, seconds), 0.99) for one in order}
            self.pairs.setdefault(way, []).append(Pair(p99[way], p99[None]))
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


def middle(pairs: list[Pair]) -> float:
    """The median of the ratios."""
    return statistics.median(pair.ratio for pair in pairs)


def told(pairs: list[Pair]) -> str:
    """The median of the ratios, the half of them around it, and of what."""
    low, median, high = statistics.quantiles([pair.ratio for pair in pairs], n=4)
    alone = 1e3 * statistics.median(pair.alone for pair in pairs)
    return f"x{median:.3f} ({low:.2f} to {high:.2f}, {len(pairs)} pairs) of {alone:.1f} ms"
