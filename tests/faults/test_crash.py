"""kill -9 before and after the writes of the golden path; `python -m tests.faults.crash` repeats single cases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.cases import LIMIT_SECONDS
from tests.faults.crash import run_all, summary, walked
from tests.faults.ground import ground
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.support.faultproxy import Crash

GOAL = "crash"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

# By number: among the first Jobs, near the first ModelVersion, and when the second one has passed the shadow.
SAMPLE = (Crash(13, "after"), Crash(50, "after"), Crash(92, "before"))
LEAST = 100  # numbered writes on the golden path; fewer would mean that the path has become shorter
SAMPLE_LIMIT_SECONDS = 180.0  # in a sample other tests run beside this one
LANES = 2  # a core for each on a small machine: how soon the operator is back is measured, not how many share a core


async def test_a_crash_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    limit = LIMIT_SECONDS if is_whole() else SAMPLE_LIMIT_SECONDS
    with ground(f"crash-{os.getpid()}", tmp_path, limit=limit, quiet=5.0) as place:
        walks = await walked(place)
        crashes = walks.every() if is_whole() else SAMPLE
        results = await run_all(walks, crashes, lanes=LANES if is_whole() else len(SAMPLE))
    bad = [f"{one.line()} {one.complaints}" for one in results if one.complaints]
    tried = sum(one.was_tried for one in results)
    record(GOAL, runs=tried, bad=len(bad), figure=f"N = {walks.number} writes; {summary(results)}")
    assert walks.number >= LEAST
    assert tried >= size(GOAL)
    assert bad == []
