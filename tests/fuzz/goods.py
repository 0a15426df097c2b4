"""Good specs, one of each kind with nearly every field given, and the objects they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plumbline_operator.model.meta import GROUP, VERSION, Manifest

AUTHOR, APPROVER = "alice@example.com", "grace@example.com"
MODEL, OPEN, OTHER = "delays", "open", "other"  # with gates and approvals, without either, of another team
RUN, OTHER_RUN = "delays-1", "other-1"
SERVED = "late"  # the ModelDeployment that monitors watch
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "2099-01-01T00:00:00Z"
DAY = 86_400
INPUTS = ("distance", "hour")  # of the model that serves
AMOUNTS = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """What has come to be in the namespace: manifests of versions, snapshots of Datasets, by name."""

    versions: Mapping[str, str] = field(default_factory=dict)
    snapshots: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def named(kind: str, name: str, spec: Spec) -> Manifest:
    """An object as its user writes it."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": spec}


def digest(number: int) -> str:
    """A digest of nothing in particular."""
    return f"sha256:{number:064x}"


def bucket() -> Spec:
    """A Connection to a bucket."""
    s3 = {
        "endpoint": "http://store:9000",
        "region": "eu-central-1",
        "bucket": "team-data",
        "prefix": "lake/raw",
        "pathStyle": True,
        "secretRef": {"name": "keys"},
    }
    return {"s3": s3}


def repository() -> Spec:
    """A Connection to a git repository."""
    return {"git": {"url": "https://git.example.com/team/training.git"}}


def dataset() -> Spec:
    """A Dataset with columns and tests of every sort."""
    return {
        "storageRef": {"name": "storage"},
        "source": {
            "connectionRef": {"name": "lake"},
            "key": "2013/flights.csv.gz",
            "format": "CSV",
            "compression": "Gzip",
            "delimiter": ";",
            "nullValues": ["", "NA"],
        },
        "unknownColumns": "Drop",
        "columns": [
            {"name": "at", "type": "Timestamp", "description": "Scheduled departure."},
            {"name": "tail", "type": "String", "pii": True, "handling": "Hash", "nullable": True},
            {"name": "distance", "type": "Float64", "min": 0, "max": 10_000},
            {"name": "carrier", "type": "String", "allowed": ["AA", "UA"]},
        ],
        "eventTime": {"column": "at"},
        "tests": [
            {"name": "enough", "rowCount": {"min": 10, "max": 10_000_000}},
            {"name": "complete", "nullShare": {"column": "tail", "max": 0.1}},
            {"name": "once", "uniqueKey": {"columns": ["at", "tail"]}},
            {"name": "near", "range": {"column": "distance", "min": 1, "max": 9_000}},
            {"name": "known", "allowedSet": {"column": "carrier", "values": ["AA", "UA"]}},
            {"name": "looks", "regex": {"column": "carrier", "pattern": "[A-Z0-9]{2}"}},
            {"name": "refers", "foreignKey": _foreign_key()},
        ],
        "resources": AMOUNTS,
    }


def golden() -> Spec:
    """A Dataset without event time."""
    columns = [{"name": name, "type": "Int64"} for name in ("late", "distance")]
    source = {"connectionRef": {"name": "lake"}, "key": "golden.parquet", "format": "Parquet"}
    return {"source": source, "columns": columns}


def snapshot() -> Spec:
    """A DatasetSnapshot, as the operator would write it."""
    return {
        "datasetRef": {"name": "flights"},
        "storageRef": {"name": "storage"},
        "manifest": digest(1),
        "profile": digest(2),
        "rows": 1000,
        "bytes": 4096,
        "eventTime": "at",
        "firstEvent": "2013-01-01T00:00:00Z",
        "lastEvent": "2013-12-31T00:00:00Z",
        "columns": [{"name": "at", "type": "Timestamp"}, {"name": "tail", "type": "String", "handling": "Hash"}],
    }


def model() -> Spec:
    """A RegisteredModel with gates of every sort, judged on data that has event times."""
    return {
        "owner": "flight-team",
        "storageRef": {"name": "storage"},
        "description": "Whether a flight is late.",
        "golden": {
            "datasetRef": {"name": "flights"},
            "since": "2013-10-01T00:00:00Z",
            "until": "2014-01-01T00:00:00Z",
            "label": "distance",
            "predictionOutput": "probability",
        },
        "gates": [
            {"name": "good", "minimum": {"metric": "auc", "value": 0.7}},
            {"name": "no-worse", "regression": {"metric": "logLoss", "maxPercent": 2.5}},
            {"name": "everywhere", "slices": _slices()},
        ],
        "approvals": {"required": 1, "groups": ["approvers"]},
    }


def demanding(required: int, gates: list[Spec]) -> Spec:
    """A RegisteredModel judged on the golden Dataset."""
    wanted = {"datasetRef": {"name": "golden"}, "label": "late"}
    return {"owner": "flight-team", "golden": wanted, "gates": gates, "approvals": {"required": required}}


