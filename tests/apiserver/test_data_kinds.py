"""Connection, Dataset and TrainingRun on a real API server: what it refuses, and a run from data to version."""

import copy
from typing import Any

import pytest

from plumbline_contract import runspec
from plumbline_operator.model.meta import REQUESTED_AT, Manifest
from tests.apiserver.conftest import Bench
from tests.rooms import data_objects as objects
from tests.support.cluster import ClusterError
from tests.support.pod_actor import Death, PodActor, good_report, unschedulable
from tests.support.worlds import ready_of

pytestmark = pytest.mark.apiserver

PINNED = "team/train@sha256:" + "a" * 64
MANY = [{"name": f"column_{n}", "type": "Float64"} for n in range(300)]


def changed(obj: Manifest, path: str, value: Any) -> Manifest:
    """The object with one field of its spec set; None removes it."""
    obj = copy.deepcopy(obj)
    *above, last = path.split(".")
    node: Any = obj["spec"]
    for part in above:
        node = node[int(part)] if part.isdigit() else node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return obj


def endpoint(url: str) -> Manifest:
    """A bucket at this endpoint."""
    return changed(objects.connection(), "s3.endpoint", url)


REFUSED = {
    "a connection to nothing": (changed(objects.connection(), "s3", None), "exactly one of s3 and git"),
    "a connection to two things": (
        changed(objects.connection(), "git", {"url": "https://git.example.com/x"}),
        "exactly one of s3 and git",
    ),
    "a metadata address": (endpoint("http://169.254.169.254"), "metadata service"),
    "a metadata name": (endpoint("http://Metadata.google.internal"), "metadata service"),
    "a mapped metadata address": (endpoint("http://[::ffff:a9fe:a9fe]"), "metadata service"),
    "an address in disguise": (endpoint("http://2852039166"), "four decimal numbers"),
    "an endpoint with a path": (endpoint("http://store/path"), "should match"),
    "a repository on the metadata address": (
        changed(objects.repository(), "git.url", "http://169.254.169.254/x.git"),
        "metadata service",
    ),
    "a personal column that is kept": (changed(objects.dataset(), "columns.1.handling", "Keep"), "Drop or Hash"),
    "two columns of one name": (changed(objects.dataset(), "columns.1.name", "at"), "Duplicate value"),
    "an event time that is no time": (changed(objects.dataset(), "eventTime.column", "distance"), "Date or Timestamp"),
    "an event time that is not there": (changed(objects.dataset(), "eventTime.column", "when"), "Date or Timestamp"),
    "a test of nothing": (objects.dataset(tests=[{"name": "x"}]), "exactly one of"),
    "a test of two things": (
        objects.dataset(tests=[{"name": "x", "rowCount": {"min": 1}, "uniqueKey": {"columns": ["at"]}}]),
        "exactly one of",
    ),
    "a test without a bound": (objects.dataset(tests=[{"name": "x", "rowCount": {}}]), "min, max or both"),
    "a dataset that refers to itself": (
        objects.dataset(
            tests=[
                {
                    "name": "x",
                    "foreignKey": {"column": "at", "dataset": {"name": "flights"}, "referencedColumn": "at"},
                }
            ]
        ),
        "another Dataset",
    ),
    "a format we do not read": (changed(objects.dataset(), "source.format", "Excel"), "Unsupported value"),
    "an image by tag and no code": (objects.run(code=None), "repeatable"),
    "half a commit": (changed(objects.run(), "code.commit", "abc"), "should be at least 40 chars long"),
    "a split of no input": (changed(objects.run(), "split.input", "planes"), "one of the inputs"),
    "a part by time with a share": (changed(objects.run(), "split.parts.0.share", 0.5), "strategy Time"),
    "overlapping windows": (
        changed(objects.run(), "split.parts.1.since", "2013-05-01T00:00:00Z"),
        "must not overlap",
    ),
    "a window backwards": (changed(objects.run(), "split.parts.0.until", "2012-01-01T00:00:00Z"), "before until"),
    "shares above one": (
        objects.run(split=changed({"spec": objects.SHUFFLED}, "parts.0.share", 0.9)["spec"]),
        "must not exceed 1",
    ),
    "a parameter that is no name": (objects.run(parameters={"learning-rate": "1"}), "every key must match"),
    "a request above its limit": (
        objects.run(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "512Mi"}}),
        "no request may be above its limit",
    ),
    "a quantity that is none": (objects.dataset(resources={"limits": {"memory": "lots"}}), "should match"),
    "a seed below zero": (objects.run(seeds={"model": -1}), "greater than or equal to 0"),
}

