"""Connections, Datasets, snapshots and runs as the API server would hold them, and the answers of their Jobs."""

from typing import Any

from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.dataset.api import KIND as DATASET
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from plumbline_operator.rooms.trainingrun.api import KIND as RUN
from tests.support.fake_kube import FakeKube
from tests.support.worlds import Actor, open_jobs, raw, ready


def digest(letter: str) -> str:
    """A digest that is easy to tell from others."""
    return "sha256:" + letter * 64


MANIFEST, PROFILE, RESULT, ONNX, LOCK = (digest(one) for one in "abcde")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
S3 = {"endpoint": "http://store:9000", "bucket": "team", "prefix": "lake", "secretRef": {"name": "keys"}}
COLUMNS = [
    {"name": "at", "type": "Timestamp"},
    {"name": "tail", "type": "String", "pii": True, "handling": "Hash"},
    {"name": "crew", "type": "String", "pii": True, "handling": "Drop"},
    {"name": "distance", "type": "Float64", "min": 0},
]
ROWS_TEST = {"name": "enough", "rowCount": {"min": 10}}
TIME = {
    "input": "flights",
    "strategy": "Time",
    "parts": [
        {"name": "train", "since": "2013-01-01T00:00:00Z", "until": "2013-06-01T00:00:00Z"},
        {"name": "validation", "since": "2013-06-01T00:00:00Z"},
    ],
}
SHUFFLED = {
    "input": "flights",
    "strategy": "Shuffled",
    "seed": 7,
    "parts": [{"name": "train", "share": 0.8}, {"name": "validation", "share": 0.2}],
}


def connection(name: str = "storage", **changes: Any) -> Manifest:
    """A bucket nobody has looked at yet."""
    return raw(CONNECTION, name, {"s3": S3 | changes})


def repository(name: str = "code") -> Manifest:
    """A git repository nobody has looked at yet."""
    return raw(CONNECTION, name, {"git": {"url": "https://git.example.com/team/training.git"}})


def verified(obj: Manifest) -> Manifest:
    """The Connection, Ready."""
    return ready(obj, "Verified")


def dataset(name: str = "flights", *, event_time: bool = True, **changes: Any) -> Manifest:
    """A Dataset nobody has looked at yet."""
    source = {"connectionRef": {"name": "lake"}, "key": "flights.csv.gz", "format": "CSV", "compression": "Gzip"}
    spec: Manifest = {"source": source, "columns": COLUMNS, "tests": [ROWS_TEST]}
    if event_time:
        spec["eventTime"] = {"column": "at"}
    return raw(DATASET, name, spec | changes)


def validated(obj: Manifest, manifest: str = MANIFEST) -> Manifest:
    """The Dataset, Ready with a snapshot."""
    name = f"{obj['metadata']['name']}-1"
    latest = {"name": name, "digest": manifest, "profile": PROFILE, "rows": 120, "bytes": 4096}
    return ready(obj, "Validated", latestSnapshot=latest)


def snapshot(name: str = "flights-0", dataset: str = "flights", manifest: str = digest("0")) -> Manifest:
    """A sealed DatasetSnapshot."""
    spec = {
        "datasetRef": {"name": dataset},
        "storageRef": {"name": "storage"},
        "manifest": manifest,
        "profile": PROFILE,
        "rows": 100,
        "bytes": 1000,
    }
    return ready(raw(SNAPSHOT, name, spec), "Sealed")


def model(name: str = "delays") -> Manifest:
    """A RegisteredModel."""
    golden = {"datasetRef": {"name": "golden"}, "label": "late"}
    gates = [{"name": "good", "minimum": {"metric": "auc", "value": 0.7}}]
    return ready(raw(MODEL, name, {"owner": "team", "golden": golden, "gates": gates}), "Available")


