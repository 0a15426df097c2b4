"""The steps of a rollout: what each does to the traffic, and when it is over.

             pods ready     held, enough       held, enough         held, enough
                 │          mirrored, agree    requests, few fail   requests, few fail
    stable  100  │  100 ──────────── 100 │ ─────────── 90 │ ───────────── 50 │ ── 0 (stays warm)
    target    ·  │    0 + mirror 20 % ── │ ─────────── 10 │ ───────────── 50 │ 100 = stable
                 │    shadow             │ canary 10      │ canary 50        │ promoted

    at any moment    too many failures, or predictions disagree   target 0, Stalled, until the spec changes
                     approval withdrawn                           target 0, from the first step when approved again
                     no pod of the target is ready                target 0, the same step begins anew
                     a router does not answer                     nothing moves

A verdict is one of three. Missing data is inconclusive, and only a pass moves forward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Verdict(StrEnum):
    """What the numbers say about a step."""

    PASS = "Pass"
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"


class Cause(StrEnum):
    """Why a verdict is what it is."""

    PASSED = "Passed"
    HOLDING = "Holding"  # the hold has not passed
    NO_MEASUREMENT = "NoMeasurement"  # a router pod did not answer, or there is none
    TOO_FEW_REQUESTS = "TooFewRequests"
    NOT_COMPARED = "NotCompared"  # everything else passed; the predictions have to be compared now
    TOO_FEW_PAIRS = "TooFewPairs"  # the comparison found fewer pairs than there were mirrored requests to wait for
    DISAGREES = "Disagrees"
    FAILING = "Failing"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its cause."""

    verdict: Verdict
    cause: Cause


@dataclass(frozen=True, slots=True)
class Split:
    """What the target gets: `weight` percent of the requests, and copies of `mirrored` percent of them."""

    weight: int = 0
    mirrored: int = 0


NOTHING = Split()


@dataclass(frozen=True, slots=True)
class Shadow:
    """The target gets copies; its answers are thrown away but logged."""

    name: str
    percent: int
    hold: timedelta
    min_requests: int
    min_agreement: float | None


@dataclass(frozen=True, slots=True)
class Canary:
    """The target answers a part of the requests."""

    name: str
    weight: int
    hold: timedelta
    min_requests: int
    max_failure_percent: float


Step = Shadow | Canary


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was measured since the step began: requests that each side answered, and copies sent to the target."""

    stable: int
    target: int
    target_failures: int
    mirrored: int

    @property
    def share_percent(self) -> float:
        """The target's part of all requests, in percent; 0 without requests."""
        total = self.stable + self.target
        return 100 * self.target / total if total else 0.0

    @property
    def failure_percent(self) -> float:
        """Failed part of the target's requests, in percent; 0 without requests."""
        return 100 * self.target_failures / self.target if self.target else 0.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many predictions of stable and shadow were paired, and which share of the pairs agreed (0..1)."""

    pairs: int
    share: float


def split(step: Step) -> Split:
    """The target's part of the traffic during a step."""
    return Split(mirrored=step.percent) if isinstance(step, Shadow) else Split(weight=step.weight)


def following(steps: Sequence[Step], index: int) -> int | None:
    """The index of the step after `index` (-1: before the first), or None when the target is to be promoted."""
    return index + 1 if index + 1 < len(steps) else None


def judge(step: Step, elapsed: timedelta, numbers: Numbers | None, agreement: Agreement | None) -> Judgement:
    """Whether a step is over.

    elapsed: time since every router pod served the step's weights. numbers: None when a router pod did not answer.
    agreement: of the comparison made in this step, None while there is none.
    """
    if numbers is None:
        return Judgement(Verdict.INCONCLUSIVE, Cause.NO_MEASUREMENT)
    if isinstance(step, Shadow):
        return _judge_shadow(step, elapsed, numbers, agreement)
    return _judge_canary(step, elapsed, numbers)


def _judge_canary(step: Canary, elapsed: timedelta, numbers: Numbers) -> Judgement:
    if is_beyond_rescue(step, numbers):
        return Judgement(Verdict.FAIL, Cause.FAILING)
    if elapsed < step.hold:
        return Judgement(Verdict.INCONCLUSIVE, Cause.HOLDING)
    if numbers.stable + numbers.target < step.min_requests or (step.min_requests > 0 and numbers.target == 0):
        return Judgement(Verdict.INCONCLUSIVE, Cause.TOO_FEW_REQUESTS)
    if numbers.failure_percent > step.max_failure_percent:
        return Judgement(Verdict.FAIL, Cause.FAILING)
    return Judgement(Verdict.PASS, Cause.PASSED)


def is_beyond_rescue(step: Canary, numbers: Numbers) -> bool:
    """Whether the step is lost already, before its time.

    It is when the failures are too many even if every request still missing to the target's part of `min_requests`
    were answered well: a single failure among the first ten does not end a step that waits for a thousand.
    """
    expected = step.min_requests * step.weight / 100
    return 100 * numbers.target_failures > step.max_failure_percent * max(numbers.target, expected)


def _judge_shadow(step: Shadow, elapsed: timedelta, numbers: Numbers, agreement: Agreement | None) -> Judgement:
    if elapsed < step.hold:
        return Judgement(Verdict.INCONCLUSIVE, Cause.HOLDING)
    if numbers.mirrored < step.min_requests:
        return Judgement(Verdict.INCONCLUSIVE, Cause.TOO_FEW_REQUESTS)
    if step.min_agreement is None:
        return Judgement(Verdict.PASS, Cause.PASSED)
    if agreement is None:
        return Judgement(Verdict.INCONCLUSIVE, Cause.NOT_COMPARED)
    if agreement.pairs < max(1, step.min_requests):
        return Judgement(Verdict.INCONCLUSIVE, Cause.TOO_FEW_PAIRS)
    if agreement.share < step.min_agreement:
        return Judgement(Verdict.FAIL, Cause.DISAGREES)
    return Judgement(Verdict.PASS, Cause.PASSED)
