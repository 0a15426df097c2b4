"""Metrics show what is, and no longer what was."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from plumbline_operator.model.meta import Key
from plumbline_operator.runtime.metrics import Metrics
from tests.runtime.toy import KIND
from tests.support.worlds import condition, raw, with_status

BEAR = Key("Toy", "team", "bear")
TOY = raw(KIND, "bear", {"size": 1})


def conditions(metrics: Metrics) -> dict[str, float]:
    """Type → value of what is shown of the bear."""
    samples = [s for m in metrics.registry.collect() for s in m.samples if s.name == "plumbline_condition"]
    return {s.labels["type"]: s.value for s in samples}


@pytest.mark.parametrize(("status", "value"), [("True", 1.0), ("False", 0.0), ("Unknown", -1.0)])
def test_a_condition_is_a_number(status: str, value: float) -> None:
    metrics = Metrics()
    metrics.show(BEAR, condition(TOY, "Ready", status, "Played"))
    assert conditions(metrics) == {"Ready": value}


def test_a_condition_that_went_is_shown_no_more() -> None:
    metrics = Metrics()
    stalled = condition(condition(TOY, "Ready", "False", "Broken"), "Stalled", "True", "Broken")
    metrics.show(BEAR, stalled)
    metrics.show(BEAR, condition(TOY, "Ready", "True", "Played"))
    assert conditions(metrics) == {"Ready": 1.0}


def test_an_object_that_went_leaves_nothing_behind() -> None:
    metrics = Metrics()
    metrics.show(BEAR, condition(TOY, "Ready", "True", "Played"))
    metrics.drop(BEAR)
    metrics.drop(BEAR)
    assert conditions(metrics) == {}


def test_an_object_without_a_status_shows_nothing() -> None:
    metrics = Metrics()
    metrics.show(BEAR, TOY)
    metrics.show(BEAR, with_status(TOY))
    assert conditions(metrics) == {}


def test_calls_are_counted_by_verb_resource_and_code() -> None:
    metrics = Metrics()
    metrics.called("apply", "jobs", 200, 0.02)
    metrics.called("apply", "jobs", 0, 30.0)
    text = generate_latest(metrics.registry).decode()
    assert 'plumbline_api_calls_total{code="200",resource="jobs",verb="apply"} 1.0' in text
    assert 'plumbline_api_calls_total{code="0",resource="jobs",verb="apply"} 1.0' in text
    assert 'plumbline_api_call_seconds_count{verb="apply"} 2.0' in text


def test_two_operators_in_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.leader.set(1)
    assert "plumbline_leader 0.0" in generate_latest(other.registry).decode()
