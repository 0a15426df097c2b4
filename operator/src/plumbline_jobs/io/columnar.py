"""Streams a Parquet source as frames of the declared types."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from plumbline_contract.manifest import ColumnType
from plumbline_contract.runspec import ColumnRule
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.cells import TYPES, finite, no_nulls
from plumbline_jobs.io.delimited import Batch, unique_names
from plumbline_jobs.io.packing import Compression, PackingBounds, unpacked

BATCH_ROWS = 1 << 16

ACCEPTED: Mapping[ColumnType, tuple[type[pl.DataType], ...]] = {
    "Int64": (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32),
    "Float64": (pl.Float32, pl.Float64, pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32),
    "String": (pl.String, pl.Categorical),
    "Boolean": (pl.Boolean,),
    "Date": (pl.Date,),
    "Timestamp": (pl.Datetime,),
}
"""Declared type → types in the file that fit into it without loss (times are kept to the microsecond)."""


def plain_file(path: Path, compression: Compression, folder: Path, bounds: PackingBounds | None = None) -> Path:
    """The Parquet file itself: `path`, or an unpacked copy of it in `folder`. Parquet is read from its end."""
    if compression == "None":
        return path
    copy = folder / "unpacked.parquet"
    with unpacked(path, compression, bounds) as stream, copy.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    return copy


def names_of(path: Path) -> tuple[str, ...]:
    """The names of the file's columns. Raises Refused when it is no Parquet file."""
    try:
        with pq.ParquetFile(path) as file:
            return unique_names(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(error) from error


def batches(path: Path, rules: Sequence[ColumnRule], null_texts: Sequence[str] = ()) -> Iterator[Batch]:
    """The rules' columns in their declared types.

    A NaN is null when `NaN` is among the null values, and refused otherwise, with its row and column named.
    """
    first = 1
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=[rule.name for rule in rules], use_threads=False):
                frame = pl.DataFrame(pl.from_arrow(batch))
                yield Batch(first, pl.DataFrame([_typed(frame[r.name], first, r, null_texts) for r in rules]))
                first += frame.height
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(error) from error


def _typed(column: pl.Series, first: int, rule: ColumnRule, null_texts: Sequence[str]) -> pl.Series:
    if not isinstance(column.dtype, ACCEPTED[rule.type]):
        raise Refused(
            "SchemaMismatch",
            f"column `{rule.name}` is {column.dtype} in the file, which does not fit the declared {rule.type}; "
            "correct the declared type or convert the file",
        )
    values = _as_utc(column) if rule.type == "Timestamp" else column.cast(TYPES[rule.type])
    if rule.type == "Float64":
        values = _without_nan(values, first, rule, null_texts)
    no_nulls(values, first, rule)
    return values


def _as_utc(column: pl.Series) -> pl.Series:
    zone = column.dtype.time_zone if isinstance(column.dtype, pl.Datetime) else None
    in_utc = column.dt.replace_time_zone("UTC") if zone is None else column.dt.convert_time_zone("UTC")
    return in_utc.dt.cast_time_unit("us")


def _without_nan(values: pl.Series, first: int, rule: ColumnRule, null_texts: Sequence[str]) -> pl.Series:
    clean = finite(values).alias(values.name)
    odd = values.is_not_null() & clean.is_null()
    if "NaN" in null_texts:
        odd &= ~values.is_nan()
    if odd.any():
        raise Refused(
            "SchemaMismatch",
            f"row {first + (odd.arg_max() or 0)}, column `{rule.name}` is NaN or infinite; "
            "write null instead, or add NaN to nullValues",
        )
    return clean


def _unreadable(error: Exception) -> Refused:
    first = (str(error).splitlines() or [""])[0]
    return Refused("SourceUnreadable", f"the source is not a readable Parquet file: {first[:200]}")
