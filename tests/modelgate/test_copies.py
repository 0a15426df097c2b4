"""Which outputs repeat inputs: by name, through any chain of operators that only move values, and out of branches."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from plumbline_modelgate import check, copied_inputs
from tests.serving import models


def text(*nodes: onnx.NodeProto, outputs: tuple[str, ...]) -> bytes:
    """A model of the text inputs a and b, with a constant flag `ask`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info("a", TensorProto.STRING, ["N", 1]),
            helper.make_tensor_value_info("b", TensorProto.STRING, ["N", 1]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.STRING, ["N", None]) for name in outputs],
        [numpy_helper.from_array(np.array([True]), "ask")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def checked(data: bytes) -> dict[str, frozenset[str]]:
    check(data)
    return copied_inputs(data)


def test_an_output_that_is_computed_repeats_nothing() -> None:
    assert checked(models.logistic()) == {}


def test_an_output_that_is_an_input_repeats_it() -> None:
    assert checked(models.every_type({"city"})) == {"city_out": frozenset({"city"})}


def test_values_are_followed_through_operators_that_move_them() -> None:
    nodes = (
        helper.make_node("Concat", ["a", "b"], ["both"], axis=1),
        helper.make_node("Transpose", ["both"], ["turned"]),
        helper.make_node("Identity", ["turned"], ["out"]),
        helper.make_node("Identity", ["b"], ["other"]),
    )
    assert checked(text(*nodes, outputs=("out", "other"))) == {"out": frozenset({"a", "b"}), "other": frozenset({"b"})}


def test_values_are_followed_out_of_branches() -> None:
    def branch(source: str) -> onnx.GraphProto:
        inside = f"{source}_inside"
        return helper.make_graph(
            [helper.make_node("Identity", [source], [inside])],
            source,
            [],
            [helper.make_tensor_value_info(inside, TensorProto.STRING, ["N", 1])],
        )

    node = helper.make_node("If", ["ask"], ["out"], then_branch=branch("a"), else_branch=branch("b"))
    assert checked(text(node, outputs=("out",))) == {"out": frozenset({"a", "b"})}
