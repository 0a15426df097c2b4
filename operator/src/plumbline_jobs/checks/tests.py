"""The data tests of a dataset: each gets a verdict with its measured value and its bound."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from plumbline_contract.manifest import ColumnType
from plumbline_contract.report import TestVerdict
from plumbline_contract.runspec import (
    AllowedSet,
    ColumnRule,
    DataTest,
    ForeignKey,
    NullShare,
    Regex,
    RowCount,
    UniqueKey,
    ValueRange,
)
from plumbline_jobs.checks.schema import duplicates
from plumbline_jobs.checks.violations import Violation, count_violations, numeric
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.parts import rows_of

References = Callable[[ForeignKey], pl.Series]
"""The values a foreign key may have, of the type of the column that holds it."""

RowTest = NullShare | ValueRange | AllowedSet | Regex | ForeignKey


@dataclass(frozen=True, slots=True)
class Staged:
    """The rows to test: raw values in Parquet files, and the declared columns."""

    files: tuple[Path, ...]
    rules: Mapping[str, ColumnRule]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(rows_of(path) for path in self.files)


def verdicts(staged: Staged, tests: Sequence[DataTest], references: References) -> tuple[TestVerdict, ...]:
    """One verdict per test, in order; all tests that look at single rows share one pass over the data."""
    for test in tests:
        _names_declared_columns(test, staged.rules)
    by_row = [(place, test) for place, test in enumerate(tests) if not isinstance(test, RowCount | UniqueKey)]
    rules = [Violation(test.name, _broken(test, staged.rules, references)) for _, test in by_row]
    counts = count_violations(staged.files, rules)
    counted = {place: count for (place, _), count in zip(by_row, counts, strict=True)}
    rows = staged.rows
    return tuple(_verdict(test, staged, rows, counted.get(place, (0, 0))) for place, test in enumerate(tests))


def raise_first_failure(found: Sequence[TestVerdict]) -> None:
    """Raises Refused, reason TestFailed, with all verdicts, naming each failing test's count and bound."""
    failing = [verdict for verdict in found if verdict.verdict != "Pass"]
    if failing:
        raise Refused("TestFailed", " ".join(verdict.message for verdict in failing), found)


def _names_declared_columns(test: DataTest, rules: Mapping[str, ColumnRule]) -> None:
    names = test.columns if isinstance(test, UniqueKey) else (getattr(test, "column", None),)
    for name in names:
        if name is not None and name not in rules:
            raise Refused("TestFailed", f"test `{test.name}` names the column `{name}`, which the schema lacks")
    if isinstance(test, Regex) and rules[test.column].type != "String":
        raise Refused("TestFailed", f"test `{test.name}`: a regex needs a String column, `{test.column}` is none")
    if isinstance(test, ValueRange) and rules[test.column].type in ("String", "Boolean"):
        raise Refused("TestFailed", f"test `{test.name}`: a range needs numbers or times, `{test.column}` has none")


def _broken(test: RowTest, rules: Mapping[str, ColumnRule], references: References) -> pl.Expr:
    """True on the rows that count against the test. Nulls only count in nullShare."""
    column = pl.col(test.column)
    if isinstance(test, NullShare):
        return column.is_null()
    if isinstance(test, ValueRange):
        return _outside(test, rules[test.column].type)
    if isinstance(test, AllowedSet):
        return ~column.cast(pl.String).is_in(list(test.values))
    if isinstance(test, Regex):
        return ~column.str.contains(_whole(test))
    return ~column.is_in(references(test).implode())


def _outside(test: ValueRange, type_: ColumnType) -> pl.Expr:
    value = numeric(test.column, type_)
    below = pl.lit(value=False) if test.minimum is None else value < test.minimum
    above = pl.lit(value=False) if test.maximum is None else value > test.maximum
    return below | above


def _whole(test: Regex) -> str:
    """The pattern anchored at both ends. The engine is Rust's: linear time, and no look-around."""
    pattern = f"^(?:{test.pattern})$"
    try:
        pl.Series(["x"]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise Refused("TestFailed", f"test `{test.name}`: the pattern is not valid: {reason}") from error
    return pattern


def _verdict(test: DataTest, staged: Staged, rows: int, counted: tuple[int, int]) -> TestVerdict:
    count, first = counted
    if isinstance(test, RowCount):
        kept = (test.minimum is None or rows >= test.minimum) and (test.maximum is None or rows <= test.maximum)
        bound = _interval(test.minimum, test.maximum, "rows")
        return _judged(test.name, kept, rows, bound, f"the table has {rows} rows")
    if isinstance(test, NullShare):
        share = count / rows if rows else 0.0
        text = f"{count} of {rows} rows are null in `{test.column}`, a share of {share:.6g}"
        return _judged(test.name, share <= test.maximum, share, f"<= {test.maximum:.12g}", text)
    if isinstance(test, UniqueKey):
        repeated = duplicates(staged.files, test.columns)
        key = ", ".join(f"`{name}`" for name in test.columns)
        return _judged(test.name, repeated == 0, repeated, "0 rows", f"{repeated} rows repeat the key {key}")
    where = f", the first of them row {first}" if count else ""
    if isinstance(test, ForeignKey):
        text = (
            f"{count} rows have a `{test.column}` that is not in `{test.referenced_column}` of dataset "
            f"{test.dataset}{where}"
        )
        return _judged(test.name, count <= test.maximum_orphans, count, f"<= {test.maximum_orphans} rows", text)
    return _judged(test.name, count == 0, count, "0 rows", f"{count} rows {_fault(test)}{where}")


def _fault(test: ValueRange | AllowedSet | Regex) -> str:
    if isinstance(test, ValueRange):
        return f"have a `{test.column}` outside {_interval(test.minimum, test.maximum, '')}".rstrip()
    if isinstance(test, AllowedSet):
        return f"have a `{test.column}` that is none of the {len(test.values)} allowed values"
    return f"have a `{test.column}` that does not match the pattern"


def _judged(name: str, kept: bool, value: float, bound: str, text: str) -> TestVerdict:
    message = f"Test `{name}`: {text} (bound: {bound})."
    return TestVerdict(name=name, verdict="Pass" if kept else "Fail", value=value, bound=bound, message=message)


def _interval(low: float | None, high: float | None, unit: str) -> str:
    ends = [f">= {low:.12g}" if low is not None else "", f"<= {high:.12g}" if high is not None else ""]
    return f"{' and '.join(end for end in ends if end) or 'anything'} {unit}".rstrip()
