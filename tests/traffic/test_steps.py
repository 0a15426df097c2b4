"""When a step of a rollout is over, by tables."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.traffic.steps import (
    Agreement,
    Canary,
    Cause,
    Numbers,
    Shadow,
    Split,
    Verdict,
    following,
    is_beyond_rescue,
    judge,
    split,
)

MINUTE = timedelta(minutes=1)
SHADOW = Shadow("shadow", percent=20, hold=MINUTE, min_requests=100, min_agreement=0.9)
CANARY = Canary("canary", weight=10, hold=MINUTE, min_requests=200, max_failure_percent=1.0)


def shadowed(mirrored: int) -> Numbers:
    return Numbers(stable=1000, target=0, target_failures=0, mirrored=mirrored)


def answered(stable: int, target: int, failures: int = 0) -> Numbers:
    return Numbers(stable=stable, target=target, target_failures=failures, mirrored=0)


@pytest.mark.parametrize(
    ("title", "seconds", "numbers", "agreement", "verdict", "cause"),
    [
        ("no answer from a router", 90, None, None, Verdict.INCONCLUSIVE, Cause.NO_MEASUREMENT),
        ("hold not over", 59, shadowed(1000), None, Verdict.INCONCLUSIVE, Cause.HOLDING),
        ("too few copies", 60, shadowed(99), None, Verdict.INCONCLUSIVE, Cause.TOO_FEW_REQUESTS),
        ("not compared", 60, shadowed(100), None, Verdict.INCONCLUSIVE, Cause.NOT_COMPARED),
        ("no pair", 60, shadowed(100), Agreement(0, 0.0), Verdict.INCONCLUSIVE, Cause.TOO_FEW_PAIRS),
        ("pairs lost", 60, shadowed(100), Agreement(99, 1.0), Verdict.INCONCLUSIVE, Cause.TOO_FEW_PAIRS),
        ("disagrees", 60, shadowed(100), Agreement(100, 0.899), Verdict.FAIL, Cause.DISAGREES),
        ("agrees just enough", 60, shadowed(100), Agreement(100, 0.9), Verdict.PASS, Cause.PASSED),
        ("agreement without a measurement", 60, None, Agreement(500, 1.0), Verdict.INCONCLUSIVE, Cause.NO_MEASUREMENT),
    ],
)
def test_a_shadow_step_is_judged(
    title: str, seconds: int, numbers: Numbers | None, agreement: Agreement | None, verdict: Verdict, cause: Cause
) -> None:
    found = judge(SHADOW, timedelta(seconds=seconds), numbers, agreement)
    assert (found.verdict, found.cause) == (verdict, cause), title


@pytest.mark.parametrize(
    ("title", "seconds", "numbers", "verdict", "cause"),
    [
        ("no answer from a router", 90, None, Verdict.INCONCLUSIVE, Cause.NO_MEASUREMENT),
        ("hold not over", 59, answered(900, 100), Verdict.INCONCLUSIVE, Cause.HOLDING),
        ("too few requests", 60, answered(180, 19), Verdict.INCONCLUSIVE, Cause.TOO_FEW_REQUESTS),
        ("none reached the target", 60, answered(500, 0), Verdict.INCONCLUSIVE, Cause.TOO_FEW_REQUESTS),
        ("enough and none failed", 60, answered(180, 20), Verdict.PASS, Cause.PASSED),
        ("exactly the allowed part failed", 60, answered(900, 100, 1), Verdict.PASS, Cause.PASSED),
        ("one more failed", 60, answered(900, 100, 2), Verdict.FAIL, Cause.FAILING),
        ("lost before its time", 5, answered(900, 100, 2), Verdict.FAIL, Cause.FAILING),
        ("few requests, all failed", 5, answered(18, 2, 2), Verdict.FAIL, Cause.FAILING),
        ("held, fewer to the target than its part", 60, answered(195, 5, 1), Verdict.FAIL, Cause.FAILING),
    ],
)
def test_a_canary_step_is_judged(
    title: str, seconds: int, numbers: Numbers | None, verdict: Verdict, cause: Cause
) -> None:
    found = judge(CANARY, timedelta(seconds=seconds), numbers, None)
    assert (found.verdict, found.cause) == (verdict, cause), title


def test_one_early_failure_does_not_end_a_step_that_waits_for_many() -> None:
    patient = Canary("canary", weight=10, hold=MINUTE, min_requests=2000, max_failure_percent=1.0)
    assert not is_beyond_rescue(patient, answered(20, 3, 1))
    assert not is_beyond_rescue(patient, answered(20, 3, 2))
    assert is_beyond_rescue(patient, answered(20, 3, 3))


def test_a_step_without_demands_passes_after_its_hold_when_routers_answer() -> None:
    free = Canary("canary", weight=10, hold=MINUTE, min_requests=0, max_failure_percent=1.0)
    assert judge(free, MINUTE, answered(0, 0), None).verdict is Verdict.PASS
    assert judge(free, MINUTE, None, None).verdict is Verdict.INCONCLUSIVE


@given(
    weight=st.integers(1, 99),
    least=st.integers(0, 500),
    allowed=st.floats(0, 100),
    stable=st.integers(0, 1000),
    target=st.integers(0, 1000),
    data=st.data(),
)
def test_a_step_that_passes_is_never_one_that_was_lost(
    weight: int, least: int, allowed: float, stable: int, target: int, data: st.DataObject
) -> None:
    failures = data.draw(st.integers(0, target))
    step = Canary("canary", weight, MINUTE, least, allowed)
    numbers = answered(stable, target, failures)
    if judge(step, MINUTE, numbers, None).verdict is Verdict.PASS:
        assert not is_beyond_rescue(step, numbers)
        assert stable + target >= least
        assert numbers.failure_percent <= allowed


@given(weight=st.integers(1, 99), stable=st.integers(0, 1000), target=st.integers(0, 1000), data=st.data())
def test_more_failures_never_turn_a_verdict_for_the_better(
    weight: int, stable: int, target: int, data: st.DataObject
) -> None:
    failures = data.draw(st.integers(0, target))
    more = data.draw(st.integers(failures, target))
    step = Canary("canary", weight, MINUTE, 100, 2.0)
    rank = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}
    before = judge(step, MINUTE, answered(stable, target, failures), None).verdict
    after = judge(step, MINUTE, answered(stable, target, more), None).verdict
    assert rank[after] <= rank[before]


def test_steps_follow_one_another_and_end_in_promotion() -> None:
    steps = [SHADOW, CANARY]
    assert [following(steps, at) for at in (-1, 0, 1)] == [0, 1, None]
    assert following([], -1) is None


def test_a_step_says_what_the_target_gets() -> None:
    assert split(SHADOW) == Split(weight=0, mirrored=20)
    assert split(CANARY) == Split(weight=10, mirrored=0)


def test_shares_of_nothing_are_zero() -> None:
    assert answered(0, 0).share_percent == 0.0
    assert answered(0, 0).failure_percent == 0.0
    assert answered(75, 25, 5).share_percent == 25.0
    assert answered(75, 25, 5).failure_percent == 20.0
