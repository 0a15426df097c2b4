"""The share of each canary step, counted by callers and by routers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.demo.people import Raw, condition
from tests.traffic_node.scene import Scene

HOLD_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Share:
    """What a step's target got, in percent. told: by the routers' counters, as the status shows them at last."""

    asked: int
    share: float
    requests: int
    told: float


@dataclass(slots=True)
class Window:
    """A step while it lasts: when all routers were first seen to serve it, when last, and what they had counted."""

    since: float
    until: float
    told: float = 0.0


def share_of_a_step(scene: Scene, folder: Path, rate: float, shares: tuple[int, ...], count: int) -> list[Share]:
    """Roll out the version that has never served, with a step for each share that lasts for this many requests."""
    steps = [
        {
            "name": f"canary-{share}",
            "canary": {"weight": share},
            "holdSeconds": HOLD_SECONDS,
            # More than are looked at, because callers' windows begin after and end before the routers'.
            "minRequests": count + int(8 * rate),
        }
        for share in shares
    ]
    strategy = json.dumps({"spec": {"strategy": {"steps": steps}}})
    scene.person.kubectl("patch", "modeldeployment", scene.deployment, "--type=merge", f"--patch={strategy}")
    windows: dict[int, Window] = {}

    def look(raw: Raw) -> bool:
        status, now = raw["status"], time.monotonic()
        target = status.get("target", {}).get("variant", "")
        weight = status.get("weights", {}).get(target, 0)
        if status.get("step", {}).get("since") and weight in shares:
            window = windows.setdefault(weight, Window(now, now))
            window.until = now
            window.told = status.get("measured", {}).get("sharePercent", window.told)
        stable = status.get("stable", {}).get("version") == scene.fresh
        return stable and condition(raw, "Ready").get("status") == "True"

    with scene.load(folder, rate) as load:
        load.more(int(rate))
        scene.ask(scene.fresh)
        scene.person.until("modeldeployment", scene.deployment, f"serving {scene.fresh}", look, 900)
        shots = sorted(load.stop())
    target = scene.variant(scene.fresh)
    found = []
    for asked, window in sorted(windows.items()):
        inside = [shot for shot in shots if window.since < shot.due < window.until and not shot.failed][:count]
        got = sum(shot.variant == target for shot in inside)
        found.append(Share(asked, 100 * got / max(1, len(inside)), len(inside), window.told))
    return found
