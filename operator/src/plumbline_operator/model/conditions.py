"""Conditions in the words of kstatus: Ready always, Reconciling and Stalled only while true."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

MESSAGE_LIMIT = 1024  # characters; enough for the last lines of a log, small enough that status stays far below 64 KiB

Condition = dict[str, Any]


class State(StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


def stamp(moment: datetime) -> str:
    """A time as the API server writes it: UTC, cut to seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find(conditions: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """The condition of this type, or None."""
    return next((c for c in conditions if c.get("type") == type_), None)


def is_ours(type_: str) -> bool:
    """Whether a condition of this type is ours to write and to remove. Others' types carry their domain in front."""
    return "/" not in type_


def is_true(raw: Mapping[str, Any] | None, type_: str = "Ready") -> bool:
    """Whether an object's condition is True *for its present generation*; a stale True counts as not true."""
    if raw is None:
        return False
    condition = find(raw.get("status", {}).get("conditions", ()), type_)
    if condition is None or condition.get("status") != State.TRUE:
        return False
    return bool(condition.get("observedGeneration", 0) >= raw["metadata"].get("generation", 0))


@dataclass(slots=True)
class Conditions:
    """Builds the next list of conditions from the last; a transition time moves only when the status does."""

    old: Iterable[Mapping[str, Any]]
    generation: int
    now: datetime
    _new: dict[str, Condition] = field(default_factory=dict)

    def set(self, type_: str, status: State | bool, reason: str, message: str) -> "Conditions":
        """Set one condition; returns self, so that calls chain."""
        value = str(State(status) if isinstance(status, State) else State.TRUE if status else State.FALSE)
        before = find(self.old, type_)
        same = before is not None and before.get("status") == value
        self._new[type_] = {
            "type": type_,
            "status": value,
            "reason": str(reason),
            "message": message[:MESSAGE_LIMIT],
            "observedGeneration": self.generation,
            "lastTransitionTime": before["lastTransitionTime"] if before and same else stamp(self.now),
        }
        return self

    def ready(self, reason: str, message: str) -> "Conditions":
        """Users may rely on the object now."""
        return self.set("Ready", True, reason, message)

    def waiting(self, reason: str, message: str) -> "Conditions":
        """Not ready, and nobody has to do anything about it here: it moves on by itself."""
        return self.set("Ready", False, reason, message).set("Reconciling", True, reason, message)

    def stalled(self, reason: str, message: str) -> "Conditions":
        """Not ready, and only a human can help."""
        return self.set("Ready", False, reason, message).set("Stalled", True, reason, message)

    def list(self) -> list[Condition]:
        """The conditions, sorted by type with Ready first. Types that were not set again are gone."""
        return sorted(self._new.values(), key=lambda c: (c["type"] != "Ready", c["type"]))
