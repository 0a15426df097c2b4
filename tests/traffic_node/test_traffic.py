"""Traffic on a real node: nothing fails, and a pin is fast."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import pytest

from tests.load import Load, failures, quantile
from tests.proof.goals import seconds, size
from tests.proof.ledger import record
from tests.traffic_node.node import no_bucket
from tests.traffic_node.pins import pin_seconds
from tests.traffic_node.scene import Scene
from tests.traffic_node.storm import Storm

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(seconds("traffic"))]

RATE = 300.0  # requests per second, or half of what the machine carries
PROBING_RATES, PROBING_SECONDS, PROBING_LIMIT = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0), 3.0, 0.5
MINUTES = 10
SEED = 11
PIN_LIMIT_SECONDS = 2.0


def sustainable(scene: Scene, folder: Path) -> float:
    """300 requests per second, or half of the highest rate at which 99 % were answered within half a second."""
    carried = PROBING_RATES[0]
    for rate in PROBING_RATES:
        shots = Load(folder, scene.port, scene.requests, rate, timeout=2.0).run(PROBING_SECONDS)
        if failures(shots) or quantile(shots, 0.99) > PROBING_LIMIT:
            break
        carried = rate
    return min(RATE, carried / 2)


def test_no_request_fails_whatever_happens(scene: Scene, tmp_path: Path) -> None:
    rate = sustainable(scene, tmp_path)
    with scene.load(tmp_path, rate) as load:
        quiet = list(load.more(int(20 * rate)).shots())
        storm = Storm(scene, random.Random(SEED))
        storm.rage(time.monotonic() + 60 * MINUTES, size("traffic"))
        shots = load.stop()
    bad = failures(shots)
    told = ", ".join(f"{count} x {what}" for what, count in storm.happened.items())
    figure = (
        f"{len(bad)} of {len(shots):,} requests failed at {rate:.0f}/s; p99 "
        f"{1e3 * quantile(quiet, 0.99):.0f} ms before, {1e3 * quantile(shots, 0.99):.0f} ms over all; {told}"
    )
    record("traffic", runs=storm.happened.total(), bad=min(len(bad), storm.happened.total()), figure=figure, seed="11")
    assert bad == []


def test_a_pin_is_in_force_within_two_seconds_also_without_the_bucket(scene: Scene, tmp_path: Path) -> None:
    if scene.status()["stable"]["version"] != scene.new:
        with scene.load(tmp_path, 100):
            scene.ask(scene.new)
            scene.until_stable(scene.new, 240)
    rate, count = 50.0, size("pin")
    taken: list[float] = []

    def pins(load: Load, numbers: range) -> None:
        for number in numbers:
            version = scene.old if number % 2 == 0 else scene.new
            taken.append(pin_seconds(scene, load, f"pin-{number:04d}", version, rate))
            if number:
                scene.unpin(f"pin-{number - 1:04d}")  # superseded

    with scene.load(tmp_path, rate) as load:
        pins(load, range(count // 2))
        with no_bucket(scene.cluster):
            pins(load, range(count // 2, count))
        bad = failures(load.stop())
    scene.unpin(f"pin-{count - 1:04d}")
    slow = [one for one in taken if one > PIN_LIMIT_SECONDS]
    ordered = sorted(taken)
    p99 = ordered[min(count - 1, int(0.99 * count))]
    without = max(taken[count // 2 :])
    figure = (
        f"p50 {statistics.median(taken):.2f} s, p99 {p99:.2f} s; the slowest without the bucket {without:.2f} s; "
        f"no Prometheus anywhere; {len(bad)} requests failed"
    )
    record("pin", runs=count, bad=len(slow) + len(bad), figure=figure)
    assert bad == []
    assert p99 <= PIN_LIMIT_SECONDS
