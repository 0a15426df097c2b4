"""A segment of the prediction log: records of one hour as one Parquet file."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plumbline_contract.prediction import INPUT_PREFIX, OUTPUT_PREFIX, REQUEST_AT
from plumbline_serving.errors import Unencodable
from plumbline_serving.pending import Pending, Tensor, offsets
from plumbline_serving.record import ROLES, Columns

UNIQUE = frozenset({"prediction_id", "request_id"})
IntArray = NDArray[np.int64]


def encode(pending: Pending, columns: Columns) -> bytes:
    """The records as one Parquet file. Raises Unencodable for what Arrow cannot hold, a text that is no UTF-8, say."""
    try:
        return parquet(table_of(pending, columns))
    except (pa.ArrowException, ValueError) as exc:
        raise Unencodable(type(exc).__name__) from exc


def table_of(pending: Pending, columns: Columns) -> pa.Table:
    """One row per predicted row: the fixed columns, then `in.<name>`, then `out.<name>`.

    A tensor with one value per row in all records is a plain column, one with more a list column.
    """
    counts, total = np.array(pending.counts), pending.rows
    first = np.cumsum(counts) - counts
    which = None if (counts == 1).all() else pa.array(np.repeat(np.arange(len(counts)), counts))

    def per_row(values: pa.Array) -> pa.Array:
        return values if which is None else values.take(which)

    ids = per_row(pending.ids.array())
    fields: dict[str, pa.Array] = {
        "prediction_id": ids,
        "request_id": pc.utf8_slice_codeunits(ids, REQUEST_AT),
        "time": per_row(pa.array(np.array(pending.milliseconds)).cast(pa.timestamp("ms", tz="UTC"))),
        "variant": pa.repeat(columns.variant, total),
        "role": per_row(pa.array(ROLES).take(pa.array(np.frombuffer(pending.roles, dtype=np.uint8)))),
        "unit": per_row(pending.units.array()),
        "row": pa.array((np.arange(total) - np.repeat(first, counts)).astype(np.int32)),
        "manifest": pa.repeat(columns.manifest, total),
    }
    for prefix, side, tensors in (
        (INPUT_PREFIX, columns.inputs, pending.inputs),
        (OUTPUT_PREFIX, columns.outputs, pending.outputs),
    ):
        for spec, tensor in zip(side.kept, tensors, strict=True):
            fields[prefix + spec.name] = column(tensor, counts)
    return pa.table(fields)


def column(tensor: Tensor, counts: IntArray) -> pa.Array:
    """The values of one tensor, as lists unless each row has one. Record i has counts[i] rows."""
    values, sizes = tensor.array(), np.array(tensor.sizes)
    if np.array_equal(sizes, counts):
        return values
    return pa.ListArray.from_arrays(offsets(np.repeat(sizes // np.maximum(counts, 1), counts)), values)


def parquet(table: pa.Table) -> bytes:
    """The table as the bytes of one Parquet file.

    Written while requests are answered, so what costs much and gains little is left out: a dictionary of values that
    hardly repeat (ids, numbers), hard work on numbers, extremes of columns by which nobody looks for a segment.
    """
    repeating = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in UNIQUE]
    sink = pa.BufferOutputStream()  # not one of Python's, which needs the interpreter for every page
    pq.write_table(
        table,
        sink,
        compression={leaf(field): codec(field) for field in table.schema},
        use_dictionary=repeating,
        write_statistics=["prediction_id", "time"],
    )
    return bytes(sink.getvalue().to_pybytes())


def leaf(field: pa.Field) -> str:
    """The column's path inside a Parquet file: a list's values lie two levels down."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def codec(field: pa.Field) -> str:
    """How the column is compressed. Of a tensor's numbers, zstd saves a little more than snappy, for twice the work."""
    value = field.type.value_type if pa.types.is_list(field.type) else field.type
    tensor = field.name.startswith((INPUT_PREFIX, OUTPUT_PREFIX))
    return "zstd" if pa.types.is_string(value) or not tensor else "snappy"
