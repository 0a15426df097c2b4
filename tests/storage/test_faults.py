"""Ingest, training and serving start under storage that fails, hangs, lies and breaks off.

A run is had again from its seed: the faults depend on it and on the order of the requests alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from plumbline_contract.report import Outcome, Report
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.storage.faults import COMPLETED, Trial, figure_of, judged, plans, refusal_of
from tests.storage.ground import ground
from tests.storage.jobs import Ended

GOAL = "storage-faults"
pytestmark = pytest.mark.timeout(seconds(GOAL))

SEED = 20260101
LANES = 6  # a run mostly waits: for a slow body, or before it tries again
SAMPLE_LANES, SAMPLE_LONGEST = 5, 2.0


async def test_nothing_is_accepted_in_silence(tmp_path: Path) -> None:
    async with ground(tmp_path) as place:
        trial = Trial(place, longest=float("inf") if is_whole() else SAMPLE_LONGEST)
        seen = await trial.run_all(plans(size(GOAL), SEED), LANES if is_whole() else SAMPLE_LANES)
    bad = [one.line() for one in seen if one.bad or one.end.startswith("unclear")]
    record(GOAL, runs=len(seen), bad=len(bad), figure=figure_of(seen), seed=str(SEED))
    assert bad == []
    assert sum(len(one.faults) for one in seen) > len(seen)
    assert any(one.end == COMPLETED for one in seen)


DONE = Report(outcome=Outcome.DONE, digests={"manifest": "sha256:" + "0" * 64})
OTHER = Report(outcome=Outcome.DONE, digests={"manifest": "sha256:" + "1" * 64})
TROUBLE = Report(outcome=Outcome.TROUBLE, reason="EndpointUnreachable", message="it does not answer")


@pytest.mark.parametrize(
    ("ended", "end", "bad"),
    [
        (Ended(0, DONE, ""), COMPLETED, ""),
        (Ended(0, OTHER, ""), COMPLETED, "SILENT"),
        (Ended(3, TROUBLE, ""), "EndpointUnreachable", ""),
        (Ended(3, TROUBLE, "Traceback (most"), "EndpointUnreachable", "a traceback"),
        (Ended(3, TROUBLE.model_copy(update={"reason": "JobFailed"}), ""), "JobFailed", "no clear reason"),
        (Ended(2, TROUBLE.model_copy(update={"outcome": Outcome.REFUSED}), ""), "EndpointUnreachable", "the input's"),
        (Ended(-9, None, ""), "no report", "no report"),
    ],
)
def test_the_verdict_on_a_run(ended: Ended, end: str, bad: str) -> None:
    found, complaints = judged(ended, DONE)
    assert found == end
    assert bool(complaints) == bool(bad)
    assert all(bad in one for one in complaints)


def test_the_line_of_a_server_that_does_not_start_has_a_reason() -> None:
    begin = "plumbline-serving cannot start: "
    assert refusal_of(f"{begin}cannot read the model file x from s3://lake/k at y: z") == "EndpointUnreachable"
    assert refusal_of(f"{begin}the model file at s3://lake/k has digest x, expected y") == "DataUnavailable"
    assert refusal_of(f"{begin}something").startswith("unclear")
