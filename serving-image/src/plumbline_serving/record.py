"""What the prediction log keeps of one request, before it becomes a row of a file."""

from typing import NamedTuple

from plumbline_contract.routes import SHADOW_ROLE
from plumbline_serving.redaction import Side
from plumbline_serving.tensors import Array

MILLISECONDS_PER_HOUR = 3_600_000
PRIMARY_ROLE = "primary"
ROLES = (PRIMARY_ROLE, SHADOW_ROLE)


class Record(NamedTuple):
    """One answered request: what was asked (already redacted) and what was said. `role` is one of ROLES."""

    milliseconds: int
    prediction_id: str
    role: str
    unit: str
    rows: int
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    size: int = 0  # bytes it came in and went out with, by and large: what a bound on memory counts


class Columns(NamedTuple):
    """Which model and which tensors the records of this server hold."""

    variant: str
    manifest: str
    inputs: Side
    outputs: Side
