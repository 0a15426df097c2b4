"""Turns columns of text into columns of their declared types, and names the first cell that does not fit."""

from collections.abc import Mapping, Sequence

import polars as pl

from plumbline_contract.manifest import ColumnType
from plumbline_contract.runspec import ColumnRule
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.delimited import Batch

TYPES: Mapping[ColumnType, pl.DataType] = {
    "Int64": pl.Int64(),
    "Float64": pl.Float64(),
    "String": pl.String(),
    "Boolean": pl.Boolean(),
    "Date": pl.Date(),
    "Timestamp": pl.Datetime("us", "UTC"),
}

WRITTEN: Mapping[ColumnType, str] = {
    "Int64": "a whole number between -2^63 and 2^63-1",
    "Float64": "a finite decimal number with a point",
    "String": "text",
    "Boolean": "true, false, 1 or 0",
    "Date": "a day as YYYY-MM-DD",
    "Timestamp": "a time as YYYY-MM-DDThh:mm:ss, with Z or an offset (without one it is UTC)",
}

_TRUE, _FALSE = ("true", "1"), ("false", "0")


def typed(batch: Batch, rules: Sequence[ColumnRule]) -> pl.DataFrame:
    """The batch with every column in its declared type, in the rules' order.

    Raises Refused, reason SchemaMismatch, naming row and column of the first cell that has another type or is null
    where that is not allowed. A cell of a personal column is not quoted.
    """
    columns = []
    for rule in rules:
        text = batch.frame[rule.name]
        values = _parsed(text, rule.type)
        _no_misfits(batch, text, values, rule)
        columns.append(values.alias(rule.name))
    return pl.DataFrame(columns)


def no_nulls(column: pl.Series, first: int, rule: ColumnRule) -> None:
    """Raises Refused naming the first row that is null, unless the rule allows nulls."""
    if rule.nullable or not column.null_count():
        return
    row = first + (column.is_null().arg_max() or 0)
    raise Refused(
        "SchemaMismatch",
        f"row {row}, column `{rule.name}` is null; set nullable: true in the schema, or mend the source",
    )


def _parsed(text: pl.Series, type_: ColumnType) -> pl.Series:
    """The values; null where the text is none of that type."""
    if type_ == "String":
        return text
    if type_ == "Boolean":
        lower = text.str.to_lowercase()
        table = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
        return lower.replace_strict(table, default=None, return_dtype=pl.Boolean())
    if type_ == "Date":
        return text.str.to_date("%Y-%m-%d", strict=False)
    if type_ == "Timestamp":
        return _timestamps(text)
    values = text.cast(TYPES[type_], strict=False)
    return finite(values) if type_ == "Float64" else values


def finite(values: pl.Series) -> pl.Series:
    """`values` with null where they are NaN or infinite."""
    return pl.select(pl.when(values.is_finite()).then(values))[:, 0]


def _timestamps(text: pl.Series) -> pl.Series:
    """RFC 3339 in its common spellings: `T` or a space, with or without seconds, fraction and offset."""
    clean = text.str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace(r"[zZ]$", "+00:00")
    with_offset = [
        clean.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
        for form in ("%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M%:z")
    ]
    without = [
        clean.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC")
        for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
    ]
    return pl.select(pl.coalesce(*with_offset, *without))[:, 0]


def _no_misfits(batch: Batch, text: pl.Series, values: pl.Series, rule: ColumnRule) -> None:
    if values.null_count() == text.null_count():
        no_nulls(values, batch.first, rule)
        return
    misfit = text.is_not_null() & values.is_null()
    place = misfit.arg_max() or 0
    shown = "a cell" if rule.pii or rule.handling != "Keep" else f"{text[place][:60]!r}"
    raise Refused(
        "SchemaMismatch",
        f"row {batch.first + place}, column `{rule.name}`: {shown} is not {rule.type}, which is {WRITTEN[rule.type]}; "
        "correct the source or the declared type, or add the text to nullValues",
    )
