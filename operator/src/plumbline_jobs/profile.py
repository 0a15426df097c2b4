"""Profiles the columns of a table: the fixed bins of every later comparison, and how the rows fall into them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from plumbline_contract.manifest import ColumnProfile, ColumnType, Profile, SnapshotColumn
from plumbline_jobs.io.parts import row_groups
from plumbline_jobs.stats.bins import FEW, Floats, count_numbers, edges_of

CATEGORIES = 50
CATEGORY_LENGTH = 200  # characters; longer texts are counted among the others
SAMPLE = 1_000_000  # values at most that deciles are taken from: every k-th row, so the same rows each time
DISTINCT_ROWS = 5_000_000  # above this many rows the number of distinct values is not counted
DIGITS = 10  # significant digits of mean and std; the last ones depend on the processor's vector width


def profile(files: Sequence[Path], columns: Sequence[SnapshotColumn]) -> Profile:
    """The profile of every column. Memory: one column's sample, and the distinct values of one text column."""
    return Profile(columns=tuple(_profiled(files, column.name, column.type) for column in columns))


def profile_values(name: str, values: Floats) -> ColumnProfile:
    """The profile of numbers in memory, such as a model's predictions. Shape (rows,), finite."""
    return _numeric(name, "Float64", [pl.Series(name, values)])


def as_numbers(column: pl.Series) -> Floats:
    """A column's non-null values as float64; times are seconds since the epoch. Shape (rows,)."""
    present = column.drop_nulls()
    if isinstance(present.dtype, pl.Date | pl.Datetime):
        return present.cast(pl.Datetime("us")).dt.timestamp("us").to_numpy() / 1_000_000
    return present.cast(pl.Float64).to_numpy()


def as_texts(column: pl.Series) -> pl.Series:
    """A text or truth column as texts: `true` and `false` for truth values."""
    return column.cast(pl.String)


def _profiled(files: Sequence[Path], name: str, type_: ColumnType) -> ColumnProfile:
    if type_ in ("String", "Boolean"):
        return _categorical(files, name, type_)
    return _numeric(name, type_, _Column(files, name))


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of some files, to be read again and again."""

    files: Sequence[Path]
    name: str

    def __iter__(self) -> Iterator[pl.Series]:
        for path in self.files:
            for frame in row_groups(path, [self.name]):
                yield frame[self.name]


@dataclass(slots=True)
class _Summary:
    """What one pass over a numeric column finds out. The sums are taken in file order, hence always alike."""

    rows: int = 0
    nulls: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    distinct: Floats | None = field(default_factory=lambda: np.empty(0))  # None once there are more than FEW
    total: float = 0.0

    def add(self, column: pl.Series) -> None:
        values = as_numbers(column)
        self.rows += len(column)
        self.nulls += len(column) - len(values)
        if not len(values):
            return
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self.total += float(values.sum())
        if self.distinct is not None:
            union = np.union1d(self.distinct, values)
            self.distinct = union if len(union) <= FEW else None


def _numeric(name: str, type_: ColumnType, chunks: Iterable[pl.Series]) -> ColumnProfile:
    found = _Summary()
    for chunk in chunks:
        found.add(chunk)
    held = found.rows - found.nulls
    if held == 0:
        return ColumnProfile(name=name, type=type_, rows=found.rows, nulls=found.nulls, distinct=0)
    mean = found.total / held
    edges = edges_of(_sample(chunks, held), found.minimum, found.maximum, found.distinct)
    counts = np.zeros(len(edges) + 1, dtype=np.int64)
    squares = 0.0
    for chunk in chunks:
        values = as_numbers(chunk)
        counts += count_numbers(values, edges)
        squares += float(((values - mean) ** 2).sum())
    return ColumnProfile(
        name=name,
        type=type_,
        rows=found.rows,
        nulls=found.nulls,
        distinct=_distinct(chunks, held, found.distinct),
        edges=edges,
        counts=tuple(int(count) for count in counts[1:-1]),
        minimum=found.minimum,
        maximum=found.maximum,
        mean=_rounded(mean),
        std=_rounded((squares / held) ** 0.5),
    )


def _sample(chunks: Iterable[pl.Series], held: int) -> Floats:
    """Every k-th value that is not null."""
    step = -(-held // SAMPLE)
    taken, passed = [], 0
    for chunk in chunks:
        values = as_numbers(chunk)
        taken.append(values[(-passed) % step :: step])
        passed += len(values)
    return np.concatenate(taken)


def _distinct(chunks: Iterable[pl.Series], held: int, few: Floats | None) -> int | None:
    if few is not None:
        return len(few)
    if held > DISTINCT_ROWS:
        return None
    return pl.concat([chunk.drop_nulls().unique() for chunk in chunks]).n_unique()


def _categorical(files: Sequence[Path], name: str, type_: ColumnType) -> ColumnProfile:
    scan = pl.scan_parquet(list(files)).select(pl.col(name).cast(pl.String).alias("value"))
    grouped = scan.group_by("value").agg(pl.len().alias("rows")).collect(engine="streaming")
    rows = int(grouped["rows"].sum())
    values = grouped.drop_nulls("value")
    held = int(values["rows"].sum())
    short = values.filter(pl.col("value").str.len_chars() <= CATEGORY_LENGTH)
    top = short.sort(["rows", "value"], descending=[True, False]).head(CATEGORIES)
    return ColumnProfile(
        name=name,
        type=type_,
        rows=rows,
        nulls=rows - held,
        distinct=values.height,
        categories=tuple(top["value"]),
        category_counts=tuple(top["rows"]),
        other=held - int(top["rows"].sum()),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
