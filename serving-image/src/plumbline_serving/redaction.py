"""What of a request may be logged. Applied before a record exists, so nothing raw waits in a queue."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plumbline_serving.errors import StartFailure
from plumbline_serving.tensors import Array, TensorSpec

DROP, HASH = "Drop", "Hash"


@dataclass(frozen=True, slots=True)
class Redaction:
    """Which inputs are logged, in the model's order, and which of those only as keyed hashes."""

    kept: tuple[TensorSpec, ...]
    hashed: frozenset[str]
    key: bytes = field(repr=False)

    def apply(self, feed: Mapping[str, Array]) -> tuple[Array, ...]:
        """The arrays to log, one for each of `kept`."""
        if not self.hashed:
            return tuple([feed[spec.name] for spec in self.kept])
        return tuple(
            self._hashes(feed[spec.name]) if spec.name in self.hashed else feed[spec.name] for spec in self.kept
        )

    def hash(self, text: str) -> str:
        """HMAC-SHA256 of a text, 64 hex digits: equal texts stay equal, guessing needs the key."""
        return hmac.digest(self.key, text.encode(), "sha256").hex()

    def _hashes(self, values: Array) -> Array:
        flat = [self.hash(str(value)) for value in values.ravel().tolist()]
        return np.array(flat, dtype=np.object_).reshape(values.shape)


def redaction_of(inputs: Sequence[TensorSpec], rules: Mapping[str, str], key: bytes) -> Redaction:
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
        key=key,
    )
