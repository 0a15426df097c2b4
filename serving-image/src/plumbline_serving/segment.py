"""A segment of the prediction log: records of one hour as one Parquet file.

Imported by the log's thread at its first flush, not at the start: Arrow costs a tenth of a second and tens of MiB.
"""

import io
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plumbline_contract.prediction import INPUT_PREFIX, OUTPUT_PREFIX, prediction_id
from plumbline_serving.errors import Unencodable
from plumbline_serving.record import Columns, Record
from plumbline_serving.tensors import Array

PART_RECORDS = 256  # at once: about a millisecond, in calls of a tenth of it at most
UNIQUE = frozenset({"prediction_id", "request_id"})
IntArray = NDArray[np.int64]

_ARROW: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "INT8": pa.int8(),
    "INT16": pa.int16(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "UINT8": pa.uint8(),
    "UINT16": pa.uint16(),
    "UINT32": pa.uint32(),
    "UINT64": pa.uint64(),
    "FP16": pa.float32(),  # readers of half-precision Parquet are rare; float32 holds every value exactly
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    "BYTES": pa.string(),
}


class Column(NamedTuple):
    """A tensor as a column: `side` finds a record's arrays, this one at `place`; listed: several values per row."""

    name: str
    side: Callable[[Record], Sequence[Array]]
    place: int
    kind: pa.DataType
    listed: bool


def encode(records: list[Record], columns: Columns) -> bytes:
    """The records as one Parquet file. Raises Unencodable for what Arrow cannot hold, a text that is no UTF-8, say.

    Takes the records out of the list on the way.
    """
    try:
        return parquet(table_of(records, columns))
    except (pa.ArrowException, ValueError) as exc:
        raise Unencodable(type(exc).__name__) from exc


def table_of(records: list[Record], columns: Columns) -> pa.Table:
    """One row per predicted row: the fixed columns, then `in.<name>`, then `out.<name>`.

    Takes the records out of the list, some at a time. One call on tens of thousands of them, and be it the one that
    frees them, would hold the interpreter for tens of milliseconds, in which no request is answered.
    """
    tensors, parts = _tensors(records, columns), []
    while records:
        parts.append(_part(records[:PART_RECORDS], columns, tensors))
        del records[:PART_RECORDS]
    return pa.concat_tables(parts)


def _tensors(records: Sequence[Record], columns: Columns) -> list[Column]:
    """A tensor with one value per row in all records becomes a plain column, one with more a list column."""
    found = []
    sides = (
        (INPUT_PREFIX, columns.inputs, attrgetter("inputs")),
        (OUTPUT_PREFIX, columns.outputs, attrgetter("outputs")),
    )
    for prefix, logged, side in sides:
        for place, spec in enumerate(logged.kept):
            kind = pa.string() if spec.name in logged.hashed else _ARROW[spec.datatype]
            listed = any(side(record)[place].size != record.rows for record in records)
            found.append(Column(prefix + spec.name, side, place, kind, listed))
    return found


def _part(records: Sequence[Record], columns: Columns, tensors: Sequence[Column]) -> pa.Table:
    counts = np.fromiter((record.rows for record in records), dtype=np.int64, count=len(records))
    total = int(counts.sum())
    first = np.cumsum(counts) - counts
    which = pa.array(np.repeat(np.arange(len(records)), counts))

    def per_row(values: pa.Array) -> pa.Array:
        return values if total == len(records) else values.take(which)

    fields: dict[str, pa.Array] = {
        "prediction_id": per_row(pa.array([prediction_id(r.milliseconds, r.request_id) for r in records])),
        "request_id": per_row(pa.array([r.request_id for r in records])),
        "time": per_row(pa.array([r.milliseconds for r in records], type=pa.timestamp("ms", tz="UTC"))),
        "variant": pa.array([columns.variant]).take(pa.array(np.zeros(total, dtype=np.int64))),
        "role": per_row(pa.array([r.role for r in records])),
        "unit": per_row(pa.array([r.unit for r in records])),
        "row": pa.array((np.arange(total) - np.repeat(first, counts)).astype(np.int32)),
        "manifest": pa.array([columns.manifest]).take(pa.array(np.zeros(total, dtype=np.int64))),
    }
    for tensor in tensors:
        arrays = [tensor.side(one)[tensor.place] for one in records]
        fields[tensor.name] = column(arrays, counts, tensor.kind, listed=tensor.listed)
    return pa.table(fields)


def column(parts: Sequence[Array], counts: IntArray, kind: pa.DataType, *, listed: bool) -> pa.Array:
    """The values of one tensor over some records. Part i has counts[i] rows in its first dimension."""
    try:
        flat = np.concatenate(parts).reshape(-1)
    except ValueError:  # they differ in what follows the first dimension
        flat = np.concatenate([part.reshape(-1) for part in parts])
    values = pa.array(flat.astype(np.float32) if flat.dtype == np.float16 else flat, type=kind)
    if not listed:
        return values
    widths = np.fromiter((part.size for part in parts), dtype=np.int64, count=len(parts)) // counts
    offsets = np.concatenate([[0], np.cumsum(np.repeat(widths, counts))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def parquet(table: pa.Table) -> bytes:
    """The table as the bytes of one Parquet file."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in UNIQUE]
    sink = io.BytesIO()
    # A dictionary of values that hardly repeat (ids, numbers) costs ten times the writing and saves nothing.
    pq.write_table(table, sink, compression="zstd", use_dictionary=texts)
    return sink.getvalue()
