"""What `make bench-serving` and `make bench-routing` measure, judged.

Not collected by itself, because a timed test proves nothing beside others: `python -m tests.proof speed`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proof.figures import spread
from tests.proof.goals import seconds, size
from tests.proof.ledger import record
from tests.support.cluster import host

GOAL = "speed"
pytestmark = pytest.mark.timeout(seconds(GOAL))

ROWS, CONNECTIONS = 1, 16
LEAST_RATIO = {"kserve": 10.0, "mlserver": 1.0}  # of requests per second, ours to theirs
MOST_P99 = 1 / 3  # ours to theirs
Rounds = list[dict[str, float]]


def test_serving_is_as_much_faster_than_its_rivals_as_we_say(tmp_path: Path) -> None:
    measured = benchmark("serving", tmp_path)
    here = {one["server"]: one["rounds"] for one in measured if load_of(one) == (ROWS, CONNECTIONS)}
    bad, told = [], []
    for rival, least in LEAST_RATIO.items():
        rate = ratios(here["plumbline"], here[rival], "per_second")
        p99 = ratios(here["plumbline"], here[rival], "p99")
        told.append(f"{rival}: {spread(rate, 1)} times its requests, {spread(p99, 2)} of its p99")
        bad += [told[-1]] if statistics.median(rate) < least or statistics.median(p99) > MOST_P99 else []
    record(GOAL, runs=len(here["plumbline"]), bad=len(bad), figure=f"1 row, 16 connections: {'; '.join(told)}")
    assert bad == []


def test_what_the_router_costs_is_told(tmp_path: Path) -> None:
    measured = benchmark("routing", tmp_path)
    told = []
    for one in measured:
        added = [routed["p50"] - direct["p50"] for direct, routed in one["rounds"]]
        kept = [100 * routed["per_second"] / direct["per_second"] for direct, routed in one["rounds"]]
        told.append(f"{one['load']}: {spread(added, 0)} us added to the p50, {spread(kept, 0)} % of the requests kept")
    record(GOAL, runs=len(measured[0]["rounds"]), figure=f"the router on the server's own core, {'; '.join(told)}")
    assert len(told) == 3


def benchmark(name: str, folder: Path) -> Any:
    """The numbers of one benchmark; its table goes to the output."""
    host.install_packages({"wrk": "/usr/bin/wrk"})
    out = folder / f"{name}.json"
    rounds = str(size(GOAL) // 2)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--rounds", rounds, "--out", out], check=True)
    return json.loads(out.read_text())


def load_of(one: dict[str, Any]) -> tuple[int, int]:
    """Rows in a request, and connections."""
    return one["rows"], one["connections"]


def ratios(mine: Rounds, theirs: Rounds, field: str) -> list[float]:
    """Ours to theirs, within each round."""
    return [one[field] / other[field] for one, other in zip(mine, theirs, strict=True)]
