"""What a reconcile decided, before anything is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from plumbline_operator.model.meta import Manifest, Ref


class Impossible(Exception):
    """What a spec asks for cannot be made, and only a change of the spec helps; the text says which and how."""


@dataclass(frozen=True, slots=True)
class Target:
    """An object to delete; the uid seen protects one that was created again since."""

    ref: Ref
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Note:
    """An Event to publish after the status was stored."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Children that must exist and go, the next status, what to announce, and when to look again.

    `status` None leaves the stored status alone. `again` None waits for the next event. Children are applied in
    order, and lie in the namespace of the object; the loop adds owner reference and labels.
    """

    apply: tuple[Manifest, ...] = ()
    delete: tuple[Target, ...] = ()
    status: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    again: timedelta | None = None
