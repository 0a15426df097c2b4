"""A sample of the crash table: `python -m tests.faults.crash` runs the whole of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.cases import reference
from tests.faults.crash import run_all
from tests.faults.ground import ground
from tests.support.faultproxy import Crash

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]  # builds the API server the first time

# By number: among the first Jobs, among the answers of Jobs, and near the ModelVersion.
SAMPLE = (Crash(13, "after"), Crash(30, "before"), Crash(50, "after"))
LEAST = 55  # numbered writes on the golden path; fewer would mean that the path has become shorter
SECONDS = 180.0  # the table's own limit is 30 s; here other tests run beside this one


async def test_a_crash_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    with ground(f"crash-{os.getpid()}", tmp_path, limit=SECONDS, quiet=5.0) as place:
        wanted = await reference(place)
        assert len(wanted.writes) >= LEAST
        results = await run_all(place, wanted, SAMPLE, lanes=len(SAMPLE))
    assert [one.line() for one in results if one.complaints] == [], [one.complaints for one in results]
