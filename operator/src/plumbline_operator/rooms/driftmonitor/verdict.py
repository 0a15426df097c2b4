"""What an evaluation's answer means: values, verdict, and whether the alarm rings. Pure.

verdict     Pass    Fail     Fail     Fail     Inconclusive   Fail     Pass
Drifting    False   False    False    True     Unknown        True     False
                    └ pending, for < forSeconds ┘ an evaluation that says nothing neither ends nor confirms
"""

from datetime import datetime, timedelta
from typing import Literal

from plumbline_contract.report import Report
from plumbline_operator.model.conditions import State, stamp
from plumbline_operator.rooms.driftmonitor.api import (
    DriftMonitorSpec,
    DriftMonitorStatus,
    Evaluation,
    LastWindow,
    Reason,
    Value,
)

PREDICTION = "prediction"  # name under which the predictions are judged
PSI = "psi."  # prefix of the values among a report's numbers
SHOWN = 20

Verdict = Literal["Pass", "Fail", "Inconclusive"]


def judged(status: DriftMonitorStatus, spec: DriftMonitorSpec, done: Evaluation, report: Report) -> DriftMonitorStatus:
    """The status after this answer, but for the report's place."""
    rows = report.numbers.get("rows")
    values = values_of(report, spec)
    verdict = verdict_of(values, None if rows is None else int(rows), spec.min_rows)
    window = LastWindow(since=done.since, until=done.until, rows=int(rows or 0), variant=done.variant, verdict=verdict)
    fields = {"last_window": window, "values": values[:SHOWN], "drifting_since": _since(status, done, verdict)}
    return status.model_copy(update=fields)


def values_of(report: Report, spec: DriftMonitorSpec) -> tuple[Value, ...]:
    """Every value in a report, failing ones first, then by how far they shifted.

    A report that had to be shortened lacks verdicts that passed; their numbers stand in for them.
    """
    found = {
        one.name: Value(name=one.name, psi=_rounded(one.value), max_psi=bound(one.name, spec), verdict=one.verdict)
        for one in report.verdicts
    }
    for key, number in report.numbers.items():
        name = key.removeprefix(PSI)
        if key.startswith(PSI) and name not in found:
            limit = bound(name, spec)
            word = "Pass" if number <= limit else "Fail"
            found[name] = Value(name=name, psi=_rounded(number), max_psi=limit, verdict=word)
    return tuple(sorted(found.values(), key=lambda v: (v.verdict != "Fail", -(v.psi or 0.0), v.name)))


def bound(name: str, spec: DriftMonitorSpec) -> float:
    """The largest allowed value of a feature, or of the predictions."""
    own = {one.name: one.max_psi for one in spec.features.overrides}
    if name == PREDICTION and name not in own and spec.prediction is not None:
        return spec.prediction.max_psi
    return own.get(name, spec.features.max_psi)


def verdict_of(values: tuple[Value, ...], rows: int | None, least: int) -> Verdict:
    """The verdict on a window. Too few rows, no value, or one that could not be computed says nothing."""
    words = {one.verdict for one in values}
    if rows is not None and rows < least:
        return "Inconclusive"
    if "Fail" in words:
        return "Fail"
    return "Pass" if rows is not None and words == {"Pass"} else "Inconclusive"


def drifting(status: DriftMonitorStatus, spec: DriftMonitorSpec) -> tuple[State, Reason, str]:
    """The Drifting condition."""
    window = status.last_window
    if window is None:
        return State.UNKNOWN, Reason.NOT_YET_EVALUATED, "No evaluation has ended yet."
    over = f"over {window.rows} rows until {stamp(window.until)}"
    if window.verdict == "Inconclusive":
        if window.rows < spec.min_rows:
            text = f"{window.rows} rows until {stamp(window.until)}, fewer than spec.minRows {spec.min_rows}."
            return State.UNKNOWN, Reason.INSUFFICIENT_ROWS, text
        missing = ", ".join(one.name for one in status.values if one.verdict == "Inconclusive") or "no value at all"
        return State.UNKNOWN, Reason.INCONCLUSIVE, f"Could not be computed {over}: {missing}."
    if window.verdict == "Pass" or status.drifting_since is None:
        highest = _sentence(status.values[:1])
        return State.FALSE, Reason.NO_DRIFT, f"Every value is within its bound {over}; {highest} is the highest."
    failing = _sentence(tuple(one for one in status.values if one.verdict == "Fail")[:5])
    lasted = window.until - status.drifting_since
    if lasted < timedelta(seconds=spec.for_seconds):
        rings = stamp(status.drifting_since + timedelta(seconds=spec.for_seconds))
        return State.FALSE, Reason.DRIFT_PENDING, f"{failing} {over}; an alarm if it still is at {rings}."
    runbook = f" Runbook: {spec.runbook_url}" if spec.runbook_url else ""
    return State.TRUE, Reason.DRIFTED, f"{failing} {over} ({spec.severity}).{runbook}"


def _since(status: DriftMonitorStatus, done: Evaluation, verdict: Verdict) -> datetime | None:
    """When the present run of failing evaluations began. An inconclusive one neither ends nor starts it."""
    before = status.drifting_since
    if verdict == "Pass":
        return None
    return before or done.until if verdict == "Fail" else before


def _sentence(values: tuple[Value, ...]) -> str:
    return ", ".join(
        f"{one.name} PSI {'unknown' if one.psi is None else f'{one.psi:.3g}'} (at most {one.max_psi:g})"
        for one in values
    )


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")
