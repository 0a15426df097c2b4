"""kill -9 before and after the bucket writes of the Jobs of the golden path, and the next attempt after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.goals import is_whole, seconds
from tests.proof.ledger import record
from tests.storage.crash import Case, run_all, writes_of
from tests.storage.ground import ground
from tests.storage.worker import working
from tests.storage.works import COLLECT, EVALUATE, FIRST, WRITING
from tests.support.s3proxy import Crash

GOAL = "crash-bucket"
pytestmark = pytest.mark.timeout(seconds(GOAL))

SAMPLE = (
    Case(FIRST, Crash(4, "before")),  # the manifest, with the hash key, the part and the profile there
    Case(COLLECT, Crash(2, "after")),  # a file of several
    Case(EVALUATE, Crash(4, "before")),  # the index, with everything written that it names
)
LEAST = 35  # numbered writes of all Jobs; fewer would mean that the path has become shorter
LIMIT_SECONDS = 30.0  # of the attempt after the kill; a sample has other tests beside it
LANES = 2


async def test_a_killed_job_leaves_nothing_half_and_the_next_attempt_ends_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    async with ground(tmp_path) as place:
        if is_whole():
            async with working() as worker:
                numbers = {work.name: await writes_of(place, work, worker) for work in WRITING}
            sides = ("before", "after")
            cases = [
                Case(work, Crash(number, side))
                for work in WRITING
                for number in range(1, numbers[work.name] + 1)
                for side in sides
            ]
        else:
            numbers, cases = {}, list(SAMPLE)
        results = await run_all(place, cases, LANES)
    bad = [one.line() for one in results if one.complaints or (is_whole() and one.seconds > LIMIT_SECONDS)]
    slowest = max(one.seconds for one in results)
    total = sum(numbers.values())
    each = ", ".join(f"{name} {number}" for name, number in numbers.items())
    of_all = f"N = {total} writes ({each}); " if is_whole() else ""
    figure = f"{of_all}{len(results) - len(bad)} of {len(results)}, the next attempt in {slowest:.1f} s"
    record(GOAL, runs=len(results), bad=len(bad), figure=figure)
    assert bad == []
    assert not is_whole() or total >= LEAST
