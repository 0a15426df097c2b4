"""Counts rows that break a rule, all rules in one pass over the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from plumbline_contract.manifest import ColumnType
from plumbline_jobs.errors import Refused

_ROW = "plumbline row"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule in words, and the expression that is true on the rows that break it (null counts as kept)."""

    text: str
    broken: pl.Expr


def count_violations(staged: Sequence[Path], rules: Sequence[Violation]) -> list[tuple[int, int]]:
    """For each rule how many rows break it, and the number of the first such row (0 when there is none)."""
    if not rules:
        return []
    rows = pl.scan_parquet(list(staged)).with_row_index(_ROW, offset=1)
    wanted = []
    for position, rule in enumerate(rules):
        broken = rule.broken.fill_null(value=False)
        wanted.append(broken.sum().cast(pl.Int64).alias(f"count {position}"))
        wanted.append(pl.col(_ROW).filter(broken).min().cast(pl.Int64).alias(f"first {position}"))
    try:
        found = rows.select(wanted).collect(engine="streaming")
    except pl.exceptions.ComputeError as error:
        raise Refused("TestFailed", f"a test cannot be computed: {str(error).splitlines()[0][:300]}") from error
    return [(found[f"count {i}"].item() or 0, found[f"first {i}"].item() or 0) for i in range(len(rules))]


def numeric(name: str, type_: ColumnType) -> pl.Expr:
    """The column as a number. Times are seconds since the epoch, as in the profile."""
    column = pl.col(name)
    if type_ == "Timestamp":
        return column.dt.timestamp("us") / 1_000_000
    if type_ == "Date":
        return column.cast(pl.Datetime("us")).dt.timestamp("us") / 1_000_000
    return column.cast(pl.Float64)
