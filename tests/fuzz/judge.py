"""What must become of a change, and whether it did."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Manifest
from tests.fuzz.changes import Change
from tests.fuzz.scripts import Sort
from tests.fuzz.users import Answer

BELOW = re.compile(r"\b(?:spec|metadata)(?:\.[A-Za-z_]\w*|\[[^\]]*\])+")  # a field below the spec, as messages write it
WHOLE = re.compile(r"\bspec: ")
SKIPPED = "some validation rules were not checked"
INVALID = frozenset({Sort.SCHEMA, Sort.RULE, Sort.FROZEN, Sort.MEANING})


@dataclass(frozen=True, slots=True)
class Standing:
    """What an object says of itself. `current`: about the spec as it is now."""

    current: bool
    ready: str = ""
    reason: str = ""
    message: str = ""
    stalled: bool = False

    @property
    def decided(self) -> bool:
        """Whether it says, about its present spec, where it stands and why."""
        return self.current and bool(self.ready and self.reason and self.message)


def standing(raw: Manifest | None) -> Standing:
    """What an object says of itself now."""
    if raw is None:
        return Standing(current=False)
    status, generation = raw.get("status", {}), raw["metadata"]["generation"]
    ready = find(status.get("conditions", ()), "Ready")
    if ready is None:
        return Standing(current=False)
    current = status.get("observedGeneration") == generation == ready.get("observedGeneration")
    stalled = find(status.get("conditions", ()), "Stalled") or {}
    return Standing(current, ready["status"], ready["reason"], ready["message"], stalled.get("status") == "True")


def names_field(change: Change, message: str) -> bool:
    """Whether a refusal says which field is wrong.

    A path into the part of the spec that was broken does; a rule about several fields may name another one of them.
    `spec` alone does when nothing of it may change, or when the rule is about all of it and its words name the field.
    """
    broken, paths = _top(change.way), BELOW.findall(message)
    if any(_top(path) == broken for path in paths) or (paths and change.sort is not Sort.SCHEMA):
        return True
    return bool(WHOLE.search(message)) and (change.sort is Sort.FROZEN or broken in message)


def _top(path: str) -> str:
    """The field of the spec, or of the metadata, that this path begins with."""
    return re.split(r"[.\[]", path.removeprefix("spec").removeprefix("metadata").lstrip("."))[0]


def is_over(change: Change, now: Standing) -> bool:
    """Whether what an accepted change leads to has come."""
    if change.sort in (Sort.VALID, Sort.DANGLING):
        return now.decided
    return now.decided and now.stalled


def refusal_complaint(change: Change, answer: Answer, messages: Collection[str]) -> str:
    """What is wrong with a refusal; empty when nothing is. `messages`: of the published rules."""
    if not names_field(change, answer.message):
        return f"refused without a field: {answer.code} {answer.message[:300]}"
    unchecked = SKIPPED in answer.message  # it did not get as far as the rule
    if change.sort in (Sort.RULE, Sort.FROZEN) and change.says not in answer.message and not unchecked:
        return f"refused, but not with {change.says!r}: {answer.message[:300]}"
    if change.sort in (Sort.VALID, Sort.DANGLING) and not any(one in answer.message for one in messages):
        return f"the schema allows it, no published rule forbids it, and it was refused: {answer.message[:300]}"
    return ""


def state_complaint(change: Change, now: Standing) -> str:
    """What is wrong with where an accepted change has led to; empty when nothing is."""
    if change.sort is Sort.MEANING and now.reason != change.says:
        return f"stalled as {now.reason} instead of {change.says}: {now.message[:200]}"
    if change.sort is Sort.DANGLING and (now.ready != "False" or change.says not in now.message):
        return f"names what is not there, and says {now.ready} {now.reason}: {now.message[:200]}"
    return ""
