"""What a schema does not allow: for each field, values of the wrong type, beyond its bounds, or unlike its pattern."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from tests.fuzz.sites import Schema, Site, at, put, without

HUGE = 100_000  # characters
UNLIKE = ("", "-", "A B", "Ünï cödé", "..", "a\nb", "\x00", "http://", "1 Gi", "sha256:short", "/../", "%zz%", "a" * 50)
NO_TIMES = ("yesterday", "2013-02-30T00:00:00Z", "2013-01-01", "25:61", "2013-01-01T00:00:00")
OTHER_TYPES: dict[str, tuple[Any, ...]] = {
    "string": (7, True, ["x"], {"x": 1}),
    "integer": ("many", 1.5, True, [1]),
    "number": ("many", True, {"x": 1}),
    "boolean": ("yes", 1, ["true"]),
    "array": ("x", 7, {"x": 1}),
    "object": ("x", 7, ["x"]),
}
AMOUNTS: tuple[Any, ...] = (-5, True, 1.5, ["1"], {"x": 1}, "many", "-1", "1 Gi", "1GB")

Broken = tuple[str, Any]  # in words, and the spec


def breaks(site: Site, spec: Any) -> Iterator[Broken]:
    """Everything wrong that can be done at a place, one thing at a time. Absent fields get wrong values only."""
    value = at(spec, site.way) if site.present else None
    for what, wrong in wrong_values(site.schema, value):
        yield what, put(spec, site.way, wrong)
    if site.present and site.required:
        yield "required and missing", without(spec, site.way)
    if isinstance(value, dict) and "properties" in site.schema:
        yield "an unknown field", put(spec, (*site.way, "unheardOf"), "x")
    if isinstance(value, list) and value and "x-kubernetes-list-map-keys" in site.schema:
        yield "the same item twice", put(spec, site.way, [*value, copy.deepcopy(value[0])])


def wrong_values(schema: Schema, value: Any) -> Iterator[Broken]:
    """Values that a schema node does not allow; `value` is one that it does, where there is one."""
    if schema.get("x-kubernetes-int-or-string"):
        yield from (("no quantity", one) for one in AMOUNTS)
        return
    yield from (("another type", one) for one in OTHER_TYPES[schema["type"]])
    if "enum" in schema:
        yield "none of the words", "Nonsense"
        return
    match schema["type"]:
        case "string":
            yield from _wrong_texts(schema)
        case "integer" | "number":
            yield from _wrong_numbers(schema)
        case "array":
            yield from _wrong_lists(schema, value)
        case "object":
            yield from _wrong_maps(schema, value)


def _wrong_texts(schema: Schema) -> Iterator[Broken]:
    if schema.get("format") == "date-time":
        yield from (("no time", one) for one in NO_TIMES)
        return
    most = schema.get("maxLength", HUGE - 1)
    yield "too long", "x" * (most + 1)
    yield "huge", "x" * max(HUGE, most + 1)
    if schema.get("minLength", 0) > 0:
        yield "too short", "x" * (schema["minLength"] - 1)
    if "pattern" in schema:
        yield from (("unlike the pattern", one) for one in UNLIKE if not re.search(schema["pattern"], one))


def _wrong_numbers(schema: Schema) -> Iterator[Broken]:
    if "minimum" in schema:
        yield "too small", schema["minimum"] - (0 if schema.get("exclusiveMinimum") else 1)
        yield "far too small", -(10**15)
    if "maximum" in schema:
        yield "too large", schema["maximum"] + 1
        yield "far too large", 10**15


def _wrong_lists(schema: Schema, value: Any) -> Iterator[Broken]:
    if schema.get("minItems", 0) > 0:
        yield "too few", []
    if value and "maxItems" in schema:
        yield "too many", [_renamed(value[0], schema, number) for number in range(schema["maxItems"] + 1)]
    yield "an item of another type", [["nested"]]


def _wrong_maps(schema: Schema, value: Any) -> Iterator[Broken]:
    if value and "maxProperties" in schema:
        one = next(iter(value.values()))
        yield "too many", {f"k{number}": one for number in range(schema["maxProperties"] + 1)}


def _renamed(item: Any, schema: Schema, number: int) -> Any:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    return {**item, **dict.fromkeys(keys, f"n{number}")} if keys else item
