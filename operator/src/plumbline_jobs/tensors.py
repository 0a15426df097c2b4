"""From columns of a table to the tensors that a model takes: one column per input, one value per row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plumbline_contract.manifest import Tensor
from plumbline_jobs.errors import Refused
from plumbline_jobs.profile import as_numbers
from plumbline_modelgate import DTYPES

Array = NDArray[Any]

SCALAR_SHAPES = ((-1,), (-1, 1))


def is_scalar(tensor: Tensor) -> bool:
    """Whether the tensor has one value per row."""
    return tensor.shape in SCALAR_SHAPES


def may_be_missing(tensor: Tensor) -> bool:
    """Whether the tensor can say that a value is missing: floating point numbers can, as NaN."""
    return tensor.datatype.startswith("FP")


def feed_of(frame: pl.DataFrame, inputs: Sequence[Tensor]) -> dict[str, Array]:
    """Input name → array of the input's shape and datatype, taken from the column of that name.

    Raises Refused, reason EvaluationRefused, naming the first input that no column fits.
    """
    return {tensor.name: _tensor(frame[tensor.name], tensor) for tensor in inputs}


def _tensor(column: pl.Series, tensor: Tensor) -> Array:
    if column.null_count() and not may_be_missing(tensor):
        raise _misfit(
            tensor, f"{column.null_count()} of {len(column)} rows are null, which {tensor.datatype} cannot say"
        )
    values = _texts(column, tensor) if tensor.datatype == "BYTES" else _numbers(column, tensor)
    return values.reshape(-1, 1) if len(tensor.shape) == 2 else values


def _texts(column: pl.Series, tensor: Tensor) -> Array:
    if not isinstance(column.dtype, pl.String):
        raise _misfit(tensor, f"the column is {column.dtype}, but the input takes text; declare the column as String")
    return np.array(column.to_list(), dtype=np.object_)


def _numbers(column: pl.Series, tensor: Tensor) -> Array:
    if isinstance(column.dtype, pl.String):
        raise _misfit(tensor, f"the column is String, but the input takes {tensor.datatype}")
    dtype = DTYPES[tensor.datatype]
    if may_be_missing(tensor):
        values = np.full(len(column), np.nan)
        values[column.is_not_null().to_numpy()] = as_numbers(column)
        return values.astype(dtype)
    exact = column.cast(pl.Int64) if column.dtype.is_integer() or isinstance(column.dtype, pl.Boolean) else None
    given = as_numbers(column) if exact is None else exact.to_numpy()
    with np.errstate(invalid="ignore"):
        converted: Array = given.astype(dtype)
    # Signs are compared, too: -1 becomes a huge unsigned number, and comes back from it.
    changed = (converted.astype(given.dtype) != given) | ((converted < 0) != (given < 0))
    if changed.any():
        raise _misfit(tensor, f"{int(changed.sum())} values do not fit into {tensor.datatype} unchanged")
    return converted


def _misfit(tensor: Tensor, what: str) -> Refused:
    return Refused("EvaluationRefused", f"input `{tensor.name}` of the model cannot be filled: {what}")
