"""Records that will be one segment, field by field.

A record's values are copied to the end of a few growing buffers while they are in the core's cache, and its objects
are let go. Tens of thousands of kept objects would have to be fetched from memory again by the thread that writes
them, and for each piece of that work callers wait: on a single core the kernel lets the other thread run for a tick.
"""

from array import array
from collections.abc import Iterable

import numpy as np

from plumbline_serving.record import MILLISECONDS_PER_HOUR, ROLES, Columns, Record
from plumbline_serving.redaction import Side
from plumbline_serving.tensors import Array


class Texts:
    """Texts, one after the other, in UTF-8."""

    __slots__ = ("data", "lengths")

    def __init__(self) -> None:
        self.data, self.lengths = bytearray(), array("q")

    def add(self, text: str) -> None:
        """One more. Raises UnicodeEncodeError for half of a surrogate pair."""
        encoded = text.encode()
        self.data += encoded
        self.lengths.append(len(encoded))


class Numbers:
    """The values of a numeric tensor; `sizes`: how many each record has."""

    __slots__ = ("_data", "_dtype", "sizes")

    def __init__(self, dtype: type) -> None:
        self._data, self._dtype, self.sizes = bytearray(), np.dtype(dtype), array("q")

    def add(self, values: Array) -> None:
        """Those of one more record."""
        self._data += values.tobytes()
        self.sizes.append(values.size)

    def flat(self) -> Array:
        """All, in a row, half precision as single. Nothing can be added any more."""
        flat = np.frombuffer(self._data, dtype=self._dtype)
        return flat.astype(np.float32) if self._dtype == np.float16 else flat


class Objects:
    """The values of a tensor of texts, or of hashes; `sizes`: how many each record has."""

    __slots__ = ("_values", "sizes")

    def __init__(self) -> None:
        self._values, self.sizes = list[object](), array("q")

    def add(self, values: Array) -> None:
        """Those of one more record."""
        self._values.extend(values.ravel().tolist())
        self.sizes.append(values.size)

    def flat(self) -> list[object]:
        """All, in a row."""
        return self._values


Tensor = Numbers | Objects


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
        Objects() if spec.dtype is np.object_ or spec.name in side.hashed else Numbers(spec.dtype) for spec in side.kept
    )


def pending(records: Iterable[Record], columns: Columns) -> list[Pending]:
    """The records, one after the other; a new beginning wherever the hour changes."""
    found: list[Pending] = []
    for record in records:
        hour = record.milliseconds // MILLISECONDS_PER_HOUR
        if not found or found[-1].hour != hour:
            found.append(Pending(hour, columns))
        found[-1].add(record)
    return found
