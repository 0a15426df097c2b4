"""The operator lives through every spec that its schemas let through, and says what is wrong with the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.chain import STEPS, Limits
from tests.fuzz.runs import Order, fuzz, unbroken
from tests.fuzz.subjects import KINDS
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record

GOAL = "fuzz"
SEED = 4
SHARE = 0.95  # of the invalid specs, refused at apply with the field's path
SAMPLE_LIMITS = Limits(decided=180.0, ready=240.0)  # in a sample other tests run beside this one

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]


def test_no_spec_breaks_the_operator_and_bad_ones_are_told_so(tmp_path: Path) -> None:
    chains = range(-(-size(GOAL) // (len(KINDS) * STEPS)))
    limits = Limits() if is_whole() else SAMPLE_LIMITS
    order = Order(list(KINDS), SEED, chains, lanes=16 if is_whole() else 2 * len(KINDS), limits=limits)
    outcome = fuzz(f"fuzz-{os.getpid()}", tmp_path, order)
    print(outcome.table())
    record(GOAL, runs=outcome.specs, bad=len(outcome.complaints), figure=outcome.figure(), seed=str(SEED))
    assert outcome.complaints == []
    assert outcome.specs >= size(GOAL)
    assert outcome.refused_share >= SHARE
    assert not is_whole() or unbroken(outcome.tallies) == []
