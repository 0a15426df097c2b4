"""`make proof`: every run of every goal, and the table of what was seen.

python -m tests.proof                  all goals, hours
python -m tests.proof leader crash     these goals
python -m tests.proof --table          run nothing; the table of every goal as it was last seen
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.proof.goals import MODE, Goal, goals
from tests.proof.ledger import RESULTS, recorded
from tests.proof.report import Row, table
from tests.proof.seen import PAGE, keep, kept, page


def show(goal: Goal, folder: Path) -> Row:
    """Run the tests of one goal at their whole size; their output goes to the terminal."""
    results = folder / f"{goal.name}.jsonl"
    environment = os.environ | {MODE: "whole", RESULTS: str(results)}
    started = time.monotonic()
    # Uncaptured: a goal takes many minutes, and its tests tell of each case as it ends.
    command = [sys.executable, "-m", "pytest", "-q", "-s", "--basetemp", str(folder / goal.name), *goal.tests]
    done = subprocess.run(command, env=environment, check=False)
    return Row(goal, tuple(recorded(results)), done.returncode == 0, time.monotonic() - started)


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when every goal asked for holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("goal", nargs="*", choices=[*goals(), []], help="all when left out")
    parser.add_argument("--table", action="store_true", help="run nothing, and tell what was seen last")
    options = parser.parse_args(arguments)
    rows = kept() if options.table else run(options.goal or list(goals()))
    PAGE.write_text(page(kept()))
    print(f"\n{table(rows)}")
    return 0 if all(row.holds for row in rows) else 1


def run(wanted: Sequence[str]) -> list[Row]:
    """These goals one after the other, each kept as soon as it was seen."""
    folder = Path(tempfile.mkdtemp(prefix="plumbline-proof-"))
    rows = []
    for name in wanted:
        print(f"== {name}: {goals()[name].claim}", flush=True)
        rows.append(show(goals()[name], folder))
        keep(rows[-1])
        print(f"== {name}: {rows[-1].verdict}", flush=True)
    print(f"\nlogs and journals are in {folder}")
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
