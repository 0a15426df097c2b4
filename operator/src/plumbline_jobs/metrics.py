"""The metrics that gates know. Each is a number, or absent with the reason why it has no value on these rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from plumbline_jobs.stats.bins import Floats

THRESHOLD = 0.5  # a score from here on counts as class 1

RISING = frozenset({"auc", "accuracy", "f1"})  # higher is better; for all others lower is
OF_CLASSES = ("auc", "logLoss", "brier", "accuracy", "f1")
OF_NUMBERS = ("rmse", "mae")


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's value, or why there is none."""

    value: float | None
    why: str = ""


def measure(metric: str, labels: Floats, scores: Floats) -> Measured:
    """The metric on these rows.

    labels: shape (rows,), finite; 0 and 1 for metrics of classes. scores: shape (rows,), finite; probabilities of
    class 1 for all metrics of classes but auc, which takes any order. Errors are in the label's unit; auc, accuracy
    and f1 lie in 0..1; logLoss is in nats.
    """
    if metric not in _METRICS:
        return Measured(None, f"{metric!r} is not a known metric; known are {', '.join(sorted(_METRICS))}")
    problem = _problem(metric, labels, scores)
    if problem:
        return Measured(None, problem)
    value = float(_METRICS[metric](labels, scores))
    return Measured(value) if np.isfinite(value) else Measured(None, f"{metric} is not finite")


def usual_metrics(labels: Floats) -> tuple[str, ...]:
    """The metrics that make sense for such labels."""
    return OF_CLASSES if _are_classes(labels) else OF_NUMBERS


def _problem(metric: str, labels: Floats, scores: Floats) -> str:
    if not len(labels):
        return "there are no rows"
    if not np.isfinite(scores).all():
        return "some predictions are not finite"
    if metric in OF_NUMBERS:
        return ""
    if not _are_classes(labels):
        return f"{metric} needs labels 0 and 1"
    if metric != "auc" and (scores.min() < 0 or scores.max() > 1):
        return f"{metric} needs predictions from 0 to 1"
    if metric == "auc" and labels.min() == labels.max():
        return "all rows are of one class"
    if metric == "f1" and labels.max() == 0:
        return "no row is of class 1"
    return ""


def _are_classes(labels: Floats) -> bool:
    return bool(np.isin(labels, (0.0, 1.0)).all())


def _accuracy(labels: Floats, scores: Floats) -> float:
    return float(np.mean((scores >= THRESHOLD) == (labels == 1)))


def _f1(labels: Floats, scores: Floats) -> float:
    return float(f1_score(labels, scores >= THRESHOLD, zero_division=0.0))


def _log_loss(labels: Floats, scores: Floats) -> float:
    return float(log_loss(labels, scores, labels=[0.0, 1.0]))


def _mean_square(labels: Floats, scores: Floats) -> float:
    return float(np.mean((labels - scores) ** 2))


_METRICS: Mapping[str, Callable[[Floats, Floats], float]] = {
    "auc": roc_auc_score,
    "logLoss": _log_loss,
    "brier": _mean_square,  # G. W. Brier (1950), for two classes: the mean squared error of the probability
    "accuracy": _accuracy,
    "f1": _f1,
    "rmse": lambda labels, scores: _mean_square(labels, scores) ** 0.5,
    "mae": lambda labels, scores: float(np.mean(np.abs(labels - scores))),
}
