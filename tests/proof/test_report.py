"""The report says so when a goal was not shown, shown less often than asked, or not held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.proof.goals import MODE, Goal, goals, size
from tests.proof.ledger import RESULTS, Record, record, recorded
from tests.proof.report import Row, table
from tests.proof.seen import PAGE, keep, kept, page

GOAL = Goal("crash", "Crash", "nothing is lost", ("tests/x.py",), 3, 10, 5.0)
SEEN = Record("crash", 6, 0, "slowest 4 s", "7")


def test_a_goal_holds_when_all_its_runs_were_made_and_none_was_bad() -> None:
    row = Row(GOAL, (SEEN, replace(SEEN, runs=4)), passed=True, seconds=90)
    assert row.holds
    assert "| 10 of 10 | 7 | holds | 1.5 | just now |" in table([row])


@pytest.mark.parametrize(
    ("records", "passed", "verdict"),
    [
        ((), True, "NOT SEEN"),
        ((SEEN,), True, "ONLY 6 OF 10"),
        ((replace(SEEN, runs=10, bad=2),), True, "2 BAD"),
        ((replace(SEEN, runs=10),), False, "TESTS FAILED"),
    ],
)
def test_a_goal_does_not_hold(records: tuple[Record, ...], passed: bool, verdict: str) -> None:
    row = Row(GOAL, records, passed=passed, seconds=1)
    assert (row.verdict, row.holds) == (verdict, False)


def test_what_is_recorded_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    monkeypatch.setenv(RESULTS, str(path))
    name = next(iter(goals()))
    record(name, runs=3, figure="f", seed="1")
    assert recorded(path) == [Record(name, 3, 0, "f", "1")]
    with pytest.raises(KeyError):
        record("no such goal", runs=1, figure="f")


def test_a_run_is_kept_with_its_commit_and_told_beside_the_goals_that_never_ran(tmp_path: Path) -> None:
    goal = goals()["crash"]
    keep(Row(goal, (replace(SEEN, runs=goal.whole),), passed=True, seconds=90), tmp_path)
    rows = kept(tmp_path)
    assert [row.goal for row in rows] == list(goals().values())
    assert [row.goal.name for row in rows if row.holds] == ["crash"]
    assert f"1 of {len(rows)} lines hold" in page(rows)
    assert rows[0].at != Row(goal, (), passed=True, seconds=0).at


def test_the_page_tells_what_is_kept() -> None:
    assert PAGE.read_text() == page(kept()), "run python -m tests.proof --table"


def test_a_sample_is_smaller_than_the_whole_and_every_test_named_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    for name, goal in goals().items():
        assert 0 <= goal.sample <= goal.whole
        assert [one for one in goal.tests if not (root / one.partition("::")[0]).exists()] == []
        monkeypatch.setenv(MODE, "whole")
        assert size(name) == goal.whole
        monkeypatch.delenv(MODE)
        assert size(name) == goal.sample
