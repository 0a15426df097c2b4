"""The model file gate as this server applies it: no ONNX Runtime session exists before it has passed."""

from collections.abc import Iterable

from plumbline_contract.manifest import Tensor
from plumbline_modelgate import ModelRefused, check
from plumbline_serving.errors import StartFailure
from plumbline_serving.tensors import Signature, TensorSpec


def admit(model: bytes, digest: str) -> Signature:
    """The signature of a model file that may be opened. Raises StartFailure with what the gate objects to."""
    try:
        found = check(model)
    except ModelRefused as exc:
        raise StartFailure(f"the model file {digest} is refused by the model file gate: {exc.code}: {exc}") from exc
    return Signature(specs(found.inputs), specs(found.outputs))


def specs(tensors: Iterable[Tensor]) -> tuple[TensorSpec, ...]:
    """Tensors of the contract as this server's specs."""
    return tuple(TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors)
