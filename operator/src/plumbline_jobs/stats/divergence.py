"""Information divergences between two histograms over the same bins."""

import numpy as np

from plumbline_jobs.stats.bins import Counts, Floats
from plumbline_jobs.stats.psi import FLOOR, ShapeMismatch, shares


def kl(reference: Counts, current: Counts, *, floor: float = FLOOR) -> float:
    """Kullback-Leibler divergence of `current` from `reference`, in nats: the sum of c * ln(c / r). Not symmetric.

    Shares below `floor` are raised to it and both are scaled to sum to one, so the result is never negative.
    Source: S. Kullback, R. Leibler, On Information and Sufficiency (1951).
    """
    r, c = _scaled(reference, current, floor)
    return float(np.sum(c * np.log(c / r)))


def js(reference: Counts, current: Counts) -> float:
    """Jensen-Shannon divergence in nats: 0 for equal shares, ln 2 when no bin is shared. Symmetric; needs no floor.

    Source: J. Lin, Divergence Measures Based on the Shannon Entropy (1991).
    """
    r, c = _scaled(reference, current, 0.0)
    middle = (r + c) / 2
    return (_relative(r, middle) + _relative(c, middle)) / 2


def _relative(part: Floats, whole: Floats) -> float:
    held = part > 0
    return float(np.sum(part[held] * np.log(part[held] / whole[held])))


def _scaled(reference: Counts, current: Counts, floor: float) -> tuple[Floats, Floats]:
    if reference.shape != current.shape:
        raise ShapeMismatch(f"{reference.shape[0]} bins against {current.shape[0]}; compare windows over equal bins")
    r, c = shares(reference, floor), shares(current, floor)
    return r / r.sum(), c / c.sum()
