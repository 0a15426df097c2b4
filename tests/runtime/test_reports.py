"""Statuses the loop writes itself, and the comparison that keeps a settled world silent."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from plumbline_operator.kube.errors import Refused
from plumbline_operator.model.meta import Manifest
from plumbline_operator.runtime.owned import NameTaken
from plumbline_operator.runtime.reports import invalid_spec, same_status, stalled
from tests.runtime.toy import KIND, ToySpec
from tests.support.worlds import NOW, condition, raw, with_status

TOY = raw(KIND, "bear", {"size": 1})
FOREIGN = {"type": "example.com/Audited", "status": "True", "reason": "Seen"}


def error_of(spec: Manifest) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        ToySpec.model_validate(spec)
    return caught.value


def found(status: Manifest, type_: str) -> Manifest:
    return next(c for c in status["conditions"] if c["type"] == type_)


def test_an_invalid_spec_is_named_by_path_value_and_what_to_do() -> None:
    status = invalid_spec(TOY, error_of({"size": 99, "colours": ["a", "b", "c", "d"]}), NOW)
    message = found(status, "Stalled")["message"]
    assert "size is 99: Input should be less than or equal to 10" in message
    assert 'colours is ["a", "b", "c", "d"]' in message
    assert message.endswith("Correct the field and apply again.")
    assert status["observedGeneration"] == 1


def test_a_long_value_is_shown_in_part() -> None:
    message = found(invalid_spec(TOY, error_of({"size": "x" * 500}), NOW), "Stalled")["message"]
    assert "..." in message
    assert len(message) < 300


def test_the_items_path_has_its_index() -> None:
    message = found(invalid_spec(TOY, error_of({"size": 1, "colours": ["a", 2]}), NOW), "Stalled")["message"]
    assert "colours[1] is 2" in message


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (NameTaken("ConfigMap", "a", "Helm"), "NameTaken", "belongs to Helm"),
        (Refused("apply", "jobs", 403, "exceeded quota"), "Refused", "exceeded quota"),
    ],
)
def test_who_cannot_make_a_child_is_stalled_and_keeps_what_was_reported(
    error: Exception, reason: str, words: str
) -> None:
    before = with_status(condition(condition(TOY, "Ready", "True", "Played"), "Safe", "True", "Checked"), played=3)
    status = stalled(before, error, NOW)
    assert status["played"] == 3
    assert {c["type"] for c in status["conditions"]} == {"Ready", "Stalled", "Safe"}
    assert (found(status, "Ready")["status"], found(status, "Ready")["reason"]) == ("False", reason)
    assert words in found(status, "Stalled")["message"]


def test_conditions_of_others_are_not_taken_over() -> None:
    before = condition(TOY, "Ready", "True", "Played")
    before["status"]["conditions"].append(FOREIGN)
    status = stalled(before, NameTaken("Job", "a", "x"), NOW)
    assert {c["type"] for c in status["conditions"]} == {"Ready", "Stalled"}


def test_a_status_is_the_same_whatever_others_say_and_in_whatever_order() -> None:
    own = condition(condition(TOY, "Ready", "True", "Played"), "Safe", "True", "Checked")
    wanted = {**own["status"], "conditions": list(reversed(own["status"]["conditions"]))}
    own["status"] = {**own["status"], "conditions": [FOREIGN, *own["status"]["conditions"]]}
    assert same_status(wanted, own)


@pytest.mark.parametrize(
    "change",
    [
        {"played": 1},
        {"observedGeneration": 2},
        {"conditions": []},
    ],
)
def test_a_status_that_says_something_else_differs(change: Manifest) -> None:
    own = condition(TOY, "Ready", "True", "Played")
    assert not same_status({**own["status"], **change}, own)


def test_a_field_that_is_reported_no_more_makes_a_difference() -> None:
    own = with_status(condition(TOY, "Ready", "True", "Played"), played=1)
    wanted = {k: v for k, v in own["status"].items() if k != "played"}
    assert not same_status(wanted, own)


def test_a_condition_of_ours_that_is_gone_makes_a_difference() -> None:
    own = condition(condition(TOY, "Ready", "True", "Played"), "Stalled", "True", "Broken")
    wanted = {**own["status"], "conditions": [c for c in own["status"]["conditions"] if c["type"] == "Ready"]}
    assert not same_status(wanted, own)
