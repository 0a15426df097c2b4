"""From the JSON of an inference request to arrays, checked against the model's signature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbline_modelgate import DTYPES
from plumbline_serving.errors import BadRequest

Array = NDArray[Any]


_NUMBERS, _INTEGERS = frozenset({float, int}), frozenset({int})
_PLAIN_FIELDS = frozenset({"name", "shape", "datatype", "data"})
_TENSOR_FIELDS = _PLAIN_FIELDS | {"parameters"}
_HARMLESS_PARAMETERS = frozenset({"content_type"})  # a hint of some clients about their own decoding


def accepted(datatype: str) -> frozenset[type]:
    """The Python types that JSON values of a datatype may have; nothing is converted in silence."""
    if datatype == "BOOL":
        return frozenset({bool})
    if datatype == "BYTES":
        return frozenset({str})
    return _NUMBERS if datatype.startswith("FP") else _INTEGERS


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of the model; -1 in `shape` stands for any size, first of all the number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: Any = field(init=False)
    types: frozenset[type] = field(init=False)
    may_overflow: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", DTYPES[self.datatype])
        object.__setattr__(self, "types", accepted(self.datatype))
        # JSON has neither NaN nor infinities, so only a number too large for the datatype becomes one.
        object.__setattr__(self, "may_overflow", self.datatype in ("FP16", "FP32"))

    def decode(self, tensor: dict[str, Any], index: int) -> Array:
        """The data of `inputs[index]` as an array of its declared shape. Raises BadRequest naming the field."""
        shape: Any = tensor.get("shape")
        count = self._count(shape, index)
        data = tensor.get("data")
        if type(data) is not list or len(data) != count or type(data[0]) is list:
            data = self._unnested(data, shape, count, index)
        if not self.types.issuperset(map(type, data)):
            raise self._wrong_type(data, index)
        try:
            flat = np.array(data, dtype=self.dtype)
        except OverflowError as exc:
            raise self._out_of_range(data, index) from exc
        # The square sum is a cheap look: it is finite only when every value is.
        if self.may_overflow and not math.isfinite(flat.dot(flat)) and not np.isfinite(flat).all():
            raise self._out_of_range(data, index)
        return flat.reshape(shape)

    def _count(self, shape: Any, index: int) -> int:
        """How many values a shape holds. Raises BadRequest when it is not a shape of this input."""
        if type(shape) is not list or len(shape) != len(self.shape):
            raise self._wrong_shape(shape, index)
        count = 1
        for size, fixed in zip(shape, self.shape, strict=True):
            if type(size) is not int or size < 1 or (fixed != -1 and fixed != size):
                raise self._wrong_shape(shape, index)
            count *= size
        return count

    def _wrong_shape(self, shape: Any, index: int) -> BadRequest:
        return BadRequest(
            f"inputs[{index}].shape is {_short(shape)}; input {self.name!r} has shape {list(self.shape)}, "
            "where -1 stands for any positive number"
        )

    def _unnested(self, data: Any, shape: list[int], count: int, index: int) -> list[Any]:
        """The values as one row-major list. Raises BadRequest when there are not as many as the shape says."""
        where = f"inputs[{index}].data"
        if type(data) is not list:
            raise BadRequest(f"{where} must be a JSON array of {count} values, got {_kind(data)}")
        if data and type(data[0]) is list:
            data = flattened(data, shape, where)
        if len(data) != count:
            raise BadRequest(
                f"{where} has {len(data)} values but inputs[{index}].shape {shape} needs {count}; make them agree"
            )
        return list(data)

    def _wrong_type(self, data: list[Any], index: int) -> BadRequest:
        at = next(i for i, value in enumerate(data) if type(value) not in self.types)
        wanted = " or ".join(sorted(_JSON_NAMES[kind] for kind in self.types))
        return BadRequest(
            f"inputs[{index}].data[{at}] is {_kind(data[at])}; input {self.name!r} has datatype {self.datatype}, "
            f"which takes {wanted}"
        )

    def _out_of_range(self, data: list[Any], index: int) -> BadRequest:
        at = next((i for i, value in enumerate(data) if not self._fits(value)), 0)
        return BadRequest(
            f"inputs[{index}].data[{at}] is {_short(data[at])}; input {self.name!r} has datatype {self.datatype}, "
            "which cannot hold it"
        )

    def _fits(self, value: Any) -> bool:
        limits: Any = np.finfo(self.dtype) if self.datatype.startswith("FP") else np.iinfo(self.dtype)
        return bool(limits.min <= value <= limits.max)


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    by_name: dict[str, TensorSpec] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {spec.name: spec for spec in self.inputs})

    def decode(self, tensors: Any) -> tuple[dict[str, Array], int]:
        """All inputs by name, and the number of rows, which all inputs share. Raises BadRequest."""
        if type(tensors) is not list:
            raise BadRequest(f"inputs must be a JSON array of tensors, got {_kind(tensors)}")
        feed: dict[str, Array] = {}
        rows = -1
        for index, tensor in enumerate(tensors):
            spec = self._spec_of(tensor, index)
            if spec.name in feed:
                raise BadRequest(f"inputs[{index}].name {spec.name!r} is given twice; send each input once")
            feed[spec.name] = array = spec.decode(tensor, index)
            if rows != array.shape[0]:
                if index:
                    raise BadRequest(
                        f"inputs[{index}].shape[0] is {array.shape[0]} but inputs[0].shape[0] is {rows}; "
                        "all inputs must have the same number of rows"
                    )
                rows = array.shape[0]
        if len(feed) != len(self.inputs):
            missing = [spec.name for spec in self.inputs if spec.name not in feed]
            raise BadRequest(f"inputs lacks {missing}; the model needs {[spec.name for spec in self.inputs]}")
        return feed, rows

    def _spec_of(self, tensor: Any, index: int) -> TensorSpec:
        if type(tensor) is not dict:
            raise BadRequest(f"inputs[{index}] must be a JSON object, got {_kind(tensor)}")
        if len(tensor) != 4 or not _PLAIN_FIELDS.issuperset(tensor):
            check_fields(tensor, _TENSOR_FIELDS, f"inputs[{index}]")
        name = tensor.get("name")
        spec = self.by_name.get(name) if type(name) is str else None
        if spec is None:
            raise BadRequest(f"inputs[{index}].name is {_short(name)}; the model's inputs are {list(self.by_name)}")
        datatype = tensor.get("datatype")
        if datatype != spec.datatype:
            raise BadRequest(
                f"inputs[{index}].datatype is {_short(datatype)}; input {name!r} has datatype {spec.datatype}"
            )
        return spec


def check_fields(document: dict[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse unknown fields and parameters that would ask for something this server does not do."""
    unknown = sorted(set(document) - known)
    if unknown:
        raise BadRequest(f"{where} has the unknown field {unknown[0]!r}; known are {sorted(known)}")
    parameters = document.get("parameters")
    if parameters is None:
        return
    if type(parameters) is not dict:
        raise BadRequest(f"{where}.parameters must be a JSON object, got {_kind(parameters)}")
    for name, value in parameters.items():
        if name not in _HARMLESS_PARAMETERS and value is not False:
            raise BadRequest(f"{where}.parameters.{name} is not supported; leave it out (data travels as JSON)")


def flattened(data: Sequence[Any], shape: Sequence[int], where: str) -> list[Any]:
    """Nested arrays as one row-major list; the nesting must be exactly `shape`."""
    level, path = list(data), where
    for depth, size in enumerate(shape[:-1]):
        expected = math.prod(shape[: depth + 1])
        inner = shape[depth + 1]
        if len(level) != expected or any(type(part) is not list or len(part) != inner for part in level):
            raise BadRequest(f"{path} is nested, but not as shape {list(shape)} says at depth {depth} (size {size})")
        level = [value for part in level for value in part]
    return level


_JSON_NAMES: dict[type, str] = {
    bool: "true or false",
    str: "a string",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _kind(value: Any) -> str:
    return _JSON_NAMES.get(type(value), type(value).__name__)


def _short(value: Any, limit: int = 60) -> str:
    """A value for a message: JSON-like, never longer than `limit` characters."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
