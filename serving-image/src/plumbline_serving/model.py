"""A model ready to predict: fetched by digest, admitted by the gate, warmed up."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from pydantic import ValidationError

from plumbline_contract.manifest import ModelManifest, Tensor
from plumbline_contract.routes import ServingSettings
from plumbline_modelgate import copied_inputs
from plumbline_serving.errors import StartFailure
from plumbline_serving.gate import admit
from plumbline_serving.storage import Storage
from plumbline_serving.tensors import Array, Signature, TensorSpec

logger = logging.getLogger(__name__)

WARM_UP_RUNS = 3  # the first runs allocate ONNX Runtime's arena and pick kernels

FATAL = 4  # what ONNX Runtime prints by itself: its errors quote values, and come as exceptions anyway

_state = onnxruntime.capi.onnxruntime_pybind11_state

REFUSALS: tuple[type[Exception], ...] = (_state.InvalidArgument,)
"""What ONNX Runtime raises for data it cannot take, such as a size that contradicts another input's."""

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    *REFUSALS,
    _state.EngineError,
    _state.EPFail,
    _state.Fail,
    _state.InvalidGraph,
    _state.InvalidProtobuf,
    _state.NoSuchFile,
    _state.NotImplemented,
    _state.RuntimeException,
)
"""All that ONNX Runtime raises; its exceptions have no base of their own."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `run` takes arrays by input name and gives arrays in the order of the names asked for."""

    name: str
    manifest: str
    digest: str
    signature: Signature
    session: Any
    copies: Mapping[str, frozenset[str]]  # output → inputs whose values it may repeat, when any input is redacted

    def run(self, feed: dict[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The named outputs, all when None. Raises one of RUNTIME_ERRORS."""
        answers: list[Array] = self.session.run(outputs, feed)
        return answers


def load(settings: ServingSettings, storage: Storage) -> Model:
    """The model that the settings name, warm. Raises StartFailure."""
    started = time.perf_counter()
    manifest = _manifest(settings, storage)
    if manifest.model is None:
        raise StartFailure(
            f"manifest {settings.manifest} has no model file: its run wrote no model.onnx; serve another version"
        )
    data = storage.blob(manifest.model, "model file")
    signature = admit(data, manifest.model)
    _check_against(manifest, signature)
    session = _session(data, manifest.model)
    copies = copied_inputs(data) if settings.redact else {}
    model = Model(settings.model_name, settings.manifest, manifest.model, signature, session, copies)
    warm_up(model)
    logger.info("model %s is ready after %.2f s", manifest.model, time.perf_counter() - started)
    return model


def _manifest(settings: ServingSettings, storage: Storage) -> ModelManifest:
    data = storage.blob(settings.manifest, "model manifest")
    try:
        return ModelManifest.model_validate_json(data)
    except ValidationError as exc:
        raise StartFailure(f"manifest {settings.manifest} is not a model manifest this server knows: {exc}") from exc


def _session(data: bytes, digest: str) -> Any:
    """A session over bytes that have passed the gate, one intra-op thread: a replica is one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as exc:
        raise StartFailure(f"ONNX Runtime cannot open the model file {digest}: {exc}; export the model again") from exc


def _check_against(manifest: ModelManifest, signature: Signature) -> None:
    """The manifest describes the model that it names, or the server does not start."""
    for role, declared, found in (
        ("inputs", manifest.inputs, signature.inputs),
        ("outputs", manifest.outputs, signature.outputs),
    ):
        if declared and _names(declared) != _names(found):
            raise StartFailure(
                f"the manifest's {role} {_names(declared)} are not the model file's {_names(found)}; "
                "collect the run again"
            )


def _names(tensors: Sequence[Tensor] | Sequence[TensorSpec]) -> list[tuple[str, str]]:
    return sorted((tensor.name, tensor.datatype) for tensor in tensors)


def warm_up(model: Model) -> None:
    """Run the model on rows of zeros, so that no caller waits for the first allocation.

    A model may refuse zeros (a lookup without that key); this is logged and is no reason not to serve.
    """
    feed = {spec.name: _zeros(spec) for spec in model.signature.inputs}
    try:
        for _ in range(WARM_UP_RUNS):
            model.run(feed)
    except RUNTIME_ERRORS as exc:
        logger.warning("warm-up on zeros was refused by the model: %s", exc)


def _zeros(spec: TensorSpec) -> Array:
    shape = tuple(1 if size == -1 else size for size in spec.shape)
    return np.full(shape, "" if spec.datatype == "BYTES" else 0, dtype=spec.dtype)
