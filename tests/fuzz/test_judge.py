"""The oracles complain when they should, and the same seed gives the same changes."""

from __future__ import annotations

import pytest

from tests.fuzz import goods
from tests.fuzz.breaks import breaks
from tests.fuzz.changes import Change, Changes
from tests.fuzz.goods import World
from tests.fuzz.judge import Standing, is_over, names_field, refusal_complaint, standing, state_complaint
from tests.fuzz.scripts import Sort
from tests.fuzz.sites import published, rules, sites
from tests.fuzz.subjects import KINDS, subjects
from tests.fuzz.users import Answer
from tests.rooms.data_objects import connection
from tests.support.worlds import condition, not_ready, ready

WORLD = World({goods.OTHER_RUN: goods.digest(1)}, {"flights": ("f-1", goods.digest(2)), "golden": ("g-1", "")})
DONE = Standing(True, "True", "Available", "All is well.")
STUCK = Standing(True, "False", "Refused", "It cannot be.", stalled=True)


def change(sort: Sort, says: str = "", way: str = "spec.columns[0].type") -> Change:
    return Change(sort, "a test", way, {}, says)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ('Dataset "x" is invalid: spec.columns[0].type: Unsupported value: "Text"', True),
        ('unknown field "spec.columns[0].unheardOf"', True),
        ("failed to create typed patch object: .spec.columns: expected list", True),
        ("spec: Invalid value: the columns must be named", True),
        ("spec.source.key: Required value", False),
        ("spec: Invalid value: something is wrong", False),
        ("<nil>: Invalid value: something is wrong", False),
        ("request is too large", False),
    ],
)
def test_a_refusal_names_a_field_or_does_not(message: str, named: bool) -> None:
    assert names_field(change(Sort.SCHEMA), message) is named


def test_a_refusal_for_another_reason_than_the_rule_is_told() -> None:
    answer = Answer(422, "spec.columns[0].type: Required value", {})
    assert refusal_complaint(change(Sort.RULE, "since must be before until"), answer, ()) != ""
    assert refusal_complaint(change(Sort.RULE, "Required value"), answer, ()) == ""
    assert refusal_complaint(change(Sort.VALID), answer, ["since must be before until"]) != ""
    assert refusal_complaint(change(Sort.VALID), answer, ["Required value"]) == ""


def test_what_was_taken_must_stall_when_it_is_invalid_and_be_decided_when_it_is_not() -> None:
    assert not is_over(change(Sort.SCHEMA), DONE)
    assert is_over(change(Sort.MEANING), STUCK)
    assert is_over(change(Sort.VALID), DONE)
    assert not is_over(change(Sort.VALID), Standing(current=False))
    assert state_complaint(change(Sort.MEANING, "LabelNotFound"), STUCK) != ""
    assert state_complaint(change(Sort.MEANING, "Refused"), STUCK) == ""
    assert state_complaint(change(Sort.DANGLING, "nobody-1"), DONE) != ""


def test_a_status_counts_only_for_the_spec_it_speaks_about() -> None:
    seen = ready(connection(), "Verified")
    assert standing(seen).decided
    seen["metadata"]["generation"] = 2
    assert not standing(seen).decided
    assert not standing(connection()).decided
    assert standing(condition(not_ready(connection(), "Refused"), "Stalled", "True", "Refused")).stalled


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_changes_and_another_seed_others(kind: str) -> None:
    def walk(seed: int) -> list[Change]:
        changes = Changes(subjects()[kind], seed, WORLD)
        return [changes.next(0, step, changes.good(0), "own") for step in range(20)]

    assert walk(7) == walk(7)
    assert walk(7) != walk(8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_good_spec_can_be_broken_and_every_rule_is_known(kind: str) -> None:
    schema = published(KINDS[kind].plural)
    spec = subjects()[kind].good(WORLD, 0)
    for site in sites(schema["properties"]["spec"], spec):
        if not (site.key and not site.present):
            assert list(breaks(site, spec)), site.way
    broken = {one.says for chain in range(3) for one in subjects()[kind].scripts(chain)}
    unknown = [one.message for one in rules(schema) if not any(says in one.message for says in broken)]
    assert unknown == []
