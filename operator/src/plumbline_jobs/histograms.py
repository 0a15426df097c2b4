"""Histograms of training rows and of a window, over the bins that a profile fixed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from plumbline_contract.manifest import ColumnProfile, Tensor
from plumbline_jobs.errors import Refused
from plumbline_jobs.profile import as_numbers
from plumbline_jobs.snapshot import Rows
from plumbline_jobs.stats.bins import Counts, Floats, count_numbers, count_texts
from plumbline_jobs.stats.psi import psi
from plumbline_jobs.tensors import is_scalar
from plumbline_modelgate import DTYPES

_ORDER = {"Fail": 0, "Inconclusive": 1, "Pass": 2}


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of one feature: `edges` of numbers, with an open bin below and above; or categories, and others.

    dtype: the model's own number type. What was trained on in float64 is served in float32, and a value that equals an
    edge would change its bin with the rounding; so edges and values are rounded alike first. None for texts.
    """

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    dtype: Any = None

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.edges) + 1 if self.edges else len(self.categories) + 1

    def counts(self, column: pl.Series) -> Counts:
        """Rows per bin, shape (count,). Null and NaN fall into no bin.

        Raises polars' own errors when the column cannot be read as numbers.
        """
        if not self.edges:
            grouped = texts(column).drop_nulls().value_counts()
            return count_texts(grouped.to_series(0).to_list(), grouped.to_series(1).to_list(), self.categories)
        values = self._rounded(as_numbers(column))
        return count_numbers(values[~np.isnan(values)], self.edges)

    def _rounded(self, values: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return values if self.dtype is None else values.astype(self.dtype).astype(np.float64)


def bins_of(profile: ColumnProfile, tensor: Tensor) -> Bins:
    """The profile's bins, with its edges rounded to the tensor's number type."""
    if not profile.edges:
        return Bins(categories=profile.categories)
    dtype = DTYPES[tensor.datatype] if tensor.datatype.startswith("FP") else None
    edges = np.asarray(profile.edges) if dtype is None else np.asarray(profile.edges).astype(dtype).astype(np.float64)
    return Bins(edges=tuple(float(edge) for edge in edges), dtype=dtype)


def texts(column: pl.Series) -> pl.Series:
    """Values as the profile names them: `true` and `false` for truth values."""
    return column.cast(pl.String)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One feature's result: both histograms over the same bins, and how far apart they are."""

    name: str
    maximum: float
    verdict: str
    message: str
    psi: float | None = None
    bins: Bins = field(default_factory=Bins)
    training: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    missing: int = 0

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "psi": self.psi,
            "maximum": self.maximum,
            "verdict": self.verdict,
            "edges": list(self.bins.edges),
            "categories": list(self.bins.categories),
            "training": list(self.training),
            "window": list(self.window),
            "missing": self.missing,
        }


def worst_first(found: Sequence[Comparison]) -> list[Comparison]:
    """Failing features, then those that could not be judged, then the others; the largest PSI first in each.

    A report is shortened from its end, so whatever decides the monitor's verdict stays in it.
    """
    return sorted(found, key=lambda one: (_ORDER[one.verdict], -(one.psi or 0.0), one.name))


@dataclass(slots=True)
class Watched:
    """A feature whose counts grow, segment by segment. `why` says why it cannot be judged; then nothing is counted."""

    name: str
    logged_as: str
    maximum: float
    bins: Bins = field(default_factory=Bins)
    truth: bool = False
    training: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    window: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    missing: int = 0  # rows of the window without a value
    why: str = ""

    def add(self, column: pl.Series | None) -> None:
        """Counts a segment's rows; None when the segment does not have the column."""
        if self.why or column is None:
            return
        if isinstance(column.dtype, pl.List):
            column = column.list.last()  # probabilities of two classes
        try:
            counted = self.bins.counts(self._as_profiled(column))
        except pl.exceptions.PolarsError:
            self.why = f"the log holds it as {column.dtype}, the training rows do not; it may have been hashed"
            return
        self.window = self.window + counted
        self.missing += len(column) - int(counted.sum())

    def compared(self, rows: int, minimum_rows: int) -> Comparison:
        """The result, once every segment was added."""
        psi_value, verdict, message = self._judged(rows, minimum_rows)
        return Comparison(
            name=self.name,
            maximum=self.maximum,
            verdict=verdict,
            message=message,
            psi=psi_value,
            bins=self.bins,
            training=tuple(int(count) for count in self.training),
            window=tuple(int(count) for count in self.window),
            missing=self.missing,
        )

    def _judged(self, rows: int, minimum_rows: int) -> tuple[float | None, str, str]:
        if self.why:
            return None, "Inconclusive", f"{self.name}: {self.why}."
        held = int(self.window.sum())
        if not self.training.sum():
            return None, "Inconclusive", f"{self.name}: no training row has a value."
        if not held:
            absent = "the log holds no value of it; it may be dropped as personal" if rows else "the window has no rows"
            return None, "Inconclusive", f"{self.name}: {absent}."
        value = psi(self.training, self.window)
        if held < minimum_rows:
            return value, "Inconclusive", f"{self.name}: {held} values, fewer than the {minimum_rows} needed."
        if value > self.maximum:
            return value, "Fail", f"{self.name}: PSI {value:.4g} over {held} values is above {self.maximum:.6g}."
        return value, "Pass", ""

    def _as_profiled(self, column: pl.Series) -> pl.Series:
        """A truth value that the model takes as a number is counted as `true` or `false`, as in the profile."""
        if self.truth and column.dtype.is_numeric():
            return column != 0
        if self.bins.edges and isinstance(column.dtype, pl.String):
            raise pl.exceptions.ComputeError("text where the training rows have numbers")
        return column


def watched(tensor: Tensor, profile: ColumnProfile, logged_as: str, maximum: float) -> Watched:
    """A feature over the profile's bins, with the profile's own counts as those of training."""
    if not is_scalar(tensor):
        return Watched(
            tensor.name, logged_as, maximum, why=f"it has the shape {list(tensor.shape)}, not one value per row"
        )
    if profile.rows == profile.nulls:
        return Watched(tensor.name, logged_as, maximum, why="no training row has a value")
    bins = bins_of(profile, tensor)
    counted = (0, *profile.counts, 0) if profile.edges else (*profile.category_counts, profile.other)
    return Watched(
        tensor.name,
        logged_as,
        maximum,
        bins=bins,
        truth=profile.type == "Boolean",
        training=np.array(counted, dtype=np.int64),
        window=np.zeros(bins.count, dtype=np.int64),
    )


def baseline_counts(features: Sequence[Watched], rows: Rows) -> None:
    """Replaces the counts of training by those of these rows. Raises Refused when there are none."""
    judged = [feature for feature in features if not feature.why]
    counts = {feature.name: np.zeros(feature.bins.count, dtype=np.int64) for feature in judged}
    total = 0
    for frame in rows.frames([feature.name for feature in judged]):
        total += frame.height
        for feature in judged:
            counts[feature.name] += feature.bins.counts(frame[feature.name])
    if judged and not total:
        raise Refused("BaselineMissing", "the training window has no rows in the snapshot")
    for feature in judged:
        feature.training = counts[feature.name]
