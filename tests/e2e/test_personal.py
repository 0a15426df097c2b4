"""What callers put into requests beside the model's inputs is kept nowhere: no log, Event, status, metric or object."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

import pytest

from plumbline_contract.layout import predictions
from tests.e2e import truth
from tests.e2e.conftest import Told
from tests.predictionlog.canaries import JSON, words
from tests.predictionlog.search import readable, sightings
from tests.proof.ledger import record
from tests.serving.processes import ask
from tests.support.demo.data import BUCKET, client_of
from tests.support.demo.install import SYSTEM
from tests.support.demo.people import Person
from tests.support.demo.story import DEPLOYMENT, MODEL, NAMESPACE, NODE_PORT
from tests.traffic_node.scene import until

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(1800)]

SEED, CANARIES = 20261128, 8
LOGGED_SECONDS = 90.0
Requests = dict[str, tuple[str, Any, dict[str, str], int]]  # name → path, body, headers, status of the answer


def asked(good: dict[str, Any], canary: Iterator[str]) -> Requests:
    """One request for each place in which somebody may put what is nobody's business."""
    path = f"/v2/models/{MODEL}/infer"
    inputs = good["inputs"]
    number = next(one for one in inputs if one["datatype"] != "BYTES")
    rest = [one for one in inputs if one is not number]
    return {
        "a header": (path, good, {"x-customer": next(canary)}, 200),
        "a cookie": (path, good, {"cookie": f"session={next(canary)}"}, 200),
        "credentials": (path, good, {"authorization": f"Bearer {next(canary)}"}, 200),
        "the query": (f"{path}?token={next(canary)}", good, {}, 200),
        "an unknown field": (path, good | {"customer": next(canary)}, {}, 400),
        "an unknown input": (path, {"inputs": [*inputs, number | {"name": next(canary)}]}, {}, 400),
        "a wrong value": (path, {"inputs": [number | {"data": [next(canary)]}, *rest]}, {}, 400),
        "a path": (f"/v2/models/{next(canary)}", None, {}, 404),
    }


def test_what_callers_send_is_kept_nowhere(told: Told) -> None:
    canaries = list(itertools.islice(words(SEED), CANARIES))
    bucket = client_of(told.cluster.s3)
    before = keys(bucket)
    good = next(truth.departures()())[1]
    for name, (path, body, headers, status) in asked(good, iter(canaries)).items():
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body).encode())
        answer = ask(NODE_PORT, method, path, data, JSON | headers)
        assert answer.status == status, f"{name}: {answer.status} {answer.body[:300]!r}"
    until(lambda: keys(bucket) - before, "the good requests are logged", LOGGED_SECONDS)
    places = said(told) | metrics(told) | objects(bucket, keys(bucket) - before)
    found = sightings(canaries, places)
    figure = f"{CANARIES} canaries sent to a real node, {len(found)} found in its {len(places)} logs, objects and pages"
    record("pii", runs=CANARIES, bad=len(found), figure=figure, seed=str(SEED))
    assert {place.split(" ")[0] for place in places} == {"log", "objects", "metrics", "s3"}
    assert sightings([MODEL], places) != [], "the search finds what is there"
    assert found == []


def said(told: Told) -> dict[str, bytes]:
    """Every container's log, every Event, and everything that objects say of themselves."""
    found = {}
    for namespace in (NAMESPACE, SYSTEM):
        admin = Person("admin", told.cluster.kubeconfig, namespace)
        for pod in admin.list("pods"):
            name = pod["metadata"]["name"]
            text = admin.kubectl("logs", name, "--all-containers", "--prefix")
            found[f"log {namespace}/{name}"] = text.encode()
        for kinds in ("events.events.k8s.io", "plumbline", "pods,jobs,deployments,configmaps"):
            found[f"objects {namespace}/{kinds}"] = admin.kubectl("get", kinds, "-o", "json").encode()
    return found


def metrics(told: Told) -> dict[str, bytes]:
    """The metrics of every pod that serves some."""
    found = {}
    for pod in told.admin.list("pods"):
        ports = [port["containerPort"] for one in pod["spec"]["containers"] for port in one.get("ports", ())]
        for port in ports:
            try:
                answer = ask(port, "GET", "/metrics", host=pod["status"]["podIP"])
            except (OSError, HTTPException):  # a port for something else
                continue
            if answer.status == 200:
                found[f"metrics {pod['metadata']['name']}:{port}"] = answer.body
    return found


def keys(bucket: Any) -> set[str]:
    """Everything in the prediction log of the demo's deployment."""
    pages = bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    place = predictions("", NAMESPACE, DEPLOYMENT)
    return {one["Key"] for page in pages for one in page.get("Contents", ()) if place in one["Key"]}


def objects(bucket: Any, names: set[str]) -> dict[str, bytes]:
    """Objects as they lie there, with the values of Parquet files."""
    found = {}
    for name in sorted(names):
        body = bucket.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        found[f"s3 {name}"] = b"\n".join(readable(name, body))
    return found
