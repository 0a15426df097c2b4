"""Traffic on a real node: nothing fails, a pin is fast, a share is what was asked, a shadow harms nobody."""

from __future__ import annotations

import random
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.load import Load, failures, quantile
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.traffic_node.misbehaving import misbehaving
from tests.traffic_node.node import bridge, no_bucket
from tests.traffic_node.pins import pin_seconds
from tests.traffic_node.scene import Scene
from tests.traffic_node.shadows import ABSENT, NAMES, PORTS, WAYS, Probe, Side, compare
from tests.traffic_node.shares import share_of_a_step
from tests.traffic_node.storm import Storm

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(seconds("traffic"))]

RATE = 300.0  # requests per second, or half of what the machine carries
PROBING_RATES, PROBING_SECONDS, PROBING_LIMIT = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0), 3.0, 0.5
MINUTES = 10
SEED = 11
PIN_LIMIT_SECONDS = 2.0
SHARES = (5, 25, 50) if is_whole() else (5,)
SHARE_REQUESTS = 10_000
SHADOW_RATE, SHADOW_SECONDS, SHADOW_LIMIT = 150.0, 12.0, 1.05


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


def test_the_share_is_what_was_asked(scene: Scene, tmp_path: Path) -> None:
    rate = sustainable(scene, tmp_path)
    seen = share_of_a_step(scene, tmp_path, rate, SHARES, SHARE_REQUESTS)
    figure = "; ".join(
        f"asked {one.asked} %: {one.share:.2f} % of {one.requests:,} answers, the routers say {one.told:.2f} %"
        for one in seen
    )
    off = [one for one in seen if abs(one.share - one.asked) > 1.0 or abs(one.told - one.asked) > 1.0]
    record("share", runs=len(seen), bad=len(off), figure=figure)
    assert [one.asked for one in seen] == list(SHARES)
    assert all(one.requests >= SHARE_REQUESTS for one in seen)
    assert off == []


@pytest.mark.timeout(seconds("shadow"))
def test_a_shadow_that_misbehaves_slows_nobody(scene: Scene, tmp_path: Path) -> None:
    address = bridge(scene.cluster)
    each = size("shadow") // len(WAYS)
    with misbehaving(address), ExitStack() as stack:
        sides = []
        for name, port in zip(NAMES, PORTS, strict=True):
            probe = Probe(scene, address, name, port)
            probe.start()
            load = Load(tmp_path, port, scene.requests, SHADOW_RATE, most_seconds=seconds("shadow"))
            sides.append(Side(probe, stack.enter_context(load)))
        found = {}
        for way in (None, *WAYS):  # none at first: what two routers differ by themselves
            found[way] = compare(sides, way, each, SHADOW_SECONDS)
            print(f"{way or 'no shadow'}: p99 {found[way].told()}", flush=True)
        bad = [line for side in sides for line in failures(side.load.stop())]
    neither = found.pop(None)
    least = {way: SHADOW_RATE * SHADOW_SECONDS * each * WAYS[way][1] / 100 / 2 for way in found if way != ABSENT}
    untried = [way for way, copies in least.items() if found[way].copies < copies]
    harmed = [way for way, seen in found.items() if seen.ratio >= SHADOW_LIMIT]
    ways = "; ".join(f"{way}: p99 {seen.told()}" for way, seen in found.items())
    copies = sum(seen.copies for seen in found.values())
    figure = f"{ways}; no shadow at either: {neither.told()}; {copies:,} copies, {len(bad)} requests failed"
    runs = sum(len(seen.alone) for seen in found.values())
    record("shadow", runs=runs, bad=len(harmed) + len(untried) + len(bad), figure=figure)
    assert bad == []
    assert untried == []
    assert harmed == []
