"""Gates: only a measured value within its bound passes, and the message names what decided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from plumbline_contract.runspec import MetricGate, RegressionGate, SliceGate
from plumbline_jobs.gates import Scored, judge

LABELS = np.array([0.0, 1.0] * 4)
GOOD = np.array([0.2, 0.8] * 4)
BAD = np.array([0.8, 0.2] * 4)
MIXED = np.concatenate([GOOD[:4], BAD[:4]])


def slices(
    minimum: float = 0.6, least: int = 2, metric: str = "auc", columns: Sequence[str] = ("origin",)
) -> SliceGate:
    return SliceGate(name="s", metric=metric, columns=tuple(columns), minimum=minimum, minimum_samples=least)


def by_origin(*names: str, scores: np.ndarray = MIXED) -> Scored:
    groups = {"origin": pl.Series([name for name in names for _ in range(len(LABELS) // len(names))])}
    return Scored(LABELS, scores, groups=groups)


@pytest.mark.parametrize(("minimum", "verdict"), [(1.0, "Pass"), (0.999, "Pass"), (1.001, "Fail")])
def test_a_minimum_is_reached_or_not(minimum: float, verdict: str) -> None:
    found = judge(MetricGate(name="g", metric="auc", minimum=minimum), Scored(LABELS, GOOD)).verdict
    assert (found.verdict, found.value) == (verdict, 1.0)
    assert f"bound: >= {minimum:.6g}" in found.message


@pytest.mark.parametrize("metric", ["logLoss", "brier", "rmse", "mae", "gini"])
def test_a_minimum_of_a_metric_that_should_be_low_judges_nothing(metric: str) -> None:
    found = judge(MetricGate(name="g", metric=metric, minimum=0.0), Scored(LABELS, GOOD)).verdict
    assert (found.verdict, found.value) == ("Inconclusive", None)


@pytest.mark.parametrize("gate", [MetricGate(name="g", metric="auc", minimum=0), slices(minimum=0)])
def test_a_metric_without_a_value_never_passes(gate: MetricGate | SliceGate) -> None:
    one_class = Scored(np.ones(8), GOOD, groups={"origin": pl.Series(["JFK"] * 8)})
    found = judge(gate, one_class).verdict
    assert (found.verdict, found.value) == ("Inconclusive", None)


def regression(metric: str, percent: float, ours: np.ndarray, theirs: np.ndarray | None) -> tuple[str, float | None]:
    gate = RegressionGate(name="g", metric=metric, maximum_percent=percent)
    found = judge(gate, Scored(LABELS, ours, champion=theirs)).verdict
    return found.verdict, found.value


def test_a_regression_is_the_percentage_of_the_champions_value() -> None:
    three_of_four = np.array([0.2, 0.8] * 3 + [0.8, 0.2])
    assert regression("accuracy", 24.9, three_of_four, GOOD) == ("Fail", 25.0)
    assert regression("accuracy", 25, three_of_four, GOOD) == ("Pass", 25.0)
    assert regression("accuracy", 0, GOOD, three_of_four) == ("Pass", 0.0)
    assert regression("accuracy", 0, GOOD, GOOD) == ("Pass", 0.0)


def test_for_errors_higher_is_worse() -> None:
    verdict, percent = regression("mae", 299, BAD, GOOD)  # 0.8 against 0.2
    assert (verdict, percent) == ("Fail", pytest.approx(300))
    assert regression("mae", 0, GOOD, BAD) == ("Pass", 0.0)
    assert regression("brier", 1, BAD, GOOD)[0] == "Fail"


def test_worse_than_a_perfect_zero_has_no_percentage_and_does_not_pass() -> None:
    assert regression("mae", 1000, GOOD, LABELS) == ("Inconclusive", None)
    assert regression("mae", 1000, LABELS, LABELS) == ("Pass", 0.0)


def test_without_a_champions_scores_a_regression_is_inconclusive() -> None:
    assert regression("auc", 100, GOOD, None) == ("Inconclusive", None)


def test_the_worst_slice_decides_and_is_named() -> None:
    found = judge(slices(), by_origin("EWR", "JFK"))
    assert (found.verdict.verdict, found.verdict.value) == ("Fail", 0.0)
    assert "auc 0 on origin=JFK (4 rows), the worst of 2 slices; 1 of them are below" in found.verdict.message
    assert [(one.slice, one.rows, one.value, one.verdict) for one in found.slices] == [
        ("origin=EWR", 4, 1.0, "Pass"),
        ("origin=JFK", 4, 0.0, "Fail"),
    ]


def test_a_slice_with_too_few_rows_or_one_class_is_not_judged_against() -> None:
    few = pl.Series(["EWR"] * 5 + ["JFK"] * 2 + ["LGA"])
    scores = np.concatenate([GOOD[:5], [0.1, 0.9, 0.9]])
    found = judge(slices(), Scored(LABELS, scores, groups={"origin": few}))
    assert (found.verdict.verdict, found.verdict.value) == ("Fail", 0.0)
    found = judge(slices(least=3), Scored(LABELS, scores, groups={"origin": few}))
    assert (found.verdict.verdict, found.verdict.value) == ("Pass", 1.0)
    assert "2 not judged" in found.verdict.message
    assert [one.verdict for one in found.slices] == ["Pass", "Inconclusive", "Inconclusive"]


def test_when_no_slice_can_be_judged_the_gate_is_inconclusive() -> None:
    found = judge(slices(least=9), by_origin("EWR", "JFK")).verdict
    assert (found.verdict, found.value) == ("Inconclusive", None)
    assert judge(slices(columns=()), by_origin("EWR")).verdict.verdict == "Inconclusive"


def test_the_champions_slices_are_told_beside_ours() -> None:
    scored = by_origin("EWR", "JFK")
    both = Scored(LABELS, MIXED, champion=GOOD, groups=scored.groups)
    assert [(one.slice, one.value) for one in judge(slices(), both).champion_slices] == [
        ("origin=EWR", 1.0),
        ("origin=JFK", 1.0),
    ]
