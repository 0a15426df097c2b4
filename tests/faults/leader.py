"""Two operators and one Lease: the leader is killed, or sleeps for a minute and wakes up again."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from plumbline_operator.kube.refs import LEASES
from plumbline_operator.runtime.lease import WAITING
from tests.faults.cases import Ground, Reference, Result, converge
from tests.faults.lane import LEASE, Lane, Late, lane, patiently, soon
from tests.support.faultproxy import Crash

Blow = Literal["kill", "pause"]

TAKEOVER_SECONDS = 20.0
SLEEP_SECONDS = 60.0
GONE_SECONDS = 30.0  # a woken leader has seen by then that it leads no more
START_SECONDS = 120.0
LEFT = "the Lease was lost"  # what a woken leader says, at error level, before it ends


@dataclass(frozen=True, slots=True)
class Round:
    """One blow to the leader, when so many writes of the golden path were made."""

    number: int
    blow: Blow
    writes: int

    def title(self) -> str:
        """A name for its folder."""
        return f"leader-{self.number}-{self.blow}-{self.writes}"


@dataclass(slots=True)
class Taken:
    """What came of a round. `seconds` until the other one led, None when it never did."""

    round: Round
    seconds: float | None = None
    complaints: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One row of the table."""
        told = "never" if self.seconds is None else f"{self.seconds:.1f} s"
        return f"{self.round.title():24} taken over: {told} {self.complaints or 'ok'}"


def rounds(seed: int, kills: int, pauses: int, writes: int) -> list[Round]:
    """Blows at random points of a path with so many writes; the same for the same seed."""
    dice = random.Random(seed)
    blows: list[Blow] = ["kill"] * kills + ["pause"] * pauses
    return [Round(number, blow, dice.randrange(writes)) for number, blow in enumerate(blows, 1)]


async def leader_case(ground: Ground, wanted: Reference, blow: Round, takeover: float) -> Taken:
    """The golden path with two operators and one blow; what is wrong afterwards is in the result.

    Users begin when the second operator has seen the first one lead: from then on runs the time of the Lease.
    """
    taken = Taken(blow)

    async def users(one: Lane) -> None:
        await patiently("the second operator stands by", lambda: _stands_by(one))
        await ground.users(one)

    async with lane(ground.cluster, *ground.place(blow.title()), users) as one, _pair(one) as (first, second):
        await soon("the second operator stands by", lambda: _stands_by(one), START_SECONDS)
        await _written(one, blow.writes)
        first.send_signal(signal.SIGKILL if blow.blow == "kill" else signal.SIGSTOP)
        try:
            taken.seconds = await soon("the other one leads", lambda: _leads(one, 2), takeover)
            if blow.blow == "pause":
                await _wake(first, taken.seconds)
        except Late as late:
            taken.complaints.append(str(late))
        result = Result(Crash(0, "before"))
        await converge(one, ground, wanted, result)
        taken.complaints += [line for line in result.complaints if LEFT not in line]
        if second.returncode is not None:
            taken.complaints.append("the second operator has ended")
    return taken


async def _wake(first: Process, slept: float) -> None:
    """Let the rest of the minute pass, wake the old leader, and see it leave."""
    await asyncio.sleep(SLEEP_SECONDS - slept)  # the length of the sleep, not a wait for something
    first.send_signal(signal.SIGCONT)
    try:
        await asyncio.wait_for(first.wait(), GONE_SECONDS)
    except TimeoutError:
        raise Late(f"the woken leader leaves: not so after {GONE_SECONDS:.0f} s") from None


@asynccontextmanager
async def _pair(one: Lane) -> AsyncIterator[tuple[Process, Process]]:
    """The leader, and one that waits."""
    await one.start_operator()
    first = one.process
    assert first is not None
    try:
        await soon("the first operator leads", lambda: _leads(one, 1), START_SECONDS)
        await one.start_operator()
        assert one.process is not None
        yield first, one.process
    finally:
        if first.returncode is None:
            first.kill()
            await first.wait()


async def _stands_by(one: Lane) -> bool:
    return WAITING in await asyncio.to_thread(one.logs)


async def _leads(one: Lane, start: int) -> bool:
    lease = await one.kube.get(LEASES, one.namespace, LEASE)
    return lease is not None and str(lease["spec"].get("holderIdentity", "")).startswith(f"operator-{start}_")


async def _written(one: Lane, writes: int) -> None:
    """Wait until so many writes were made, or none comes any more."""
    ends = time.monotonic() + START_SECONDS

    async def enough() -> bool:
        return len(one.proxy.journal.writes()) >= writes or time.monotonic() > ends or await one.has_ended()

    await soon(f"{writes} writes", enough, START_SECONDS + 10)
