"""The kind provider: a cluster inside a Docker container, for machines with a Docker engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.cluster import addons, host, layout, oci, processes, programs
from tests.support.cluster.access import certificate_user, inline, write_kubeconfig
from tests.support.cluster.audit import write_policy
from tests.support.cluster.cluster import Cluster, S3Server
from tests.support.cluster.containers import short_name
from tests.support.cluster.layout import Layout
from tests.support.cluster.paths import ClusterError, locked
from tests.support.cluster.pki import Authority
from tests.support.cluster.progress import run, timed

NODE_IMAGE = f"kindest/node:{programs.KUBERNETES_VERSION}"
INSIDE = "/plumbline"  # where the node sees the cluster's state folder
START_SECONDS = 600  # the first start pulls the node's image

# The API server runs inside the node, so its audit files are mounted twice: into the node, then into its pod.
AUDIT_PATCH = """\
kind: ClusterConfiguration
apiServer:
  extraArgs:
    audit-policy-file: {inside}/audit-policy.json
    audit-log-path: {inside}/audit/audit.log
    audit-log-maxsize: "100000"
  extraVolumes:
    - {{name: audit, hostPath: {inside}, mountPath: {inside}, readOnly: false}}
"""


def works() -> bool:
    """Whether a Docker engine answers and the kind program is there."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0


class KindCluster(Cluster):
    """A whole node in a container, whichever bed was asked for; the S3 server runs beside it."""

    @property
    def container(self) -> str:
        """The node's container."""
        return f"{self.name}-control-plane"

    @property
    def kubeconfig(self) -> Path:
        return self.layout.state / "kubeconfigs" / "admin.yaml"

    @property
    def audit_log(self) -> Path:
        return self.layout.state / "audit" / "audit.log"

    @property
    def s3(self) -> S3Server:
        return addons.s3_facts(self.record, in_cluster=True)

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        authority = Authority(self.layout.pki)
        pair = authority.client(name, groups)
        admin = json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        return write_kubeconfig(
            self.layout.state / "kubeconfigs" / f"{pair.certificate.stem}.yaml",
            server=admin["clusters"][0]["cluster"]["server"],
            ca_data=inline(authority.ca.certificate),
            user=certificate_user(pair),
        )

    def load_image(self, archive: Path) -> str:
        name, digest = oci.archive_facts(archive)
        by_digest = f"{name.rpartition(':')[0]}@{digest}"
        run(["kind", "load", "image-archive", archive, "--name", self.name])
        tag = ["ctr", "--namespace", "k8s.io", "images", "tag", "--force", name, by_digest]
        run(["docker", "exec", self.container, *tag])
        return short_name(by_digest)

    def is_healthy(self) -> bool:
        try:
            answer = self.kubectl("get", "--raw", "/readyz").strip()
        except ClusterError:
            return False
        return answer == "ok" and "s3" in self.layout.running_parts()

    def stop(self) -> None:
        with locked(self.layout.lock):
            _remove(self.name)


def start(name: str, bed: str) -> KindCluster:
    """The running kind cluster of that name, or a fresh one."""
    if not works():
        raise ClusterError("provider kind needs the kind program and a Docker engine that answers `docker info`")
    host.require_commands(["openssl", "setsid", "sh"])
    with locked(Layout(name).lock):
        record = layout.load(name)
        if record is not None and record.provider != "kind":
            raise ClusterError(f"{name!r} is a cluster of provider {record.provider!r}; `down --name {name}` first")
        if record is not None and record.ready and KindCluster(record).is_healthy():
            return KindCluster(record)
        _remove(name)
        with timed(f"starting a kind cluster {name!r}"):
            return _start_fresh(name, bed)


def _start_fresh(name: str, bed: str) -> KindCluster:
    cluster = KindCluster(layout.reserve(name, bed, "kind"))
    where, record = cluster.layout, cluster.record
    write_policy(where.state / "audit-policy.json")
    (where.state / "audit").mkdir()
    node = {
        "role": "control-plane",
        "extraMounts": [{"hostPath": str(where.state), "containerPath": INSIDE}],
        "kubeadmConfigPatches": [AUDIT_PATCH.format(inside=INSIDE)],
    }
    settings = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}
    config = where.state / "kind.json"
    config.write_text(json.dumps(settings, indent=2))
    cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = [
        "--name",
        name,
        "--config",
        config,
        "--kubeconfig",
        cluster.kubeconfig,
        "--image",
        NODE_IMAGE,
    ]
    run(["kind", "create", "cluster", *options, "--wait", "120s"], seconds=START_SECONDS)
    where.pki.mkdir(mode=0o700)
    for file in ("ca.crt", "ca.key"):
        run(["docker", "cp", f"{cluster.container}:/etc/kubernetes/pki/{file}", where.pki / file])
    gateway = _gateway()
    addons.start_s3(where, record, {addons.LOOPBACK: record.port("s3"), gateway: addons.S3_PORT})
    addons.wait_for_s3(where, record.port("s3"))
    cluster.kubectl("apply", "-f", "-", stdin=addons.s3_manifests(gateway, addons.S3_PORT))
    record.ready = True
    record.save()
    return cluster


def _gateway() -> str:
    """This machine's address as the node's network sees it."""
    networks = json.loads(run(["docker", "network", "inspect", "kind"]))
    gateways = [str(entry.get("Gateway", "")) for entry in networks[0]["IPAM"]["Config"]]
    found = [address for address in gateways if address and ":" not in address]
    if not found:
        raise ClusterError("the Docker network `kind` has no IPv4 gateway; `docker network inspect kind` shows it")
    return found[0]


def _remove(name: str) -> None:
    where = Layout(name)
    processes.stop(where.pid_file("s3"))
    if layout.load(name) is not None:
        run(["kind", "delete", "cluster", "--name", name])
    for folder in (where.state, where.data):
        shutil.rmtree(folder, ignore_errors=True)
