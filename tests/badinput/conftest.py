"""Counts the bad specs that were tried here, for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator

import pytest

from tests.proof.ledger import record

GOAL = "bad-input-specs"
_ends: Counter[str] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how each test ended."""
    report = yield
    if report.when == "call" and item.path.parent.name == "badinput":
        _ends[report.outcome] += 1
    return report


@pytest.fixture(scope="session", autouse=True)
def told() -> Iterator[None]:
    """After the last test here, keep how many there were."""
    yield
    runs = sum(_ends.values())
    figure = f"{_ends['passed']} of {runs} worlds with a spec that cannot work say so, with reason and message"
    record(GOAL, runs=runs, bad=runs - _ends["passed"], figure=figure)
