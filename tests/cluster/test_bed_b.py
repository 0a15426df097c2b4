"""Bed B: a node with real pods, DNS, Services and an S3 server."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from tests.support.cluster import (
    Cluster,
    ClusterError,
    S3Server,
    cgroups,
    images,
    leftovers,
    network,
    processes,
    start,
    stop,
)
from tests.support.cluster.layout import Layout
from tests.support.cluster.progress import wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(900)]

NAME = f"test-bed-b-{os.getpid()}"
NAMESPACE = "restricted"
NODE_PORT = 31807

PROGRAM = """\
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from a pod")
print("listening", flush=True)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a small Python image with a program and a locked package."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "serve.py").write_text(PROGRAM)
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    (folder / "image.toml").write_text(
        textwrap.dedent("""\
            name = "plumbline/test-bed-b:dev"
            entrypoint = ["python3", "/srv/serve.py"]
            requirements = "requirements.txt"
            files = [{from = "serve.py", to = "/srv/serve.py"}]
        """)
    )
    return images.build_image(images.folder_spec(folder))


@pytest.fixture(scope="module")
def cluster(image: Path) -> Iterator[Cluster]:
    """The Bed B of this module with a namespace that admits only restricted pods."""
    begun = time.monotonic()
    running = start(bed="B", name=NAME, provider="embedded", image_archives=[image])
    print(f"Bed B with its image: {time.monotonic() - begun:.1f} s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    running.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    yield running
    running.stop()
    assert leftovers(NAME) == []


def container(name: str, image: Path, *command: str, **fields: Any) -> dict[str, Any]:
    """A container that the restricted profile admits; without a command it runs the image's own."""
    return {
        "name": name,
        "image": images.image_reference(image),
        "imagePullPolicy": "IfNotPresent",
        **({"command": list(command)} if command else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "1", "memory": "128Mi"}},
        **fields,
    }


