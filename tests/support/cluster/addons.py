"""Cluster DNS and the S3 server: programs of this machine that pods reach through Services."""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path
from typing import Any

from tests.support.cluster import processes, programs
from tests.support.cluster.cluster import S3Server
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.layout import Layout, Record
from tests.support.cluster.node import CLUSTER_DOMAIN, Node
from tests.support.cluster.paths import ClusterError
from tests.support.cluster.progress import wait_until

LOOPBACK = "127.0.0.1"
S3_PORT = 7070  # of the Service; versitygw's own default
HOST_RESOLVER = Path("/etc/resolv.conf")

COREFILE = """\
. {{
    bind {address}
    errors
    health {loopback}:{health}
    ready {loopback}:{ready}
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig} plumbline
        fallthrough in-addr.arpa ip6.arpa
    }}
    cache 30 {{
        # A Service that a test makes must be found at once, also after someone asked too early.
        disable success {domain}
        disable denial {domain}
    }}
    {forward}
}}
"""


def start_dns(control_plane: ControlPlane, node: Node) -> None:
    """Starts CoreDNS on the bridge's address without waiting for it."""
    layout, record = control_plane.layout, control_plane.record
    forward = f"forward . {HOST_RESOLVER}" if "nameserver" in HOST_RESOLVER.read_text() else ""
    corefile = layout.state / "Corefile"
    corefile.write_text(
        COREFILE.format(
            address=node.address,
            loopback=LOOPBACK,
            health=record.port("coredns-health"),
            ready=record.port("coredns-ready"),
            domain=CLUSTER_DOMAIN,
            kubeconfig=control_plane.kubeconfig("coredns", "plumbline:dns"),
            forward=forward,
        )
    )
    command: list[str | Path] = [programs.program(programs.COREDNS, "coredns"), "-conf", corefile]
    processes.start(layout.pid_file("coredns"), layout.log("coredns"), command)


def start_s3(layout: Layout, record: Record, addresses: dict[str, int]) -> None:
    """Starts the S3 server on each address and port; its keys and objects are the cluster's own."""
    objects, versions = layout.data / "s3" / "objects", layout.data / "s3" / "versions"
    for folder in (objects, versions):
        folder.mkdir(parents=True, exist_ok=True)
    keys = record.facts.setdefault("s3_keys", [secrets.token_hex(10), secrets.token_hex(20)])
    record.save()
    listen = [word for address, port in addresses.items() for word in ("--port", f"{address}:{port}")]
    command: list[str | Path] = [programs.program(programs.S3, "versitygw"), *listen, "--quiet", "--keep-alive"]
    command += ["posix", "--versioning-dir", versions, objects]
    env = {"ROOT_ACCESS_KEY_ID": keys[0], "ROOT_SECRET_ACCESS_KEY": keys[1]}
    processes.start(layout.pid_file("s3"), layout.log("s3"), command, env=env)


def listens(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_for_s3(layout: Layout, port: int) -> None:
    """Returns when the S3 server listens on loopback; raises ClusterError when it died."""

    def listens_or_died() -> bool:
        if not processes.is_running(layout.pid_file("s3")):
            return True
        return listens(port)

    wait_until("the S3 server listens", listens_or_died, seconds=30)
    if not processes.is_running(layout.pid_file("s3")):
        raise ClusterError(f"the S3 server died:\n{processes.tail(layout.log('s3'))}")


def s3_facts(record: Record, *, in_cluster: bool) -> S3Server:
    """How to reach the cluster's S3 server, and with which keys."""
    access, secret = record.facts["s3_keys"]
    host = f"http://{LOOPBACK}:{record.port('s3')}"
    endpoint = f"http://s3.storage.svc:{S3_PORT}" if in_cluster else host
    return S3Server(endpoint=endpoint, host_endpoint=host, access_key=access, secret_key=secret)


def dns_manifests(address: str, dns_service: str) -> str:
    """The Service of cluster DNS, whose server has this address, and what that server may read."""
    role_name, rbac = "plumbline:dns", "rbac.authorization.k8s.io"
    readable = [("", ["services", "namespaces"]), ("discovery.k8s.io", ["endpointslices"])]
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": ["list", "watch"]} for group, kinds in readable]
    role = {"kind": "ClusterRole", "name": role_name, "apiGroup": rbac}
    subjects = [{"kind": "User", "name": "plumbline:dns", "apiGroup": rbac}]
    ports = [("dns", 53, 53, "UDP"), ("dns-tcp", 53, 53, "TCP")]
    return _list(
        *_service("kube-system", "kube-dns", ports, address, clusterIP=dns_service),
        _object(f"{rbac}/v1", "ClusterRole", role_name, rules=rules),
        _object(f"{rbac}/v1", "ClusterRoleBinding", role_name, roleRef=role, subjects=subjects),
    )


def s3_manifests(address: str, port: int) -> str:
    """The Service ``s3`` in the namespace ``storage``, whose server has this address and port."""
    ports = [("http", S3_PORT, port, "TCP")]
    return _list(_object("v1", "Namespace", "storage"), *_service("storage", "s3", ports, address))


def _list(*items: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _object(version: str, kind: str, name: str, namespace: str | None = None, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _service(
    namespace: str, name: str, ports: list[tuple[str, int, int, str]], address: str, **fixed: str
) -> list[dict[str, Any]]:
    """A Service without selector and its endpoints; each port: name, Service's port, target's port, protocol."""
    shown = [{"name": n, "port": p, "targetPort": t, "protocol": q} for n, p, t, q in ports]
    service = _object("v1", "Service", name, namespace, spec={"ports": shown, **fixed})
    slice_ = _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        f"{name}-host",
        namespace,
        addressType="IPv4",
        endpoints=[{"addresses": [address], "conditions": {"ready": True}}],
        ports=[{"name": n, "port": t, "protocol": q} for n, _, t, q in ports],
    )
    slice_["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    return [service, slice_]
