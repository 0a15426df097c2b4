"""Which outputs of a model repeat inputs: what is redacted in a request must not come back in the answer's record."""

from collections.abc import Iterable

import onnx

COMPUTES = frozenset(
    {
        "Acos",
        "Acosh",
        "Add",
        "AffineGrid",
        "ArgMax",
        "ArgMin",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BatchNormalization",
        "Bernoulli",
        "Binarizer",
        "BitShift",
        "BitwiseNot",
        "BitwiseXor",
        "BlackmanWindow",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "Cos",
        "Cosh",
        "DFT",
        "DeformConv",
        "DequantizeLinear",
        "Div",
        "DynamicQuantizeLinear",
        "Equal",
        "Erf",
        "Exp",
        "EyeLike",
        "GRU",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HammingWindow",
        "HannWindow",
        "HardSigmoid",
        "Hardmax",
        "If",
        "InstanceNormalization",
        "IsInf",
        "IsNaN",
        "LRN",
        "LSTM",
        "Less",
        "LessOrEqual",
        "LinearClassifier",
        "LinearRegressor",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "MatMul",
        "MatMulInteger",
        "MeanVarianceNormalization",
        "MelWeightMatrix",
        "Mul",
        "Multinomial",
        "Neg",
        "NegativeLogLikelihoodLoss",
        "NonMaxSuppression",
        "NonZero",
        "Normalizer",
        "Not",
        "OneHotEncoder",
        "OptionalHasElement",
        "Pow",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "RMSNormalization",
        "RNN",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Reciprocal",
        "ReduceLogSum",
        "ReduceSumSquare",
        "RegexFullMatch",
        "STFT",
        "SVMClassifier",
        "SVMRegressor",
        "Scaler",
        "Selu",
        "SequenceEmpty",
        "SequenceLength",
        "SequenceMap",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Size",
        "Softmax",
        "SoftmaxCrossEntropyLoss",
        "Softsign",
        "Sqrt",
        "Sub",
        "SwiGLU",
        "Tan",
        "Tanh",
        "TfIdfVectorizer",
        "TreeEnsemble",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
        "Xor",
    }
)
"""Operators whose outputs are new values, and those whose bodies alone say what comes out.

All others may give back a value as it came: they move, cut, pick or paste, or leave some values as they are (Relu those
above zero, ReduceSum those that stand alone). One that is not known here may, too.
"""

_ALONE = frozenset({"Einsum", "Mean", "Sum"})
"""Operators that compute from several inputs, and move, or give back, a single one."""

_NAMES = frozenset[str]()


def copied_inputs(data: bytes) -> dict[str, frozenset[str]]:
    """Output → the inputs whose values it may repeat, for a model that has passed the gate; all other outputs lack.

    An output that is computed from an input, were it only by adding nothing, is not found: that is the model's author's
    to say.
    """
    graph = onnx.ModelProto.FromString(data).graph
    stored = {tensor.name for tensor in graph.initializer}
    carried = {one.name: frozenset({one.name}) for one in graph.input if one.name not in stored}
    _follow(graph.node, carried)
    found = {one.name: carried.get(one.name, _NAMES) for one in graph.output}
    return {name: inputs for name, inputs in found.items() if inputs}


def _follow(nodes: Iterable[onnx.NodeProto], carried: dict[str, frozenset[str]]) -> None:
    """Add what each value of these nodes, which come in the order of their use, may carry."""
    for node in nodes:
        given = _NAMES.union(*(carried.get(name, _NAMES) for name in node.input))
        bodies = [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs) if body.output]
        found = given if _moves(node) else _NAMES
        for body in bodies:  # of an If, a Loop or a Scan: it sees the values around it, and takes the node's inputs
            inside = carried | {one.name: given for one in body.input}
            _follow(body.node, inside)
            found = found.union(*(inside.get(one.name, _NAMES) for one in body.output))
        if found:
            carried |= dict.fromkeys(node.output, found)


def _moves(node: onnx.NodeProto) -> bool:
    if node.op_type in _ALONE:
        return len(node.input) == 1
    return node.op_type not in COMPUTES
