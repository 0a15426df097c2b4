"""Which outputs repeat inputs: by name, through any chain of operators that only move values, and out of branches."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, defs, helper, numpy_helper

from plumbline_modelgate import check, copied_inputs
from plumbline_modelgate.copies import COMPUTES
from plumbline_modelgate.gate import OPSETS
from tests.serving import models

MAY_MOVE = frozenset(
    {
        "Abs",
        "And",
        "ArrayFeatureExtractor",
        "Attention",
        "AveragePool",
        "BitCast",
        "BitwiseAnd",
        "BitwiseOr",
        "Cast",
        "CastLike",
        "CastMap",
        "CategoryMapper",
        "CausalConvWithState",
        "Ceil",
        "Celu",
        "CenterCropPad",
        "Clip",
        "Col2Im",
        "Compress",
        "Concat",
        "ConcatFromSequence",
        "CumProd",
        "CumSum",
        "DepthToSpace",
        "Det",
        "DictVectorizer",
        "Dropout",
        "Einsum",
        "Elu",
        "Expand",
        "FeatureVectorizer",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "GridSample",
        "HardSwish",
        "Identity",
        "ImageDecoder",
        "Imputer",
        "LabelEncoder",
        "LayerNormalization",
        "LeakyRelu",
        "LinearAttention",
        "Loop",
        "LpPool",
        "Max",
        "MaxPool",
        "MaxRoiPool",
        "MaxUnpool",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "OneHot",
        "Optional",
        "OptionalGetElement",
        "Or",
        "PRelu",
        "Pad",
        "Range",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "ReverseSequence",
        "RoiAlign",
        "RotaryEmbedding",
        "Round",
        "Scan",
        "Scatter",
        "ScatterElements",
        "ScatterND",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceErase",
        "SequenceInsert",
        "Shrink",
        "Slice",
        "Softplus",
        "SpaceToDepth",
        "Split",
        "SplitToSequence",
        "Squeeze",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "Sum",
        "Swish",
        "TensorScatter",
        "ThresholdedRelu",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unique",
        "Unsqueeze",
        "Upsample",
        "Where",
        "ZipMap",
    }
)
"""Operators of which some output value may be an input value as it came."""


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


def test_of_every_operator_it_is_said_whether_it_may_move_values() -> None:
    known = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain in OPSETS}
    assert known - MAY_MOVE - COMPUTES == set(), "look at these, and say which"
    assert (MAY_MOVE | COMPUTES) - known == set()
    assert MAY_MOVE.isdisjoint(COMPUTES)


def repeated(*nodes: onnx.NodeProto) -> frozenset[str]:
    """Which of the inputs a and b the output out may repeat, in a graph that need not make sense otherwise."""
    return copied_inputs(text(*nodes, outputs=("out",))).get("out", frozenset())


@pytest.mark.parametrize("operator", sorted(MAY_MOVE))
def test_values_are_followed_through_every_operator_that_may_move_them(operator: str) -> None:
    assert repeated(helper.make_node(operator, ["a"], ["out"])) == {"a"}


@pytest.mark.parametrize("operator", sorted(COMPUTES))
def test_new_values_repeat_nothing(operator: str) -> None:
    assert repeated(helper.make_node(operator, ["a", "b"], ["out"])) == set()


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Einsum"])
def test_what_gives_back_a_single_value_computes_from_several(operator: str) -> None:
    assert repeated(helper.make_node(operator, ["a", "b"], ["out"])) == set()


def test_an_operator_nobody_has_looked_at_may_move_values() -> None:
    assert repeated(helper.make_node("FromTheFuture", ["a"], ["out"])) == {"a"}


def test_a_loop_that_never_runs_gives_back_what_it_was_given() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("StringNormalizer", ["fixed"], ["fresh"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.STRING, ["N", 1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("fresh", TensorProto.STRING, ["N", 1]),
        ],
    )
    assert "a" in repeated(helper.make_node("Loop", ["", "ask", "a"], ["out"], body=body))
