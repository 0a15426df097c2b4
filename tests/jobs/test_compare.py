"""Pairs of a primary's and a shadow's predictions, joined from logs written as servers write them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_contract.prediction import prediction_id
from plumbline_contract.report import Outcome
from plumbline_contract.runspec import Compare, Owner
from plumbline_jobs import compare
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from plumbline_serving.record import Record
from tests.jobs.lake import Lake
from tests.jobs.models import Log

OWNER = Owner(namespace="team", kind="ModelDeployment", name="late-arrival", uid="u", job="j")
SINCE = datetime(2026, 1, 1, 22, 50, tzinfo=UTC)
UNTIL = SINCE + timedelta(minutes=30)  # over an hour's end
MILLISECOND = timedelta(milliseconds=1)
INPUTS = {"x": "FP32"}


def asked(lake: Lake, **changes: Any) -> Answer:
    given: dict[str, Any] = {"since": SINCE, "until": UNTIL, "output": "probability", "tolerance": 0.1} | changes
    names = {"deployment": "late-arrival", "primary": "v-a", "shadow": "v-b"}
    return compare.run(Compare(owner=OWNER, storage=lake.storage, **names, **given))


def said(
    log: Log, moments: Sequence[datetime], answers: Sequence[Any], role: str, ids: Sequence[str] | None = None
) -> None:
    log.write(moments, {"x": [0.0] * len(moments)}, answers, role=role, ids=ids)


def test_pairs_agree_when_they_differ_by_at_most_the_tolerance(lake: Lake) -> None:
    moments = [SINCE + timedelta(minutes=6 * i) for i in range(4)]
    said(Log(lake, "v-a", INPUTS), moments, [0.5, 0.5, 0.5, 0.5], "primary")
    said(Log(lake, "v-b", INPUTS), [m + 9 * MILLISECOND for m in moments], [0.5, 0.59, 0.75, 0.25], "shadow")
    answer = asked(lake)
    assert answer.report.outcome is Outcome.DONE
    assert answer.report.numbers == pytest.approx({"pairs": 4, "agreement": 0.5, "meanDifference": 0.09 / 4}, abs=1e-6)
    assert answer.details == {"primaryRows": 4, "shadowRows": 4}


def test_the_window_is_half_open_and_asks_when_the_original_was_answered(lake: Lake) -> None:
    moments = [SINCE - MILLISECOND, SINCE, UNTIL - MILLISECOND, UNTIL]
    said(Log(lake, "v-a", INPUTS), moments, [0.1] * 4, "primary")
    said(Log(lake, "v-b", INPUTS), [m + timedelta(seconds=3) for m in moments], [0.1] * 4, "shadow")
    assert asked(lake).report.numbers["pairs"] == 2


def test_a_copy_answered_in_the_hour_after_is_found(lake: Lake) -> None:
    until = datetime(2026, 1, 1, 23, tzinfo=UTC)
    said(Log(lake, "v-a", INPUTS), [until - MILLISECOND], [0.3], "primary")
    said(Log(lake, "v-b", INPUTS), [until + MILLISECOND], [0.3], "shadow")
    assert asked(lake, until=until).report.numbers == {"pairs": 1, "agreement": 1, "meanDifference": 0}


def test_without_pairs_there_is_nothing_to_agree_on(lake: Lake) -> None:
    assert asked(lake).report.numbers == {"pairs": 0}
    said(Log(lake, "v-a", INPUTS), [SINCE], [0.3], "primary")
    assert asked(lake).report.numbers == {"pairs": 0}
    said(Log(lake, "v-b", INPUTS), [SINCE], [0.3], "shadow", ids=["another"])
    answer = asked(lake)
    assert (answer.report.outcome, answer.report.numbers) == (Outcome.DONE, {"pairs": 0})


def test_only_a_primary_pairs_with_a_shadow(lake: Lake) -> None:
    said(Log(lake, "v-a", INPUTS), [SINCE], [0.3], "shadow")
    said(Log(lake, "v-b", INPUTS), [SINCE], [0.3], "primary")
    assert asked(lake).report.numbers == {"pairs": 0}


def test_the_rows_of_one_request_pair_by_their_place(lake: Lake) -> None:
    for variant, role, answers in (("v-a", "primary", [0.1, 0.5, 0.9]), ("v-b", "shadow", [0.1, 0.9, 0.5])):
        told = np.array(answers, dtype=np.float32).reshape(3, 1)
        moment = round(SINCE.timestamp() * 1000)
        zeros = np.zeros((3, 1), np.float32)
        record = Record(moment, prediction_id(moment, "r"), role, "", 3, (zeros,), (told,))
        Log(lake, variant, INPUTS).put([record])
    assert asked(lake).report.numbers == pytest.approx({"pairs": 3, "agreement": 1 / 3, "meanDifference": 0}, abs=1e-6)


def test_a_request_id_used_twice_pairs_nothing(lake: Lake) -> None:
    moments = [SINCE + timedelta(minutes=i) for i in range(3)]
    said(Log(lake, "v-a", INPUTS), moments, [0.1, 0.2, 0.3], "primary", ids=["same", "same", "own"])
    said(Log(lake, "v-b", INPUTS), moments, [0.1, 0.2, 0.3], "shadow", ids=["same", "same", "own"])
    assert asked(lake).report.numbers["pairs"] == 1


def test_two_probabilities_are_compared_by_the_second(lake: Lake) -> None:
    said(Log(lake, "v-a", INPUTS, width=2), [SINCE], [[0.8, 0.2]], "primary")
    said(Log(lake, "v-b", INPUTS), [SINCE], [0.25], "shadow")
    assert asked(lake).report.numbers["meanDifference"] == pytest.approx(0.05)


def test_texts_agree_when_they_are_equal(lake: Lake) -> None:
    moments = [SINCE + timedelta(minutes=i) for i in range(3)]
    said(Log(lake, "v-a", INPUTS, output="BYTES"), moments, ["late", "late", "punctual"], "primary")
    said(Log(lake, "v-b", INPUTS, output="BYTES"), moments, ["late", "punctual", "punctual"], "shadow")
    assert asked(lake).report.numbers == pytest.approx({"pairs": 3, "agreement": 2 / 3})


def test_an_answer_that_is_no_number_agrees_with_nothing(lake: Lake) -> None:
    moments = [SINCE + timedelta(minutes=i) for i in range(3)]
    said(Log(lake, "v-a", INPUTS), moments, [math.nan, math.inf, 0.5], "primary")
    said(Log(lake, "v-b", INPUTS), moments, [math.nan, math.inf, 0.5], "shadow")
    assert asked(lake).report.numbers == pytest.approx({"pairs": 3, "agreement": 1 / 3, "meanDifference": 0})


def test_an_output_that_is_not_logged_is_refused_by_name(lake: Lake) -> None:
    said(Log(lake, "v-a", INPUTS), [SINCE], [0.3], "primary")
    with pytest.raises(Refused, match="`score`"):
        asked(lake, output="score")


@pytest.mark.parametrize("data", [b"", b"PAR1 but not really PAR1", b"{}"])
def test_a_damaged_segment_is_named(lake: Lake, data: bytes) -> None:
    log = Log(lake, "v-a", INPUTS)
    key = log.key(round(SINCE.timestamp()) // 3600)
    lake.write(key, data)
    with pytest.raises(Refused) as caught:
        asked(lake)
    assert key in caught.value.message


def test_what_is_no_segment_is_passed_over(lake: Lake) -> None:
    said(Log(lake, "v-a", INPUTS), [SINCE], [0.3], "primary")
    said(Log(lake, "v-b", INPUTS), [SINCE], [0.3], "shadow")
    lake.write(Log(lake, "v-a", INPUTS).key(round(SINCE.timestamp()) // 3600).replace(".parquet", ".tmp"), b"x")
    assert asked(lake).report.numbers["pairs"] == 1


NUMBERS = st.floats(-1, 1) | st.sampled_from([math.nan, math.inf, -math.inf])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1), st.floats(0, 1))
def test_agreement_and_difference_are_what_a_loop_finds(pairs: list[tuple[float, float]], tolerance: float) -> None:
    found = compare.compared(pl.Series([a for a, _ in pairs]), pl.Series([b for _, b in pairs]), tolerance)
    finite = [b - a for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    expected: Mapping[str, float] = {
        "pairs": len(pairs),
        "agreement": sum(abs(d) <= tolerance for d in finite) / len(pairs),
        **({"meanDifference": math.fsum(finite) / len(finite)} if finite else {}),
    }
    assert found == pytest.approx(expected, abs=1e-12)
