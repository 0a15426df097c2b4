"""Small models that are fine, to be spoilt in one place each."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
    """A node of the standard domain, unless `domain` is among the attributes."""
    return helper.make_node(op, inputs, outputs, **attributes)


def value(name: str, kind: int = TensorProto.FLOAT, shape: list[int | str] | None = None) -> onnx.ValueInfoProto:
    """A declared tensor, by default a column of floats."""
    return helper.make_tensor_value_info(name, kind, ["rows", 1] if shape is None else shape)


def linear() -> ModelProto:
    """y = 2 x + 1, for a column x."""
    graph = helper.make_graph(
        [node("Mul", ["x", "two"], ["doubled"]), node("Add", ["doubled", "one"], ["y"])],
        "linear",
        [value("x")],
        [value("y")],
        [
            numpy_helper.from_array(np.array([[2]], dtype=np.float32), "two"),
            numpy_helper.from_array(np.array([[1]], dtype=np.float32), "one"),
        ],
    )
    return model_of(graph)


def model_of(graph: GraphProto, opsets: tuple[tuple[str, int], ...] = (("", 17), ("ai.onnx.ml", 3))) -> ModelProto:
    """A model around a graph, importing these operator sets."""
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def branching(inner: GraphProto) -> ModelProto:
    """A model whose `If` node runs `inner` on one branch; `inner` answers with `out`."""
    other = helper.make_graph([node("Identity", ["x"], ["out"])], "other", [], [value("out")])
    graph = helper.make_graph(
        [
            node("ReduceSum", ["x"], ["total"], keepdims=0),
            node("Cast", ["total"], ["choice"], to=TensorProto.BOOL),
            node("If", ["choice"], ["y"], then_branch=inner, else_branch=other),
        ],
        "branching",
        [value("x")],
        [value("y")],
    )
    return model_of(graph)


def branch(*extra: NodeProto, initializers: tuple[TensorProto, ...] = ()) -> GraphProto:
    """A branch that answers with x."""
    nodes = [*extra, node("Identity", ["x"], ["out"])]
    return helper.make_graph(nodes, "branch", [], [value("out")], list(initializers))


def external(name: str = "weights") -> TensorProto:
    """A tensor whose bytes lie in another file, outside of the model's folder at that."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def sparse(values: TensorProto, indices: TensorProto, dims: list[int]) -> onnx.SparseTensorProto:
    """A sparse tensor of these halves."""
    return onnx.SparseTensorProto(values=values, indices=indices, dims=dims)


def attribute(name: str, **fields: Any) -> AttributeProto:
    """An attribute with raw fields, past the checks of onnx.helper."""
    return AttributeProto(name=name, **fields)
