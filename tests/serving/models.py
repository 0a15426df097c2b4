"""Small ONNX models whose answers can be worked out by hand."""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = (0.5, -0.25, 1.0)
OPSET = 17


def logistic(bias: float = 0.0) -> bytes:
    """probability = sigmoid(0.5·a - 0.25·b + 1.0·c + bias) of one input X with three columns."""
    return _bytes(
        [
            helper.make_node("MatMul", ["X", "W"], ["score"]),
            helper.make_node("Add", ["score", "B"], ["shifted"]),
            helper.make_node("Sigmoid", ["shifted"], ["probability"]),
        ],
        inputs=[helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        outputs=[helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])],
        constants={
            "W": np.array(WEIGHTS, dtype=np.float32).reshape(3, 1),
            "B": np.array([bias], dtype=np.float32),
        },
    )


def constant(value: float) -> bytes:
    """probability = value for each row of X with three columns; tells variants apart."""
    return _bytes(
        [
            helper.make_node("ReduceSum", ["X", "axis"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "value"], ["probability"]),
        ],
        inputs=[helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        outputs=[helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])],
        constants={
            "axis": np.array([1], dtype=np.int64),
            "zero": np.array([0.0], dtype=np.float32),
            "value": np.array([value], dtype=np.float32),
        },
    )


def every_type(given_back: Collection[str] | None = None) -> bytes:
    """Gives back its inputs unchanged, all or some: numbers of several kinds, a flag and a text, one column each."""
    kinds = {
        "price": TensorProto.FLOAT,
        "ratio": TensorProto.DOUBLE,
        "count": TensorProto.INT64,
        "tiny": TensorProto.INT8,
        "flag": TensorProto.BOOL,
        "city": TensorProto.STRING,
    }
    back = [name for name in kinds if given_back is None or name in given_back]
    return _bytes(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in back],
        inputs=[helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in kinds.items()],
        outputs=[helper.make_tensor_value_info(f"{name}_out", kinds[name], ["N", 1]) for name in back],
    )


def slow(products: int, size: int = 256) -> bytes:
    """probability = 0.5 for each row of X with three columns, after so many products of square matrices.

    A product of 256 x 256 takes a core from 0.2 ms to 1 ms, whatever the rows.
    """
    names = [f"product{number}" for number in range(products + 1)]
    return _bytes(
        [
            helper.make_node("ReduceMean", ["X"], ["mean"], keepdims=0),
            helper.make_node("Add", ["W", "mean"], [names[0]]),  # so that nothing can be worked out ahead
            *(helper.make_node("MatMul", ["W", names[at]], [names[at + 1]]) for at in range(products)),
            helper.make_node("ReduceMean", [names[-1]], ["whole"], keepdims=0),
            helper.make_node("ReduceSum", ["X", "axis"], ["sum"], keepdims=1),
            helper.make_node("Add", ["sum", "whole"], ["score"]),
            helper.make_node("Mul", ["score", "zero"], ["nothing"]),
            helper.make_node("Sigmoid", ["nothing"], ["probability"]),
        ],
        inputs=[helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        outputs=[helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])],
        constants={
            "W": np.full((size, size), 1 / size, dtype=np.float32),
            "axis": np.array([1], dtype=np.int64),
            "zero": np.array([0.0], dtype=np.float32),
        },
    )


def personal() -> bytes:
    """Gives back four inputs unchanged, and a score that it looks up in a table of three by the input `place`."""
    kinds = {
        "name": TensorProto.STRING,
        "note": TensorProto.STRING,
        "salary": TensorProto.INT64,
        "city": TensorProto.STRING,
    }
    return _bytes(
        [
            *(helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds),
            helper.make_node("Gather", ["table", "place"], ["score"]),
        ],
        inputs=[
            helper.make_tensor_value_info(name, kind, ["N", 1])
            for name, kind in (kinds | {"place": TensorProto.INT64}).items()
        ],
        outputs=[
            *(helper.make_tensor_value_info(f"{name}_out", kind, ["N", 1]) for name, kind in kinds.items()),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1]),
        ],
        constants={"table": np.array([0.1, 0.2, 0.3], dtype=np.float32)},
    )


def _bytes(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    initializers = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return model.SerializeToString()
