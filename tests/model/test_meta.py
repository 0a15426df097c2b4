"""Names and times in specs."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from plumbline_operator.model.conditions import stamp
from plumbline_operator.model.meta import NAME_PATTERN, Moment, controller, controller_uid

MOMENTS: TypeAdapter[Moment] = TypeAdapter(Moment)


@pytest.mark.parametrize(
    ("name", "valid"),
    [("storage", True), ("a.b-c.d", True), ("9", True), ("a..b", False), ("a.-b", False), ("-a", False), ("A", False)],
)
def test_a_name_is_one_that_an_object_can_have(name: str, valid: bool) -> None:
    assert bool(re.search(NAME_PATTERN, name)) is valid


@pytest.mark.parametrize("text", ["1900-01-02T00:00:00Z", "2024-02-29T00:00:00+14:00", "8999-12-31T23:59:59-12:00"])
def test_every_moment_taken_can_be_written_in_utc(text: str) -> None:
    assert stamp(MOMENTS.validate_python(text)).endswith("Z")


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1899-12-31T00:00:00Z", "2013-01-01T00:00:00"]
)
def test_moments_that_have_no_zone_or_leave_the_calendar_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        MOMENTS.validate_python(text)


def test_of_several_owners_only_the_controller_counts() -> None:
    owners = [{"kind": "Toy", "uid": "1"}, {"kind": "Toy", "uid": "2", "controller": True}]
    owned: dict[str, Any] = {"metadata": {"ownerReferences": owners}}
    assert (controller(owned), controller_uid(owned)) == (owners[1], "2")
    orphan: dict[str, Any] = {"metadata": {"ownerReferences": owners[:1]}}
    assert (controller(orphan), controller_uid(orphan)) == (None, "")
    assert controller_uid({"metadata": {}}) == ""
