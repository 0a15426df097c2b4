"""Paths of owned fields are read from the API server's record, and lead to their values."""

from __future__ import annotations

from typing import Any

from plumbline_operator.model.meta import MANAGER
from tests.foreign.fields import editable, is_made, others, owned, value_at, with_value

RECORD: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {".": {}, 'v:"x/y"': {}}},
    "f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"main"}': {".": {}, "f:image": {}}}},
}
OBJECT: dict[str, Any] = {
    "metadata": {
        "labels": {"a": "1", "theirs": "2"},
        "finalizers": ["x/y"],
        "managedFields": [
            {"manager": MANAGER, "operation": "Apply", "fieldsV1": RECORD},
            {"manager": MANAGER, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {"f:x": {}}}},
            {"manager": "other", "operation": "Update", "fieldsV1": {"f:data": {}}},
        ],
    },
    "spec": {"replicas": 2, "containers": [{"name": "side"}, {"name": "main", "image": "a:1"}]},
}
IMAGE = ("spec", "containers", (("name", "main"),), "image")


def test_what_a_manager_has_applied_is_found_with_its_values() -> None:
    assert owned(OBJECT) == {
        ("metadata", "labels", "a"): "1",
        ("metadata", "finalizers", (("", "x/y"),)): "x/y",
        ("spec", "replicas"): 2,
        IMAGE: "a:1",
    }
    assert editable(OBJECT) == [("spec", "replicas"), IMAGE]
    assert is_made(OBJECT)
    assert not is_made(OBJECT, "other")


def test_a_value_is_replaced_or_removed_in_a_copy() -> None:
    after = with_value(OBJECT, IMAGE, "b:2")
    assert value_at(after, IMAGE) == "b:2"
    assert value_at(OBJECT, IMAGE) == "a:1"
    assert value_at(with_value(OBJECT, ("spec", "replicas"), None), ("spec", "replicas")) is None


def test_other_values_are_other_values() -> None:
    for value in (True, 3, "text", ["a"], [{"name": "a"}], {"a": "1"}):
        assert value not in others(("spec", "x"), value)
    assert others(("spec", "replicas"), 2) == [0]
