"""What the tests of a goal have seen, kept as JSON lines for the report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.proof.goals import goals

RESULTS = "PLUMBLINE_PROOF_RESULTS"


@dataclass(frozen=True, slots=True)
class Record:
    """Runs of one goal: how many were made, how many were bad, the figure to print, and how to have them again."""

    goal: str
    runs: int
    bad: int
    figure: str
    seed: str


def record(goal: str, *, runs: int, bad: int = 0, figure: str, seed: str = "none") -> None:
    """Keep what was seen. Call it before asserting, so that a failure is in the report too.

    Nothing is kept outside of `make proof`. Raises KeyError for a goal that the table lacks.
    """
    name = goals()[goal].name
    path = os.environ.get(RESULTS)
    if path:
        with Path(path).open("a") as lines:
            lines.write(json.dumps(asdict(Record(name, runs, bad, figure, seed))) + "\n")


def recorded(path: Path) -> list[Record]:
    """Everything kept in this file; nothing when there is none."""
    lines: Iterable[str] = path.read_text().splitlines() if path.exists() else ()
    return [Record(**json.loads(line)) for line in lines]
