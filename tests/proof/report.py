"""The table that `make proof` prints: goal, figure, runs, seed, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.proof.goals import Goal
from tests.proof.ledger import Record


@dataclass(frozen=True, slots=True)
class Row:
    """One goal as it was seen. `passed`: its tests ended without a failure; `at`: on which commit, and when."""

    goal: Goal
    records: tuple[Record, ...]
    passed: bool
    seconds: float
    at: str = "just now"

    @property
    def runs(self) -> int:
        """All runs made."""
        return sum(one.runs for one in self.records)

    @property
    def verdict(self) -> str:
        """`holds`, or the first thing that is wrong."""
        bad = sum(one.bad for one in self.records)
        if not self.records:
            return "NOT SEEN"
        if bad:
            return f"{bad} BAD"
        if self.runs < self.goal.whole:
            return f"ONLY {self.runs} OF {self.goal.whole}"
        return "holds" if self.passed else "TESTS FAILED"

    @property
    def holds(self) -> bool:
        """Whether the goal was shown, in as many runs as it asks for."""
        return self.verdict == "holds"


HEADER = ("goal", "figure", "runs", "seed", "verdict", "minutes", "seen")


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [_line(HEADER), _line(["---"] * len(HEADER))]
    return "\n".join([*lines, *(_line(_cells(row)) for row in rows)])


def _cells(row: Row) -> Sequence[str]:
    seeds = ", ".join(dict.fromkeys(one.seed for one in row.records if one.seed != "none")) or "none"
    figure = "; ".join(one.figure for one in row.records) or "nothing"
    title = f"{row.goal.theme}: {row.goal.claim} (`{row.goal.name}`)"
    runs = f"{row.runs} of {row.goal.whole}"
    return title, figure, runs, seeds, row.verdict, f"{row.seconds / 60:.1f}", row.at if row.records else "never"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
