"""Small models that are real ONNX files, and prediction logs as servers write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from plumbline_contract.layout import join, prediction_hour
from plumbline_contract.manifest import FileEntry, ModelManifest, RunRecord
from plumbline_contract.prediction import prediction_id
from plumbline_modelgate import check
from plumbline_serving.record import Columns, Record
from plumbline_serving.redaction import Side
from plumbline_serving.segment import parquet, table_of
from plumbline_serving.tensors import TensorSpec
from tests.jobs.lake import PREFIX, Lake
from tests.serving.records import pending

DIGEST = "sha256:" + "0" * 64
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def sigmoid_of(weights: Mapping[str, float], shape: Sequence[int | None] = (None, 1)) -> bytes:
    """probability = 1 / (1 + exp(-sum of weight * input)), every input a float."""
    nodes = []
    for name, weight in weights.items():
        nodes.append(helper.make_node("Constant", [], [f"w.{name}"], value_float=weight))
        nodes.append(helper.make_node("Mul", [name, f"w.{name}"], [f"term.{name}"]))
    nodes.append(helper.make_node("Sum", [f"term.{name}" for name in weights], ["total"]))
    nodes.append(helper.make_node("Sigmoid", ["total"], ["probability"]))
    return graph(nodes, dict.fromkeys(weights, FLOAT), {"probability": FLOAT}, shape)


def table_of_texts(name: str, scores: Mapping[str, float]) -> bytes:
    """probability = the score that a text has, 0.5 for any other."""
    known = {"keys_strings": list(scores), "values_floats": list(scores.values()), "default_float": 0.5}
    node = helper.make_node("LabelEncoder", [name], ["probability"], domain="ai.onnx.ml", **known)
    return graph([node], {name: STRING}, {"probability": FLOAT})


def two_classes(name: str) -> bytes:
    """probability, shape (rows, 2): one minus the input, and the input."""
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Sub", ["one", name], ["rest"]),
        helper.make_node("Concat", ["rest", name], ["probability"], axis=1),
    ]
    return graph(nodes, {name: FLOAT}, {"probability": FLOAT}, outputs_shape=(None, 2))


def copy_of(name: str, datatype: int, shape: Sequence[int | None] = (None, 1)) -> bytes:
    """probability = the input, as it is or cast to float."""
    node = helper.make_node("Cast", [name], ["probability"], to=FLOAT)
    return graph([node], {name: datatype}, {"probability": FLOAT}, shape)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    shape: Sequence[int | None] = (None, 1),
    outputs_shape: Sequence[int | None] | None = None,
) -> bytes:
    """A model file of these nodes."""
    taken = [helper.make_tensor_value_info(name, kind, shape) for name, kind in inputs.items()]
    given = [helper.make_tensor_value_info(name, kind, outputs_shape or shape) for name, kind in outputs.items()]
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(helper.make_graph(nodes, "g", taken, given), opset_imports=imports, ir_version=10)
    return model.SerializeToString(deterministic=True)


def register(lake: Lake, model: bytes | None) -> str:
    """Stores a model and its manifest as `collect` does; returns the manifest's digest."""
    run = RunRecord(
        namespace="team", name="run", uid="u", author="a", attempt=1, image="i", image_digest="", command=("t",)
    )
    if model is None:
        return lake.store.put_blob(ModelManifest(files=(), run=run).canonical())
    digest = lake.store.put_blob(model)
    signature = check(model)
    manifest = ModelManifest(
        files=(FileEntry(path="model.onnx", digest=digest, size=len(model)),),
        model=digest,
        inputs=signature.inputs,
        outputs=signature.outputs,
        run=run,
    )
    return lake.store.put_blob(manifest.canonical())


class Log:
    """The prediction log of one variant, written as its server writes it."""

    def __init__(self, lake: Lake, variant: str, inputs: Mapping[str, str], output: str = "FP32", width: int = 1):
        self.lake = lake
        self.variant = variant
        self.inputs = tuple(TensorSpec(name, datatype, (-1, 1)) for name, datatype in inputs.items())
        self.output = TensorSpec("probability", output, (-1, width))
        self.segments = 0

    def write(
        self,
        moments: Sequence[datetime],
        values: Mapping[str, Sequence[Any]],
        answers: Sequence[Any],
        *,
        role: str = "primary",
        ids: Sequence[str] | None = None,
        hashed: Sequence[str] = (),
    ) -> None:
        """One request of one row for each moment."""
        names = ids if ids is not None else [f"r{place}" for place in range(len(moments))]
        fed = [
            np.array(values[spec.name], dtype=np.object_ if spec.name in hashed else spec.dtype) for spec in self.inputs
        ]
        told = np.array(answers, dtype=self.output.dtype).reshape(len(moments), -1)
        times = [round(moment.timestamp() * 1000) for moment in moments]
        records = [
            Record(
                milliseconds,
                prediction_id(milliseconds, names[row]),
                role,
                "",
                1,
                tuple(column[row : row + 1].reshape(1, 1) for column in fed),
                (told[row : row + 1],),
            )
            for row, milliseconds in enumerate(times)
        ]
        self.put(records, frozenset(hashed))

    def put(self, records: Sequence[Record], hashed: frozenset[str] = frozenset()) -> None:
        """Any records, one segment for each of their hours."""
        columns = Columns(self.variant, DIGEST, Side(self.inputs, hashed), Side((self.output,), frozenset()))
        for segment in pending(records, columns):
            self.lake.write(self.key(segment.hour), parquet(table_of(segment, columns)))

    def key(self, hour: int) -> str:
        """The key of the next segment; `hour` in hours since the epoch."""
        self.segments += 1
        when = datetime.fromtimestamp(hour * 3600, tz=UTC)
        folder = prediction_hour(PREFIX, "team", "late-arrival", self.variant, when)
        return join(folder, f"pod-{self.segments:06d}.parquet")
