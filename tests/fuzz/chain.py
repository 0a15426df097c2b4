"""One chain: a good spec, so many changes to it one after the other, and the good spec again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.lane import Late
from tests.fuzz.bed import ready, write
from tests.fuzz.changes import Change, Changes
from tests.fuzz.goods import Spec
from tests.fuzz.judge import INVALID, is_over, names_field, refusal_complaint, standing, state_complaint
from tests.fuzz.scripts import Sort
from tests.fuzz.sites import rules
from tests.fuzz.subjects import KINDS
from tests.fuzz.users import Answer, Users

STEPS = 20
POLL_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: from a write to a decided status, and from the good spec to Ready."""

    decided: float = 30.0
    ready: float = 60.0


@dataclass(slots=True)
class Tally:
    """What a kind's chains have seen. `counts` by sort and outcome; `broken`: rules whose refusal was seen."""

    kind: str
    counts: Counter[tuple[Sort, str]] = field(default_factory=Counter)
    pathless: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    recovered: list[float] = field(default_factory=list)
    stalled: list[float] = field(default_factory=list)
    chains: int = 0

    def number(self, sorts: Iterable[Sort], *outcomes: str) -> int:
        """How many changes of these sorts came to these ends; to any without."""
        wanted = set(sorts)
        return sum(n for (sort, end), n in self.counts.items() if sort in wanted and (not outcomes or end in outcomes))

    @property
    def specs(self) -> int:
        """How many specs were written."""
        return self.number(Sort)

    @property
    def refused_share(self) -> float:
        """The part of the invalid specs that was refused at apply with the field's path."""
        invalid = self.number(INVALID)
        return self.number(INVALID, "refused") / invalid if invalid else 1.0


@dataclass(slots=True)
class Chain:
    """The chain of this number over one kind."""

    users: Users
    changes: Changes
    number: int
    tally: Tally
    limits: Limits
    _object: str = ""
    _present: Spec = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind's name."""
        return self.changes.subject.kind.kind

    async def run(self, steps: int = STEPS) -> None:
        """Every step, then the good spec; what is wrong goes into the tally."""
        beside = self.changes.subject.beside(self.number)
        good = self.changes.good(self.number)
        self._object, self._present = f"{self.kind.lower()}-{self.number}", good
        try:
            await write(self.users, *beside)
            for one in beside:
                await ready(self.users, one["kind"], one["metadata"]["name"], self.limits.ready)
            await self._good(good, self._object)
            for step in range(steps):
                await self._step(step)
            await self._recover(good)
        except (Late, TimeoutError, AssertionError) as trouble:
            self._complain(-1, None, str(trouble) or "an answer of the API server took more than a minute")
        for kind, name in [(one["kind"], one["metadata"]["name"]) for one in beside] + [(self.kind, self._object)]:
            await self._remove(kind, name)
        self.tally.chains += 1

    async def _recover(self, good: Spec) -> None:
        """Back to the good spec. What is frozen cannot go back: a new object has it."""
        name = f"{self._object}-again" if self.changes.subject.frozen else self._object
        self.tally.recovered.append(await self._good(good, name))
        if name != self._object:
            await self._remove(self.kind, name)

    async def _good(self, good: Spec, name: str) -> float:
        answer = await self._write(name, good)
        assert answer.taken, f"the good spec was refused: {answer.message}"
        return await ready(self.users, self.kind, name, self.limits.ready)

    async def _write(self, name: str, spec: Spec) -> Answer:
        """Every second chain's user applies on the server, the others replace."""
        write = self.users.apply if self.number % 2 else self.users.replace
        return await write(self.changes.subject.kind.ref, name, spec)

    async def _step(self, step: int) -> None:
        frozen = self.changes.subject.frozen
        name = f"{self._object}-{step}" if frozen else self._object
        change = self.changes.next(self.number, step, self._present, name)
        if change.sort is Sort.FROZEN:
            name = self._object
        name = change.name or name
        answer = await self._write(name, change.spec)
        if answer.taken:
            await self._judge_state(step, change, name)
        else:
            self._judge_refusal(step, change, answer)
        if name != self._object and answer.taken:
            await self._remove(self.kind, name)

    def _judge_refusal(self, step: int, change: Change, answer: Answer) -> None:
        published = {one.message for one in rules(self.changes.whole)}
        complaint = refusal_complaint(change, answer, published)
        self.tally.broken |= {one for one in published if one in answer.message}
        named = names_field(change, answer.message)
        self.tally.counts[change.sort, "refused" if named else "refused without a field"] += 1
        if not named:
            self.tally.pathless.append(f"{change.way} {change.what}: {answer.message[:200]}")
        elif complaint:
            self._complain(step, change, complaint)

    async def _judge_state(self, step: int, change: Change, name: str) -> None:
        started = time.monotonic()
        ref = self.changes.subject.kind.ref
        while not is_over(change, now := standing(await self.users.read(ref, name))):
            if time.monotonic() - started > self.limits.decided:
                self.tally.counts[change.sort, "late"] += 1
                self._complain(step, change, f"taken, and after {self.limits.decided:.0f} s it is {now}")
                return
            await asyncio.sleep(POLL_SECONDS)
        self.tally.counts[change.sort, "Stalled" if now.stalled else f"Ready={now.ready}"] += 1
        if change.sort in INVALID:
            self.tally.stalled.append(time.monotonic() - started)
        if complaint := state_complaint(change, now):
            self._complain(step, change, complaint)
        if change.sort is Sort.VALID and now.ready == "True":
            self._present = change.spec

    async def _remove(self, kind: str, name: str) -> None:
        """Delete what a step has left, the ModelVersion of a run with it."""
        await self.users.remove(KINDS[kind].ref, name)
        if kind == "TrainingRun":
            await self.users.remove(KINDS["ModelVersion"].ref, name)

    def _complain(self, step: int, change: Change | None, text: str) -> None:
        what = f"{change.sort} {change.way} ({change.what})" if change else "the chain"
        again = f"--kind {self.kind} --seed {self.changes.seed} --chain {self.number}"
        self.tally.complaints.append(f"[{again}, step {step}] {what}: {text}")
