"""Bins, distances and draws, each against a second computation."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from plumbline_jobs.stats.bins import FEW, count_numbers, count_texts, edges_of
from plumbline_jobs.stats.divergence import js, kl
from plumbline_jobs.stats.draws import draws
from plumbline_jobs.stats.psi import FLOOR, ShapeMismatch, psi, shares

ROUNDING = 1e-12  # relative; sums of at most 40 terms, each right to about 1e-16

NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Two windows over equal bins, both with rows."""
    bins = draw(st.integers(1, 40))
    window = st.lists(st.integers(0, 10_000), min_size=bins, max_size=bins).filter(any)
    return draw(window), draw(window)


def counts(values: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """An array of counts."""
    return np.array(values, dtype=np.int64)


def test_psi_of_two_bins_is_the_sum_worked_out_by_hand() -> None:
    # (0.5 - 0.25) ln(0.5 / 0.25) + (0.5 - 0.75) ln(0.5 / 0.75) = 0.25 ln 2 + 0.25 ln 1.5 = 0.25 ln 3
    assert psi(counts([1, 3]), counts([2, 2])) == pytest.approx(0.25 * np.log(3), rel=ROUNDING)


def test_psi_counts_an_empty_bin_finitely_at_its_floor() -> None:
    expected = (1 - FLOOR) * np.log(1 / FLOOR) + (FLOOR - 1) * np.log(FLOOR)
    assert psi(counts([10, 0]), counts([0, 7])) == pytest.approx(expected, rel=ROUNDING)
    assert psi(counts([10, 0]), counts([7, 0])) == 0


@given(pairs())
def test_psi_is_both_relative_entropies_together(windows: tuple[list[int], list[int]]) -> None:
    r, c = (shares(counts(window)) for window in windows)
    found = psi(counts(windows[0]), counts(windows[1]))
    by_scipy = float(np.sum(rel_entr(r, c) + rel_entr(c, r)))
    assert found == pytest.approx(by_scipy, rel=1e-9, abs=1e-12)


@given(pairs(), st.integers(1, 50))
def test_psi_is_symmetric_never_negative_and_blind_to_size(windows: tuple[list[int], list[int]], factor: int) -> None:
    first, second = counts(windows[0]), counts(windows[1])
    found = psi(first, second)
    assert found >= 0
    assert found == pytest.approx(psi(second, first), rel=1e-9, abs=1e-12)
    assert found == pytest.approx(psi(first * factor, second), rel=1e-9, abs=1e-12)
    assert psi(first, first * factor) == pytest.approx(0, abs=1e-12)


@given(pairs(), st.randoms(use_true_random=False))
def test_the_order_of_bins_does_not_matter(windows: tuple[list[int], list[int]], random: Random) -> None:
    order = list(range(len(windows[0])))
    random.shuffle(order)
    first, second = counts(windows[0]), counts(windows[1])
    assert psi(first[order], second[order]) == pytest.approx(psi(first, second), rel=1e-9, abs=1e-12)


@given(pairs())
def test_kl_is_scipys_relative_entropy(windows: tuple[list[int], list[int]]) -> None:
    r, c = (shares(counts(window)) for window in windows)
    expected = float(scipy_stats.entropy(c, r))
    assert kl(counts(windows[0]), counts(windows[1])) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(pairs())
def test_js_is_the_square_of_scipys_distance_and_bounded_by_ln_2(windows: tuple[list[int], list[int]]) -> None:
    first, second = counts(windows[0]), counts(windows[1])
    found = js(first, second)
    assert found == pytest.approx(float(jensenshannon(first, second)) ** 2, rel=1e-6, abs=1e-9)
    assert -1e-12 <= found <= np.log(2) + 1e-12


def test_js_of_windows_without_a_common_bin_is_ln_2() -> None:
    assert js(counts([5, 0]), counts([0, 3])) == pytest.approx(np.log(2), rel=ROUNDING)


@pytest.mark.parametrize("distance", [psi, kl, js])
def test_windows_over_other_bins_or_without_rows_have_no_distance(distance: object) -> None:
    assert callable(distance)
    with pytest.raises(ShapeMismatch, match="2 bins against 3"):
        distance(counts([1, 2]), counts([1, 2, 3]))
    with pytest.raises(ValueError, match="no distribution"):
        distance(counts([0, 0]), counts([1, 2]))


@given(NUMBERS, NUMBERS)
def test_every_value_falls_into_exactly_one_bin(known: list[float], window: list[float]) -> None:
    values = np.array(known)
    few = np.unique(values) if len(np.unique(values)) <= FEW else None
    edges = edges_of(values, values.min(), values.max(), few)
    assert list(edges) == sorted(edges)
    assert count_numbers(values, edges)[[0, -1]].tolist() == [0, 0]
    found = count_numbers(np.array(window), edges)
    bins = len(edges) - 1
    by_rule = [sum(x < edges[0] for x in window)]
    by_rule += [
        sum(edges[i] <= x < edges[i + 1] or (i == bins - 1 and x == edges[-1]) for x in window) for i in range(bins)
    ]
    assert found.tolist() == [*by_rule, sum(x > edges[-1] for x in window)]


@given(NUMBERS, st.integers(0, 200))
def test_counts_of_two_halves_add_up(window: list[float], cut: int) -> None:
    edges = (-10.0, 0.0, 0.5, 1e6)
    values = np.array(window)
    together = count_numbers(values[:cut], edges) + count_numbers(values[cut:], edges)
    assert together.tolist() == count_numbers(values, edges).tolist()


def test_numpys_histogram_agrees_inside_the_edges() -> None:
    values = np.random.default_rng(7).normal(size=10_000)
    edges = edges_of(values, values.min(), values.max(), None)
    assert len(edges) == 11
    expected, _ = np.histogram(values, bins=np.array(edges))
    assert count_numbers(values, edges)[1:-1].tolist() == expected.tolist()
    assert expected.min() >= 999  # deciles of distinct values: a tenth of the rows in each bin, but for the ends


def test_few_values_have_a_bin_each_and_a_frequent_end_is_apart() -> None:
    months = np.arange(1.0, 13.0)
    edges = edges_of(months, 1.0, 12.0, months)
    assert count_numbers(np.repeat(months, 3), edges)[1:-1].tolist() == [3] * 12
    mostly_zero = np.concatenate([np.zeros(950), np.arange(1.0, 51.0)])
    edges = edges_of(mostly_zero, 0.0, 50.0, None)
    assert edges == (0.0, 0.5, 50.0)
    assert count_numbers(mostly_zero, edges)[1:-1].tolist() == [950, 50]
    edges = edges_of(-mostly_zero, -50.0, 0.0, None)
    assert edges == (-50.0, -0.5, 0.0)
    assert count_numbers(-mostly_zero, edges)[1:-1].tolist() == [50, 950]


def test_a_column_of_one_value_has_one_bin_and_sees_others() -> None:
    edges = edges_of(np.full(3, 2013.0), 2013.0, 2013.0, np.array([2013.0]))
    assert edges == (2013.0, 2013.0)
    assert count_numbers(np.array([2012.0, 2013.0, 2014.0, 2014.0]), edges).tolist() == [1, 1, 2]


def test_texts_that_are_no_category_are_others() -> None:
    assert count_texts(["b", "z", "a"], [2, 5, 1], ["a", "b", "c"]).tolist() == [1, 2, 0, 5]


def splitmix(seed: int, place: int) -> float:
    """A draw in Python's own integers."""

    def mixed(state: int) -> int:
        word = (1 << 64) - 1
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & word
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & word
        return state ^ (state >> 31)

    start = mixed(seed % (1 << 64)) + (place + 1) * 0x9E3779B97F4A7C15
    return float(mixed(start % (1 << 64)) >> 11) / (1 << 53)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 1 << 50), st.integers(0, 30))
def test_a_draw_depends_on_seed_and_place_alone(seed: int, first: int, count: int) -> None:
    assert draws(seed, first, count).tolist() == [splitmix(seed, first + i) for i in range(count)]


def test_draws_are_uniform_and_seeds_are_not_shifts_of_each_other() -> None:
    first, second = draws(0, 0, 20_000), draws(1, 0, 20_000)
    for drawn in (first, second):
        # Fixed seeds, so these p-values never change; a broken generator is far below.
        assert scipy_stats.kstest(drawn, "uniform").pvalue > 0.01
    assert len(np.intersect1d(first, second)) == 0
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.02
