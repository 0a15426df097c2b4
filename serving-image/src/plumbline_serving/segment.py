"""A segment of the prediction log: records of one hour as one Parquet file.

Imported by the log's thread at its first flush, not at the start: Arrow costs a tenth of a second and tens of MiB.
"""

import io
from collections.abc import Sequence
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plumbline_contract.prediction import INPUT_PREFIX, OUTPUT_PREFIX, prediction_id
from plumbline_serving.errors import Unencodable
from plumbline_serving.record import Columns, Record
from plumbline_serving.tensors import Array

PART_RECORDS = 1024  # at once: some milliseconds, in calls of a tenth of it at most
SIZE_OF = attrgetter("size")
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

    A tensor with one value per row in all records is a plain column, one with more a list column.

    Takes the records out of the list, some at a time. One call on tens of thousands of them, and be it the one that
    frees them, would hold the interpreter for tens of milliseconds, in which no request is answered.
    """
    parts = []
    while records:
        parts.append(_part(records[:PART_RECORDS], columns))
        del records[:PART_RECORDS]
    return pa.concat_tables(_alike(parts))


def _part(records: Sequence[Record], columns: Columns) -> pa.Table:
    """Some records as a table. Their fields are transposed in one call each: the loops here are not Python's."""
    times, ids, roles, units, rows, inputs, outputs, _ = zip(*records, strict=True)
    counts = np.array(rows)
    total = int(counts.sum())
    first = np.cumsum(counts) - counts
    which = None if (counts == 1).all() else pa.array(np.repeat(np.arange(len(records)), counts))

    def per_row(values: pa.Array) -> pa.Array:
        return values if which is None else values.take(which)

    predictions = [prediction_id(moment, name) for moment, name in zip(times, ids, strict=True)]
    fields: dict[str, pa.Array] = {
        "prediction_id": per_row(pa.array(predictions)),
        "request_id": per_row(pa.array(ids)),
        "time": per_row(pa.array(times, type=pa.timestamp("ms", tz="UTC"))),
        "variant": pa.repeat(columns.variant, total),
        "role": per_row(pa.array(roles)),
        "unit": per_row(pa.array(units)),
        "row": pa.array((np.arange(total) - np.repeat(first, counts)).astype(np.int32)),
        "manifest": pa.repeat(columns.manifest, total),
    }
    for prefix, side, tensors in (
        (INPUT_PREFIX, columns.inputs, zip(*inputs, strict=True)),
        (OUTPUT_PREFIX, columns.outputs, zip(*outputs, strict=True)),
    ):
        for spec, arrays in zip(side.kept, tensors, strict=True):
            kind = pa.string() if spec.name in side.hashed else _ARROW[spec.datatype]
            fields[prefix + spec.name] = column(arrays, counts, kind)
    return pa.table(fields)


def column(parts: Sequence[Array], counts: IntArray, kind: pa.DataType) -> pa.Array:
    """The values of one tensor over some records, as lists unless each row has one. Part i has counts[i] rows."""
    try:
        flat = np.concatenate(parts).reshape(-1)
    except ValueError:  # they differ in what follows the first dimension
        flat = np.concatenate([part.reshape(-1) for part in parts])
    values = pa.array(flat.astype(np.float32) if flat.dtype == np.float16 else flat, type=kind)
    sizes = np.fromiter(map(SIZE_OF, parts), dtype=np.int64, count=len(parts))
    if np.array_equal(sizes, counts):
        return values
    return _lists(values, np.repeat(sizes // np.maximum(counts, 1), counts))


def _lists(values: pa.Array, widths: IntArray) -> pa.Array:
    """The values as lists of so many each."""
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _alike(parts: list[pa.Table]) -> list[pa.Table]:
    """The parts with the same columns: single values become lists of one where another part has lists."""
    if all(part.schema == parts[0].schema for part in parts):
        return parts
    listed = {one.name for part in parts for one in part.schema if pa.types.is_list(one.type)}
    return [_with_lists(part, listed) for part in parts]


def _with_lists(part: pa.Table, names: set[str]) -> pa.Table:
    for place, one in enumerate(part.schema):
        if one.name in names and not pa.types.is_list(one.type):
            lists = _lists(part.column(place).combine_chunks(), np.ones(len(part), dtype=np.int64))
            part = part.set_column(place, one.name, lists)
    return part


def parquet(table: pa.Table) -> bytes:
    """The table as the bytes of one Parquet file."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in UNIQUE]
    sink = io.BytesIO()
    # A dictionary of values that hardly repeat (ids, numbers) costs ten times the writing and saves nothing.
    pq.write_table(table, sink, compression="zstd", use_dictionary=texts)
    return sink.getvalue()