ACCEPTED = {
    "a plain IPv4 endpoint": endpoint("http://10.0.0.8:7070"),
    "an IPv6 endpoint": endpoint("https://[2001:db8::1]:9000"),
    "no endpoint, which is AWS": changed(objects.connection(), "s3.endpoint", None),
    "300 columns and 40 tests": objects.dataset(
        columns=[*objects.COLUMNS, *MANY],
        tests=[{"name": f"t{n}", "nullShare": {"column": f"column_{n}", "max": 0.1}} for n in range(40)],
    ),
    "an image by digest and no code": objects.run(code=None, image=PINNED),
    "whole-number and text quantities": objects.run(
        resources={"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}}
    ),
    "a shuffle": objects.run(split=objects.SHUFFLED),
}


@pytest.mark.parametrize("title", REFUSED)
async def test_the_api_server_refuses(bench: Bench, title: str) -> None:
    obj, words = REFUSED[title]
    with pytest.raises(ClusterError) as refusal:
        bench.apply(obj)
    assert words in str(refusal.value)


@pytest.mark.parametrize("title", ACCEPTED)
async def test_the_api_server_accepts(bench: Bench, title: str) -> None:
    bench.apply(ACCEPTED[title])


async def test_a_run_cannot_be_changed(bench: Bench) -> None:
    bench.apply(objects.run())
    with pytest.raises(ClusterError, match="a run is immutable"):
        bench.apply(objects.run(image="team/train:2"))


async def test_from_data_to_version(bench: Bench, actor: PodActor) -> None:
    del actor
    bench.apply(objects.run(), objects.model(), objects.dataset())
    bench.apply(objects.connection(), objects.connection("lake"), objects.repository())
    own = await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("True", "Succeeded"))
    assert own["status"]["attempt"] == 1
    version = await bench.look("ModelVersion", "delays-1")
    assert version["spec"]["manifest"] == own["status"]["manifest"]
    assert version["spec"]["imageDigest"].startswith("sha256:")
    data = await bench.look("Dataset", "flights")
    assert own["status"]["snapshots"][0]["digest"] == data["status"]["latestSnapshot"]["digest"]
    snapshot = await bench.look("DatasetSnapshot", data["status"]["latestSnapshot"]["name"])
    assert ready_of(snapshot) == ("True", "Sealed")
    with pytest.raises(ClusterError, match="a snapshot is immutable"):
        bench.cluster.kubectl(
            *("-n", bench.namespace, "patch", "dsnap", snapshot["metadata"]["name"]),
            *("--type=merge", "-p", '{"spec":{"rows":7}}'),
        )


async def test_what_has_settled_is_not_written_any_more(bench: Bench, actor: PodActor) -> None:
    del actor
    bench.apply(objects.run(modelRef=None), objects.dataset())
    bench.apply(objects.connection(), objects.connection("lake"), objects.repository())
    await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("True", "Succeeded"))
    await bench.until("TrainingRun", "delays-1", lambda _: no_jobs(bench))
    before = versions(bench)
    for _ in range(3):
        await bench.step()
    assert versions(bench) == before


async def test_no_gpu_is_told_in_the_schedulers_words(bench: Bench, actor: PodActor) -> None:
    actor.play = lambda spec: unschedulable() if isinstance(spec, runspec.Collect) else good_report(spec)
    bench.apply(objects.run(modelRef=None, inputs=None, split=None), objects.connection(), objects.repository())
    own = await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("False", "Unschedulable"))
    assert "Insufficient nvidia.com/gpu" in own["status"]["conditions"][0]["message"]
    actor.play = good_report
    await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("True", "Succeeded"))


async def test_user_code_is_told_with_its_log_and_run_again_when_asked(bench: Bench, actor: PodActor) -> None:
    death = Death("train", 1, log="Traceback\nKeyError: 'late'")
    actor.play = lambda spec: death if isinstance(spec, runspec.Collect) else good_report(spec)
    bench.apply(objects.run(modelRef=None, inputs=None, split=None), objects.connection(), objects.repository())
    own = await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("False", "UserCode"))
    assert "KeyError: 'late'" in own["status"]["conditions"][0]["message"]
    actor.play = good_report
    bench.cluster.kubectl("-n", bench.namespace, "annotate", "trun", "delays-1", f"{REQUESTED_AT}=again")
    own = await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("True", "Succeeded"))
    assert own["status"]["lastRequestedAt"] == "again"


async def test_the_job_controllers_own_deadline_is_understood(bench: Bench, actor: PodActor) -> None:
    actor.play = lambda spec: None if isinstance(spec, runspec.Collect) else good_report(spec)
    subject = objects.run(modelRef=None, inputs=None, split=None, deadlineSeconds=10)
    bench.apply(subject, objects.connection(), objects.repository())
    await bench.until("TrainingRun", "delays-1", lambda one: ready_of(one) == ("False", "Deadline"), seconds=60)


def no_jobs(bench: Bench) -> bool:
    """Whether every Job of the namespace is gone."""
    return bench.cluster.kubectl("-n", bench.namespace, "get", "jobs", "-o", "name").strip() == ""


def versions(bench: Bench) -> str:
    """resourceVersion of every object of ours and every child."""
    form = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}"
    kinds = "connections,datasets,datasetsnapshots,trainingruns,jobs,pods"
    return bench.cluster.kubectl("-n", bench.namespace, "get", kinds, "-o", form)
