"""Writes and reads the Parquet parts of a snapshot. The same rows always give the same bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from plumbline_contract.manifest import ColumnType

PART_ROWS = 1_000_000
GROUP_ROWS = 1 << 16  # rows of one row group: what a reader holds in memory at a time

ARROW: dict[ColumnType, pa.DataType] = {
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "Boolean": pa.bool_(),
    "Date": pa.date32(),
    "Timestamp": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part file."""

    path: Path
    rows: int


class PartWriter:
    """Cuts a stream of frames into part files of at most a million rows, in row groups of fixed size.

    Sizes of the incoming frames leave no trace, so two readings of one source give equal files.
    """

    def __init__(self, folder: Path, schema: pa.Schema, part_rows: int = PART_ROWS) -> None:
        self._folder = folder
        self._schema = schema
        self._part_rows = part_rows
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._rows_in_part = 0
        self.parts: list[Part] = []

    def write(self, frame: pl.DataFrame) -> None:
        """Takes rows whose columns are the schema's."""
        self._waiting.append(frame.to_arrow().select(self._schema.names).cast(self._schema))
        self._waiting_rows += frame.height
        while self._waiting_rows >= self._group_rows():
            self._flush(self._group_rows())

    def close(self) -> list[Part]:
        """All parts. A table without rows has one part without rows."""
        while self._waiting_rows:
            self._flush(min(self._waiting_rows, self._group_rows()))
        if self._writer is None and not self.parts:
            self._open()
        self._finish()
        return self.parts

    def _group_rows(self) -> int:
        return min(GROUP_ROWS, self._part_rows - self._rows_in_part)

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        self._waiting = [table.slice(rows)]
        self._waiting_rows -= rows
        if self._writer is None:
            self._open()
        assert self._writer is not None
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._rows_in_part += rows
        if self._rows_in_part == self._part_rows:
            self._finish()

    def _open(self) -> None:
        path = self._folder / f"part-{len(self.parts):05d}.parquet"
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            compression_level=3,
            use_dictionary=True,
            write_statistics=True,
        )

    def _finish(self) -> None:
        if self._writer is None:
            return
        path = Path(self._folder / f"part-{len(self.parts):05d}.parquet")
        self._writer.close()
        self._writer = None
        self.parts.append(Part(path, self._rows_in_part))
        self._rows_in_part = 0


def schema_of(columns: Sequence[tuple[str, ColumnType, bool]]) -> pa.Schema:
    """The Arrow schema of (name, type, nullable) columns."""
    return pa.schema([pa.field(name, ARROW[type_], nullable) for name, type_, nullable in columns])


def rows_of(path: Path) -> int:
    """How many rows a part file has, from its footer."""
    rows: int = pq.read_metadata(path).num_rows
    return rows


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """The rows of a part file, one row group at a time, only the named columns when given."""
    with pq.ParquetFile(path, memory_map=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(columns) if columns is not None else None)
            yield pl.DataFrame(pl.from_arrow(table))
