"""Argo CD on a test cluster: its own settings, our health scripts beside them, and its three processes.

The controller reaches the cluster that it deploys to by a ServiceAccount with the rights that our guide asks for, and
its own objects as an administrator.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from plumbline_operator.healthgen import PATCH
from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Manifest
from tests.support.argocd.build import CRDS, SETTINGS, argocd_program, manifests
from tests.support.cluster import Cluster, host, processes
from tests.support.cluster.addons import LOOPBACK, listens
from tests.support.cluster.paths import ClusterError
from tests.support.cluster.progress import timed, wait_until

NAMESPACE = "argocd"
CONTROLLER = "argocd-application-controller"
RESYNC_SECONDS = 20  # Argo CD's own default is 120; more comparisons see more
START_SECONDS = 120
PARTS = ("argocd-controller", "argocd-repo", "redis")
GUIDE = Path("docs/how-to/gitops.md")
# Debian's package has one program under several names, and the server's is not in it.
REDIS_PACKAGE = {"redis-tools": "/usr/bin/redis-check-rdb"}


@contextmanager
def argocd(cluster: Cluster) -> Iterator[None]:
    """Argo CD until the block ends. Raises ClusterError with the end of a log when a part does not come up."""
    host.install_packages(REDIS_PACKAGE)
    argocd_program()
    with timed("installing Argo CD"):
        _settle_in(cluster)
    try:
        with timed("starting Argo CD"):
            _start(cluster)
        yield
    finally:
        for part in PARTS:
            processes.stop(cluster.layout.pid_file(part))


def _settle_in(cluster: Cluster) -> None:
    folder = manifests()
    cluster.kubectl("create", "namespace", NAMESPACE)
    for name in CRDS:
        cluster.kubectl("apply", "--server-side", "-f", folder / name)
    wait_until("its kinds are served", lambda: _are_served(cluster), seconds=START_SECONDS, every=0.2)
    _apply(cluster, *_own_objects(), yaml.safe_load((folder / SETTINGS).read_text()), *_rights())
    # Word for word what the head of that file tells a platform team to do.
    cluster.kubectl("-n", NAMESPACE, "patch", "configmap", "argocd-cm", "--patch-file", PATCH)
    _apply(cluster, _destination(cluster))


def _are_served(cluster: Cluster) -> bool:
    items = json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]
    states = (find(one.get("status", {}).get("conditions") or (), "Established") or {} for one in items)
    return all(state.get("status") == "True" for state in states)


def _own_objects() -> list[Manifest]:
    signature = {"server.secretkey": "only for tests", "admin.password": "", "admin.passwordMtime": ""}
    project = {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [],
    }
    return [
        _object("v1", "ConfigMap", "argocd-rbac-cm", data={}),
        _object("v1", "Secret", "argocd-secret", stringData=signature),
        _object("argoproj.io/v1alpha1", "AppProject", "default", spec=project),
        _object("v1", "ServiceAccount", CONTROLLER),
    ]


def _rights() -> list[Manifest]:
    """What the guide says that the controller needs, taken from the guide."""
    text = GUIDE.read_text()
    block = text.split("<!-- rights -->")[1].split("```yaml\n")[1].split("```")[0]
    return list(yaml.safe_load_all(block))


def _destination(cluster: Cluster) -> Manifest:
    """The cluster under the address that Applications name, reached as the controller's ServiceAccount."""
    kubeconfig = json.loads(cluster.service_account_kubeconfig(NAMESPACE, CONTROLLER).read_text())
    where = kubeconfig["clusters"][0]["cluster"]
    access = {
        "bearerToken": kubeconfig["users"][0]["user"]["token"],
        "tlsClientConfig": {"insecure": False, "caData": where["certificate-authority-data"]},
    }
    labels = {"argocd.argoproj.io/secret-type": "cluster"}
    data = {"name": "here", "server": where["server"], "config": json.dumps(access)}
    return _object("v1", "Secret", "cluster-here", labels, stringData=data)


def _start(cluster: Cluster) -> None:
    layout, port = cluster.layout, cluster.record.port
    folder = layout.data / NAMESPACE
    folder.mkdir(parents=True)
    server = folder / "redis-server"
    server.symlink_to(REDIS_PACKAGE["redis-tools"])
    redis: list[str | Path] = [server, "--bind", LOOPBACK, "--port", str(port("redis")), "--save", "", "--dir", folder]
    processes.start(layout.pid_file("redis"), layout.log("redis"), redis)
    _wait(cluster, "redis", port("redis"))
    cache = ["--redis", f"{LOOPBACK}:{port('redis')}", "--redis-compress", "none"]
    repo = ["--address", LOOPBACK, "--port", str(port("argocd-repo")), "--disable-tls", "--client-ca-path", ""]
    repo += ["--metrics-address", LOOPBACK, "--metrics-port", str(port("argocd-repo-metrics"))]
    _start_part(cluster, "argocd-repo", "argocd-repo-server", [*repo, *cache])
    _wait(cluster, "argocd-repo", port("argocd-repo"))
    control = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", NAMESPACE, "--repo-server-plaintext"]
    control += ["--repo-server", f"{LOOPBACK}:{port('argocd-repo')}", "--app-resync", str(RESYNC_SECONDS)]
    control += ["--app-resync-jitter", "0", "--persist-resource-health"]
    control += ["--metrics-port", str(port("argocd-controller-metrics"))]
    _start_part(cluster, "argocd-controller", CONTROLLER, [*control, *cache])
    _wait(cluster, "argocd-controller", port("argocd-controller-metrics"))


def _start_part(cluster: Cluster, part: str, name: str, arguments: list[str]) -> None:
    folder = cluster.layout.data / NAMESPACE / part
    folder.mkdir()
    env = {"ARGOCD_BINARY_NAME": name, "ARGOCD_GPG_ENABLED": "false", "TMPDIR": str(folder), "HOME": str(folder)}
    env["PATH"] = f"{manifests()}{os.pathsep}{os.environ['PATH']}"  # where git's verifier lies
    env |= {variable: "" for variable in os.environ if variable.lower().endswith("_proxy")}
    command: list[str | Path] = [argocd_program(), *arguments]
    processes.start(cluster.layout.pid_file(part), cluster.layout.log(part), command, env=env)


def _wait(cluster: Cluster, part: str, port: int) -> None:
    """Return when the part listens; raise ClusterError when it died."""
    pid_file = cluster.layout.pid_file(part)
    wait_until(f"{part} listens", lambda: listens(port) or not processes.is_running(pid_file), seconds=START_SECONDS)
    if not processes.is_running(pid_file):
        raise ClusterError(f"{part} died:\n{processes.tail(cluster.layout.log(part))}")


def _apply(cluster: Cluster, *objects: Manifest) -> None:
    cluster.kubectl("apply", "--server-side", "-n", NAMESPACE, "-f", "-", stdin=yaml.safe_dump_all(objects))


def _object(api_version: str, kind: str, name: str, labels: dict[str, str] | None = None, **body: Any) -> Manifest:
    labels = {"app.kubernetes.io/part-of": "argocd", **(labels or {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels}, **body}
