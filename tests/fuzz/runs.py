"""Chains over all kinds, several at once, and the table of what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.bed import bed, ground
from tests.fuzz.chain import STEPS, Chain, Limits, Tally
from tests.fuzz.changes import Changes
from tests.fuzz.judge import INVALID
from tests.fuzz.scripts import Sort
from tests.fuzz.sites import published, rules
from tests.fuzz.subjects import KINDS, subjects

HEADER = (
    f"{'kind':16}{'specs':>6}{'valid':>7}{'dangling':>9}{'invalid':>8}{'refused':>8}{'no field':>9}{'Stalled':>8}"
    f"{'late':>5}{'slowest':>8}{'back':>6}{'rules':>8}"
)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run. `chains`: numbers of each kind's chains; `lanes`: how many at once."""

    kinds: Sequence[str]
    seed: int
    chains: Sequence[int]
    lanes: int
    steps: int = STEPS
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen: a tally of each kind, and what the operator's log and process say."""

    tallies: tuple[Tally, ...]
    operator: tuple[str, ...]

    @property
    def specs(self) -> int:
        """How many specs were written."""
        return sum(one.specs for one in self.tallies)

    @property
    def complaints(self) -> list[str]:
        """Everything that is wrong."""
        return [*self.operator, *(line for one in self.tallies for line in one.complaints)]

    @property
    def refused_share(self) -> float:
        """The part of all invalid specs that was refused at apply with the field's path."""
        invalid = sum(one.number(INVALID) for one in self.tallies)
        return sum(one.number(INVALID, "refused") for one in self.tallies) / max(1, invalid)

    def table(self) -> str:
        """One line per kind."""
        return "\n".join([HEADER, *(_line(one) for one in self.tallies)])

    def figure(self) -> str:
        """The whole in a sentence."""
        invalid = sum(one.number(INVALID) for one in self.tallies)
        stalled = [seconds for one in self.tallies for seconds in one.stalled]
        back = [seconds for one in self.tallies for seconds in one.recovered]
        chains = sum(one.chains for one in self.tallies)
        return (
            f"{len(self.tallies)} kinds, {invalid} invalid: {100 * self.refused_share:.1f} % refused with the field, "
            f"{len(stalled)} Stalled, the slowest in {max(stalled, default=0):.1f} s; back to Ready in {len(back)} of "
            f"{chains} chains, the slowest in {max(back, default=0):.1f} s; {len(self.operator)} errors logged"
        )


def fuzz(name: str, folder: Path, order: Order) -> Outcome:
    """Run it on a Bed A of this name; logs stay in the folder."""
    with ground(name) as cluster:

        async def on_bed() -> Outcome:
            async with bed(cluster, folder) as place:
                found = {kind: Changes(one, order.seed, place.world) for kind, one in subjects().items()}
                tallies = {kind: Tally(kind) for kind in order.kinds}
                gate = asyncio.Semaphore(order.lanes)

                async def one(kind: str, number: int) -> None:
                    async with gate:
                        chain = Chain(place.users, found[kind], number, tallies[kind], order.limits)
                        await chain.run(order.steps)

                await asyncio.gather(*(one(kind, number) for number in order.chains for kind in order.kinds))
                return Outcome(tuple(tallies.values()), tuple(place.complaints()))

        return asyncio.run(on_bed())


def unbroken(tallies: Iterable[Tally]) -> list[str]:
    """Published rules whose refusal was not seen, as `kind: message`."""
    return [
        f"{one.kind}: {rule.message}"
        for one in tallies
        for rule in rules(published(KINDS[one.kind].ref.plural))
        if rule.message not in one.broken
    ]


def _line(one: Tally) -> str:
    known = {rule.message for rule in rules(published(KINDS[one.kind].ref.plural))}
    slowest = max(one.stalled, default=0.0)
    back = max(one.recovered, default=0.0)
    return (
        f"{one.kind:16}{one.specs:6}{one.number([Sort.VALID]):7}{one.number([Sort.DANGLING]):9}"
        f"{one.number(INVALID):8}{one.number(INVALID, 'refused'):8}{one.number(INVALID, 'refused without a field'):9}"
        f"{one.number(INVALID, 'Stalled'):8}{one.number(Sort, 'late'):5}{slowest:7.1f}s{back:5.1f}s"
        f"{len(one.broken):4}/{len(known):<3}"
    )
