"""Runs health scripts in the interpreter that Argo CD has, without Argo CD: seconds instead of minutes to build."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from plumbline_operator.model.meta import Manifest
from tests.support.cluster import programs
from tests.support.cluster.progress import run

LUA = programs.Part("lua", ["."])


@dataclass(frozen=True, slots=True)
class Health:
    """What Argo CD shows beside an object."""

    status: str
    message: str = ""


def healths(pairs: Iterable[tuple[str, Manifest]]) -> list[Health]:
    """What each script says of its object. Raises AssertionError with the interpreter's words when one fails."""
    jobs = [{"script": script, "obj": obj} for script, obj in pairs]
    answers = json.loads(run([programs.program(LUA, "lua")], stdin=json.dumps(jobs)))
    failed = [one["error"] for one in answers if "error" in one]
    assert not failed, f"{len(failed)} scripts failed, the first with: {failed[0]}"
    return [Health(**one["health"]) for one in answers]
