"""Files that must not pass the gate: (name, code of the refusal, bytes)."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, TypeProto, helper, numpy_helper

from tests.modelgate.models import (
    attribute,
    branch,
    branching,
    external,
    linear,
    model_of,
    node,
    sparse,
    value,
)

Spoil = Callable[[ModelProto], object]


def spoilt(change: Spoil) -> bytes:
    """The good model after one change."""
    model = linear()
    change(model)
    return model.SerializeToString()


class _Runs:
    """An object whose unpickling would run a program."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("a pickle was opened",)


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Runs()))
    return sink.getvalue()


def _npy() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.zeros(3))
    return sink.getvalue()


def _field(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes."""
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


def _nested(levels: int) -> bytes:
    """Model → graph → node → attribute → graph → node → ..., deeper than a reader's stack may allow."""
    graph = b""
    for _ in range(levels):
        graph = _field(1, _field(5, _field(6, graph)))
    return b"\x08\x08" + _field(7, graph)


IMPOSTORS: list[tuple[str, str, bytes]] = [
    ("nothing", "Empty", b""),
    *((f"a pickle of protocol {p}", "NotONNX", pickle.dumps(_Runs(), protocol=p)) for p in range(6)),
    ("a zip, as PyTorch writes", "NotONNX", _zip()),
    ("an empty zip", "NotONNX", b"PK\x05\x06" + b"\0" * 18),
    ("a packed model", "NotONNX", gzip.compress(linear().SerializeToString())),
    ("HDF5, as Keras writes", "NotONNX", b"\x89HDF\r\n\x1a\n" + b"\0" * 100),
    ("a NumPy array", "NotONNX", _npy()),
    ("an executable", "NotONNX", b"\x7fELF" + b"\0" * 100),
    ("a Git LFS pointer", "NotONNX", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
    ("a script", "NotONNX", b"#!/bin/sh\nexit 0\n"),
    ("an error page", "NotONNX", b"<!DOCTYPE html><html></html>"),
    ("JSON", "NotONNX", b'{"learner": {}}'),
    ("ONNX Runtime's own format", "NotONNX", b"\x18\0\0\0ORTM" + b"\0" * 100),
    ("a truncated model", "NotONNX", linear().SerializeToString()[:-7]),
    ("noise", "NotONNX", bytes(range(255, 0, -1)) * 4),
    ("graphs nested a thousand deep", "NotONNX", _nested(1000)),
]


def _function(model: ModelProto) -> None:
    function = helper.make_function("", "Mine", ["a"], ["b"], [node("Identity", ["a"], ["b"])], model.opset_import)
    model.functions.append(function)


def _training(model: ModelProto) -> None:
    model.training_info.add()


def _custom_domain(model: ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def _imports_custom(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[0].domain = "com.microsoft"


def _unknown_field(model: ModelProto) -> None:
    model.MergeFromString(b"\xfa\x3f\x03abc")  # field 1023, bytes


def _unknown_deep(model: ModelProto) -> None:
    model.graph.node[0].MergeFromString(b"\xfa\x3f\x03abc")


def _two_versions(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 16))


HEADERS: list[tuple[str, str, Spoil]] = [
    ("no IR version", "IRVersion", lambda m: m.ClearField("ir_version")),
    ("an ancient IR version", "IRVersion", lambda m: setattr(m, "ir_version", 2)),
    ("an IR version to come", "IRVersion", lambda m: setattr(m, "ir_version", 99)),
    ("no graph", "NoGraph", lambda m: m.ClearField("graph")),
    ("a graph without nodes", "NoGraph", lambda m: m.graph.ClearField("node")),
    ("no operator set", "NoOpset", lambda m: m.ClearField("opset_import")),
    ("an ancient operator set", "OpsetVersion", lambda m: setattr(m.opset_import[0], "version", 6)),
    ("an operator set to come", "OpsetVersion", lambda m: setattr(m.opset_import[0], "version", 99)),
    ("a negative operator set", "OpsetVersion", lambda m: setattr(m.opset_import[0], "version", -1)),
    ("two versions of one operator set", "OpsetTwice", _two_versions),
    ("an operator set of a vendor", "Domain", _imports_custom),
    ("a local function", "LocalFunction", _function),
    ("training information", "TrainingInfo", _training),
    ("a field that ONNX does not have", "UnknownFields", _unknown_field),
    ("such a field inside a node", "UnknownFields", _unknown_deep),
    ("a huge description", "Metadata", lambda m: setattr(m, "doc_string", "x" * (1 << 20) + "x")),
]


def _overload(model: ModelProto) -> None:
    model.graph.node[0].overload = "mine"


def _reference(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(
        attribute("axis", ref_attr_name="axis", type=AttributeProto.INT),
    )


def _constant(**fields: object) -> Spoil:
    def change(model: ModelProto) -> None:
        constant = node("Constant", [], ["extra"])
        constant.attribute.append(attribute("value", **fields))
        model.graph.node.insert(0, constant)

    return change


def _indices() -> TensorProto:
    return numpy_helper.from_array(np.zeros(1, dtype=np.int64), "indices")


def _values() -> TensorProto:
    return numpy_helper.from_array(np.zeros(1, dtype=np.float32), "values")


NODES: list[tuple[str, str, Spoil]] = [
    ("an operator that nobody defined", "CustomOperator", lambda m: setattr(m.graph.node[0], "op_type", "Launch")),
    ("an operator newer than its set", "CustomOperator", lambda m: setattr(m.graph.node[0], "op_type", "Gelu")),
    ("an operator of another domain", "CustomOperator", lambda m: setattr(m.graph.node[0], "op_type", "Scaler")),
    ("a node of a vendor", "Domain", _custom_domain),
    ("a node of the training domain", "Domain", lambda m: setattr(m.graph.node[0], "domain", "ai.onnx.training")),
    ("an overload", "LocalFunction", _overload),
    ("a reference to a function's attribute", "LocalFunction", _reference),
    ("weights in another file", "ExternalData", lambda m: m.graph.initializer.append(external())),
    ("a constant in another file", "ExternalData", _constant(t=external(), type=AttributeProto.TENSOR)),
    ("a list of tensors elsewhere", "ExternalData", _constant(tensors=[external()], type=AttributeProto.TENSORS)),
    (
        "sparse weights elsewhere",
        "ExternalData",
        lambda m: m.graph.sparse_initializer.append(sparse(external(), _indices(), [1])),
    ),
    (
        "places of sparse weights elsewhere",
        "ExternalData",
        lambda m: m.graph.sparse_initializer.append(sparse(_values(), external(), [1])),
    ),
    (
        "a sparse constant elsewhere",
        "ExternalData",
        _constant(sparse_tensor=sparse(external(), _indices(), [1]), type=AttributeProto.SPARSE_TENSOR),
    ),
    (
        "a list of sparse tensors elsewhere",
        "ExternalData",
        _constant(sparse_tensors=[sparse(external(), _indices(), [1])], type=AttributeProto.SPARSE_TENSORS),
    ),
    (
        "a place without the mark that it is elsewhere",
        "ExternalData",
        lambda m: m.graph.initializer[0].external_data.add(key="location", value="/etc/passwd"),
    ),
    ("a segment of a tensor", "Segment", lambda m: setattr(m.graph.initializer[0].segment, "begin", 0)),
    (
        "a sparse tensor of absurd size",
        "Dimension",
        lambda m: m.graph.sparse_initializer.append(sparse(_values(), _indices(), [1 << 40])),
    ),
]


def _tensor(**fields: object) -> Spoil:
    def change(model: ModelProto) -> None:
        tensor = TensorProto(name="extra", **fields)
        model.graph.initializer.append(tensor)

    return change


TENSORS: list[tuple[str, str, Spoil]] = [
    ("a tensor of absurd size", "Dimension", _tensor(data_type=TensorProto.FLOAT, dims=[1 << 40])),
    ("a tensor of negative size", "Dimension", _tensor(data_type=TensorProto.FLOAT, dims=[-4])),
    ("a tensor of a million dimensions", "Dimension", _tensor(data_type=1, dims=[1 << 31] * 1_000_000)),
    ("a tensor larger than its bytes", "TensorSize", _tensor(data_type=1, dims=[1 << 20, 1 << 20], raw_data=b"\0" * 4)),
    ("a tensor smaller than its bytes", "TensorSize", _tensor(data_type=1, dims=[1], raw_data=b"\0" * 40)),
    ("a tensor with fewer elements", "TensorSize", _tensor(data_type=1, dims=[1000], float_data=[1.0])),
    ("texts fewer than said", "TensorSize", _tensor(data_type=TensorProto.STRING, dims=[1 << 30])),
    ("a tensor of no type", "ElementType", _tensor(data_type=TensorProto.UNDEFINED, dims=[1])),
    ("a tensor of complex numbers", "ElementType", _tensor(data_type=TensorProto.COMPLEX64, dims=[1])),
    ("a tensor of a type to come", "ElementType", _tensor(data_type=77, dims=[1])),
]


def _zipmap(model: ModelProto) -> None:
    inner = TypeProto()
    inner.map_type.key_type = TensorProto.INT64
    inner.map_type.value_type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(inner))


def _input(*args: object) -> Spoil:
    def change(model: ModelProto) -> None:
        model.graph.input[0].CopyFrom(value("x", *args))  # type: ignore[arg-type]  # spoilt on purpose

    return change


def _no_shape(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


SIGNATURES: list[tuple[str, str, Spoil]] = [
    ("no input", "Signature", lambda m: m.graph.ClearField("input")),
    ("no output", "Signature", lambda m: m.graph.ClearField("output")),
    ("an input twice", "Signature", lambda m: m.graph.input.append(value("x"))),
    ("an input without a name", "Signature", lambda m: setattr(m.graph.input[0], "name", "")),
    ("an input with a line end in its name", "Signature", lambda m: setattr(m.graph.input[0], "name", "x\ny")),
    ("an input with an endless name", "Signature", lambda m: setattr(m.graph.input[0], "name", "x" * 513)),
    ("an input without a type", "Signature", lambda m: m.graph.input[0].ClearField("type")),
    ("an input without a shape", "Signature", _no_shape),
    ("an input of one row only", "Signature", _input(TensorProto.FLOAT, [1, 1])),
    ("an input without rows", "Signature", _input(TensorProto.FLOAT, [])),
    ("an input of unknown width", "Signature", _input(TensorProto.FLOAT, ["rows", "width"])),
    ("an input of absurd width", "Signature", _input(TensorProto.FLOAT, ["rows", 1 << 40])),
    ("an input of very many dimensions", "Signature", _input(TensorProto.FLOAT, ["rows", *[1] * 40])),
    ("an input of complex numbers", "Signature", _input(TensorProto.COMPLEX128, ["rows", 1])),
    ("an output of maps", "Signature", _zipmap),
]


def _deep(levels: int) -> ModelProto:
    inner = branch()
    for _ in range(levels):
        choice = numpy_helper.from_array(np.array(True), "choice")
        outer = helper.make_graph(
            [node("If", ["choice"], ["out"], then_branch=inner, else_branch=branch())], "outer", [], [value("out")]
        )
        outer.initializer.append(choice)
        inner = outer
    return branching(inner)


def _loop_body() -> ModelProto:
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Launch", ["x"], ["out"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, [])],
        [value("on", TensorProto.BOOL, []), value("out")],
    )
    graph = helper.make_graph([node("Loop", ["", ""], ["y"], body=body)], "looping", [value("x")], [value("y")])
    return model_of(graph)


NESTED: list[tuple[str, str, bytes]] = [
    (
        "weights elsewhere inside a branch",
        "ExternalData",
        branching(branch(initializers=(external(),))).SerializeToString(),
    ),
    (
        "a constant elsewhere inside a branch",
        "ExternalData",
        branching(branch(node("Constant", [], ["extra"], value=external()))).SerializeToString(),
    ),
    (
        "a vendor's node inside a branch",
        "Domain",
        branching(branch(node("Gelu", ["x"], ["extra"], domain="com.microsoft"))).SerializeToString(),
    ),
    (
        "an unknown operator inside a branch",
        "CustomOperator",
        branching(branch(node("Launch", ["x"], ["extra"]))).SerializeToString(),
    ),
    ("an unknown operator inside a loop", "CustomOperator", _loop_body().SerializeToString()),
    ("branches in branches without end", "TooDeep", _deep(17).SerializeToString()),
]


def _cycle(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "y"


def _unknown_input(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def _twice(model: ModelProto) -> None:
    model.graph.node[1].output[0] = "doubled"


def _attribute(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("command", "rm"))


INCONSISTENT: list[tuple[str, str, Spoil]] = [
    ("a cycle", "Inconsistent", _cycle),
    ("a node that reads what nobody writes", "Inconsistent", _unknown_input),
    ("a name written twice", "Inconsistent", _twice),
    ("an attribute that the operator does not have", "Inconsistent", _attribute),
]


def _not_text(field: str, number: int) -> Spoil:
    """Sets a text field of the first node, or of the model, to bytes that are no text."""

    def change(model: ModelProto) -> None:
        message = {"node": model.graph.node, "input": model.graph.input, "opset_import": model.opset_import}[field][0]
        message.MergeFromString(_field(number, b"\xff\xfe"))

    return change


NOT_TEXT: list[tuple[str, str, Spoil]] = [
    ("an operator's name that is no text", "NotText", _not_text("node", 4)),
    ("an operator's domain that is no text", "NotText", _not_text("node", 7)),
    ("an input's name that is no text", "NotText", _not_text("input", 1)),
    ("an operator set's domain that is no text", "NotText", _not_text("opset_import", 1)),
]


def corpus() -> list[tuple[str, str, bytes]]:
    """Every poisoned file."""
    changed = [*HEADERS, *NODES, *TENSORS, *SIGNATURES, *INCONSISTENT, *NOT_TEXT]
    return [*IMPOSTORS, *((name, code, spoilt(change)) for name, code, change in changed), *NESTED]
