"""Pydantic models become structural schemas, or are refused with the path of the field at fault."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import ConfigDict, Field

from plumbline_operator.model.meta import Model, Name
from plumbline_operator.structural import MAX_ITEMS, MAX_LENGTH, MAX_PROPERTIES, RULES, CannotSay, structural


class Colour(StrEnum):
    """What it looks like."""

    RED = "Red"
    BLUE = "Blue"


class Leaf(Model):
    """Something below."""

    size: int = Field(gt=0, description="Size.")


class Everything(Model):
    """One of each."""

    leaf: Leaf
    maybe: Leaf | None = Field(default=None, description="Perhaps.")
    leaves: tuple[Leaf, ...] = Field(default=(), description="Many.")
    ref: Name = Field(default=Name(name="storage"), description="A reference.")
    colour: Colour = Field(default=Colour.RED, description="Colour.")
    only: Literal["One"] = Field(default="One", description="A constant.")
    share: float = Field(default=0.5, gt=0, lt=1, description="Share.")
    at: datetime | None = Field(default=None, description="When.")
    limits: dict[str, str] = Field(default_factory=lambda: {"cpu": "1"}, description="A map.")
    shouted: dict[Annotated[str, Field(pattern="^[A-Z]+$")], float] = Field(default={}, description="Keys in capitals.")
    tags: set[str] = Field(default=set(), description="A set.")


SCHEMA = structural(Everything, "spec")
PROPERTIES = SCHEMA["properties"]


def test_references_are_inlined_and_a_models_own_words_describe_the_field() -> None:
    assert PROPERTIES["leaf"]["properties"]["size"]["minimum"] == 0
    assert PROPERTIES["leaf"]["description"] == "Something below."
    assert "$defs" not in str(SCHEMA)


def test_an_optional_field_is_the_field_itself_and_not_required() -> None:
    assert PROPERTIES["maybe"]["type"] == "object"
    assert PROPERTIES["maybe"]["description"] == "Perhaps."
    assert SCHEMA["required"] == ["leaf"]
    assert "default" not in PROPERTIES["maybe"]


def test_exclusive_bounds_become_flags_beside_the_bound() -> None:
    share = PROPERTIES["share"]
    assert (share["minimum"], share["exclusiveMinimum"]) == (0, True)
    assert (share["maximum"], share["exclusiveMaximum"]) == (1, True)


def test_enumerations_and_constants_are_enums() -> None:
    assert PROPERTIES["colour"]["enum"] == ["Red", "Blue"]
    assert PROPERTIES["only"]["enum"] == ["One"]


def test_defaults_are_shown_even_those_made_by_a_factory() -> None:
    assert PROPERTIES["ref"]["default"] == {"name": "storage"}
    assert PROPERTIES["limits"]["default"] == {"cpu": "1"}
    assert PROPERTIES["leaves"]["default"] == []


def test_what_a_rule_may_read_is_bounded() -> None:
    assert PROPERTIES["leaves"]["maxItems"] == MAX_ITEMS
    assert PROPERTIES["limits"]["maxProperties"] == MAX_PROPERTIES
    assert PROPERTIES["limits"]["additionalProperties"]["maxLength"] == MAX_LENGTH


def test_a_time_has_its_format_and_a_set_is_a_list_without_repetition() -> None:
    assert PROPERTIES["at"]["format"] == "date-time"
    assert PROPERTIES["tags"]["x-kubernetes-list-type"] == "set"
    assert "uniqueItems" not in PROPERTIES["tags"]


def test_patterns_of_keys_become_rules() -> None:
    (rule,) = PROPERTIES["shouted"][RULES]
    assert rule["rule"] == "self.all(key, key.matches('^[A-Z]+$'))"
    assert PROPERTIES["shouted"]["additionalProperties"] == {"type": "number"}


def test_rules_of_a_type_and_of_a_field_both_hold() -> None:
    class Inner(Model):
        """Inner."""

        model_config = ConfigDict(json_schema_extra={RULES: [{"rule": "self.a > 0", "message": "a"}]})
        a: int = Field(description="A.")

    class Outer(Model):
        """Outer."""

        inner: Inner = Field(description="I.", json_schema_extra={RULES: [{"rule": "self.a < 9", "message": "b"}]})

    rules = structural(Outer, "spec")["properties"]["inner"][RULES]
    assert [r["rule"] for r in rules] == ["self.a > 0", "self.a < 9"]


def test_a_status_has_no_defaults_no_bounds_and_requires_nothing_at_its_top() -> None:
    status = structural(Everything, "status", report=True)
    assert "required" not in status
    assert "default" not in str(status)
    assert "maxItems" not in str(status)
    assert status["properties"]["leaf"]["required"] == ["size"]


class Silent(Model):
    """Has a field without a description."""

    size: int


class Union(Model):
    """Has a union."""

    either: int | str = Field(description="Either.")


class Pair(Model):
    """Has a tuple of fixed shape."""

    pair: tuple[int, int] = Field(description="Pair.")


class Tree(Model):
    """Contains itself."""

    below: "tuple[Tree, ...]" = Field(default=(), description="Below.")


class Untyped(Model):
    """Has a value of any type."""

    anything: Any = Field(description="Anything.")


class UntypedMap(Model):
    """Has a map of anything."""

    labels: dict[str, Any] = Field(description="Labels.")


class Nested(Model):
    """Has a field without a description further down."""

    leaves: tuple[Silent, ...] = Field(description="Leaves.")


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (Silent, "spec.size has no description"),
        (Nested, r"spec.leaves\[\].size has no description"),
        (Union, "spec.either is a union"),
        (Pair, "spec.pair is a tuple of fixed shape"),
        (Tree, r"spec.below\[\] contains itself"),
        (Untyped, "spec.anything has no type"),
        (UntypedMap, "spec.labels holds untyped values"),
    ],
)
def test_what_a_structural_schema_cannot_say_is_refused_with_the_fields_path(
    model: type[Model], complaint: str
) -> None:
    with pytest.raises(CannotSay, match=complaint):
        structural(model, "spec")
