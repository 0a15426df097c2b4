"""Metrics against sums written out, and every case in which a metric has no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_jobs.metrics import OF_CLASSES, OF_NUMBERS, measure, usual_metrics

LABELS = np.array([0.0, 0.0, 1.0, 1.0])
SCORES = np.array([0.1, 0.6, 0.4, 0.9])


def value(metric: str, labels: np.ndarray = LABELS, scores: np.ndarray = SCORES) -> float:
    found = measure(metric, labels, scores)
    assert found.value is not None, found.why
    return found.value


def test_each_metric_is_the_sum_written_out() -> None:
    assert value("auc") == pytest.approx(3 / 4)  # of four pairs of a late and a punctual row one is in the wrong order
    assert value("logLoss") == pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.4) + math.log(0.9)) / 4)
    assert value("brier") == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert value("accuracy") == pytest.approx(2 / 4)
    assert value("f1") == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert value("rmse", np.array([1.0, 5.0]), np.array([2.0, 2.0])) == pytest.approx(math.sqrt((1 + 9) / 2))
    assert value("mae", np.array([1.0, 5.0]), np.array([2.0, 2.0])) == pytest.approx(2)


def test_a_score_of_one_half_is_class_one() -> None:
    assert value("accuracy", np.array([1.0]), np.array([0.5])) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])), min_size=2, max_size=40))
def test_auc_counts_pairs_in_the_right_order_and_ties_by_half(rows: list[tuple[bool, float]]) -> None:
    late = [score for label, score in rows if label]
    punctual = [score for label, score in rows if not label]
    found = measure("auc", np.array([float(label) for label, _ in rows]), np.array([score for _, score in rows]))
    if not late or not punctual:
        assert found.value is None
        assert found.why == "all rows are of one class"
        return
    right = sum((a > b) + (a == b) / 2 for a in late for b in punctual)
    assert found.value == pytest.approx(right / (len(late) * len(punctual)))


@pytest.mark.parametrize("metric", [*OF_CLASSES, *OF_NUMBERS])
def test_no_rows_or_a_prediction_that_is_no_number_leave_no_value(metric: str) -> None:
    assert measure(metric, np.empty(0), np.empty(0)).value is None
    for odd in (math.nan, math.inf):
        assert measure(metric, LABELS, np.array([0.1, odd, 0.3, 0.4])).value is None


@pytest.mark.parametrize(
    ("metric", "labels", "scores", "why"),
    [
        ("auc", [0.0, 2.0], [0.1, 0.2], "needs labels 0 and 1"),
        ("auc", [1.0, 1.0], [0.1, 0.2], "all rows are of one class"),
        ("f1", [0.0, 0.0], [0.1, 0.9], "no row is of class 1"),
        ("logLoss", [0.0, 1.0], [0.1, 1.2], "needs predictions from 0 to 1"),
        ("brier", [0.0, 1.0], [-0.1, 0.2], "needs predictions from 0 to 1"),
        ("gini", [0.0, 1.0], [0.1, 0.2], "is not a known metric"),
    ],
)
def test_what_cannot_be_measured_says_why(metric: str, labels: list[float], scores: list[float], why: str) -> None:
    found = measure(metric, np.array(labels), np.array(scores))
    assert found.value is None
    assert why in found.why


def test_a_certain_and_wrong_prediction_has_a_finite_log_loss() -> None:
    assert 30 < value("logLoss", np.array([1.0]), np.array([0.0])) < 40


def test_labels_decide_which_metrics_are_told() -> None:
    assert usual_metrics(LABELS) == OF_CLASSES
    assert usual_metrics(np.array([0.0, 3.5])) == OF_NUMBERS
