"""What of a request and its answer may be logged. Applied before a record exists, so nothing raw waits in a queue."""

import hmac
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plumbline_serving.errors import StartFailure
from plumbline_serving.tensors import Array, Signature, TensorSpec

logger = logging.getLogger(__name__)

DROP, HASH = "Drop", "Hash"
Rules = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Side:
    """The inputs or the outputs as they are logged: which, in the model's order, and which only as keyed hashes."""

    kept: tuple[TensorSpec, ...]
    hashed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is logged of inputs and outputs, and the key of the hashes."""

    inputs: Side
    outputs: Side
    places: tuple[int, ...]  # of the logged outputs among the model's
    key: bytes = field(repr=False)

    def asked(self, feed: Mapping[str, Array]) -> tuple[Array, ...]:
        """The input arrays to log."""
        arrays = tuple([feed[spec.name] for spec in self.inputs.kept])
        return self._hidden(self.inputs, arrays) if self.inputs.hashed else arrays

    def answered(self, answers: Sequence[Array]) -> tuple[Array, ...]:
        """The output arrays to log, of all the model's in their order."""
        if len(self.places) == len(answers) and not self.outputs.hashed:
            return tuple(answers)
        return self._hidden(self.outputs, tuple([answers[place] for place in self.places]))

    def hash(self, text: str) -> str:
        """HMAC-SHA256 of a text, 64 hex digits: equal texts stay equal, guessing needs the key."""
        return hmac.digest(self.key, text.encode(), "sha256").hex()

    def _hidden(self, side: Side, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(
            self._hashes(array) if spec.name in side.hashed else array
            for spec, array in zip(side.kept, arrays, strict=True)
        )

    def _hashes(self, values: Array) -> Array:
        flat = [self.hash(str(value)) for value in values.ravel().tolist()]
        return np.array(flat, dtype=np.object_).reshape(values.shape)


def redaction_of(signature: Signature, rules: Rules, copies: Mapping[str, frozenset[str]], key: bytes) -> Redaction:
    """The redaction that the settings ask for. Raises StartFailure for a rule that cannot be kept.

    Rules are made from the columns of the training data, and not every column is an input of the model: a hashed key
    by which tables were joined is none. There is nothing of such a column to keep out of the log.

    `copies`: output → inputs whose values it may repeat. Such an output is logged as the strictest rule of those
    inputs says, or what was left out on the way in would be in the log on the way out.
    """
    for name, rule in rules.items():
        if rule not in (DROP, HASH):
            raise StartFailure(f"redact.{name} is {rule!r}; expected {DROP!r} or {HASH!r}")
    rules = _of_inputs(signature, rules)
    repeated = {output: _strictest(rules, inputs) for output, inputs in copies.items()}
    outputs = _side(signature.outputs, repeated)
    places = tuple(place for place, spec in enumerate(signature.outputs) if spec in outputs.kept)
    return Redaction(_side(signature.inputs, rules), outputs, places, key)


def _of_inputs(signature: Signature, rules: Rules) -> Rules:
    own = {spec.name: rules[spec.name] for spec in signature.inputs if spec.name in rules}
    if rules:
        logger.info("redacted inputs: %d; rules that name no input: %d", len(own), len(rules) - len(own))
    return own


def _strictest(rules: Rules, inputs: frozenset[str]) -> str:
    found = {rules.get(name, "") for name in inputs}
    return DROP if DROP in found else HASH if HASH in found else ""


def _side(specs: Sequence[TensorSpec], rules: Rules) -> Side:
    return Side(
        kept=tuple(spec for spec in specs if rules.get(spec.name) != DROP),
        hashed=frozenset(name for name, rule in rules.items() if rule == HASH),
    )
