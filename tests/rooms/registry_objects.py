"""Objects of the registry as the API server would hold them, for the worlds of its three rooms."""

from typing import Any

from plumbline_contract.manifest import SnapshotRef
from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.approval.api import KIND as APPROVAL
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.dataset.api import KIND as DATASET
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.modelversion.api import version_manifest
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from tests.support.worlds import raw, ready, with_status


def digest(letter: str) -> str:
    """A digest that is easy to tell from others."""
    return "sha256:" + letter * 64


CANDIDATE, CHAMPION, GOLDEN, EVALUATION, PREDICTIONS = (digest(one) for one in "abcde")
MINIMUM = {"name": "good", "minimum": {"metric": "auc", "value": 0.7}}
REGRESSION = {"name": "no-worse", "regression": {"metric": "auc", "maxPercent": 2}}
SLICES = {
    "name": "everywhere",
    "slices": {"metric": "auc", "columns": ["carrier"], "perMonth": True, "minimum": 0.6, "minSamples": 50},
}


def connection(name: str = "storage") -> Manifest:
    """A verified bucket."""
    s3 = {"endpoint": "http://store:9000", "bucket": "models", "prefix": "plumb", "secretRef": {"name": "keys"}}
    return ready(raw(CONNECTION, name, {"s3": s3}), "Verified")


def dataset(name: str = "golden", snapshot: str = "golden-1") -> Manifest:
    """A validated Dataset with a latest snapshot."""
    spec = {"source": {"connectionRef": {"name": "storage"}, "key": "g.csv", "format": "CSV"}, "columns": []}
    latest = {"name": snapshot, "digest": GOLDEN, "profile": digest("9"), "rows": 100, "bytes": 1000}
    return ready(raw(DATASET, name, spec), "Validated", latestSnapshot=latest)


def snapshot(name: str = "golden-1", **changes: Any) -> Manifest:
    """A sealed snapshot with a label `late` and an event time."""
    spec = {
        "datasetRef": {"name": "golden"},
        "storageRef": {"name": "storage"},
        "manifest": GOLDEN,
        "profile": digest("9"),
        "rows": 100,
        "bytes": 1000,
        "eventTime": "at",
        "columns": [{"name": name, "type": "Int64"} for name in ("late", "distance", "carrier")],
    }
    return ready(raw(SNAPSHOT, name, spec | changes), "Sealed")


def model(*gates: Manifest, golden: Manifest | None = None, **changes: Any) -> Manifest:
    """A RegisteredModel `flights` that nobody has looked at yet."""
    spec = {
        "owner": "flight-team",
        "golden": {"datasetRef": {"name": "golden"}, "label": "late"} | (golden or {}),
        "gates": list(gates or (MINIMUM,)),
    }
    return raw(MODEL, "flights", spec | changes)


def available(obj: Manifest, golden: str = GOLDEN) -> Manifest:
    """The RegisteredModel, Ready with its golden snapshot resolved."""
    return ready(obj, "Available", goldenSnapshot={"name": "golden-1", "digest": golden})


def deployment(name: str = "serving", *, version: str = "flights-1", created: str = "2026-01-02T00:00:00Z") -> Manifest:
    """A ModelDeployment of `flights` whose stable version is a champion."""
    spec = {"modelRef": {"name": "flights"}, "versionRef": {"name": version}}
    stable = {"version": version, "manifest": CHAMPION, "variant": f"{name}-v-1"}
    return with_status(raw(DEPLOYMENT, name, spec, creationTimestamp=created), stable=stable)


def version(name: str = "flights-2", **changes: Any) -> Manifest:
    """A ModelVersion by ada, as the run's room registers it."""
    made = version_manifest(
        name=name,
        run=name,
        model="flights",
        model_uid="registeredmodel-flights",
        author="ada",
        storage="storage",
        manifest=CANDIDATE,
        model_digest=digest("f"),
        metrics={"auc": 0.99},
        snapshots=[SnapshotRef(input="train", dataset="history", snapshot="history-1", digest=digest("8"))],
    )
    labels, owners = made["metadata"]["labels"], made["metadata"]["ownerReferences"]
    return raw(VERSION, name, made["spec"] | changes, labels=labels, ownerReferences=owners)


def approval(name: str, approver: str = "grace", *, decision: str = "Approve", **changes: Any) -> Manifest:
    """An Approval of flights-2 as it is."""
    spec = {
        "approver": approver,
        "version": {"name": "flights-2", "manifest": CANDIDATE, "author": "ada"},
        "decision": decision,
    }
    return raw(APPROVAL, name, spec | changes, creationTimestamp="2026-03-01T11:30:00Z")


def evaluated(*verdicts: TestVerdict, **numbers: float) -> Report:
    """An evaluation's answer."""
    return Report(
        outcome=Outcome.DONE,
        digests={"evaluation": EVALUATION, "predictions": PREDICTIONS},
        numbers={"rows": 100, "auc": 0.81234567} | numbers,
        verdicts=verdicts,
    )


def verdict(name: str = "good", word: str = "Pass", value: float | None = 0.81, message: str = "") -> TestVerdict:
    """One gate's verdict in a report."""
    return TestVerdict(name=name, verdict=word, value=value, bound=">= 0.7", message=message)
