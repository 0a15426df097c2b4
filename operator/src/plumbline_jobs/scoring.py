"""Runs a stored model over rows of a snapshot. A file is opened by ONNX Runtime only after the gate let it through."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
from onnxruntime.capi import onnxruntime_pybind11_state as state

from plumbline_contract.manifest import ModelManifest, Tensor
from plumbline_jobs import places
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.store import Store
from plumbline_jobs.snapshot import model_manifest
from plumbline_jobs.stats.bins import Floats
from plumbline_jobs.tensors import Array, feed_of, is_scalar
from plumbline_modelgate import ModelRefused, Signature, check_file

BATCH = 8192  # rows of one call: the arrays between a graph's nodes stay at some MiB

_ORT_ERRORS = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that answers: one number for each row."""

    inputs: tuple[Tensor, ...]
    output: Tensor
    session: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, named like its inputs."""
        return tuple(tensor.name for tensor in self.inputs)

    def scores(self, frame: pl.DataFrame) -> Floats:
        """The prediction for each row, shape (rows,), possibly NaN. Raises Refused when a column does not fit."""
        parts = [self._answers(frame.slice(start, BATCH)) for start in range(0, frame.height, BATCH)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _answers(self, frame: pl.DataFrame) -> Floats:
        try:
            found = self.session.run([self.output.name], feed_of(frame, self.inputs))[0]
        except _ORT_ERRORS as error:
            raise Refused("EvaluationRefused", f"the model fails on the rows given: {_first_line(error)}") from error
        return _one_per_row(np.asarray(found), frame.height, self.output.name)


def load(store: Store, digest: str, output: str) -> Model:
    """The model of a manifest, ready to answer with the output of this name.

    Raises Refused: ModelFileRefused for a file that is not run, EvaluationRefused when its inputs are not one column
    each, or it has no such output.
    """
    manifest = model_manifest(store, digest)
    if manifest.model is None:
        raise Refused(
            "ModelFileRefused", f"the run {manifest.run.name} left no model.onnx, so nothing can be evaluated"
        )
    with places.scratch() as folder:
        path = folder / "model.onnx"
        store.get_blob(manifest.model, path)
        signature = _gated(path, manifest)
        for tensor in signature.inputs:
            _is_column(tensor)
        return Model(signature.inputs, _output(signature, output), _session(path))


def _gated(path: Path, manifest: ModelManifest) -> Signature:
    try:
        return check_file(path)
    except ModelRefused as error:
        raise Refused("ModelFileRefused", f"{manifest.model}: {error.message}") from error


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a pod's limit is not the node's number of cores, which ORT would take
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise Refused("ModelFileRefused", f"ONNX Runtime does not load the model: {_first_line(error)}") from error


def _is_column(tensor: Tensor) -> None:
    if not is_scalar(tensor):
        raise Refused(
            "EvaluationRefused",
            f"input `{tensor.name}` of the model has the shape {list(tensor.shape)}; an evaluation fills one input "
            "from one column, so export the model with inputs of shape [-1, 1]",
        )


def _output(signature: Signature, name: str) -> Tensor:
    for tensor in signature.outputs:
        if tensor.name == name:
            if tensor.datatype == "BYTES":
                raise Refused("EvaluationRefused", f"output `{name}` of the model is text; name one that is a number")
            return tensor
    known = ", ".join(f"`{tensor.name}`" for tensor in signature.outputs)
    raise Refused(
        "EvaluationRefused", f"the model has no output `{name}`; it has {known}. Correct spec.golden.predictionOutput"
    )


def _one_per_row(found: Array, rows: int, name: str) -> Floats:
    """[rows], [rows, 1], or of [rows, 2] (probabilities of two classes) the second."""
    if found.shape == (rows,):
        return found.astype(np.float64)
    if found.shape in ((rows, 1), (rows, 2)):
        return found[:, -1].astype(np.float64)
    raise Refused(
        "EvaluationRefused",
        f"output `{name}` has the shape {list(found.shape)} for {rows} rows; one number, or the probabilities of two "
        "classes, per row are understood",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
