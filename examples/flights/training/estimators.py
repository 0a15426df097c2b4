"""The two kinds of model, and the graph that serving gets of either."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper
from settings import INPUTS, TEXTS, Settings
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler


def pipeline(settings: Settings, seed: int) -> Pipeline:
    """An unfitted pipeline over a frame with the settings' columns.

    A carrier, origin or destination that training never saw counts as none of the known ones.
    """
    texts = [name for name in settings.columns if name in TEXTS]
    numbers = [name for name in settings.columns if name not in TEXTS]
    if settings.model == "logistic":
        encode = [
            ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
            ("numbers", StandardScaler(), numbers),
        ]
        return make_pipeline(ColumnTransformer(encode), LogisticRegression(max_iter=settings.max_iter))
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    boosting = HistGradientBoostingClassifier(
        max_iter=settings.max_iter,
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.max_leaf_nodes,
        min_samples_leaf=100,
        l2_regularization=1.0,
        max_features=0.5,
        early_stopping=False,
        random_state=seed,
    )
    return make_pipeline(ColumnTransformer([("texts", codes, texts), ("numbers", "passthrough", numbers)]), boosting)


def to_graph(fitted: Pipeline, columns: Sequence[str]) -> onnx.ModelProto:
    """The fitted pipeline as ONNX: one input [N, 1] per feature, `probability` float [N, 1] and `label` int64 [N].

    Every graph takes all of `INPUTS`, used or not, so that models of different features answer the same request.
    Only operators of `ai.onnx` and `ai.onnx.ml`, all weights inside.
    """
    graph: onnx.ModelProto = to_onnx(
        fitted,
        initial_types=[(name, _input_type(name)) for name in columns],
        options={"zipmap": False},
    )
    _add_unused_inputs(graph.graph, columns)
    _answer_with_late_only(graph.graph)
    # skl2onnx keeps the versions in a set; without this the bytes would change with Python's hash seed.
    versions = sorted(graph.opset_import, key=lambda used: used.domain)
    del graph.opset_import[:]
    graph.opset_import.extend(versions)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def _input_type(name: str) -> FloatTensorType | StringTensorType:
    return StringTensorType([None, 1]) if name in TEXTS else FloatTensorType([None, 1])


def _add_unused_inputs(graph: onnx.GraphProto, columns: Sequence[str]) -> None:
    used = {value.name: value for value in graph.input}
    kind = {True: TensorProto.STRING, False: TensorProto.FLOAT}
    unused = {
        name: helper.make_tensor_value_info(name, kind[name in TEXTS], [None, 1])
        for name in INPUTS
        if name not in columns
    }
    del graph.input[:]
    graph.input.extend((used | unused)[name] for name in INPUTS)


def _answer_with_late_only(graph: onnx.GraphProto) -> None:
    """Replace the two-column `probabilities` by the column of class 1."""
    graph.initializer.append(helper.make_tensor("late_class", TensorProto.INT64, [1], [1]))
    graph.node.append(helper.make_node("Gather", ["probabilities", "late_class"], ["probability"], axis=1))
    label = next(value for value in graph.output if value.name == "label")
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, 1])
    del graph.output[:]
    graph.output.extend([probability, label])
