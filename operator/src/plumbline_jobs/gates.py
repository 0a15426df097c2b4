"""Judges scored golden rows by a model's gates. Only a measured value that keeps to its bound passes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from plumbline_contract.manifest import SliceMetric
from plumbline_contract.report import TestVerdict
from plumbline_contract.runspec import Gate, MetricGate, RegressionGate, SliceGate
from plumbline_jobs.metrics import RISING, Measured, measure
from plumbline_jobs.stats.bins import Floats

OVERALL = "overall"
MONTH = "month"
PASS, FAIL, INCONCLUSIVE = "Pass", "Fail", "Inconclusive"


@dataclass(frozen=True, slots=True)
class Scored:
    """The golden rows with what the models say of them; every array has shape (rows,).

    groups: column name, or `month` → the value of each row as text. Absent champion scores have a reason.
    """

    labels: Floats
    scores: Floats
    champion: Floats | None = None
    why_no_champion: str = "there is no champion"
    groups: Mapping[str, pl.Series] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A gate's verdict, and the slices that it looked at."""

    verdict: TestVerdict
    slices: tuple[SliceMetric, ...] = ()
    champion_slices: tuple[SliceMetric, ...] = ()


def judge(gate: Gate, scored: Scored) -> Judged:
    """The verdict of one gate. A metric without a value is Inconclusive."""
    if isinstance(gate, MetricGate):
        return Judged(_minimum(gate, scored))
    if isinstance(gate, RegressionGate):
        return Judged(_regression(gate, scored))
    return _slices(gate, scored)


def groups_of(gates: Sequence[Gate]) -> tuple[tuple[str, ...], bool]:
    """The columns that gates cut slices by, and whether any cuts by month."""
    cutting = [gate for gate in gates if isinstance(gate, SliceGate)]
    columns = dict.fromkeys(name for gate in cutting for name in gate.columns)
    return tuple(columns), any(gate.per_month for gate in cutting)


def _minimum(gate: MetricGate, scored: Scored) -> TestVerdict:
    bound = f">= {gate.minimum:.6g}"
    if gate.metric not in RISING:
        return _unclear(gate.name, bound, _no_minimum(gate.metric))
    found = measure(gate.metric, scored.labels, scored.scores)
    if found.value is None:
        return _unclear(gate.name, bound, f"{gate.metric} has no value: {found.why}")
    return _judged(gate.name, found.value >= gate.minimum, found.value, bound, f"{gate.metric} {found.value:.6g}")


def _regression(gate: RegressionGate, scored: Scored) -> TestVerdict:
    """How many percent of the champion's value the candidate is worse, on the same rows; 0 when it is not worse."""
    bound = f"<= {gate.maximum_percent:.6g} % worse"
    if scored.champion is None:
        return _unclear(gate.name, bound, scored.why_no_champion)
    ours = measure(gate.metric, scored.labels, scored.scores)
    theirs = measure(gate.metric, scored.labels, scored.champion)
    if ours.value is None or theirs.value is None:
        return _unclear(gate.name, bound, f"{gate.metric} has no value: {ours.why or theirs.why}")
    worse = _percent_worse(gate.metric, ours.value, theirs.value)
    text = f"{gate.metric} {ours.value:.6g}, the champion's {theirs.value:.6g}"
    if worse is None:
        return _unclear(gate.name, bound, f"{text}: no percentage of 0 can be told")
    return _judged(gate.name, worse <= gate.maximum_percent, worse, bound, f"{text}: {worse:.4g} % worse")


def _percent_worse(metric: str, ours: float, theirs: float) -> float | None:
    loss = theirs - ours if metric in RISING else ours - theirs
    if loss <= 0:
        return 0.0
    return None if theirs == 0 else 100 * loss / abs(theirs)


def _slices(gate: SliceGate, scored: Scored) -> Judged:
    bound = f">= {gate.minimum:.6g} on each slice of {gate.minimum_samples} rows or more"
    if gate.metric not in RISING:
        return Judged(_unclear(gate.name, bound, _no_minimum(gate.metric)))
    found = tuple(_each_slice(gate, scored, scored.scores))
    theirs = () if scored.champion is None else tuple(_each_slice(gate, scored, scored.champion))
    judged = [one for one in found if one.verdict != INCONCLUSIVE and one.value is not None]
    left_out = len(found) - len(judged)
    if not judged:
        text = f"none of {len(found)} slices could be judged by {gate.metric}: too few rows, or rows of one class"
        return Judged(_unclear(gate.name, bound, text), found, theirs)
    worst = min(judged, key=lambda one: (one.value or 0.0, one.slice))
    failing = sum(one.verdict == FAIL for one in judged)
    text = (
        f"{gate.metric} {worst.value:.6g} on {worst.slice:.120} ({worst.rows} rows), the worst of {len(judged)} slices"
    )
    text += f"; {failing} of them are below the bound" if failing else ""
    text += f"; {left_out} not judged" if left_out else ""
    return Judged(_judged(gate.name, not failing, worst.value or 0.0, bound, text), found, theirs)


def _each_slice(gate: SliceGate, scored: Scored, scores: Floats) -> Iterator[SliceMetric]:
    """The metric on every slice, in the order of the slices' names."""
    for name in (*gate.columns, *((MONTH,) if gate.per_month else ())):
        groups = scored.groups[name]
        places = pl.DataFrame({"value": groups, "row": pl.int_range(len(groups), eager=True)})
        grouped = places.group_by("value").agg("row").sort("value")
        for value, rows in zip(grouped["value"], (one.to_numpy() for one in grouped["row"]), strict=True):
            yield _slice(gate, f"{name}={value}", scored.labels[rows], scores[rows])


def _slice(gate: SliceGate, name: str, labels: Floats, scores: Floats) -> SliceMetric:
    found = Measured(None) if len(labels) < gate.minimum_samples else measure(gate.metric, labels, scores)
    verdict = INCONCLUSIVE if found.value is None else PASS if found.value >= gate.minimum else FAIL
    return SliceMetric(slice=name, rows=len(labels), metric=gate.metric, value=found.value, verdict=verdict)


def _no_minimum(metric: str) -> str:
    return f"{metric} is better when it is lower, or unknown; a minimum is for {', '.join(sorted(RISING))}"


def _unclear(name: str, bound: str, why: str) -> TestVerdict:
    return TestVerdict(name=name, verdict=INCONCLUSIVE, bound=bound, message=f"{why} (bound: {bound}).")


def _judged(name: str, kept: bool, value: float, bound: str, text: str) -> TestVerdict:
    return TestVerdict(
        name=name, verdict=PASS if kept else FAIL, value=value, bound=bound, message=f"{text} (bound: {bound})."
    )