def run(name: str = "delays-1", **changes: Any) -> Manifest:
    """A TrainingRun nobody has looked at yet; `changes` set to None leave a field out."""
    spec = {
        "author": "alice@example.com",
        "modelRef": {"name": "delays"},
        "code": {"connectionRef": {"name": "code"}, "commit": COMMIT, "path": "flights"},
        "image": "team/train:1",
        "command": ["python3", "train.py"],
        "parameters": {"depth": "6"},
        "seeds": {"model": 7},
        "inputs": [{"name": "flights", "datasetRef": {"name": "flights"}}],
        "split": TIME,
    } | changes
    return raw(RUN, name, {field: value for field, value in spec.items() if value is not None})


STANDING = (verified(connection()), verified(connection("lake")), verified(repository()), model())


def done(**parts: Any) -> Report:
    """An answer of a Job that did its work."""
    return Report(outcome=Outcome.DONE, **parts)


def refused(reason: str, message: str = "It is wrong.", **parts: Any) -> Report:
    """An answer that says the input is at fault."""
    return Report(outcome=Outcome.REFUSED, reason=reason, message=message, **parts)


def trouble(reason: str = "EndpointUnreachable", message: str = "No answer from the store.") -> Report:
    """An answer that says the surroundings are at fault."""
    return Report(outcome=Outcome.TROUBLE, reason=reason, message=message)


INGESTED = done(
    digests={"manifest": MANIFEST, "profile": PROFILE},
    numbers={"rows": 120, "bytes": 4096},
    words={"firstEvent": "2013-01-01T00:00:00Z", "lastEvent": "2013-12-31T23:00:00Z"},
    verdicts=(TestVerdict(name="enough", verdict="Pass", value=120, bound=">= 10"),),
)
TEST_FAILED = refused(
    "TestFailed",
    "Test enough failed: 3 rows, at least 10 wanted.",
    verdicts=(TestVerdict(name="enough", verdict="Fail", value=3, bound=">= 10", message="3 rows"),),
)
TRAINED = done(
    digests={"manifest": RESULT, "model": ONNX, "lock": LOCK}, numbers={"auc": 0.7312345678, "rows": 100}, words={}
)


def pod(job: Manifest, status: Manifest) -> Manifest:
    """A pod of the Job with this status, as the kubelet or scheduler would report it."""
    labels = job["spec"]["template"]["metadata"]["labels"]
    meta = {"name": f"{job['metadata']['name']}-pod", "namespace": job["metadata"]["namespace"], "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": job["spec"]["template"]["spec"],
        "status": status,
    }


def showing(status: Manifest) -> Actor:
    """An actor that gives every open Job a pod with this status."""

    def act(kube: FakeKube) -> None:
        for job in open_jobs(kube):
            wanted = pod(job, status)
            live = kube.look("Pod", wanted["metadata"]["name"])
            if live is None or live["status"] != status:
                kube.put(wanted)

    return act


def failing(status: Manifest, reason: str = "BackoffLimitExceeded") -> Actor:
    """An actor that lets every open Job fail with a pod of this status; None for no pod at all is an empty one."""

    def act(kube: FakeKube) -> None:
        for job in open_jobs(kube):
            if status:
                kube.put(pod(job, status))
            failed = {"type": "Failed", "status": "True", "reason": reason, "message": "Job was active longer than 9 s"}
            kube.say(job, {"conditions": [failed]})

    return act


def ended(name: str, code: int, message: str = "", reason: str = "Error") -> Manifest:
    """The state of a container that ended."""
    return {"name": name, "state": {"terminated": {"exitCode": code, "message": message, "reason": reason}}}


def unschedulable(message: str = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.") -> Manifest:
    """The status of a pod that no node fits."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


def unpullable(container: str = "train") -> Manifest:
    """The status of a pod whose image cannot be had."""
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    return {
        "phase": "Pending",
        "initContainerStatuses": [{"name": container, "image": "team/train:1", "state": {"waiting": waiting}}],
    }
