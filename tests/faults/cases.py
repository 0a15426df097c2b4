"""Runs of the golden path: one without faults, whose end is the reference, and one for each point of a crash."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.lane import Lane, Late, Users, lane, soon
from tests.faults.oracles import complaints
from tests.faults.state import differences, masked, objects_of
from tests.faults.users import whole_life
from tests.proof.goals import is_whole
from tests.support.cluster import Cluster
from tests.support.faultproxy import Crash

PATH_SECONDS = 120  # a golden path without faults takes 10 s on an idle machine
LIMIT_SECONDS = 30.0  # from the restart to the reference state
QUIET_SECONDS = 10.0  # without any write, once stable
STABLE_SECONDS = 60.0  # the same, for the path without faults when every run is asked for
ENDED_SECONDS = 3.0  # without a write: the path will not reach a later one
TRIES = 4

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Reference:
    """The end of a run without faults, its numbered writes as `method place`, and how many events of each resource
    and type its watches brought."""

    state: dict[str, Any]
    writes: list[str]
    seconds: float
    events: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """How one case ended. `seconds` from the restart to the reference state; good when there are no complaints.

    write: the one at which the operator was killed; empty when the walk came to its end before that number.
    """

    crash: Crash
    write: str = ""
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)

    @property
    def was_tried(self) -> bool:
        """Whether the crash came, or something else went wrong."""
        return bool(self.write or self.complaints)

    def line(self) -> str:
        """One row of the table."""
        verdict = "FAILED" if self.complaints else "ok" if self.write else "-"
        what = self.write or "never came"
        return f"{self.crash.number:4} {self.crash.side:6} {verdict:6} {self.seconds:5.1f} s  {what}"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where cases run: a cluster with our kinds and a pod actor, and a folder for logs and journals."""

    cluster: Cluster
    folder: Path
    limit: float = LIMIT_SECONDS
    quiet: float = QUIET_SECONDS
    users: Users = whole_life

    def place(self, title: str) -> tuple[str, Path]:
        """A fresh namespace's name, and a folder for what it leaves."""
        name = f"faults-{next(_numbers)}"
        return name, self.folder / f"{title}-{name}"


async def reference(ground: Ground) -> Reference:
    """The golden path without faults. Raises AssertionError when even that does not hold the oracles."""
    async with lane(ground.cluster, *ground.place("reference"), ground.users) as one:
        await one.start_operator()
        seconds = await soon("the golden path ends", one.has_ended, PATH_SECONDS)
        await settled(one, STABLE_SECONDS if is_whole() else ground.quiet)
        objects = await objects_of(one.kube, one.namespace)
        wrong = await complaints(one, objects)
        assert not wrong, f"the golden path itself is broken: {wrong}; see {one.folder}"
        writes = [f"{entry.call.method} {entry.call.place}" for entry in one.proxy.journal.writes()]
        found = Reference(masked(objects, one.namespace), writes, seconds, dict(one.proxy.watches.counts))
        text = json.dumps(found.state, indent=1)
        await asyncio.to_thread((one.folder / "state.json").write_text, text)
        return found


async def crash_case(ground: Ground, wanted: Reference, crash: Crash) -> Result:
    """The golden path with one crash; what is wrong afterwards is in the result.

    How often a status is written on the way depends on what is seen together, so a walk may end a few writes before
    the last number of another one; then it is walked again, and at last the case has no write. A walk that neither
    comes to its crash nor ends has failed.
    """
    result = Result(crash)
    for _ in range(TRIES):
        async with lane(ground.cluster, *ground.place(f"crash-{crash.number}-{crash.side}"), ground.users) as one:
            one.proxy.crash = crash
            await one.start_operator()
            try:
                await soon("a crash or the end", lambda: _is_over(one), PATH_SECONDS)
            except Late as late:
                result.complaints.append(f"{late}; logs in {one.folder}")
                return result
            if one.proxy.crashed.is_set():
                await one.restart_operator()
                fallen = (e for e in one.proxy.journal.entries if e.fault.startswith("killed"))
                result.write = next(f"{entry.call.method} {entry.call.place}" for entry in fallen)
                await converge(one, ground, wanted, result)
                return result
    return result


async def _is_over(one: Lane) -> bool:
    ended = await one.has_ended() and one.proxy.journal.quiet_seconds() > ENDED_SECONDS
    return one.proxy.crashed.is_set() or ended


async def converge(one: Lane, ground: Ground, wanted: Reference, result: Result) -> None:
    """Wait for the reference state, then for silence, and hold the oracles."""
    last: list[str] = []

    async def there() -> bool:
        if not await one.has_ended():
            return False
        last[:] = differences(wanted.state, masked(await objects_of(one.kube, one.namespace), one.namespace))
        return not last

    try:
        result.seconds = await soon("the reference state", there, ground.limit)
        await settled(one, ground.quiet)
    except Late as late:
        result.seconds = ground.limit
        result.complaints.append(str(late))
    objects = await objects_of(one.kube, one.namespace)
    result.complaints += differences(wanted.state, masked(objects, one.namespace))[:5]
    result.complaints += await complaints(one, objects)


async def settled(one: Lane, quiet: float) -> None:
    """Wait until nothing was written for so long. Raises Late when writing goes on."""

    async def silent() -> bool:
        return one.proxy.journal.quiet_seconds() > quiet

    await soon(f"{quiet:.0f} s without a write", silent, quiet + 20)
