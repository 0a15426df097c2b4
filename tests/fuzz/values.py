"""Hypothesis strategies made from structural schemas: what the schema allows, without regard to its CEL rules."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

from tests.fuzz.sites import Schema

Values = st.SearchStrategy[Any]
WIDEST = 10**12  # of numbers without a bound
LONGEST = 40  # characters of most drawn strings; the longest the schema allows are drawn beside them
MOST = 3  # items of drawn lists and maps
PLAIN_KEYS = r"[a-z][a-z0-9_]{0,8}"
QUANTITIES = r"[1-9][0-9]{0,3}(m|Ki|Mi|Gi|k|M|G)?"
ODD_TEXTS = (
    "é\u0301",
    "名前",
    "\u202eright to left",
    "🧮" * 9,
    "  ",
    "'; DROP",
    "{{ .Values }}",
    "%s%n",
    "a\tb\nc",
    "null",
)
ODD_TIMES = (
    "2016-12-31T23:59:59.999999999Z",
    "2024-02-29T00:00:00+14:00",
    "1970-01-01t00:00:00z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
)


def values(schema: Schema) -> Values:
    """Anything that a schema node allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 64) | st.from_regex(QUANTITIES, fullmatch=True)
    match schema["type"]:
        case "string":
            return _strings(schema)
        case "integer":
            return _integers(schema)
        case "number":
            return _numbers(schema)
        case "boolean":
            return st.booleans()
        case "array":
            return _lists(schema)
    return _maps(schema) if "additionalProperties" in schema else _objects(schema)


def drawn(strategy: Values, count: int, number: int) -> list[Any]:
    """So many values, the same for the same number. The simplest value comes first and is left out."""
    found: list[Any] = []
    limits = settings(
        max_examples=count + 1,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def keep(value: Any) -> None:
        found.append(value)

    collect: Callable[[], None] = seed(number)(limits(given(strategy)(keep)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        collect()
    return found[1:] or found


def _strings(schema: Schema) -> Values:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 4096)
    if schema.get("format") == "date-time":
        zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
        return st.datetimes(timezones=zones).map(lambda one: one.isoformat()) | st.sampled_from(ODD_TIMES)
    if "pattern" in schema:
        fits = re.compile(schema["pattern"])
        texts = st.from_regex(schema["pattern"], fullmatch=True)
        return texts.filter(lambda one: least <= len(one) <= most and bool(fits.fullmatch(one)))
    usual = st.text(st.characters(codec="utf-8"), min_size=least, max_size=max(least, min(most, LONGEST)))
    odd = st.sampled_from([one for one in (*ODD_TEXTS, "x" * most) if least <= len(one) <= most] or ["x" * least])
    return usual | odd


def _integers(schema: Schema) -> Values:
    least, most = schema.get("minimum", -WIDEST), schema.get("maximum", WIDEST)
    return st.integers(least, most) | st.sampled_from([least, most])


def _numbers(schema: Schema) -> Values:
    least, most = schema.get("minimum", -float(WIDEST)), schema.get("maximum", float(WIDEST))
    open_below = bool(schema.get("exclusiveMinimum"))
    floats = st.floats(least, most, exclude_min=open_below, allow_nan=False, allow_infinity=False)
    return floats | st.sampled_from([most] if open_below else [least, most])


def _lists(schema: Schema) -> Values:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    least, most = schema.get("minItems", 0), schema.get("maxItems", MOST)
    unique = (lambda one: tuple(one[key] for key in keys)) if keys else None
    size = max(least, min(most, MOST))
    return st.lists(values(schema["items"]), min_size=least, max_size=size, unique_by=unique)


def _maps(schema: Schema) -> Values:
    size = min(schema.get("maxProperties", MOST), MOST)
    return st.dictionaries(
        st.from_regex(PLAIN_KEYS, fullmatch=True), values(schema["additionalProperties"]), max_size=size
    )


def _objects(schema: Schema) -> Values:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    needed = {name: values(one) for name, one in properties.items() if name in required}
    free = {name: values(one) for name, one in properties.items() if name not in required}
    return st.fixed_dictionaries(needed, optional=free)
