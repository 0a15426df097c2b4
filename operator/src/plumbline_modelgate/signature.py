"""A model's inputs and outputs in the words of the Open Inference Protocol v2."""

from typing import Literal, get_args

from onnx import GraphProto, TensorProto, ValueInfoProto

from plumbline_contract.manifest import Tensor
from plumbline_modelgate.errors import Bounds, ModelRefused, text

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES"
]

DATATYPES: dict[int, Datatype] = {
    TensorProto.BOOL: "BOOL",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}
ROWS = -1


def inputs_of(graph: GraphProto, bounds: Bounds) -> tuple[Tensor, ...]:
    """What a caller must send: the graph's inputs that no initializer fills. The first dimension is the rows."""
    filled = {tensor.name for tensor in graph.initializer}
    filled |= {tensor.values.name for tensor in graph.sparse_initializer}
    found = tuple(_input(value, bounds) for value in graph.input if value.name not in filled)
    _count(found, "input", bounds.inputs)
    return found


def outputs_of(graph: GraphProto, bounds: Bounds) -> tuple[Tensor, ...]:
    """What the model answers with; -1 also stands for a length only known after a run."""
    found = tuple(_tensor(value, "output", bounds, default=(ROWS,)) for value in graph.output)
    _count(found, "output", bounds.outputs)
    return found


def _count(found: tuple[Tensor, ...], what: str, most: int) -> None:
    if not 1 <= len(found) <= most:
        raise ModelRefused("Signature", f"the model has {len(found)} {what}s; 1 to {most} are allowed")
    names = [tensor.name for tensor in found]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ModelRefused("Signature", f"the {what} {twice!r} is declared twice")


def _input(value: ValueInfoProto, bounds: Bounds) -> Tensor:
    tensor = _tensor(value, "input", bounds, default=None)
    where = f"input {tensor.name!r}"
    if not tensor.shape or tensor.shape[0] != ROWS:
        raise ModelRefused(
            "Signature",
            f"{where} has the shape {list(tensor.shape)}; its first dimension must be dynamic, for the number of rows",
        )
    if ROWS in tensor.shape[1:]:
        raise ModelRefused(
            "Signature", f"{where} has the shape {list(tensor.shape)}; only its first dimension may be dynamic"
        )
    return tensor


def _tensor(value: ValueInfoProto, what: str, bounds: Bounds, default: tuple[int, ...] | None) -> Tensor:
    name = text(value.name, f"the name of an {what}")
    if not name.isprintable() or not 1 <= len(name.encode()) <= bounds.name_bytes:
        raise ModelRefused("Signature", f"an {what}'s name is empty, longer than {bounds.name_bytes} bytes or odd")
    if value.type.WhichOneof("value") != "tensor_type":
        kind = value.type.WhichOneof("value") or "nothing"
        raise ModelRefused(
            "Signature",
            f"{what} {name!r} is of {kind}, not a tensor; a classifier exported with ZipMap needs zipmap=False",
        )
    tensor = value.type.tensor_type
    if tensor.elem_type not in DATATYPES:
        allowed = ", ".join(get_args(Datatype))
        raise ModelRefused("Signature", f"{what} {name!r} has element type {tensor.elem_type}; allowed: {allowed}")
    shape = _shape(value, what, bounds) if tensor.HasField("shape") else default
    if shape is None:
        raise ModelRefused("Signature", f"{what} {name!r} declares no shape; export it with one")
    return Tensor(name=name, datatype=DATATYPES[tensor.elem_type], shape=shape)


def _shape(value: ValueInfoProto, what: str, bounds: Bounds) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    if len(dims) > bounds.rank:
        raise ModelRefused("Signature", f"{what} {value.name!r} has {len(dims)} dimensions; at most {bounds.rank}")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else ROWS for dim in dims)
    for dimension in shape:
        if dimension != ROWS and not 1 <= dimension <= bounds.dimension:
            raise ModelRefused("Signature", f"{what} {value.name!r} has a dimension of {dimension}")
    return shape
