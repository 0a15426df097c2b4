"""Statuses that the loop itself writes, and the comparison of statuses."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from plumbline_operator.model.conditions import Condition, Conditions, is_ours
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Impossible
from plumbline_operator.runtime.owned import NameTaken

INVALID_SPEC = "InvalidSpec"
NAME_TAKEN = "NameTaken"
REFUSED = "Refused"
KSTATUS = frozenset({"Ready", "Reconciling", "Stalled"})


def invalid_spec(raw: Manifest, error: ValidationError, now: datetime) -> Manifest:
    """The status of an object whose spec passed the API server but not our models."""
    return _stalled(raw, INVALID_SPEC, f"{'; '.join(_complaints(error))}. Correct the field and apply again.", now)


def impossible(raw: Manifest, error: Impossible, now: datetime) -> Manifest:
    """The status of an object that asks for what cannot be made: what was stored before, and why it stays so."""
    return _stalled(raw, INVALID_SPEC, str(error), now)


def stalled(raw: Manifest, error: Exception, now: datetime) -> Manifest:
    """The status of an object whose child could not be made: what was stored before, and why it goes no further."""
    if isinstance(error, NameTaken):
        return _stalled(raw, NAME_TAKEN, str(error), now)
    text = f"The API server refused a part of this object: {error}. It is tried again every five minutes."
    return _stalled(raw, REFUSED, text, now)


def same_status(wanted: Mapping[str, Any], raw: Manifest) -> bool:
    """Whether the stored status already says this, leaving aside conditions of another domain."""
    stored = dict(raw.get("status", {}))
    stored["conditions"] = _own(stored)
    target = {**wanted, "conditions": list(wanted.get("conditions", ()))}
    for status in (stored, target):
        status["conditions"] = sorted(status["conditions"], key=lambda c: str(c["type"]))
    return stored == target


def _stalled(raw: Manifest, reason: str, message: str, now: datetime) -> Manifest:
    generation = raw["metadata"].get("generation", 0)
    status = dict(raw.get("status", {}))
    before = _own(status)
    conditions = Conditions(before, generation, now).stalled(reason, message).list()
    kept = [c for c in before if c["type"] not in KSTATUS]
    return status | {"observedGeneration": generation, "conditions": conditions + kept}


def _own(status: Mapping[str, Any]) -> list[Condition]:
    return [one for one in status.get("conditions", ()) if is_ours(one["type"])]


def _complaints(error: ValidationError) -> list[str]:
    """One sentence per error: field path, value, complaint."""
    return [
        f"{_path(one['loc'])} is {_shown(one.get('input'))}: {one['msg']}"
        for one in error.errors(include_url=False)[:3]
    ]


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
