"""From the JSON of an inference request to arrays, checked against the model's signature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbline_serving.errors import BadRequest

Array = NDArray[Any]

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
"""Datatypes of the Open Inference Protocol v2 and the arrays ONNX Runtime takes for them."""

_NUMBERS, _INTEGERS = frozenset({float, int}), frozenset({int})
_TENSOR_FIELDS = frozenset({"name", "shape", "datatype", "data", "parameters"})
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

    def decode(self, tensor: dict[str, Any], where: str) -> Array:
        """The tensor's data as an array of its declared shape. Raises BadRequest naming the field."""
        shape = self._shape(tensor.get("shape"), where)
        count = math.prod(shape)
        data = tensor.get("data")
        if type(data) is not list:
            raise BadRequest(f"{where}.data must be a JSON array of {count} values, got {_kind(data)}")
        if data and type(data[0]) is list:
            data = flattened(data, shape, f"{where}.data")
        if len(data) != count:
            raise BadRequest(
                f"{where}.data has {len(data)} values but {where}.shape {list(shape)} needs {count}; make them agree"
            )
        if not self.types.issuperset(map(type, data)):
            raise self._wrong_type(data, where)
        try:
            flat = np.array(data, dtype=self.dtype)
        except OverflowError as exc:
            raise self._out_of_range(data, where) from exc
        if self.may_overflow and not math.isfinite(flat.dot(flat)) and not np.isfinite(flat).all():
            raise self._out_of_range(data, where)
        return flat.reshape(shape)

    def _shape(self, shape: Any, where: str) -> list[int]:
        if type(shape) is not list or not all(type(size) is int and size > 0 for size in shape):
            raise BadRequest(f"{where}.shape must be a JSON array of positive integers, got {_short(shape)}")
        if len(shape) != len(self.shape) or any(
            want not in (-1, size) for want, size in zip(self.shape, shape, strict=True)
        ):
            raise BadRequest(
                f"{where}.shape is {shape} but the model's input {self.name!r} has shape {list(self.shape)} "
                "(-1 stands for any size)"
            )
        return shape

    def _wrong_type(self, data: list[Any], where: str) -> BadRequest:
        at = next(i for i, value in enumerate(data) if type(value) not in self.types)
        wanted = " or ".join(sorted(_JSON_NAMES[kind] for kind in self.types))
        return BadRequest(
            f"{where}.data[{at}] is {_kind(data[at])}; input {self.name!r} has datatype {self.datatype}, "
            f"which takes {wanted}"
        )

    def _out_of_range(self, data: list[Any], where: str) -> BadRequest:
        at = next((i for i, value in enumerate(data) if not self._fits(value)), 0)
        return BadRequest(
            f"{where}.data[{at}] is {_short(data[at])}, outside the range of {self.datatype} of input {self.name!r}"
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
        with np.errstate(over="ignore"):  # a number too large for FP32 is answered, not printed
            feed, rows = self._decode_each(tensors)
        if len(feed) != len(self.inputs):
            missing = [spec.name for spec in self.inputs if spec.name not in feed]
            raise BadRequest(f"inputs lacks {missing}; the model needs {[spec.name for spec in self.inputs]}")
        return feed, rows

    def _decode_each(self, tensors: list[Any]) -> tuple[dict[str, Array], int]:
        feed: dict[str, Array] = {}
        rows = -1
        for index, tensor in enumerate(tensors):
            spec = self._spec_of(tensor, index)
            if spec.name in feed:
                raise BadRequest(f"inputs[{index}].name {spec.name!r} is given twice; send each input once")
            feed[spec.name] = array = spec.decode(tensor, f"inputs[{index}]")
            if rows != array.shape[0]:
                if index:
                    raise BadRequest(
                        f"inputs[{index}].shape[0] is {array.shape[0]} but inputs[0].shape[0] is {rows}; "
                        "all inputs must have the same number of rows"
                    )
                rows = array.shape[0]
        return feed, rows

    def _spec_of(self, tensor: Any, index: int) -> TensorSpec:
        where = f"inputs[{index}]"
        if type(tensor) is not dict:
            raise BadRequest(f"{where} must be a JSON object, got {_kind(tensor)}")
        if not _TENSOR_FIELDS.issuperset(tensor) or "parameters" in tensor:
            check_fields(tensor, _TENSOR_FIELDS, where)
        name = tensor.get("name")
        spec = self.by_name.get(name) if type(name) is str else None
        if spec is None:
            raise BadRequest(f"{where}.name is {_short(name)}; the model's inputs are {list(self.by_name)}")
        if tensor.get("datatype") != spec.datatype:
            raise BadRequest(
                f"{where}.datatype is {_short(tensor.get('datatype'))}; input {name!r} has datatype {spec.datatype}"
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
