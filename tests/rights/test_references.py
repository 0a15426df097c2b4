"""No field can name another object without somebody having thought about whose it may be."""

from __future__ import annotations

from tests.rights.references import OBJECT_NAME, Field, classified, fields, forgotten, unclassified


def test_every_field_that_may_name_an_object_is_classified() -> None:
    assert unclassified(fields()) == []
    assert forgotten(fields()) == []


def test_the_schemas_are_read_as_they_are() -> None:
    places = {one.place for one in fields()}
    assert set(classified()) <= places
    assert {one.partition(" ")[0] for one in classified()} >= {"Approval", "Connection", "Dataset", "TrainingRun"}


def test_a_new_reference_is_noticed_by_its_shape_its_name_or_its_freedom() -> None:
    name = {"type": "string", "pattern": OBJECT_NAME}
    shaped = Field("Dataset", "spec.sink", {"type": "object", "properties": {"name": name}})
    called = Field("Dataset", "spec.valuesFrom", {"type": "array"})
    free = Field("Dataset", "spec.sink", {"type": "string"})
    bound = Field("Dataset", "spec.mode", {"type": "string", "enum": ["A"]})
    assert unclassified([shaped]) == ["Dataset spec.sink"]
    assert unclassified([called]) == ["Dataset spec.valuesFrom"]
    assert unclassified([free]) == ["Dataset spec.sink"]
    assert unclassified([bound]) == []


def test_what_is_not_followed_says_why() -> None:
    assert [place for place, one in classified().items() if bool(one.because) is one.followed] == []
