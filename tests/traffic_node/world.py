"""A small world on a Bed B: the chart, three tiny models that people approved, and a deployment that serves one.

Models are registered as a training run registers them; everything from the evaluation on is the product's own doing.
"""

from __future__ import annotations

import json
from typing import Any

from plumbline_contract.base import digest_of
from plumbline_contract.layout import blob, join
from plumbline_contract.manifest import FileEntry, ModelManifest, RunRecord
from plumbline_contract.routes import UNIT_HEADER
from plumbline_modelgate import check
from plumbline_operator.rooms.modelversion.api import version_manifest
from tests.jobs.models import sigmoid_of
from tests.load import post
from tests.support.cluster import Cluster, images
from tests.support.demo.data import client_of
from tests.support.demo.install import install
from tests.support.demo.people import Person, condition
from tests.traffic_node.scene import Scene

NAMESPACE, DEPLOYMENT, MODEL = "traffic", "flip", "coin"
OLD, NEW, FRESH = "coin-1", "coin-2", "coin-3"
WEIGHTS = {OLD: 0.1, NEW: 0.2, FRESH: 0.3}
BUCKET, PREFIX = "plumbline", "store"
PORT = 30090
UNITS = 10_000
READY_SECONDS = 300
GOLDEN = "label,a,b\n" + "".join(f"{n % 2},{n % 7}.5,{n % 5}.25\n" for n in range(200))


def build(cluster: Cluster) -> Scene:
    """Everything installed and serving `coin-1`; the others are approved and have never served."""
    install(cluster, {name: _loaded(cluster, name) for name in images.OWN_IMAGES})
    admin = Person("admin", cluster.kubeconfig, NAMESPACE)
    bob = Person("bob@example.com", cluster.user_kubeconfig("bob@example.com", ["judges"]), NAMESPACE)
    admin.kubectl("apply", "-f", "-", stdin=_list(*_ground(cluster)))
    _upload(cluster, {"lake/golden.csv": GOLDEN.encode()})
    admin.kubectl("apply", "-f", "-", stdin=_list(*_data()))
    model = admin.until_ready("registeredmodel", MODEL, READY_SECONDS)
    for name, weight in WEIGHTS.items():
        version = _registered(cluster, name, sigmoid_of({"a": weight, "b": -0.1}), model["metadata"]["uid"])
        admin.kubectl("apply", "-f", "-", stdin=_list(version))
    for name in WEIGHTS:
        admin.until("modelversion", name, "judged", _is_judged, READY_SECONDS)
        bob.kubectl("plumbline", "approve", name, "--comment", "it is a coin")
        admin.until_ready("modelversion", name, READY_SECONDS)
    admin.kubectl("apply", "-f", "-", stdin=_list(_deployment()))
    scene = Scene(cluster, admin, DEPLOYMENT, OLD, NEW, FRESH, PORT, requests())
    scene.until_stable(OLD, READY_SECONDS)
    return scene


def requests() -> list[bytes]:
    """One request for each of many units."""
    path = f"/v2/models/{MODEL}/infer"
    return [post(path, _body(number), {UNIT_HEADER: f"unit-{number}"}) for number in range(UNITS)]


def _body(number: int) -> bytes:
    values = {"a": float(number % 7), "b": float(number % 5)}
    inputs = [{"name": name, "shape": [1, 1], "datatype": "FP32", "data": [x]} for name, x in values.items()]
    return json.dumps({"inputs": inputs}).encode()


def _is_judged(raw: dict[str, Any]) -> bool:
    return condition(raw, "GatesPassed").get("status") == "True"


def _loaded(cluster: Cluster, name: str) -> str:
    return cluster.load_image(images.build_image(images.own_spec(name))).rpartition("@")[2]


def _ground(cluster: Cluster) -> list[dict[str, Any]]:
    """What a platform team sets up: the namespace, the bucket's keys, and who may approve."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    rbac = "rbac.authorization.k8s.io"
    keys = {"AWS_ACCESS_KEY_ID": cluster.s3.access_key, "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": _meta("bucket"), "stringData": keys},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": _meta("judges"),
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "plumbline-approver"},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": "judges"}],
        },
    ]


def _data() -> list[dict[str, Any]]:
    """Two places of one bucket, the golden rows, and what a version must reach: nothing, it is a coin."""
    columns = [{"name": "label", "type": "Int64"}, {"name": "a", "type": "Float64"}, {"name": "b", "type": "Float64"}]
    source = {"connectionRef": {"name": "lake"}, "key": "golden.csv", "format": "CSV"}
    golden = {"datasetRef": {"name": "golden"}, "label": "label"}
    return [
        *(_own("Connection", name, {"s3": _s3(prefix)}) for name, prefix in (("storage", PREFIX), ("lake", "lake"))),
        _own("Dataset", "golden", {"source": source, "columns": columns}),
        _own("RegisteredModel", MODEL, {"owner": "traffic-team", "golden": golden, "gates": []}),
    ]


def _s3(prefix: str) -> dict[str, Any]:
    endpoint = "http://s3.storage.svc:7070"
    return {"endpoint": endpoint, "bucket": BUCKET, "prefix": prefix, "secretRef": {"name": "bucket"}}


def _deployment() -> dict[str, Any]:
    amounts = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    return _own(
        "ModelDeployment",
        DEPLOYMENT,
        {
            "modelRef": {"name": MODEL},
            "versionRef": {"name": OLD},
            "realTime": {"replicas": {"min": 2, "max": 2}, "resources": amounts},
            "strategy": {"steps": [_step(10), _step(50)]},
            "nodePort": PORT,
        },
    )


def _step(weight: int) -> dict[str, Any]:
    """A step that lasts until some requests are counted."""
    name = f"canary-{weight}"
    return {"name": name, "canary": {"weight": weight}, "holdSeconds": 10, "minRequests": 500}


def _registered(cluster: Cluster, name: str, file: bytes, model_uid: str) -> dict[str, Any]:
    """A model in the bucket as a run's last step stores it, and the ModelVersion that a run registers."""
    signature, digest = check(file), digest_of(file)
    run = RunRecord(
        namespace=NAMESPACE,
        name=name,
        uid="00000000-0000-0000-0000-000000000000",
        author="ada@example.com",
        attempt=1,
        image="coins",
        image_digest="",
        command=("mint",),
    )
    entry = FileEntry(path="model.onnx", digest=digest, size=len(file))
    found = ModelManifest(files=(entry,), model=digest, inputs=signature.inputs, outputs=signature.outputs, run=run)
    document = found.canonical()
    place = join(PREFIX, NAMESPACE)
    _upload(cluster, {blob(place, digest): file, blob(place, digest_of(document)): document})
    version = version_manifest(
        name=name,
        run=name,
        model=MODEL,
        model_uid=model_uid,
        author=run.author,
        storage="storage",
        manifest=digest_of(document),
        model_digest=digest,
    )
    version["metadata"]["namespace"] = NAMESPACE
    return version


def _upload(cluster: Cluster, objects: dict[str, bytes]) -> None:
    client = client_of(cluster.s3)
    if BUCKET not in {one["Name"] for one in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    for key, content in objects.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=content)


def _own(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "plumbline.dev/v1alpha1", "kind": kind, "metadata": _meta(name), "spec": spec}


def _meta(name: str) -> dict[str, str]:
    return {"name": name, "namespace": NAMESPACE}


def _list(*items: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
