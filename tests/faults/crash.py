"""`python -m tests.faults.crash`: kill -9 before and after every write of the golden path; a table of what happened.

python -m tests.faults.crash                          every write, both sides
python -m tests.faults.crash --point 17 --side after  one case again

Who is killed while the first model is on its way is measured until that one serves; what comes after that takes its own
time, whoever was killed before it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from tests.faults.cases import LIMIT_SECONDS, Ground, Reference, Result, crash_case, reference
from tests.faults.ground import ground
from tests.faults.users import first_service
from tests.support.faultproxy import Crash, Side

SIDES = get_args(Side)


@dataclass(frozen=True, slots=True)
class Walks:
    """The golden path to the first model in service, and the whole of it, both without faults."""

    place: Ground
    first: Reference
    whole: Reference

    @property
    def number(self) -> int:
        """How many writes the whole path has."""
        return len(self.whole.writes)

    def every(self) -> list[Crash]:
        """Before and after each of them."""
        return [Crash(point, side) for point in range(1, self.number + 1) for side in SIDES]

    async def crash(self, crash: Crash) -> Result:
        """One case, on the shortest path that has this write."""
        if crash.number <= len(self.first.writes):
            return await crash_case(replace(self.place, users=first_service), self.first, crash)
        return await crash_case(self.place, self.whole, crash)


async def walked(place: Ground) -> Walks:
    """Both paths, walked once each."""
    return Walks(place, await reference(replace(place, users=first_service)), await reference(place))


async def run_all(walks: Walks, crashes: Sequence[Crash], lanes: int) -> list[Result]:
    """Every case, so many at once; each is told as it ends."""
    gate = asyncio.Semaphore(lanes)

    async def one(crash: Crash) -> Result:
        async with gate:
            result = await walks.crash(crash)
        print(result.line(), flush=True)
        for complaint in result.complaints:
            print(f"            {complaint}", flush=True)
        return result

    return await asyncio.gather(*(one(crash) for crash in crashes))


def summary(results: Sequence[Result]) -> str:
    """How many of the cases that were tried ended as they should."""
    tried, bad = sum(one.was_tried for one in results), sum(bool(one.complaints) for one in results)
    slowest = max(one.seconds for one in results)
    told = f"{tried - bad} of {tried} reached the reference state, the slowest in {slowest:.1f} s"
    return f"{told}; {len(results) - tried} times the walk ended before the write"


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every case reached the reference state and held every oracle."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="plumbline-crash-"))
    print(f"logs and journals: {folder}")
    with ground(f"crash-{os.getpid()}", folder, options.limit) as place:
        return asyncio.run(_run(place, options))


async def _run(place: Ground, options: argparse.Namespace) -> int:
    walks = await walked(place)
    print(f"N = {walks.number} writes; without faults the path takes {walks.whole.seconds:.1f} s")
    crashes = [
        one
        for one in walks.every()
        if options.side in (None, one.side) and (not options.point or one.number in options.point)
    ]
    results = await run_all(walks, crashes, options.lanes)
    bad = [one for one in results if one.complaints]
    print(summary(results))
    for one in bad:
        print(f"again: python -m tests.faults.crash --point {one.crash.number} --side {one.crash.side}")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    parser.add_argument("--point", type=int, action="append", help="the number of a write; may be repeated")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--lanes", type=int, default=3, help="cases at once")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds to the reference state")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
