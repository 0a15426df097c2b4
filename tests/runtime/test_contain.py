"""A live object holds what we want, however the API server spells it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_operator.runtime.contain import amount, contains, same_quantity

CONTAINER = {"name": "main", "image": "a:1", "env": [{"name": "X", "value": "1"}]}


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"spec": {"x": {"y": 1, "z": 2}}}, {"spec": {"x": {"y": 1}}}),
        ({"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "1000m"}}}),
        ({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}),
        ({"a": None}, {"a": {}}),
        ({}, {"a": {}, "b": [], "c": "", "d": None}),
        ({"emptyDir": {"medium": ""}}, {"emptyDir": {}}),
        ([{"name": "injected"}, CONTAINER | {"tty": False}], [CONTAINER]),
        ([CONTAINER], [{"name": "main", "env": [{"name": "X", "value": "1"}]}]),
        ([{"uid": "2", "name": "same"}, {"uid": "1", "name": "same"}], [{"uid": "1", "name": "same"}]),
        (["sh", "-c", "x"], ["sh", "-c", "x"]),
        ({"drop": ["ALL"]}, {"drop": ["ALL"]}),
    ],
)
def test_what_others_added_or_respelt_does_not_matter(live: Any, desired: Any) -> None:
    assert contains(live, desired)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1}, {"a": 2}),
        ({}, {"a": 1}),
        ({}, {"automountServiceAccountToken": False}),
        ({"replicas": None}, {"replicas": 0}),
        ({"a": True}, {"a": 1}),
        ({"a": 0}, {"a": False}),
        ({"a": "x"}, {"a": ""}),
        ({"a": "1"}, {"a": "1000m"}),  # only quantities are compared by their amount
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}),
        ({"requests": {"cpu": "one"}}, {"requests": {"cpu": "1"}}),
        (["a", "b"], ["a"]),
        (["b", "a"], ["a", "b"]),
        ([CONTAINER], [CONTAINER | {"image": "a:2"}]),
        ([{"name": "other"}], [CONTAINER]),
        ("text", ["t"]),
        ({"selector": {"app": "a", "more": "b"}}, {"selector": {"app": "a"}}),
        ({"selector": {"matchLabels": {"a": "1", "b": "2"}}}, {"selector": {"matchLabels": {"a": "1"}}}),
        ({"selector": {"matchLabels": {"a": "1"}, "matchExpressions": []}}, {"selector": {"matchLabels": {"a": "1"}}}),
        ({"subjects": [{"name": "router"}, {"name": "thief"}]}, {"subjects": [{"name": "router"}]}),
        ({"metrics": [{"type": "Resource"}, {"type": "Pods"}]}, {"metrics": [{"type": "Resource"}]}),
        ({"a": "text"}, {"a": {"b": 1}}),
    ],
)
def test_a_difference_is_a_difference(live: Any, desired: Any) -> None:
    assert not contains(live, desired)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", "1"),
        (2, "2"),
        (0.5, "0.5"),
        ("500m", "0.5"),
        ("1.5k", "1500"),
        ("1Ki", "1024"),
        ("2Mi", "2097152"),
        ("1Gi", "1073741824"),
        ("3M", "3000000"),
        ("1G", "1000000000"),
        ("1Ei", "1152921504606846976"),
        ("100n", "1e-7"),
        ("7u", "7e-6"),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: Any, number: str) -> None:
    assert amount(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1Xi", "abc", "1iG"])
def test_what_is_no_quantity_has_no_amount(text: str) -> None:
    assert amount(text) is None
    assert not same_quantity(text, text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_everything_contains_itself(value: Any) -> None:
    assert contains(value, value)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4), st.text(min_size=4, max_size=5), json_values)
def test_one_more_field_never_makes_a_difference(desired: dict[str, Any], name: str, extra: Any) -> None:
    assert contains(desired | {name: extra}, desired)


@given(st.integers(min_value=0, max_value=10**9))
def test_thousandths_and_wholes_are_the_same_amount(number: int) -> None:
    assert same_quantity(f"{number}", f"{number * 1000}m")
    assert not same_quantity(f"{number}", f"{number * 1000 + 1}m")