def run(of: str = OPEN) -> Spec:
    """A TrainingRun split by time."""
    return {
        "author": AUTHOR,
        "storageRef": {"name": "storage"},
        "modelRef": {"name": of},
        "code": {"connectionRef": {"name": "code"}, "commit": COMMIT, "path": "flights"},
        "image": "registry.example.com:5000/team/train:1",
        "command": ["python3", "train.py", "--fast"],
        "parameters": {"depth": "6", "rate": "0.1"},
        "seeds": {"model": 7},
        "inputs": [{"name": "flights", "datasetRef": {"name": "flights"}}],
        "split": {
            "input": "flights",
            "strategy": "Time",
            "parts": [
                {"name": "train", "since": "2013-01-01T00:00:00Z", "until": "2013-06-01T00:00:00Z"},
                {"name": "validation", "since": "2013-06-01T00:00:00Z"},
            ],
            "seed": 3,
        },
        "resources": AMOUNTS,
        "deadlineSeconds": 3600,
        "maxAttempts": 2,
    }


def version(world: World) -> Spec:
    """A ModelVersion of the model that asks for nothing, as the operator would write it."""
    name, manifest = world.snapshots["flights"]
    return {
        "modelRef": {"name": OPEN},
        "runRef": {"name": RUN},
        "author": AUTHOR,
        "storageRef": {"name": "storage"},
        "manifest": digest(3),
        "model": digest(4),
        "imageDigest": f"registry.example.com:5000/team/train@{digest(5)}",
        "metrics": {"auc": 0.81},
        "snapshots": [{"input": "flights", "dataset": "flights", "snapshot": name, "digest": manifest}],
        "trainingWindow": {"since": "2013-01-01T00:00:00Z", "until": "2013-06-01T00:00:00Z"},
    }


def approval(world: World) -> Spec:
    """A decision on the version of another team, which nothing here serves."""
    return {
        "approver": APPROVER,
        "group": "approvers",
        "version": {"name": OTHER_RUN, "manifest": world.versions[OTHER_RUN], "author": AUTHOR},
        "decision": "Approve",
        "comment": "Looked at the slices.",
        "expiresAt": LATER,
    }


def deployment() -> Spec:
    """A ModelDeployment with steps of every sort."""
    return {
        "modelRef": {"name": MODEL},
        "versionRef": {"name": RUN},
        "realTime": {
            "replicas": {"min": 1, "max": 2},
            "resources": AMOUNTS,
            "targetCPUPercent": 60,
            "routerReplicas": 1,
        },
        "strategy": {
            "steps": [
                {"name": "shadow", "shadow": {"percent": 50}, "holdSeconds": 30, "minAgreement": 0.9},
                {"name": "some", "canary": {"weight": 10}, "minRequests": 100, "maxFailurePercent": 2},
                {"name": "half", "canary": {"weight": 50}},
            ]
        },
        "agreement": {"output": "probability", "tolerance": 0.05},
        "warmVersions": 1,
        "logging": {"flushSeconds": 1},
    }


def pin(of: str) -> Spec:
    """A ReleasePin of the version that serves."""
    return {
        "deploymentRef": {"name": of},
        "versionRef": {"name": RUN},
        "reason": "Wrong predictions.",
        "expiresAt": LATER,
    }


def monitor() -> Spec:
    """A DriftMonitor that wakes people."""
    return {
        "deploymentRef": {"name": SERVED},
        "windowSeconds": DAY,
        "intervalSeconds": DAY,
        "forSeconds": 0,
        "minRows": 100,
        "features": {"maxPSI": 0.2, "only": list(INPUTS), "overrides": [{"name": INPUTS[0], "maxPSI": 0.3}]},
        "prediction": {"maxPSI": 0.2},
        "resources": AMOUNTS,
        "severity": "Page",
        "runbookURL": "https://runbooks.example.com/drift",
    }


def first_objects() -> list[Manifest]:
    """What users write before anything is fuzzed."""
    gates = [{"name": "good", "minimum": {"metric": "auc", "value": 0.7}}]
    return [
        named("Connection", "storage", bucket()),
        named("Connection", "lake", bucket()),
        named("Connection", "code", repository()),
        named("Dataset", "golden", golden()),
        named("Dataset", "flights", dataset()),
        named("RegisteredModel", MODEL, demanding(1, gates)),
        named("RegisteredModel", OPEN, demanding(0, [])),
        named("RegisteredModel", OTHER, demanding(1, gates)),
        named("TrainingRun", RUN, run(MODEL)),
        named("TrainingRun", OTHER_RUN, run(OTHER)),
        named("ModelDeployment", SERVED, deployment()),
    ]


def _foreign_key() -> Spec:
    return {"column": "distance", "dataset": {"name": "golden"}, "referencedColumn": "distance", "maxOrphans": 5}


def _slices() -> Spec:
    return {"metric": "f1", "columns": ["carrier"], "perMonth": True, "minimum": 0.5, "minSamples": 50}