def pod_spec(*containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The rest of a restricted pod."""
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": list(containers),
        **fields,
    }


def apply(cluster: Cluster, version: str, kind: str, name: str, **fields: Any) -> None:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    document = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def pod_of(cluster: Cluster, selector: str) -> dict[str, Any]:
    pods = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "pods", "-l", selector, "-o", "json"))["items"]
    assert len(pods) == 1
    return dict(pods[0])


def run_job(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    """Runs a Job to its end, which must be a good one; what its containers said is in the failure."""
    template = {"spec": {**spec, "restartPolicy": "Never"}}
    apply(cluster, "batch/v1", "Job", name, spec={"backoffLimit": 0, "template": template})
    get_conditions = ("-n", NAMESPACE, "get", "job", name, "-o", "jsonpath={.status.conditions[*].type}")

    def outcome() -> set[str]:
        return {"Complete", "Failed"} & set(cluster.kubectl(*get_conditions).split())

    ended = wait_until(f"Job {name} ends", outcome, seconds=90, every=0.2)
    assert ended == {"Complete"}, logs(cluster, f"job/{name}", "--all-containers", "--ignore-errors")


def logs(cluster: Cluster, what: str, *options: str) -> str:
    return cluster.kubectl("-n", NAMESPACE, "logs", what, *options)


def s3_client(server: S3Server, endpoint: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(signature_version="s3v4"),
    )


def test_the_node_is_ready(cluster: Cluster) -> None:
    assert cluster.node_name == "plumbline"
    node = json.loads(cluster.kubectl("get", "node", "plumbline", "-o", "json"))
    ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"]


def test_a_restricted_job_runs_its_three_steps_in_order(cluster: Cluster, image: Path) -> None:
    mounts = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}]}
    append = "import os, six; open('/shared/steps', 'a').write('%s ' % os.environ['HOSTNAME'][:5]); print(os.getuid())"
    fetch = container("fetch", image, "python3", "-c", append.replace("%s ", "fetch %s "), **mounts)
    train = container("train", image, "python3", "-c", append.replace("%s ", "train %s "), **mounts)
    report = "open('/dev/termination-log', 'w').write(open('/shared/steps').read())"
    collect = container("collect", image, "python3", "-c", report, **mounts)
    spec = pod_spec(collect, initContainers=[fetch, train], volumes=[{"name": "work", "emptyDir": {}}])

    run_job(cluster, "three", spec)

    status = pod_of(cluster, "job-name=three")["status"]
    assert status["containerStatuses"][0]["state"]["terminated"]["message"] == "fetch three train three "
    assert status["initContainerStatuses"][1]["imageID"].endswith(images.image_digest(image))
    assert logs(cluster, "job/three", "-c", "train") == "65532\n"


def test_a_pod_that_the_restricted_profile_forbids_is_refused(cluster: Cluster, image: Path) -> None:
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        apply(cluster, "v1", "Pod", "root", spec=pod_spec(container("root", image), securityContext={}))


def test_names_of_services_resolve_and_s3_answers_inside_and_outside(cluster: Cluster, image: Path) -> None:
    server = cluster.s3
    outside, inside = (s3_client(server, endpoint) for endpoint in (server.host_endpoint, server.endpoint))
    outside.create_bucket(Bucket="models")
    outside.put_object(Bucket="models", Key="fraud/weights", Body=b"0.25")
    # A link is signed for a host's name without asking the host, which has no such name out here.
    link = inside.generate_presigned_url("get_object", Params={"Bucket": "models", "Key": "fraud/weights"})
    script = textwrap.dedent(f"""\
        import socket, urllib.request
        print(socket.gethostbyname("kubernetes.default.svc.cluster.local"))
        print(urllib.request.urlopen({link!r}, timeout=10).read().decode())
    """)

    run_job(cluster, "reader", pod_spec(container("reader", image, "python3", "-c", script)))

    expected = cluster.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert logs(cluster, "job/reader").split() == [expected, "0.25"]
    assert server.endpoint == "http://s3.storage.svc:7070"


def test_a_service_answers_on_its_node_port_on_loopback_and_on_its_own_address(cluster: Cluster, image: Path) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    serving = pod_spec(container("serve", image, readinessProbe=probe))
    template = {"metadata": {"labels": {"app": "serve"}}, "spec": serving}
    selector = {"matchLabels": {"app": "serve"}}
    apply(cluster, "apps/v1", "Deployment", "serve", spec={"replicas": 2, "selector": selector, "template": template})
    ports = [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}]
    apply(cluster, "v1", "Service", "serve", spec={"type": "NodePort", "selector": {"app": "serve"}, "ports": ports})
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/serve", "--timeout=90s")
    address = cluster.kubectl("-n", NAMESPACE, "get", "service", "serve", "-o", "jsonpath={.spec.clusterIP}")

    assert wait_until("the NodePort answers", lambda: asked("127.0.0.1", NODE_PORT), seconds=30) == "hello from a pod"
    assert wait_until("the Service answers", lambda: asked(address, 80), seconds=30) == "hello from a pod"


def asked(host: str, port: int) -> str:
    """The answer to a GET, or nothing when nobody answers yet."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


IMPORT_ALL = """\
import importlib, pkgutil, sys
name = sys.argv[1]
found = list(pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."))
for module in found:
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(name, len(found))
"""


@pytest.mark.parametrize("short", sorted(images.OWN_IMAGES))
def test_each_of_our_images_holds_all_that_its_packages_import(cluster: Cluster, short: str) -> None:
    archive = images.build_image(images.own_spec(short))
    cluster.load_image(archive)
    steps = [
        container(package.replace("_", "-"), archive, "python3", "-c", IMPORT_ALL, package)
        for package in images.OWN_IMAGES[short].packages
    ]
    for step in steps:
        # NumPy and its kin, all at once, take more than the other tests' little programs.
        step["resources"]["limits"]["memory"] = "1Gi"

    run_job(cluster, f"imports-{short}", pod_spec(steps[-1], initContainers=steps[:-1]))

    # Some library greets on import; the last line is ours.
    name, modules = logs(cluster, f"job/imports-{short}").splitlines()[-1].split()
    assert name == images.OWN_IMAGES[short].packages[-1]
    assert int(modules) > 0


def test_port_forward_reaches_a_pod(cluster: Cluster, image: Path) -> None:
    apply(cluster, "v1", "Pod", "forwarded", spec=pod_spec(container("serve", image)))
    cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/forwarded", "--timeout=60s")
    wait_until("the program listens", lambda: "listening" in logs(cluster, "pod/forwarded"), seconds=30)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [cluster.kubectl_program(), "--kubeconfig", cluster.kubeconfig, "-n", NAMESPACE, "port-forward"]
    with subprocess.Popen([*command, "pod/forwarded", f"{port}:8080"], stdout=subprocess.DEVNULL) as forward:
        try:
            answer = wait_until("the forwarded port answers", lambda: asked("127.0.0.1", port), seconds=30)
        finally:
            forward.terminate()
    assert answer == "hello from a pod"


def test_a_gpu_is_scheduled_once_the_node_says_it_has_one(cluster: Cluster, image: Path) -> None:
    wanted = {"limits": {"memory": "128Mi", "nvidia.com/gpu": "1"}}
    spec = pod_spec(container("gpu", image, "python3", "-c", "print('ran')", resources=wanted), restartPolicy="Never")
    apply(cluster, "v1", "Pod", "gpu", spec=spec)
    condition = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].message}"
    get_message = ("-n", NAMESPACE, "get", "pod", "gpu", "-o", condition)
    wait_until(
        "the scheduler misses a GPU", lambda: "Insufficient nvidia.com/gpu" in cluster.kubectl(*get_message), seconds=30
    )

    patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "1"}]
    cluster.kubectl("patch", "node", "plumbline", "--subresource=status", "--type=json", "-p", json.dumps(patch))

    cluster.kubectl("-n", NAMESPACE, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/gpu", "--timeout=60s")


def test_a_second_bed_b_is_refused_by_the_name_of_the_first(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=f"Bed B '{cluster.name}' runs on this machine already"):
        start(bed="B", name=f"{NAME}-2", provider="embedded")
    assert cluster.is_healthy()


def test_a_bed_a_runs_beside_it(cluster: Cluster) -> None:
    beside = start(bed="A", name=f"{NAME}-a")
    try:
        beside.kubectl("get", "namespaces")
    finally:
        beside.stop()
    assert leftovers(beside.name) == []
    assert cluster.is_healthy()


def test_after_a_crash_with_pods_running_the_next_start_heals_and_stop_leaves_nothing(
    cluster: Cluster, image: Path
) -> None:
    # Last of the module: it ends the cluster that the others use, and starts it again under the same name.
    apply(cluster, "v1", "Pod", "survivor", spec=pod_spec(container("serve", image)))
    cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/survivor", "--timeout=60s")
    pods = list(cgroups.members(NAME))
    assert pods
    for part in Layout(NAME).running_parts():
        known = processes.recorded(Layout(NAME).pid_file(part))
        assert known is not None
        processes.send(known, signal.SIGKILL)
    wait_until("every part is dead", lambda: not Layout(NAME).running_parts(), seconds=10)
    assert list(cgroups.members(NAME)) == pods, "pods outlive the node's programs"

    script = f"from tests.support.cluster import start; start(bed='B', name={NAME!r}, provider='embedded')"
    subprocess.run([sys.executable, "-c", script], check=True)

    assert not set(pods) & set(cgroups.members(NAME))
    run_again = start(bed="B", name=NAME, provider="embedded", image_archives=[image])
    assert run_again.kubectl("get", "pods", "-A", "-o", "name") == ""
    stop(NAME)
    assert leftovers(NAME) == []
    assert not network.bridge_exists()
    assert network.kubernetes_chains() == []
