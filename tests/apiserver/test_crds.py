"""The CustomResourceDefinitions on a real API server: explained, small, strict, and true to the examples."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_operator.model.meta import GROUP, VERSION, Manifest
from plumbline_operator.rooms import ROOMS
from tests.apiserver.conftest import KINDS, Bench
from tests.rooms import data_objects as objects
from tests.rooms.registry_objects import approval, version
from tests.support.cluster import Cluster, ClusterError

pytestmark = pytest.mark.apiserver

CRDS = sorted(Path("crds").glob(f"{GROUP}_*.yaml"))
EXAMPLES = sorted(Path("examples").rglob("*.yaml"))
LARGEST = 200_000  # bytes of JSON; kubectl's client-side apply keeps a copy in an annotation of at most 262,144
COLUMNS_AT_MOST = 6

Schema = dict[str, Any]


def ours(path: Path) -> list[Manifest]:
    """The objects of our kinds in a file of the examples."""
    found = [one for one in yaml.safe_load_all(path.read_text()) if isinstance(one, dict)]
    return [one for one in found if one.get("apiVersion", "").startswith(f"{GROUP}/")]


EVERY_EXAMPLE = [(path, one) for path in EXAMPLES for one in ours(path)]


@pytest.fixture(scope="module")
def served(bed: Cluster) -> dict[str, Schema]:
    """Kind → its schema as the API server publishes it, which is what `kubectl explain` reads."""
    answer = json.loads(bed.kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/{VERSION}"))
    schemas = answer["components"]["schemas"].values()
    named = {
        group_kind["kind"]: schema
        for schema in schemas
        for group_kind in schema.get("x-kubernetes-group-version-kind", ())
        if group_kind["group"] == GROUP
    }
    return {kind: named[kind] for kind in KINDS}


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every property below a schema, by its path."""
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}", below
        yield from fields(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from fields(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained(served: dict[str, Schema], kind: str) -> None:
    own = served[kind]
    assert own["description"].strip()
    found = [(path, one) for part in ("spec", "status") for path, one in fields(own["properties"][part], part)]
    assert len(found) > 3, "the walk reached nothing"
    assert [path for path, one in found if not one.get("description", "").strip()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_explains_a_kind_by_its_short_name(bed: Cluster, kind: str) -> None:
    text = bed.kubectl("explain", KINDS[kind].short)
    assert f"KIND:       {kind}" in text
    assert " ".join(KINDS[kind].description.split())[:40] in " ".join(text.split())
    assert "<empty>" not in text


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_a_definition_is_small_enough_for_every_client(bed: Cluster, path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert len(json.dumps(document)) < LARGEST
    stored = bed.kubectl("get", "crd", document["metadata"]["name"], "-o", "json")
    assert len(json.dumps(json.loads(stored))) < LARGEST


def test_there_is_a_definition_for_every_room() -> None:
    assert len(CRDS) == len(ROOMS)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_accepted_and_the_schema_is_structural(bed: Cluster, kind: str) -> None:
    name = f"{KINDS[kind].plural}.{GROUP}"
    conditions = json.loads(bed.kubectl("get", "crd", name, "-o", "json"))["status"]["conditions"]
    found = {one["type"]: one["status"] for one in conditions}
    assert found["NamesAccepted"] == "True"
    assert found.get("NonStructuralSchema", "False") == "False"


def test_kubectl_lists_all_kinds_by_their_category(bench: Bench) -> None:
    bench.apply(objects.connection(), objects.dataset())
    listed = bench.cluster.kubectl("-n", bench.namespace, "get", "plumbline", "-o", "name").split()
    assert sorted(listed) == [f"connection.{GROUP}/storage", f"dataset.{GROUP}/flights"]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_fit_a_terminal(bed: Cluster, kind: str) -> None:
    name = f"{KINDS[kind].plural}.{GROUP}"
    versions = json.loads(bed.kubectl("get", "crd", name, "-o", "json"))["spec"]["versions"]
    narrow = [one["name"] for one in versions[0]["additionalPrinterColumns"] if not one.get("priority")]
    assert narrow[:2] == ["Ready", "Reason"]
    assert len(narrow) <= COLUMNS_AT_MOST


@pytest.mark.parametrize(
    ("path", "document"), EVERY_EXAMPLE, ids=[f"{path.stem}-{one['metadata']['name']}" for path, one in EVERY_EXAMPLE]
)
def test_every_example_is_what_the_api_server_strictly_takes(bench: Bench, path: Path, document: Manifest) -> None:
    placed = {**document, "metadata": {**document["metadata"], "namespace": bench.namespace}}
    dry_run(bench, placed)


def test_the_examples_cover_what_people_write() -> None:
    written = {one["kind"] for _, one in EVERY_EXAMPLE}
    assert written >= {"Connection", "Dataset", "TrainingRun", "RegisteredModel", "ModelDeployment", "DriftMonitor"}


@pytest.mark.parametrize(
    ("path", "value"),
    [("imaeg", "x"), ("code.comit", "x"), ("split.parts.0.form", "x"), ("resources.request", {})],
)
def test_an_unknown_field_is_refused_by_name(bench: Bench, path: str, value: Any) -> None:
    run = copy.deepcopy(objects.run(resources={"requests": {"cpu": "1"}}))  # its parts are shared by all tests
    node: Any = run["spec"]
    *above, last = path.split(".")
    for part in above:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value
    with pytest.raises(ClusterError, match=f'unknown field "spec.*{last}"'):
        dry_run(bench, {**run, "metadata": {"name": "run", "namespace": bench.namespace}})


@pytest.mark.parametrize(
    ("obj", "change", "words"),
    [
        (objects.run(), {"image": "team/train:2"}, "a run is immutable"),
        (objects.snapshot(), {"rows": 7}, "a snapshot is immutable"),
        (version(), {"author": "mallory"}, "a version never changes"),
        (approval("first"), {"decision": "Deny"}, "a decision never changes"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) and "kind" in value else None,
)
def test_what_is_immutable_says_what_to_do_instead(bench: Bench, obj: Manifest, change: Manifest, words: str) -> None:
    bench.apply({**obj, "metadata": {"name": obj["metadata"]["name"]}})
    named = (KINDS[obj["kind"]].plural, obj["metadata"]["name"])
    with pytest.raises(ClusterError, match=words):
        patch(bench, *named, {"spec": change})
    patch(bench, *named, {"metadata": {"labels": {"example.com/still": "editable"}}})


def dry_run(bench: Bench, obj: Manifest) -> None:
    """What the API server would do with an object, with unknown fields refused."""
    bench.cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(obj))


def patch(bench: Bench, plural: str, name: str, change: Manifest) -> None:
    """A merge patch by a user."""
    bench.cluster.kubectl("-n", bench.namespace, "patch", plural, name, "--type=merge", "-p", json.dumps(change))
