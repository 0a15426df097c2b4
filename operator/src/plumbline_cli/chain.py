"""From one prediction back to everything it rests on, each digest hashed again.

prediction ─ version ─ model file ─ run ─ commit, image, parameters, seeds
                │                     └─ snapshots ─ their files
                ├─ evaluation
                └─ approvals
"""

from dataclasses import dataclass, field
from typing import Any

from plumbline_cli.bucket import Bucket, Proof, open_bucket
from plumbline_cli.cluster import Cluster, Missing, Raw
from plumbline_contract.manifest import ModelManifest, SnapshotManifest
from plumbline_contract.prediction import INPUT_PREFIX, OUTPUT_PREFIX, parse_prediction_id


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain: what it is, its facts, and the proofs of its bytes."""

    title: str
    facts: dict[str, Any]
    proofs: tuple[Proof, ...] = ()
    below: tuple["Link", ...] = field(default=())

    @property
    def broken(self) -> tuple[Proof, ...]:
        """Every proof here and below that does not hold."""
        return tuple(p for p in self.proofs if not p.holds) + tuple(p for b in self.below for p in b.broken)

    @property
    def checked(self) -> int:
        """How many blobs were hashed, here and below."""
        return len(self.proofs) + sum(b.checked for b in self.below)


def explain(cluster: Cluster, prediction_id: str, endpoint: str | None, deployment: str | None = None) -> Link:
    """The chain of one prediction.

    Raises ValueError for a malformed id, Missing when a link cannot be found (and says which).
    """
    when, request_id = parse_prediction_id(prediction_id)
    for one in cluster.list("ModelDeployment"):
        if deployment not in (None, one["metadata"]["name"]):
            continue
        model = cluster.get("RegisteredModel", one["spec"]["modelRef"]["name"])
        bucket = open_bucket(cluster, model["spec"]["storageRef"]["name"], endpoint)
        records = bucket.predictions(cluster.namespace, one["metadata"]["name"], when, request_id)
        exact = [r for r in records if r["prediction_id"] == prediction_id]
        if exact:
            return _prediction(cluster, bucket, one, exact)
    raise Missing(
        f"no prediction log in namespace {cluster.namespace} holds {prediction_id}, "
        f"made {when:%Y-%m-%d %H:%M:%S} UTC: it may be newer than the last flush, or of another namespace"
    )


def _prediction(cluster: Cluster, bucket: Bucket, deployment: Raw, records: list[Raw]) -> Link:
    first = records[0]
    version = _version_with(cluster, first["manifest"])
    facts = {
        "id": first["prediction_id"],
        "time": first["time"].isoformat(),
        "deployment": deployment["metadata"]["name"],
        "variant": f"{first['variant']} ({first['role']})",
        "rows": len(records),
        "inputs": _columns(first, INPUT_PREFIX),
        "outputs": _columns(first, OUTPUT_PREFIX),
    }
    return Link("prediction", facts, below=(_version(cluster, bucket, version),))


def _columns(record: Raw, prefix: str) -> Raw:
    return {name.removeprefix(prefix): value for name, value in record.items() if name.startswith(prefix)}


def _version_with(cluster: Cluster, manifest: str) -> Raw:
    for version in cluster.list("ModelVersion"):
        if version["spec"]["manifest"] == manifest:
            return version
    raise Missing(f"no ModelVersion in namespace {cluster.namespace} has the manifest {manifest}")


def _version(cluster: Cluster, bucket: Bucket, version: Raw) -> Link:
    spec, status = version["spec"], version.get("status", {})
    data, proof = bucket.blob(spec["manifest"])
    manifest = ModelManifest.model_validate_json(data)
    files = tuple(bucket.prove(f.digest) for f in manifest.files)
    facts = {
        "name": version["metadata"]["name"],
        "model": spec["modelRef"]["name"],
        "manifest": spec["manifest"],
        "file": spec.get("model", ""),
    }
    below = (*_evaluation(bucket, status), *_approvals(cluster, spec["manifest"]), _run(cluster, bucket, manifest))
    return Link("model version", facts, (proof, *files), below)


def _evaluation(bucket: Bucket, status: Raw) -> tuple[Link, ...]:
    evaluation = status.get("evaluation", {})
    if not evaluation.get("digest"):
        return ()
    gates = {g["name"]: f"{g['verdict']} {g.get('value', '')} {g.get('bound', '')}".strip() for g in status["gates"]}
    return (Link("evaluation", {"golden": evaluation.get("golden"), **gates}, (bucket.prove(evaluation["digest"]),)),)


def _approvals(cluster: Cluster, manifest: str) -> tuple[Link, ...]:
    """Every decision on this digest; an accepted one is what let the version serve."""
    decisions = [a for a in cluster.list("Approval") if a["spec"]["version"]["manifest"] == manifest]
    return tuple(
        Link(
            "approval",
            {
                "name": a["metadata"]["name"],
                "decision": a["spec"]["decision"],
                "approver": a["spec"]["approver"],
                "author": a["spec"]["version"]["author"],
                "comment": a["spec"].get("comment", ""),
                "accepted": _ready(a),
            },
        )
        for a in decisions
    )


def _ready(raw: Raw) -> str:
    conditions = raw.get("status", {}).get("conditions", [])
    return next((f"{c['status']} ({c['reason']})" for c in conditions if c["type"] == "Ready"), "not yet judged")


def _run(cluster: Cluster, bucket: Bucket, manifest: ModelManifest) -> Link:
    run = manifest.run
    facts: dict[str, Any] = {
        "name": run.name,
        "author": run.author,
        "command": " ".join(run.command),
        "image": run.image,
        "image digest": run.image_digest or _resolved_image(cluster, run.name),
        "parameters": dict(run.parameters),
        "seeds": dict(run.seeds),
        "lock": run.lock_digest or "none found",
        "packages": len(run.packages),
        "hardware": dict(run.hardware),
    }
    if run.code is not None:
        facts |= {"repository": run.code.url, "commit": run.code.commit, "path": run.code.path or "."}
    return Link("training run", facts, below=tuple(_snapshot(bucket, s.input, s.digest) for s in run.snapshots))


def _resolved_image(cluster: Cluster, run: str) -> str:
    try:
        return str(cluster.get("TrainingRun", run).get("status", {}).get("imageDigest", "not recorded"))
    except Missing:
        return "the TrainingRun is gone"


def _snapshot(bucket: Bucket, name: str, digest: str) -> Link:
    data, proof = bucket.blob(digest)
    manifest = SnapshotManifest.model_validate_json(data)
    proofs = (proof, bucket.prove(manifest.profile), *(bucket.prove(f.digest) for f in manifest.files))
    facts = {
        "input": name,
        "dataset": manifest.dataset,
        "manifest": digest,
        "rows": manifest.rows,
        "tests": f"{sum(t.verdict == 'Pass' for t in manifest.tests)} of {len(manifest.tests)} passed",
        "sources": {s.key: s.digest for s in manifest.sources},
    }
    return Link("data snapshot", facts, proofs)
