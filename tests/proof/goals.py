"""The goals: what is claimed, which tests show it, and how often each must be tried."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("goals.toml")
MODE = "PLUMBLINE_PROOF"  # "whole": every run of every goal; anything else: a sample
SAMPLE_SECONDS = 600.0  # of one test in a sample, the first build of an API server included


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table. `sample` and `whole` count runs; `minutes` bounds the whole of it."""

    name: str
    theme: str
    claim: str
    tests: tuple[str, ...]
    sample: int
    whole: int
    minutes: float


@cache
def goals() -> dict[str, Goal]:
    """Every goal by name, in the order of the table."""
    table: dict[str, dict[str, Any]] = tomllib.loads(TABLE.read_text())
    return {name: Goal(name, **one | {"tests": tuple(one["tests"])}) for name, one in table.items()}


def is_whole() -> bool:
    """Whether every run is asked for."""
    return os.environ.get(MODE) == "whole"


def size(name: str) -> int:
    """How many runs this goal's tests make now."""
    return goals()[name].whole if is_whole() else goals()[name].sample


def seconds(name: str) -> float:
    """How long one test of this goal may take now: for `pytest.mark.timeout`."""
    return goals()[name].minutes * 60 if is_whole() else SAMPLE_SECONDS
