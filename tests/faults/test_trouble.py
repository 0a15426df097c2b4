"""The golden path on an API server in trouble. `python -m tests.faults.trouble` repeats single cases."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.cases import Ground, Reference, reference
from tests.faults.ground import ground, of_this_size
from tests.faults.trouble import ALLOWANCE_SECONDS, PATIENCE_SECONDS, WHOLE, Case, Mode, impatient, trouble_case
from tests.faults.trouble import quiet_rate as measured_rate
from tests.proof.goals import is_whole, seconds
from tests.proof.ledger import record
from tests.support.faultproxy import Call, Entry, Journal

SAMPLE_LIMIT_SECONDS = 180.0  # in a sample other tests run beside this one
SAMPLE = {
    "calls": Case("calls", seconds=12.0),
    "restarts": Case("restarts", times=1),
    "token": Case("token", seconds=6.0),
    "expired": Case("expired", times=3),
    "patience": Case("patience", seconds=16.0),
}
KNOWN: dict[Path, tuple[Reference, int]] = {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    limit = ALLOWANCE_SECONDS if is_whole() else SAMPLE_LIMIT_SECONDS
    with ground(f"trouble-{os.getpid()}", tmp_path_factory.mktemp("trouble"), limit=limit, quiet=5.0) as found:
        yield of_this_size(found)


async def known(place: Ground) -> tuple[Reference, int]:
    """The end of an undisturbed path, and its calls in a minute; walked once. A sample is too short for a rate."""
    if place.folder not in KNOWN:
        wanted = await reference(place)
        KNOWN[place.folder] = wanted, await measured_rate(place, wanted) if is_whole() else 0
    return KNOWN[place.folder]


@pytest.mark.apiserver
@pytest.mark.parametrize(
    "mode", [pytest.param(one.mode, marks=pytest.mark.timeout(seconds(f"trouble-{one.mode}"))) for one in WHOLE]
)
async def test_in_trouble_it_ends_where_it_would_have(place: Ground, mode: Mode) -> None:
    case = next(one for one in WHOLE if one.mode == mode) if is_whole() else SAMPLE[mode]
    wanted, rate = await known(place)
    told = await trouble_case(place, wanted, case, rate)
    print(told.line())
    figure = f"{told.seconds:.1f} s after the last of {told.faults} faults"
    if rate:
        figure += f"; calls per minute {told.rates}, without trouble {rate}"
    goal = f"trouble-{mode}"
    record(goal, runs=max(case.times, 1), bad=len(told.complaints), figure=figure, seed=str(case.seed))
    assert told.complaints == [], f"again: {case.command()}"


def test_a_call_that_comes_before_the_patience_is_over_is_told(tmp_path: Path) -> None:
    call, other = Call("GET", "jobs", agent="x/1"), Call("GET", "pods", agent="x/1")
    journal, now, then = Journal(tmp_path / "journal.jsonl"), time.monotonic(), time.time()
    journal.add(Entry(then, call, fault="Answer(code=429, retry_after=7)"))
    journal.asked = [(now - 0.01, call), (now + 0.1, call), (now + 1, other), (now + PATIENCE_SECONDS, call)]
    assert impatient(journal) == []
    journal.asked.append((now + 3, replace(call, agent="x/2")))
    assert impatient(journal) == ["('x', 'GET', 'jobs', False, '', False) came again after 3.0 s"]
