"""The golden path with events that are lost, late or repeated. `python -m tests.faults.stale` repeats single cases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.cases import Ground, Reference, reference
from tests.faults.ground import ground, of_this_size
from tests.faults.stale import RESYNC_SECONDS, SLACK_SECONDS, Case, Mode, run_all, undisturbed, whole
from tests.proof.goals import is_whole, seconds
from tests.proof.ledger import record

SAMPLE_ALLOWANCE_SECONDS = 180.0  # in a sample other tests run beside this one
SAMPLE: dict[str, list[Case]] = {
    "drop": [Case("drop", number=one) for one in (1, 2, 3)],
    "freeze": [Case("freeze", "jobs", seconds=8.0), Case("freeze", "modelversions", seconds=8.0)],
    "old": [Case("old", number=30, seconds=8.0)],
    "order": [Case("twice", number=1), Case("later", number=1)],
}
MODES: dict[str, tuple[Mode, ...]] = {"drop": ("drop",), "freeze": ("freeze",), "old": ("old",)}
MODES["order"] = ("twice", "later")
LANES = {"drop": 3, "freeze": 6, "old": 3, "order": 3}
KNOWN: dict[Path, Reference] = {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(f"stale-{os.getpid()}", tmp_path_factory.mktemp("stale"), quiet=5.0) as found:
        yield of_this_size(found)


async def known(place: Ground) -> Reference:
    """The end of an undisturbed path, walked once."""
    if place.folder not in KNOWN:
        KNOWN[place.folder] = await reference(place)
    return KNOWN[place.folder]


@pytest.mark.apiserver
@pytest.mark.parametrize(
    "what", [pytest.param(one, marks=pytest.mark.timeout(seconds(f"stale-{one}"))) for one in MODES]
)
async def test_what_is_not_heard_of_in_time_does_no_harm(place: Ground, what: str) -> None:
    wanted = await known(place)
    cases, lanes, allowance = SAMPLE[what], len(SAMPLE[what]), SAMPLE_ALLOWANCE_SECONDS
    if is_whole():
        cases = [one for one in whole(wanted) if one.mode in MODES[what]]
        lanes = min(LANES[what], len(cases))
        allowance = await undisturbed(place, wanted, lanes) + RESYNC_SECONDS + SLACK_SECONDS
    results = await run_all(replace(place, limit=allowance), wanted, cases, lanes, allowance)
    bad = [f"{one.line()} {one.complaints}; again: {one.case.command()}" for one in results if one.complaints]
    faults, slowest = sum(one.faults for one in results), max(one.seconds for one in results)
    figure = f"{len(results)} paths with {faults} faults, the slowest {slowest:.1f} s after its last fault"
    if is_whole():
        figure += f" ({allowance:.0f} s allowed)"
    record(f"stale-{what}", runs=len(results), bad=len(bad), figure=figure)
    assert bad == []
