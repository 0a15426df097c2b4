"""What of a request may be logged. Applied before a record exists, so nothing raw waits in a queue."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plumbline_serving.errors import StartFailure
from plumbline_serving.tensors import Array, TensorSpec

DROP, HASH = "Drop", "Hash"


def hashed(value: object) -> str:
    """SHA-256 of a value's text, 64 hex digits: equal values stay equal, and nothing else is left of them."""
    return hashlib.sha256(str(value).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Redaction:
    """Which inputs are logged, in the model's order, and which of those only as hashes."""

    kept: tuple[TensorSpec, ...]
    hashed: frozenset[str]

    def apply(self, feed: Mapping[str, Array]) -> tuple[Array, ...]:
        """The arrays to log, one for each of `kept`."""
        if not self.hashed:
            return tuple([feed[spec.name] for spec in self.kept])
        return tuple(hashes(feed[spec.name]) if spec.name in self.hashed else feed[spec.name] for spec in self.kept)


def redaction_of(inputs: Sequence[TensorSpec], rules: Mapping[str, str]) -> Redaction:
    """The redaction that the settings ask for. Raises StartFailure for a rule that cannot be kept."""
    known = {spec.name for spec in inputs}
    for name, rule in rules.items():
        if name not in known:
            raise StartFailure(f"redact names {name!r}, which is no input of the model; its inputs are {sorted(known)}")
        if rule not in (DROP, HASH):
            raise StartFailure(f"redact.{name} is {rule!r}; expected {DROP!r} or {HASH!r}")
    return Redaction(
        kept=tuple(spec for spec in inputs if rules.get(spec.name) != DROP),
        hashed=frozenset(name for name, rule in rules.items() if rule == HASH),
    )


def hashes(values: Array) -> Array:
    """An array of the same shape holding the hash of each value."""
    flat = [hashed(value) for value in values.ravel().tolist()]
    return np.array(flat, dtype=np.object_).reshape(values.shape)
