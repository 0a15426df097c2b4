"""What an evaluation's answer means."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_operator.rooms.driftmonitor.api import DriftMonitorSpec, DriftMonitorStatus, Evaluation
from plumbline_operator.rooms.driftmonitor.verdict import drifting, judged, values_of
from tests.rooms.release_objects import FIRST
from tests.support.worlds import NOW

HOUR = timedelta(hours=1)


def spec(**changes: Any) -> DriftMonitorSpec:
    return DriftMonitorSpec.model_validate({"deploymentRef": {"name": "late"}, "minRows": 100} | changes)


def evaluation(until: datetime = NOW) -> Evaluation:
    return Evaluation(since=until - HOUR, until=until, version="v1", manifest=FIRST, variant="late-v-1")


def report(*verdicts: tuple[str, str, float | None], rows: float | None = 500, **numbers: float) -> Report:
    said = tuple(TestVerdict(name=name, verdict=word, value=value) for name, word, value in verdicts)
    counted = {} if rows is None else {"rows": rows}
    return Report(outcome=Outcome.DONE, numbers=counted | numbers, verdicts=said)


def told(rules: DriftMonitorSpec, *reports: Report) -> tuple[str, str]:
    """The Drifting condition after these reports, an hour apart."""
    status = DriftMonitorStatus()
    for number, one in enumerate(reports):
        status = judged(status, rules, evaluation(NOW + number * HOUR), one)
    state, reason, _ = drifting(status, rules)
    return str(state), str(reason)


CALM = report(("temp", "Pass", 0.1))
SHIFTED = report(("temp", "Fail", 1.3), ("wind", "Pass", 0.1))
FEW = report(("temp", "Inconclusive", None), rows=3)
EMPTY = report(("temp", "Inconclusive", None), rows=0)


@pytest.mark.parametrize(
    ("title", "changes", "reports", "expected"),
    [
        ("never evaluated", {}, [], ("Unknown", "NotYetEvaluated")),
        ("calm", {}, [CALM], ("False", "NoDrift")),
        ("shifted", {}, [SHIFTED], ("True", "Drifted")),
        ("shifted, then calm", {}, [SHIFTED, CALM], ("False", "NoDrift")),
        ("too few rows", {}, [FEW], ("Unknown", "InsufficientRows")),
        ("no rows", {}, [EMPTY], ("Unknown", "InsufficientRows")),
        ("no rows after a calm hour", {}, [CALM, EMPTY], ("Unknown", "InsufficientRows")),
        (
            "too few rows, whatever they say",
            {},
            [report(("temp", "Fail", 9.0), rows=99)],
            ("Unknown", "InsufficientRows"),
        ),
        (
            "one value missing",
            {},
            [report(("a", "Pass", 0.1), ("b", "Inconclusive", None))],
            ("Unknown", "Inconclusive"),
        ),
        ("no value at all", {}, [report()], ("Unknown", "Inconclusive")),
        ("rows not told", {}, [report(("a", "Pass", 0.1), rows=None)], ("Unknown", "InsufficientRows")),
        ("not long enough", {"forSeconds": 3601}, [SHIFTED, SHIFTED], ("False", "DriftPending")),
        ("long enough", {"forSeconds": 3600}, [SHIFTED, SHIFTED], ("True", "Drifted")),
        ("interrupted by a calm hour", {"forSeconds": 3600}, [SHIFTED, CALM, SHIFTED], ("False", "DriftPending")),
        ("interrupted by silence", {"forSeconds": 3600}, [SHIFTED, EMPTY, SHIFTED], ("True", "Drifted")),
        ("silence in an alarm", {}, [SHIFTED, EMPTY], ("Unknown", "InsufficientRows")),
    ],
)
def test_the_alarm(title: str, changes: dict[str, Any], reports: list[Report], expected: tuple[str, str]) -> None:
    assert told(spec(**changes), *reports) == expected, title


def test_an_empty_window_says_that_it_was_empty() -> None:
    status = judged(DriftMonitorStatus(), spec(), evaluation(), EMPTY)
    assert status.last_window is not None
    assert (status.last_window.rows, status.last_window.verdict) == (0, "Inconclusive")
    _, _, message = drifting(status, spec())
    assert message == "0 rows until 2026-03-01T12:00:00Z, fewer than spec.minRows 100."


def test_failing_values_come_first_then_the_largest() -> None:
    found = values_of(report(("a", "Pass", 0.2), ("b", "Fail", 0.05), ("c", "Pass", 0.24)), spec())
    assert [one.name for one in found] == ["b", "c", "a"]


def test_a_shortened_report_is_completed_from_its_numbers() -> None:
    found = values_of(report(("a", "Fail", 0.9), **{"psi.a": 0.9, "psi.b": 0.1, "psi.c": 0.3}), spec())
    assert {one.name: one.verdict for one in found} == {"a": "Fail", "b": "Pass", "c": "Fail"}


def test_bounds_are_those_of_the_spec() -> None:
    rules = spec(features={"maxPSI": 0.2, "overrides": [{"name": "a", "maxPSI": 0.5}]}, prediction={"maxPSI": 0.1})
    found = values_of(report(("a", "Pass", 0.4), ("b", "Pass", 0.1), ("prediction", "Fail", 0.15)), rules)
    assert {one.name: one.max_psi for one in found} == {"a": 0.5, "b": 0.2, "prediction": 0.1}


def test_only_twenty_values_are_kept() -> None:
    many = report(*((f"f{number:02}", "Pass", number / 1000) for number in range(40)))
    status = judged(DriftMonitorStatus(), spec(), evaluation(), many)
    assert len(status.values) == 20
    assert status.values[0].name == "f39"


def test_an_alarm_says_what_how_far_and_what_to_do() -> None:
    rules = spec(severity="Page", runbookURL="https://example.com/drift")
    _, _, message = drifting(judged(DriftMonitorStatus(), rules, evaluation(), SHIFTED), rules)
    assert message == (
        "temp PSI 1.3 (at most 0.25) over 500 rows until 2026-03-01T12:00:00Z (Page). "
        "Runbook: https://example.com/drift"
    )


def test_a_page_without_a_runbook_is_refused() -> None:
    with pytest.raises(ValueError, match="runbookURL is empty"):
        spec(severity="Page")
