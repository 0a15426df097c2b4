"""`python -m tests.faults.stale`: the golden path with events that are lost, late, repeated, and lists that are old.

python -m tests.faults.stale                                every case
python -m tests.faults.stale --mode drop --number 3         the third event of each kind and type is lost
python -m tests.faults.stale --mode freeze --kind jobs      the watch of Jobs stands still for two minutes
python -m tests.faults.stale --mode old --number 20         killed at write 20, started again on lists of the beginning
python -m tests.faults.stale --mode later --number 7        each event, or by the seed 7 not, comes after the next one
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from plumbline_operator.rooms import ROOMS
from plumbline_operator.runtime.ears import LABELLED
from tests.faults.cases import PATH_SECONDS, Ground, Reference, Result, converge, reference
from tests.faults.ground import ground
from tests.faults.lane import PATIENCE_SECONDS, Lane, lane, soon
from tests.support.faultproxy import Call, Crash, Event, Fate

Mode = Literal["none", "drop", "twice", "later", "freeze", "old"]

RESYNC_SECONDS = 10
FREEZE_SECONDS = 120.0
LAG_SECONDS = 30.0  # how long after the restart nothing newer comes
SLACK_SECONDS = 5.0  # for looking twice a second, and for a machine that is not idle
SHARE = 0.5  # of events that come late
OLD_POINTS = 8
SEEDS = (1, 2, 3)
WATCHED = tuple(ref.plural for ref in (*(room.kind.ref for room in ROOMS), *LABELLED))


@dataclass(frozen=True, slots=True)
class Case:
    """One disturbance of what is heard. `kind` is for freeze; `number` is the event, the write or the seed."""

    mode: Mode
    kind: str = ""
    number: int = 0
    seconds: float = FREEZE_SECONDS

    def title(self) -> str:
        """A name for its folder."""
        return "-".join(part for part in ("stale", self.mode, self.kind, str(self.number or "")) if part)

    def command(self) -> str:
        """How to have it again."""
        rest = (
            f" --kind {self.kind} --seconds {self.seconds:g}" if self.mode == "freeze" else f" --number {self.number}"
        )
        return f"python -m tests.faults.stale --mode {self.mode}{rest}"


@dataclass(slots=True)
class Told:
    """What came of a case. `seconds` from the last fault to the reference state; `faults`: how many there were."""

    case: Case
    seconds: float = 0.0
    faults: int = 0
    complaints: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One row of the table."""
        verdict = "ok" if not self.complaints else "FAILED"
        return f"{self.case.title():28} {verdict:6} {self.seconds:5.1f} s after the last of {self.faults} faults"


def whole(wanted: Reference) -> list[Case]:
    """Every case: as many passes as the commonest event has numbers, every watched kind, points all along the path."""
    passes = range(1, max(wanted.events.values()) + 1)
    number = len(wanted.writes)
    points = [round(number * (part + 0.5) / OLD_POINTS) for part in range(OLD_POINTS)]
    return [
        *(Case("drop", number=one) for one in passes),
        *(Case("freeze", kind) for kind in WATCHED),
        *(Case("old", number=point, seconds=LAG_SECONDS) for point in points),
        *(Case(mode, number=seed) for mode in _BY_SEED for seed in SEEDS),
    ]


_BY_SEED: tuple[Mode, ...] = ("twice", "later")


async def stale_case(place: Ground, wanted: Reference, case: Case, allowance: float) -> Told:
    """The golden path with one disturbance; what is wrong afterwards is in the result.

    allowance: seconds from the last fault to the reference state.
    """
    told, result = Told(case), Result(Crash(0, "before"))
    settings = {"PLUMBLINE_RESYNC_SECONDS": str(RESYNC_SECONDS)}
    async with lane(place.cluster, *place.place(case.title()), place.users, **settings) as one:
        one.proxy.watches.meddle = _meddle(case)
        if case.mode == "freeze":
            await _freeze(one, case)
        elif case.mode == "old":
            await _restart_on_old_lists(one, case)
        else:
            await one.start_operator()
        over = time.time()
        await converge(one, replace(place, limit=max(place.limit, PATH_SECONDS, allowance)), wanted, result)
        faults = [entry.at for entry in one.proxy.journal.entries if entry.fault]
        told.faults = len(faults)
        told.seconds = over + result.seconds - max([over, *faults]) if case.mode != "none" else result.seconds
        told.complaints = result.complaints
        if case.mode != "none" and not faults:
            told.complaints.append("there was no fault: nothing was proved")
        if told.seconds > allowance:
            told.complaints.append(f"it took {told.seconds:.1f} s, more than {allowance:.1f} s, after the last fault")
        if one.process is None or one.process.returncode is not None:
            told.complaints.append("the operator has ended")
    return told


