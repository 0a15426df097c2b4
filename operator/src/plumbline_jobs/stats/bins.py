"""Histograms over fixed bins, so that counts of any two windows can be compared or added."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FEW = 20  # up to this many distinct values each get an own bin
DECILES = 10


def edges_of(sample: Floats, minimum: float, maximum: float, distinct: Floats | None) -> tuple[float, ...]:
    """n+1 ascending edges for n bins over a column's values.

    sample: shape (any,), finite, a representative sample of the values, to take deciles from.
    minimum, maximum: of all values; they become the first and the last edge.
    distinct: shape (k,), all values in ascending order when there are at most 20 of them, else None. Each value
    then has its own bin, with edges halfway between neighbours: a month must not share a bin with the next one.
    Deciles are values of the sample (no interpolation), and equal ones are merged, so there are 2 to 10 bins.
    A smallest or largest value that a tenth of the sample has is kept apart: rain in a column of mostly zeros must
    not share their bin. A column with one value has one bin of no width.
    """
    if distinct is not None:
        inner = (distinct[:-1] + distinct[1:]) / 2
    else:
        shares = np.arange(1, DECILES) / DECILES
        inner = _ends_apart(sample, np.quantile(sample, shares, method="closest_observation"))
    unique = np.unique(inner[(inner > minimum) & (inner < maximum)])
    return (float(minimum), *(float(edge) for edge in unique), float(maximum))


def _ends_apart(sample: Floats, deciles: Floats) -> Floats:
    """The deciles, where the outer ones are an end of the sample replaced by an edge beside that end."""
    low, high = sample.min(), sample.max()
    beside = [deciles]
    if deciles[0] == low < high:
        beside.append(np.array([low / 2 + sample[sample > low].min() / 2]))
    if deciles[-1] == high > low:
        beside.append(np.array([high / 2 + sample[sample < high].max() / 2]))
    return np.concatenate(beside)


def count_numbers(values: Floats, edges: Sequence[float]) -> Counts:
    """How many values fall below the first edge, into each bin, and above the last edge.

    values: shape (rows,), finite. Returns shape (bins + 2,); it sums to rows. Bin i holds edges[i] <= x < edges[i+1],
    the last bin also x == edges[-1].
    """
    bins = len(edges) - 1
    place = np.searchsorted(np.asarray(edges[1:-1], dtype=np.float64), values, side="right") + 1
    place[values < edges[0]] = 0
    place[values > edges[-1]] = bins + 1
    return np.bincount(place, minlength=bins + 2).astype(np.int64)


def count_texts(values: Sequence[str], counts: Sequence[int], categories: Sequence[str]) -> Counts:
    """How many rows have each category, and how many any other value.

    values, counts: distinct values and their rows. Returns shape (categories + 1,), the last being the others.
    """
    rows_of = dict(zip(values, counts, strict=True))
    known = [rows_of.get(category, 0) for category in categories]
    return np.array([*known, sum(counts) - sum(known)], dtype=np.int64)
