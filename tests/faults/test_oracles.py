"""The oracles complain when they should: an oracle that cannot fail proves nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from tests.faults import oracles
from tests.faults.state import differences, masked
from tests.support.faultproxy import Call, Entry
from tests.support.worlds import not_ready, raw, ready, thing

ROUTES = {"backends": [{"variant": "a", "weight": 60}, {"variant": "b", "weight": 30}]}


def made(resource: str, name: str, *, code: int = 201, subresource: str = "", body: Any = None) -> Entry:
    """A write of the operator's, answered."""
    return Entry(0.0, Call("PATCH", resource, "team", name, subresource), 1, code, body=body)


def connection(name: str = "lake") -> Manifest:
    return raw(CONNECTION, name, {"git": {"url": "https://git.example.com/x.git"}})


def test_a_job_made_twice_is_told_and_one_changed_is_not() -> None:
    once = [made("jobs", "a"), made("jobs", "a", code=200), made("jobs", "b")]
    assert oracles.doubled_jobs(once) == []
    assert oracles.doubled_jobs([*once, made("jobs", "b")]) == ["Job b was made 2 times"]


def test_leftover_jobs_and_children_without_owner_are_told() -> None:
    owner = {"kind": "Connection", "name": "lake", "uid": "connection-lake"}
    child = thing("v1", "ConfigMap", "c", ownerReferences=[owner])
    assert oracles.orphans([connection(), child]) == []
    assert oracles.orphans([child]) == ["ConfigMap c has lost its owner lake"]
    assert oracles.orphans([thing("batch/v1", "Job", "j")]) == ["Job j is left over"]


def test_weights_that_are_not_the_whole_are_told_in_writes_and_in_the_end() -> None:
    odd = thing("v1", "ConfigMap", "r", {"data": {"routes.json": json.dumps(ROUTES)}})
    assert oracles.odd_weights([made("configmaps", "r", body=odd)], []) == ["ConfigMap r has weights [60, 30]"]
    status = thing("plumbline.dev/v1alpha1", "ModelDeployment", "d", {"status": {"weights": {"a": 99}}})
    assert oracles.odd_weights([], [status]) == ["ModelDeployment d has weights [99]"]
    status["status"]["weights"]["b"] = 1
    assert oracles.odd_weights([], [status]) == []


def test_a_write_to_a_users_spec_is_told_and_one_to_a_status_is_not() -> None:
    assert oracles.foreign_specs([made("datasets", "d", subresource="status"), made("modelversions", "v")]) == []
    assert oracles.foreign_specs([made("datasets", "d")]) == ["the operator wrote PATCH datasets/d"]


def test_an_object_that_does_not_say_where_it_stands_is_told() -> None:
    assert oracles.undecided([ready(connection())]) == []
    waiting = not_ready(connection(), "Verifying")
    assert oracles.undecided([waiting]) == ["Connection lake is neither Ready nor Stalled: ('False', 'Verifying')"]


def test_tracebacks_and_errors_are_told_and_a_line_cut_by_a_kill_is_not() -> None:
    fine = json.dumps({"time": "t", "level": "warning", "message": "m"})
    assert oracles.log_errors(f'{fine}\n{{"time": "20') == []
    again = json.dumps({"time": "t", "level": "error", "message": "Request attempt #1/9 failed; will retry: GET x"})
    assert oracles.log_errors(again) == []
    trouble = json.dumps({"time": "t", "level": "warning", "message": "m", "exception": "Traceback"})
    assert len(oracles.log_errors(f"{trouble}\nTraceback (most recent call last):")) == 2


def test_states_of_two_runs_are_equal_but_for_names_that_depend_on_the_run() -> None:
    first, second = (snapshot(space, digest) for space, digest in (("faults-1", "a"), ("faults-2", "b")))
    assert differences(masked(first, "faults-1"), masked(second, "faults-2")) == []
    second[0]["spec"]["other"] = "sha256:" + "c" * 64
    lines = differences(masked(first, "faults-1"), masked(second, "faults-2"))
    assert lines == ['.DatasetSnapshot/s-#1.spec.other: "sha256:#3" instead of "sha256:#2"']


def test_long_texts_are_shown_where_they_differ() -> None:
    (line,) = differences({"a": "x" * 500 + "b" + "y" * 500}, {"a": "x" * 500 + "c" + "y" * 500})
    assert line == f".a: ...{'x' * 60}c{'y' * 96}... instead of ...{'x' * 60}b{'y' * 96}..."


def snapshot(space: str, letter: str) -> list[Manifest]:
    """An object whose digests and places depend on the run."""
    digest = letter * 64
    spec = {"digest": f"sha256:{digest}", "other": f"sha256:{digest}", "key": f"{space}/{letter * 2}/{digest}"}
    return [thing("plumbline.dev/v1alpha1", "DatasetSnapshot", f"s-{letter * 8}", {"spec": spec})]


def test_a_deletion_of_what_is_still_named_is_told() -> None:
    run = raw(CONNECTION, "r", {}) | {"status": {"snapshots": [{"snapshot": "s-1"}]}}
    gone = Entry(0.0, Call("DELETE", "datasetsnapshots", "team", "s-1"), 1, 200)
    assert oracles.lost_references([gone], [run]) == [
        "datasetsnapshots/s-1 was deleted, which Connection r names",
    ]
    assert oracles.lost_references([gone], []) == []


def test_traffic_before_or_without_an_approval_of_the_digest_is_told() -> None:
    serving = {"name": "PLUMBLINE_SERVING", "value": json.dumps({"manifest": "sha256:1"})}
    pod = {"spec": {"containers": [{"env": [serving]}]}}
    deployment = made("deployments", "a", body=thing("apps/v1", "Deployment", "a", {"spec": {"template": pod}}))
    routes = {"backends": [{"variant": "a", "weight": 100}, {"variant": "b", "weight": 0}]}
    entry = made("configmaps", "r", body=thing("v1", "ConfigMap", "r", {"data": {"routes.json": json.dumps(routes)}}))
    entry.at = 1000.0
    assert oracles.early_traffic([deployment, entry], [consent(999, "sha256:1")]) == []
    told = ["traffic to a before anybody approved sha256:1"]
    assert oracles.early_traffic([deployment, entry], [consent(1001, "sha256:1")]) == told
    assert oracles.early_traffic([deployment, entry], [consent(999, "sha256:2")]) == told
    assert oracles.early_traffic([entry], [consent(999, "sha256:1")]) == [
        "traffic to a before anybody approved what it serves"
    ]


def consent(at: int, digest: str) -> Manifest:
    """An approval of a digest, given at this second of the epoch."""
    given = datetime.fromtimestamp(at, UTC).isoformat()
    spec = {"decision": "Approve", "version": {"manifest": digest}}
    return thing("plumbline.dev/v1alpha1", "Approval", "yes", {"spec": spec}, creationTimestamp=given)
