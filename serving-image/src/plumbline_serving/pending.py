"""Records that will be one segment, field by field.

A record's values are copied to the end of a few growing buffers while they are in the core's cache, and its objects
are let go. Tens of thousands of kept objects would have to be fetched from memory again by the thread that writes
them, and for each piece of that work callers wait: on a single core the kernel lets the other thread run for a tick.
"""

from array import array

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from plumbline_serving.record import ROLES, Columns, Record
from plumbline_serving.redaction import Side
from plumbline_serving.tensors import Array


class Texts:
    """Texts, one after the other, in UTF-8."""

    __slots__ = ("_data", "_lengths")

    def __init__(self) -> None:
        self._data, self._lengths = bytearray(), array("q")

    def add(self, text: str) -> None:
        """One more. Half of a surrogate pair is taken here, and refused by whoever validates the array."""
        encoded = text.encode(errors="surrogatepass")
        self._data += encoded
        self._lengths.append(len(encoded))

    def array(self) -> pa.StringArray:
        """All, of the same memory. Nothing can be added any more."""
        places = offsets(np.array(self._lengths)).buffers()[1]
        return pa.StringArray.from_buffers(len(self._lengths), places, pa.py_buffer(self._data))


class Numbers:
    """The values of a numeric tensor; `sizes`: how many each record has."""

    __slots__ = ("_data", "_dtype", "sizes")

    def __init__(self, dtype: type) -> None:
        self._data, self._dtype, self.sizes = bytearray(), np.dtype(dtype), array("q")

    def add(self, values: Array) -> None:
        """Those of one more record."""
        self._data += values.tobytes()
        self.sizes.append(values.size)

    def array(self) -> pa.Array:
        """All, in a row; half precision as single, because readers of half-precision Parquet are rare."""
        flat = np.frombuffer(self._data, dtype=self._dtype)
        return pa.array(flat.astype(np.float32) if self._dtype == np.float16 else flat)


class Strings:
    """The values of a tensor of texts, or of hashes; `sizes`: how many each record has."""

    __slots__ = ("_texts", "sizes")

    def __init__(self) -> None:
        self._texts, self.sizes = Texts(), array("q")

    def add(self, values: Array) -> None:
        """Those of one more record."""
        for value in values.ravel().tolist():
            self._texts.add(value)
        self.sizes.append(values.size)

    def array(self) -> pa.StringArray:
        """All, in a row. Raises ArrowInvalid for what is no UTF-8."""
        found = self._texts.array()
        found.validate(full=True)
        return found


def offsets(lengths: NDArray[np.int64]) -> pa.Array:
    """Where each of so many values begins, and the last one ends."""
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


Tensor = Numbers | Strings


class Pending:
    """Records of one hour (since the epoch); `rows` and `size`: of all. Add none once it is read."""

    __slots__ = ("counts", "hour", "ids", "inputs", "milliseconds", "outputs", "roles", "rows", "size", "units")

    def __init__(self, hour: int, columns: Columns) -> None:
        self.hour = hour
        self.rows = self.size = 0
        self.milliseconds, self.counts, self.roles = array("q"), array("q"), bytearray()
        self.ids, self.units = Texts(), Texts()
        self.inputs, self.outputs = tensors(columns.inputs), tensors(columns.outputs)

    def add(self, record: Record) -> None:
        """One more record of this hour."""
        milliseconds, prediction_id, role, unit, rows, inputs, outputs, size = record
        self.milliseconds.append(milliseconds)
        self.ids.add(prediction_id)
        self.roles.append(ROLES.index(role))
        self.units.add(unit)
        self.counts.append(rows)
        for tensor, values in zip(self.inputs, inputs, strict=True):
            tensor.add(values)
        for tensor, values in zip(self.outputs, outputs, strict=True):
            tensor.add(values)
        self.rows += rows
        self.size += size


def tensors(side: Side) -> tuple[Tensor, ...]:
    """Room for the tensors that are logged."""
    return tuple(
        Strings() if spec.dtype is np.object_ or spec.name in side.hashed else Numbers(spec.dtype) for spec in side.kept
    )
