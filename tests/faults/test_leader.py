"""Two operators: whoever leads is killed or sleeps, and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.cases import reference
from tests.faults.ground import ground, of_this_size
from tests.faults.leader import TAKEOVER_SECONDS, Round, Taken, leader_case, rounds
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record

GOAL = "leader"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

SEED = 20260101
PAUSES = 10  # of the runs of the whole; the others are kills
LANES = 3
SAMPLE_SECONDS = 90.0  # in a sample other tests run beside this one


async def test_the_other_one_takes_over_and_nothing_is_done_twice(tmp_path: Path) -> None:
    limit = 60.0 if is_whole() else 180.0  # of the rest of the path; what is measured is the takeover
    takeover = TAKEOVER_SECONDS if is_whole() else SAMPLE_SECONDS
    pauses = PAUSES if is_whole() else 0
    with ground(f"leader-{os.getpid()}", tmp_path, limit=limit, quiet=5.0) as found:
        place = of_this_size(found)
        wanted = await reference(place)
        gate = asyncio.Semaphore(LANES)

        async def one(blow: Round) -> Taken:
            async with gate:
                taken = await leader_case(place, wanted, blow, takeover)
            print(taken.line(), flush=True)
            return taken

        blows = rounds(SEED, size(GOAL) - pauses, pauses, len(wanted.writes))
        results = await asyncio.gather(*(one(blow) for blow in blows))
    bad = [one.line() for one in results if one.complaints]
    slowest = max((one.seconds for one in results if one.seconds is not None), default=0.0)
    figure = f"{size(GOAL) - pauses} kills, {pauses} pauses of 60 s; slowest takeover {slowest:.1f} s"
    record(GOAL, runs=len(results), bad=len(bad), figure=figure, seed=str(SEED))
    assert bad == []
