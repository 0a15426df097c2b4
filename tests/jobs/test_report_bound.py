"""A drift report of any number of inputs fits a termination message, and still decides what the monitor says."""

from __future__ import annotations

import pytest

from plumbline_contract.base import digest_of
from plumbline_contract.report import MESSAGE_LIMIT, Report
from plumbline_jobs.drift import report_of
from plumbline_jobs.histograms import Comparison, worst_first
from plumbline_operator.rooms.driftmonitor.api import DriftMonitorSpec
from plumbline_operator.rooms.driftmonitor.verdict import values_of, verdict_of

PAGE = digest_of(b"page")
ROWS = 5_000
SPEC = DriftMonitorSpec.model_validate(
    {"deploymentRef": {"name": "delays"}, "minRows": 1000, "features": {"maxPSI": 0.25}, "severity": "Info"}
)


def feature(name: str, verdict: str, psi: float | None) -> Comparison:
    """One judged input."""
    message = "" if verdict == "Pass" else f"{name}: what happened to it, in about as many words as usual."
    return Comparison(name=name, maximum=0.25, verdict=verdict, message=message, psi=psi)


def told(found: list[Comparison]) -> tuple[Report, str]:
    """The report after its way through a termination message, and the monitor's verdict on it."""
    data = report_of(ROWS, PAGE, found).termination_message()
    assert len(data) <= MESSAGE_LIMIT
    report = Report.model_validate_json(data)
    rows = report.numbers.get("rows")
    return report, verdict_of(values_of(report, SPEC), None if rows is None else int(rows), SPEC.min_rows)


@pytest.mark.parametrize("count", [1, 19, 100, 2_000])
@pytest.mark.parametrize("length", [8, 500])
def test_the_verdict_survives_whatever_has_to_be_left_out(count: int, length: int) -> None:
    passing = [feature(f"{number:04d}".ljust(length, "x"), "Pass", number / 1e5) for number in range(count)]
    odd = feature("odd".ljust(length, "x"), "Inconclusive", None)
    drifted = feature("drifted".ljust(length, "x"), "Fail", 0.7)
    for found, verdict in (
        (passing, "Pass"),
        ([*passing, odd], "Inconclusive"),
        ([*passing, odd, drifted], "Fail"),
    ):
        report, said = told(found)
        assert said == verdict
        assert report.numbers["rows"] == ROWS
        assert report.digests == {"report": PAGE}


def test_two_thousand_drifted_inputs_still_name_the_worst() -> None:
    report, said = told([feature(f"input-{number:04d}", "Fail", 0.3 + number / 1e4) for number in range(2_000)])
    assert said == "Fail"
    assert report.verdicts[0].name == "input-1999"
    assert max(report.numbers, key=lambda name: report.numbers[name] if name != "rows" else 0) == "psi.input-1999"


def test_failing_inputs_come_first_then_unclear_ones_then_by_distance() -> None:
    found = [
        feature("b", "Pass", 0.2),
        feature("a", "Pass", 0.2),
        feature("odd", "Inconclusive", None),
        feature("far", "Fail", 0.9),
        feature("near", "Fail", 0.3),
        feature("c", "Pass", 0.21),
    ]
    assert [one.name for one in worst_first(found)] == ["far", "near", "odd", "c", "a", "b"]
