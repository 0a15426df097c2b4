"""`python -m tests.faults.crash`: kill -9 before and after every write of the golden path; a table of what happened.

python -m tests.faults.crash                          every write, both sides
python -m tests.faults.crash --point 17 --side after  one case again
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.faults.cases import LIMIT_SECONDS, Ground, Reference, Result, crash_case, reference
from tests.faults.ground import ground
from tests.support.faultproxy import Crash


async def run_all(place: Ground, wanted: Reference, crashes: Sequence[Crash], lanes: int) -> list[Result]:
    """Every case, so many at once; each is told as it ends."""
    gate = asyncio.Semaphore(lanes)

    async def one(crash: Crash) -> Result:
        async with gate:
            result = await crash_case(place, wanted, crash)
        print(result.line(), flush=True)
        for complaint in result.complaints:
            print(f"            {complaint}", flush=True)
        return result

    return await asyncio.gather(*(one(crash) for crash in crashes))


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every case reached the reference state and held every oracle."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="plumbline-crash-"))
    print(f"logs and journals: {folder}")
    with ground(f"crash-{os.getpid()}", folder, options.limit) as place:
        return asyncio.run(_run(place, options))


async def _run(place: Ground, options: argparse.Namespace) -> int:
    wanted = await reference(place)
    print(f"N = {len(wanted.writes)} writes; without faults the path takes {wanted.seconds:.1f} s")
    points = options.point or range(1, len(wanted.writes) + 1)
    sides = [options.side] if options.side else ["before", "after"]
    crashes = [Crash(point, side) for point in points for side in sides]
    results = await run_all(place, wanted, crashes, options.lanes)
    bad = [one for one in results if one.complaints]
    slowest = max(one.seconds for one in results)
    print(f"{len(results) - len(bad)} of {len(results)} reached the reference state, the slowest in {slowest:.1f} s")
    for one in bad:
        print(f"again: python -m tests.faults.crash --point {one.crash.number} --side {one.crash.side}")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    parser.add_argument("--point", type=int, action="append", help="the number of a write; may be repeated")
    parser.add_argument("--side", choices=["before", "after"])
    parser.add_argument("--lanes", type=int, default=3, help="cases at once")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds to the reference state")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
