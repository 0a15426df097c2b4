"""The declared schema: which columns there must be, and what each column's values must keep to."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from plumbline_contract.runspec import ColumnRule
from plumbline_jobs.checks.violations import Violation, count_violations, numeric
from plumbline_jobs.errors import Refused


def declared(names: Sequence[str], rules: Sequence[ColumnRule], unknown: str, event_time: str | None) -> None:
    """Raises Refused unless the source has every declared column and no other (or others are dropped).

    Also refused are declarations that cannot be checked: an event time that is no time, a smallest text.
    """
    missing = [rule.name for rule in rules if rule.name not in names]
    if missing:
        raise _mismatch(f"the source lacks the declared {_columns(missing)}; it has {_columns(names)}")
    known = {rule.name: rule for rule in rules}
    extra = [name for name in names if name not in known]
    if extra and unknown == "Refuse":
        raise _mismatch(
            f"the source has {_columns(extra)}, which the schema does not declare; "
            "declare them, or set unknownColumns: Drop"
        )
    if event_time is not None:
        _is_time(known.get(event_time), event_time)
    for rule in rules:
        _bounds_fit(rule)


def keep_to_rules(staged: Sequence[Path], rules: Sequence[ColumnRule]) -> None:
    """Raises Refused naming the first rule (in declared order) that a column breaks, with count and first row."""
    checks = [check for rule in rules for check in _checks(rule)]
    found = count_violations(staged, checks)
    for check, (count, first) in zip(checks, found, strict=True):
        if count:
            raise _mismatch(f"{check.text}: {count} rows are not, the first of them row {first}")
    for rule in rules:
        if rule.unique:
            _is_unique(staged, rule)


def _checks(rule: ColumnRule) -> list[Violation]:
    checks = []
    column = pl.col(rule.name)
    value = numeric(rule.name, rule.type)
    if rule.minimum is not None:
        checks.append(Violation(f"column `{rule.name}` must be at least {rule.minimum:.12g}", value < rule.minimum))
    if rule.maximum is not None:
        checks.append(Violation(f"column `{rule.name}` must be at most {rule.maximum:.12g}", value > rule.maximum))
    if rule.allowed:
        outside = column.is_not_null() & ~column.cast(pl.String).is_in(list(rule.allowed))
        checks.append(Violation(f"column `{rule.name}` must be one of its {len(rule.allowed)} allowed values", outside))
    return checks


def _is_unique(staged: Sequence[Path], rule: ColumnRule) -> None:
    repeated = duplicates(staged, [rule.name])
    if repeated:
        raise _mismatch(f"column `{rule.name}` must be unique: {repeated} rows repeat a value of an earlier row")


def duplicates(staged: Sequence[Path], columns: Sequence[str]) -> int:
    """How many rows repeat an earlier row's values in these columns. Rows with a null among them do not count."""
    rows = pl.scan_parquet(list(staged)).select(columns).drop_nulls()
    groups = rows.group_by(columns).agg(pl.len().alias("rows"))
    counted = groups.select((pl.col("rows") - 1).sum()).collect(engine="streaming")
    return int(counted.item() or 0)


def _is_time(rule: ColumnRule | None, name: str) -> None:
    if rule is None:
        raise _mismatch(f"the event time column `{name}` is not declared; add it to columns")
    if rule.type not in ("Date", "Timestamp"):
        raise _mismatch(f"the event time column `{name}` is declared {rule.type}; it must be Timestamp or Date")
    if rule.handling != "Keep":
        raise _mismatch(f"the event time column `{name}` has handling {rule.handling}; only Keep leaves a time")


def _bounds_fit(rule: ColumnRule) -> None:
    """Words have no smallest and no largest value; comparing them as numbers would fail on the first of them."""
    if rule.type in ("String", "Boolean") and (rule.minimum is not None or rule.maximum is not None):
        raise _mismatch(f"column `{rule.name}` is {rule.type}, which has no min and max; use allowed instead")


def _columns(names: Sequence[str]) -> str:
    """At most eight names; their number when there are more."""
    shown = ", ".join(f"`{name:.80}`" for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"column{'s' if len(names) != 1 else ''} {shown}{more}"


def _mismatch(text: str) -> Refused:
    return Refused("SchemaMismatch", text)
