"""The gate itself: bytes in, the model's signature out, or a refusal."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import checker

from plumbline_contract.manifest import Tensor
from plumbline_modelgate.errors import Bounds, ModelRefused, text
from plumbline_modelgate.signature import inputs_of, outputs_of
from plumbline_modelgate.walk import walk

OPSETS = {"": (7, 28), "ai.onnx": (7, 28), "ai.onnx.ml": (1, 5)}
"""Domain → lowest and highest operator set. The highest are those ONNX Runtime 1.32 loads; 7 is its oldest promise."""

IR_VERSIONS = (3, 14)  # 3 is the first with opset imports (ONNX 1.0); 14 the last that ONNX Runtime 1.32 loads

IMPOSTORS = (
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint is one)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89HDF", "an HDF5 file (a Keras model is one)"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x7fELF", "an executable"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself"),
    (b"#!", "a script"),
    (b"<", "markup"),
    (b"{", "JSON"),
)
"""First bytes of files that are often put where an ONNX file belongs."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def check_file(path: Path, bounds: Bounds | None = None) -> Signature:
    """The signature of the model in this file. Its size is looked at before a byte is read. Raises ModelRefused."""
    bounds = bounds or Bounds()
    _size(path.stat().st_size, bounds)
    return check(path.read_bytes(), bounds)


def check(data: bytes, bounds: Bounds | None = None) -> Signature:
    """The signature of the model in `data`.

    Raises ModelRefused unless the bytes are one ONNX model of allowed versions, whose operators all are standard
    ones of allowed domains, and which names no file or address outside itself.
    """
    bounds = bounds or Bounds()
    _size(len(data), bounds)
    model = _parse(data)
    _header(model, bounds)
    versions = _opsets(model)
    walk(model.graph, versions, bounds)
    signature = Signature(inputs_of(model.graph, bounds), outputs_of(model.graph, bounds))
    _consistent(data)
    return signature


def _size(size: int, bounds: Bounds) -> None:
    if size == 0:
        raise ModelRefused("Empty", "the model file is empty; write the model to model.onnx")
    if size > bounds.file_bytes:
        raise ModelRefused(
            "TooLarge", f"the model file has {size} bytes, more than the {bounds.file_bytes} that are allowed"
        )


def _parse(data: bytes) -> onnx.ModelProto:
    """The protobuf message. Python pickles are recognised here and are never opened."""
    if data[:1] == b"\x80" and data[1:2] <= b"\x05":
        raise ModelRefused("NotONNX", _instead("a Python pickle (scikit-learn and joblib write these)"))
    for magic, what in IMPOSTORS:
        if data.startswith(magic):
            raise ModelRefused("NotONNX", _instead(what))
    if data[4:8] == b"ORTM":
        raise ModelRefused("NotONNX", _instead("a model in ONNX Runtime's own format"))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelRefused("NotONNX", _instead("bytes that do not parse as ONNX, or a truncated model")) from error
    _no_unknown_fields(model)
    return model


def _instead(what: str) -> str:
    return f"the model file is {what}, not an ONNX model; export the model to ONNX"


def _no_unknown_fields(model: onnx.ModelProto) -> None:
    """Fields that this version of ONNX does not know could mean anything to another reader."""
    before = model.ByteSize()
    model.DiscardUnknownFields()
    if model.ByteSize() != before:
        raise ModelRefused(
            "UnknownFields", "the model has fields that ONNX does not define; export it with a released ONNX version"
        )


def _header(model: onnx.ModelProto, bounds: Bounds) -> None:
    low, high = IR_VERSIONS
    if not low <= model.ir_version <= high:
        raise ModelRefused("IRVersion", f"ir_version is {model.ir_version}; {low} to {high} are allowed")
    if not model.HasField("graph") or not model.graph.node:
        raise ModelRefused("NoGraph", "the model has no graph with nodes; export the model, not only its weights")
    if model.functions:
        name = f"{model.functions[0].domain}.{model.functions[0].name}"
        raise ModelRefused(
            "LocalFunction",
            f"the model defines the function {name!r}; inline it with onnx.inliner.inline_local_functions",
        )
    if model.training_info:
        raise ModelRefused("TrainingInfo", "the model carries training_info; export it for inference")
    metadata = sum(len(entry.key) + len(entry.value) for entry in model.metadata_props) + len(model.doc_string)
    if metadata > bounds.metadata_bytes:
        raise ModelRefused("Metadata", f"metadata_props has {metadata} bytes; at most {bounds.metadata_bytes}")


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Domain → version of each imported operator set, all of them allowed.

    Some exporters name a domain twice with one version, which says nothing new; two versions would be a riddle.
    """
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        named = text(entry.domain, "a domain in opset_import")
        domain = "" if named == "ai.onnx" else named
        version = _allowed(named, entry.version)
        if versions.setdefault(domain, version) != version:
            raise ModelRefused(
                "OpsetTwice", f"opset_import names two versions of {_named(domain)}, {versions[domain]} and {version}"
            )
    if not versions:
        raise ModelRefused("NoOpset", "the model imports no operator set; export it with a released ONNX version")
    return versions


def _allowed(domain: str, version: int) -> int:
    bounds = OPSETS.get(domain)
    if bounds is None:
        raise ModelRefused(
            "Domain",
            f"opset_import names the domain {domain!r}; only ai.onnx and ai.onnx.ml are allowed, "
            "so that every server can run the model",
        )
    if not bounds[0] <= version <= bounds[1]:
        raise ModelRefused(
            "OpsetVersion",
            f"the model uses version {version} of {_named(domain)}; {bounds[0]} to {bounds[1]} are allowed",
        )
    return version


def _named(domain: str) -> str:
    return domain or "ai.onnx"


def _consistent(data: bytes) -> None:
    """ONNX's own checker: names defined once and before use, attributes as each operator declares them."""
    try:
        checker.check_model(data, full_check=False)
    except (checker.ValidationError, UnicodeDecodeError) as error:  # the latter when it quotes what is not UTF-8
        first = str(error).strip().splitlines()[0][:300]
        raise ModelRefused("Inconsistent", f"the ONNX checker refuses the model: {first}") from error
