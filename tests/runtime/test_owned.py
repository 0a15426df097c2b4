"""What becomes of a manifest before it is applied, and whose an object of its name is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from plumbline_operator.model.meta import MANAGED_BY, OWNER_KIND, OWNER_NAME, Manifest
from plumbline_operator.runtime.owned import APPLIED, Standing, complete, holder, owner_reference, standing
from tests.runtime.toy import KIND
from tests.support.worlds import raw, thing

TOY = raw(KIND, "bear", {"size": 1})
MANIFEST: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
CHILD = complete(MANIFEST, TOY)
FOREIGN = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "u", "controller": True}


def live(**metadata: Any) -> Manifest:
    return thing("v1", "ConfigMap", "c", {"data": {}}, **metadata)


def test_a_manifest_is_completed_and_itself_left_alone() -> None:
    before = copy.deepcopy(MANIFEST)
    child = complete(MANIFEST, TOY)
    assert before == MANIFEST
    assert child["metadata"]["namespace"] == "team"
    assert child["metadata"]["ownerReferences"] == [owner_reference(TOY)]
    assert child["metadata"]["labels"][OWNER_NAME] == "bear"


def test_the_hash_changes_with_what_was_decided_and_with_nothing_else() -> None:
    other = complete({**MANIFEST, "data": {"a": "2"}}, TOY)
    assert complete(MANIFEST, TOY) == CHILD
    assert other["metadata"]["annotations"][APPLIED] != CHILD["metadata"]["annotations"][APPLIED]


def test_labels_and_owners_a_manifest_brings_are_kept() -> None:
    brought = {**MANIFEST, "metadata": {"name": "c", "labels": {OWNER_KIND: "Other"}, "ownerReferences": [FOREIGN]}}
    child = complete(brought, TOY)
    assert child["metadata"]["labels"][OWNER_KIND] == "Other"
    assert child["metadata"]["labels"][MANAGED_BY] == "plumbline"
    assert child["metadata"]["ownerReferences"] == [FOREIGN]


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_pods_carry_the_labels_by_which_they_wake_the_owner(kind: str) -> None:
    manifest = {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "c"}, "spec": {"template": {"spec": {}}}}
    child = complete(manifest, TOY)
    assert child["spec"]["template"]["metadata"]["labels"][OWNER_NAME] == "bear"


def test_a_long_owner_name_is_shortened_to_a_label() -> None:
    child = complete(MANIFEST, raw(KIND, "b" * 200, {"size": 1}))
    assert len(child["metadata"]["labels"][OWNER_NAME]) <= 63


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"ownerReferences": [owner_reference(TOY)]}, Standing.OURS),
        ({"labels": CHILD["metadata"]["labels"]}, Standing.OURS),  # its owner reference was stripped
        ({"ownerReferences": [owner_reference(TOY) | {"uid": "older"}]}, Standing.LEAVING),
        (
            {"ownerReferences": [owner_reference(TOY)], "deletionTimestamp": "2026-01-01T00:00:00Z"},
            Standing.LEAVING,
        ),
        ({}, Standing.FOREIGN),
        ({"labels": {MANAGED_BY: "Helm"}}, Standing.FOREIGN),
        ({"labels": CHILD["metadata"]["labels"] | {OWNER_NAME: "other"}}, Standing.FOREIGN),
        ({"ownerReferences": [FOREIGN], "labels": CHILD["metadata"]["labels"]}, Standing.FOREIGN),
        ({"ownerReferences": [owner_reference(raw(KIND, "other", {"size": 1}))]}, Standing.FOREIGN),
        ({"ownerReferences": [{**owner_reference(TOY), "controller": False}]}, Standing.FOREIGN),
    ],
)
def test_whose_an_object_is(metadata: Manifest, expected: Standing) -> None:
    assert standing(live(**metadata), CHILD) is expected


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"ownerReferences": [FOREIGN]}, "Deployment x"),
        ({"labels": {MANAGED_BY: "Helm"}}, "Helm"),
        ({}, "somebody who left no owner reference"),
    ],
)
def test_who_holds_a_name_is_said_in_words(metadata: Manifest, words: str) -> None:
    assert holder(live(**metadata)) == words
