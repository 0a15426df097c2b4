"""What `make proof` saw last of every goal, kept with the code and told on a page of the documentation."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.proof.goals import goals
from tests.proof.ledger import Record
from tests.proof.report import Row, table
from tests.support.cluster.progress import run

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("seen")
PAGE = ROOT / "docs" / "concepts" / "proof-table.md"
HEAD = """<!-- Written by `make proof` from tests/proof/seen. -->
# What was seen

The last whole run of every line of [the proof](proof.md), and the commit it was run on. Figures are those of one
machine with two cores; a line that was never run whole says so.
"""


def keep(row: Row, folder: Path = FOLDER) -> None:
    """Remember this run of the goal in place of the one before."""
    folder.mkdir(exist_ok=True)
    told = {
        "commit": _commit(),
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "passed": row.passed,
        "seconds": round(row.seconds, 1),
        "records": [asdict(one) for one in row.records],
    }
    (folder / f"{row.goal.name}.json").write_text(json.dumps(told, indent=1) + "\n")


def kept(folder: Path = FOLDER) -> list[Row]:
    """Every goal as it was last seen, in the order of the table; one that never was has no records."""
    return [_read(name, folder) for name in goals()]


def page(rows: list[Row]) -> str:
    """The page that tells them."""
    held = sum(row.holds for row in rows)
    return f"{HEAD}\n{held} of {len(rows)} lines hold.\n\n{table(rows)}\n"


def _read(name: str, folder: Path) -> Row:
    path = folder / f"{name}.json"
    if not path.exists():
        return Row(goals()[name], (), passed=False, seconds=0)
    told = json.loads(path.read_text())
    records = tuple(Record(**one) for one in told["records"])
    return Row(goals()[name], records, told["passed"], told["seconds"], f"{told['commit']}, {told['day']}")


def _commit() -> str:
    """The commit that is checked out, marked when anything but the table itself differs from it."""
    if not (ROOT / ".git").exists():
        return "no commit"
    others = [f":!{path.relative_to(ROOT)}" for path in (FOLDER, PAGE)]
    changed = run(["git", "status", "--porcelain", "--", ".", *others], cwd=ROOT)
    return run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT).strip() + (" and changes" if changed else "")
