"""Distances between two histograms over the same bins."""

import numpy as np

from plumbline_jobs.stats.bins import Counts, Floats

FLOOR = 1e-4  # share; an empty bin then counts, but finitely. 1e-4 is a hundredth of a bin of one percent


class ShapeMismatch(ValueError):
    """The two histograms do not have the same bins."""


def shares(counts: Counts, floor: float = FLOOR) -> Floats:
    """Counts as shares of their sum, none of them below `floor` (unitless); they are not scaled back to one.

    Raises ValueError when nothing was counted: an empty window has no distribution.
    """
    total = counts.sum()
    if total <= 0:
        raise ValueError("a window without rows has no distribution")
    raised: Floats = np.maximum(counts / total, floor)
    return raised


def psi(reference: Counts, current: Counts, *, floor: float = FLOOR) -> float:
    """Population stability index of two windows, in nats; 0 means equal shares, and it is symmetric.

    reference, current: shape (bins,), rows per bin, the same bins in the same order.
    Raises ShapeMismatch when the bins differ, ValueError when a window is empty.
    Source: N. Siddiqi, Credit Risk Scorecards (2006): the sum over bins of (c - r) * ln(c / r).
    """
    r, c = _pair(reference, current, floor)
    return float(np.sum((c - r) * np.log(c / r)))


def _pair(reference: Counts, current: Counts, floor: float) -> tuple[Floats, Floats]:
    if reference.shape != current.shape:
        raise ShapeMismatch(f"{reference.shape[0]} bins against {current.shape[0]}; compare windows over equal bins")
    return shares(reference, floor), shares(current, floor)
