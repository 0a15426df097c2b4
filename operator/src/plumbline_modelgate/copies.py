"""Which outputs of a model repeat inputs: what is redacted in a request must not come back in the answer's record."""

from collections.abc import Iterable

import onnx

_MOVES = frozenset(
    {
        "ArrayFeatureExtractor",
        "Cast",
        "CastLike",
        "CategoryMapper",
        "CenterCropPad",
        "Compress",
        "Concat",
        "ConcatFromSequence",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "FeatureVectorizer",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Max",
        "Min",
        "Pad",
        "Reshape",
        "ReverseSequence",
        "Scatter",
        "ScatterElements",
        "ScatterND",
        "SequenceAt",
        "SequenceConstruct",
        "Slice",
        "SpaceToDepth",
        "Split",
        "SplitToSequence",
        "Squeeze",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "Tile",
        "TopK",
        "Transpose",
        "Unique",
        "Unsqueeze",
        "Where",
    }
)
"""Operators that move, cut, pick or paste values without computing new ones."""

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
        bodies = [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs) if body.node]
        found = given if node.op_type in _MOVES else _NAMES
        for body in bodies:  # of an If, a Loop or a Scan: it sees the values around it, and takes the node's inputs
            inside = carried | {one.name: given for one in body.input}
            _follow(body.node, inside)
            found = found.union(*(inside.get(one.name, _NAMES) for one in body.output))
        if found:
            carried |= dict.fromkeys(node.output, found)
