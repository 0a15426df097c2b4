"""A segment of the prediction log: records of one hour as one Parquet file."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plumbline_contract.prediction import INPUT_PREFIX, OUTPUT_PREFIX, prediction_id
from plumbline_serving.tensors import Array, TensorSpec

MILLISECONDS_PER_HOUR = 3_600_000

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


class Record(NamedTuple):
    """One answered request: what was asked (already redacted) and what was said."""

    milliseconds: int
    request_id: str
    role: str
    unit: str
    rows: int
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


class Columns(NamedTuple):
    """Which model and which tensors the records of this server hold."""

    variant: str
    model_digest: str
    inputs: tuple[TensorSpec, ...]
    hashed: frozenset[str]
    outputs: tuple[TensorSpec, ...]


def table_of(records: Sequence[Record], columns: Columns) -> pa.Table:
    """One row per predicted row: the fixed columns, then `in.<name>`, then `out.<name>`.

    A tensor with one value per row becomes a plain column, one with more a list column.
    """
    counts = np.fromiter((record.rows for record in records), dtype=np.int64, count=len(records))
    total = int(counts.sum())
    which = pa.array(np.repeat(np.arange(len(records)), counts))
    first = np.cumsum(counts) - counts
    fields: dict[str, pa.Array] = {
        "prediction_id": pa.array([prediction_id(r.milliseconds, r.request_id) for r in records]).take(which),
        "request_id": pa.array([r.request_id for r in records]).take(which),
        "time": pa.array([r.milliseconds for r in records], type=pa.timestamp("ms", tz="UTC")).take(which),
        "variant": pa.array([columns.variant]).take(pa.array(np.zeros(total, dtype=np.int64))),
        "role": pa.array([r.role for r in records]).take(which),
        "unit": pa.array([r.unit for r in records]).take(which),
        "row": pa.array((np.arange(total) - np.repeat(first, counts)).astype(np.int32)),
        "model_digest": pa.array([columns.model_digest]).take(pa.array(np.zeros(total, dtype=np.int64))),
    }
    for place, spec in enumerate(columns.inputs):
        kind = pa.string() if spec.name in columns.hashed else _ARROW[spec.datatype]
        fields[INPUT_PREFIX + spec.name] = column([r.inputs[place] for r in records], total, kind)
    for place, spec in enumerate(columns.outputs):
        fields[OUTPUT_PREFIX + spec.name] = column([r.outputs[place] for r in records], total, _ARROW[spec.datatype])
    return pa.table(fields)


def column(parts: Sequence[Array], total: int, kind: pa.DataType) -> pa.Array:
    """The values of one tensor over all records; each part has its rows in the first dimension."""
    widths = {part.size // part.shape[0] for part in parts}
    flat = np.concatenate([part.reshape(-1) for part in parts])
    values = pa.array(flat.astype(np.float32) if flat.dtype == np.float16 else flat, type=kind)
    if widths == {1}:
        return values
    sizes = np.concatenate([np.full(part.shape[0], part.size // part.shape[0], dtype=np.int32) for part in parts])
    offsets = np.zeros(total + 1, dtype=np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def parquet(table: pa.Table) -> bytes:
    """The table as the bytes of one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=True)
    return sink.getvalue()


def by_hour(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Records by the hour of their prediction, as hours since the epoch."""
    hours: dict[int, list[Record]] = {}
    for record in records:
        hours.setdefault(record.milliseconds // MILLISECONDS_PER_HOUR, []).append(record)
    return hours