async def undisturbed(place: Ground, wanted: Reference, lanes: int) -> float:
    """How long the path takes when so many are walked at once and nothing is wrong: the slowest of them, in seconds."""
    cases = (stale_case(place, wanted, Case("none"), PATIENCE_SECONDS) for _ in range(lanes))
    found = await asyncio.gather(*cases)
    assert not any(one.complaints for one in found), f"the path itself is broken: {found}"
    return max(one.seconds for one in found)


async def run_all(place: Ground, wanted: Reference, cases: Sequence[Case], lanes: int, allowance: float) -> list[Told]:
    """Every case, so many at once; each is told as it ends."""
    gate = asyncio.Semaphore(lanes)

    async def one(case: Case) -> Told:
        async with gate:
            told = await stale_case(place, wanted, case, allowance)
        print(told.line(), flush=True)
        for complaint in told.complaints:
            print(f"            {complaint}\n            again: {case.command()}", flush=True)
        return told

    return await asyncio.gather(*(one(case) for case in cases))


def _meddle(case: Case) -> Callable[[Event], Fate]:
    dice = random.Random(case.number)

    def fate(event: Event) -> Fate:
        match case.mode:
            case "drop":
                return "lose" if event.number == case.number else "pass"
            case "twice":
                return "twice" if dice.random() < SHARE else "pass"
            case "later":
                return "later" if dice.random() < SHARE else "pass"
        return "pass"

    return fate


async def _freeze(one: Lane, case: Case) -> None:
    """Start with a watch that stands still, and let it go after a while."""
    one.proxy.watches.hold(case.kind)
    await one.start_operator()
    await _told_of(one, "held")
    await asyncio.sleep(case.seconds)  # the length of the trouble, not a wait for something
    one.proxy.watches.release(case.kind)


async def _restart_on_old_lists(one: Lane, case: Case) -> None:
    """Kill at a write, and start again with watches that know only the beginning, and lag for a while."""
    one.proxy.crash = Crash(case.number, "after")
    await one.start_operator()

    async def fallen() -> bool:
        return one.proxy.crashed.is_set()

    await soon(f"write {case.number}", fallen, PATIENCE_SECONDS)
    one.proxy.memory.old = _is_of_the_ears
    for kind in WATCHED:
        one.proxy.watches.hold(kind)
    await one.restart_operator()
    await _told_of(one, "old")
    await asyncio.sleep(case.seconds)  # the length of the trouble, not a wait for something
    one.proxy.memory.old = lambda call: False
    for kind in WATCHED:
        one.proxy.watches.release(kind)


async def _told_of(one: Lane, fault: str) -> None:
    """Wait for the first fault of this name; a watch without events has a bookmark within a minute or so."""

    async def told() -> bool:
        return any(entry.fault == fault for entry in one.proxy.journal.entries)

    await soon(f"the first fault of the name {fault}", told, PATIENCE_SECONDS)


def _is_of_the_ears(call: Call) -> bool:
    """A list for the watches. What decides is read live, which the API server promises to be the newest."""
    return call.agent.startswith("kopf/") and not call.name


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every case reached the reference state in time and held every oracle."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="plumbline-stale-"))
    print(f"logs and journals: {folder}")
    with ground(f"stale-{os.getpid()}", folder) as place:
        return asyncio.run(_run(place, options))


async def _run(place: Ground, options: argparse.Namespace) -> int:
    wanted = await reference(place)
    print(f"{sum(wanted.events.values())} events; without faults the path takes {wanted.seconds:.1f} s")
    cases = [one for one in whole(wanted) if options.mode in (None, one.mode)]
    if options.kind or options.number is not None:
        cases = [Case(options.mode, options.kind or "", options.number or 0, options.seconds)]
    allowance = await undisturbed(place, wanted, min(options.lanes, len(cases))) + RESYNC_SECONDS + SLACK_SECONDS
    print(f"allowed after the last fault: {allowance:.1f} s")
    results = await run_all(place, wanted, cases, options.lanes, allowance)
    bad = [one for one in results if one.complaints]
    print(f"{len(results) - len(bad)} of {len(results)} reached the reference state in time")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.stale", description=__doc__)
    parser.add_argument("--mode", choices=get_args(Mode))
    parser.add_argument("--kind", choices=WATCHED, help="freeze: the resource whose watch stands still")
    parser.add_argument("--number", type=int, help="drop: which event; old: which write; twice, later: the seed")
    parser.add_argument("--seconds", type=float, default=FREEZE_SECONDS, help="freeze, old: how long")
    parser.add_argument("--lanes", type=int, default=3, help="cases at once")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
