"""Streams a delimited text file as batches of strings."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from plumbline_jobs.errors import Refused
from plumbline_jobs.io.packing import Compression, PackingBounds, unpacked
from plumbline_jobs.io.text import LINE_LIMIT, CleanText

BLOCK = 4 << 20  # bytes parsed at a time; a row must be shorter
MOST_COLUMNS = 4_000


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text table is written."""

    compression: Compression = "None"
    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NA")


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a source table. `first` is the number of its first row; the first row of all is 1."""

    first: int
    frame: pl.DataFrame


def header_of(path: Path, dialect: Dialect, bounds: PackingBounds | None = None) -> tuple[str, ...]:
    """The column names in the first line. Raises Refused when a name is empty or there twice."""
    with unpacked(path, dialect.compression, bounds) as plain:
        text = io.TextIOWrapper(io.BufferedReader(CleanText(plain)), encoding="utf-8", newline="")
        csv.field_size_limit(LINE_LIMIT)
        try:
            names = next(csv.reader(text, delimiter=dialect.delimiter), [])
        except csv.Error as error:
            raise _unreadable(f"its header: {error}") from error
    if not names:
        raise _unreadable("it is empty; its first line must name the columns")
    return unique_names([name.strip() for name in names])


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, once each of them is known to be there once and not empty."""
    if len(names) > MOST_COLUMNS:
        raise Refused("SchemaMismatch", f"the source has {len(names)} columns; at most {MOST_COLUMNS} are supported")
    for position, name in enumerate(names, start=1):
        if not name:
            raise Refused("SchemaMismatch", f"column {position} of the source has no name; name it in the header")
        if names.index(name) != position - 1:
            raise Refused("SchemaMismatch", f"the source has two columns named `{name:.200}`; rename one of them")
    return tuple(names)


def batches(
    path: Path, names: Sequence[str], wanted: Sequence[str], dialect: Dialect, bounds: PackingBounds | None = None
) -> Iterator[Batch]:
    """The wanted columns as text, in blocks of rows, nulls where a cell is one of the null values.

    Raises Refused naming the row when it has more or fewer cells than the header.
    """
    with unpacked(path, dialect.compression, bounds) as plain:
        first = 0  # the header is parsed as row 0, so that row numbers are those of the data
        for batch in _parsed(io.BufferedReader(CleanText(plain)), names, wanted, dialect):
            frame = pl.DataFrame(pl.from_arrow(batch))
            if first == 0:
                frame = frame[1:]
                yield Batch(1, frame)
            else:
                yield Batch(first, frame)
            first += batch.num_rows


def _parsed(
    stream: BinaryIO | io.BufferedReader, names: Sequence[str], wanted: Sequence[str], dialect: Dialect
) -> Iterator[pa.RecordBatch]:
    ragged: list[arrow_csv.InvalidRow] = []

    def on_ragged(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        yield from arrow_csv.open_csv(
            stream,
            # One thread: with more, Arrow does not know the number of an invalid row.
            read_options=arrow_csv.ReadOptions(column_names=list(names), use_threads=False, block_size=BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                newlines_in_values=True,
                # An empty line is a null in a table of one column, and nothing in any other.
                ignore_empty_lines=len(names) > 1,
                invalid_row_handler=on_ragged,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=list(wanted),
                strings_can_be_null=True,
                null_values=list(dialect.null_values),
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explained(error, ragged) from error


def _explained(error: pa.ArrowInvalid, ragged: Sequence[arrow_csv.InvalidRow]) -> Refused:
    if ragged:
        row = ragged[0]
        return _unreadable(
            f"row {row.number - 1} (the header not counted) has {row.actual_columns} cells, "
            f"the header has {row.expected_columns}; check the delimiter and the quotes"
        )
    if "straddling" in str(error):
        return _unreadable(f"a row is longer than {BLOCK} bytes; a quoted cell is probably never closed")
    return _unreadable("its rows cannot be told apart; check the delimiter and the quotes")


def _unreadable(text: str) -> Refused:
    return Refused("SourceUnreadable", f"the source cannot be read as CSV: {text}")
