"""How fast a ReleasePin takes effect, seen by callers."""

from __future__ import annotations

import json
import time
import urllib.request

from tests.load import Load
from tests.support.cluster.embedded import EmbeddedCluster
from tests.support.demo.people import condition
from tests.traffic_node.scene import Scene


def write_pin(scene: Scene, name: str, version: str) -> float:
    """Create a ReleasePin by one API call; the moment before it was sent."""
    assert isinstance(scene.cluster, EmbeddedCluster)
    prober = scene.cluster.control_plane.prober()
    url = f"{prober.server}/apis/plumbline.dev/v1alpha1/namespaces/{scene.namespace}/releasepins"
    request = urllib.request.Request(
        url, json.dumps(scene.release_pin(name, version)).encode(), {"content-type": "application/json"}
    )
    before = time.monotonic()
    with prober.opener.open(request, timeout=30) as answer:
        assert answer.status == 201
    return before


def pin_seconds(scene: Scene, load: Load, name: str, version: str, rate: float) -> float:
    """Seconds from before a pin is written until the last answer of any other version has ended."""
    wanted = scene.variant(version)
    before = write_pin(scene, name, version)
    scene.person.until(
        "modeldeployment",
        scene.deployment,
        f"pinned by {name}",
        lambda raw: (
            raw["status"].get("pin", {}).get("name") == name and condition(raw, "Ready").get("reason") == "Pinned"
        ),
        120,
    )
    load.more(int(2 * rate))
    others = [shot.due + shot.seconds for shot in load.shots() if shot.variant not in ("", wanted)]
    return max(0.0, max(others, default=before) - before)
