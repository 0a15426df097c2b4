"""Counters of router pods, from one moment to the next."""

from hypothesis import given
from hypothesis import strategies as st

from plumbline_contract.routes import Measured
from plumbline_operator.traffic.measure import counted_since, counters, generation_taken

SIDES = ["a", "b"]


def pod(name: str, generation: int = 1, failures: int = 0, mirrored: int = 0, **requests: int) -> Measured:
    return Measured(
        pod=name, generation=generation, requests=requests, failures={"b": failures}, mirrored={"b": mirrored}
    )


def test_only_what_came_after_the_baseline_counts() -> None:
    before = counters([pod("r-1", a=100, b=10), pod("r-2", a=50)], SIDES)
    after = counted_since(before, [pod("r-1", a=150, b=15, failures=2), pod("r-2", a=60, b=1, mirrored=7)], SIDES)
    assert after.requests == {"a": 60, "b": 6}
    assert after.failures == {"b": 2}
    assert after.mirrored == {"b": 7}


def test_a_pod_that_started_later_counts_from_zero() -> None:
    before = counters([pod("r-1", a=100)], SIDES)
    assert counted_since(before, [pod("r-1", a=100), pod("r-2", a=7)], SIDES).requests == {"a": 7}


def test_a_pod_that_restarted_counts_from_zero() -> None:
    before = counters([pod("r-1", a=100, b=10)], SIDES)
    assert counted_since(before, [pod("r-1", a=120, b=3)], SIDES).requests == {"a": 120, "b": 3}


def test_what_a_lost_pod_had_counted_is_lost() -> None:
    before = counters([pod("r-1", a=100), pod("r-2", a=100)], SIDES)
    assert counted_since(before, [pod("r-1", a=130)], SIDES).requests == {"a": 30}


def test_other_variants_do_not_count() -> None:
    assert counted_since((), [pod("r-1", a=1, old=99)], SIDES).requests == {"a": 1}


def test_routes_are_taken_when_every_pod_says_so() -> None:
    assert generation_taken([pod("r-1", 4), pod("r-2", 5)], 4)
    assert not generation_taken([pod("r-1", 4), pod("r-2", 5)], 5)
    assert not generation_taken([], 0)
    assert not generation_taken(None, 0)


@given(
    st.dictionaries(st.sampled_from(["r-1", "r-2", "r-3"]), st.tuples(st.integers(0, 50), st.integers(0, 50))),
    st.dictionaries(st.sampled_from(["r-1", "r-2", "r-3"]), st.tuples(st.integers(0, 50), st.integers(0, 50))),
)
def test_a_sum_is_never_negative_nor_more_than_was_counted(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]
) -> None:
    baseline = counters([pod(name, a=a, b=b) for name, (a, b) in before.items()], SIDES)
    found = counted_since(baseline, [pod(name, a=a, b=b) for name, (a, b) in after.items()], SIDES).requests
    for index, side in enumerate(SIDES):
        assert 0 <= found.get(side, 0) <= sum(counts[index] for counts in after.values())
