"""The provider of a cluster that is there already: a named context of the user's own kubeconfig."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.support.cluster import layout
from tests.support.cluster.cluster import Cluster, S3Server
from tests.support.cluster.layout import Layout, Record
from tests.support.cluster.paths import ClusterError, locked, write_private
from tests.support.cluster.progress import run

S3_VARIABLES = (
    "PLUMBLINE_S3_ENDPOINT",
    "PLUMBLINE_S3_HOST_ENDPOINT",
    "PLUMBLINE_S3_ACCESS_KEY",
    "PLUMBLINE_S3_SECRET_KEY",
)


class CurrentCluster(Cluster):
    """Somebody's cluster: we use it, and neither start nor end it."""

    @property
    def kubeconfig(self) -> Path:
        return self.layout.state / "kubeconfigs" / "admin.yaml"

    @property
    def audit_log(self) -> Path:
        raise ClusterError(f"{self.name!r} is not our cluster, so its audit log is out of reach; use embedded or kind")

    @property
    def s3(self) -> S3Server:
        missing = [name for name in S3_VARIABLES if not os.environ.get(name)]
        if missing:
            raise ClusterError(f"set {', '.join(missing)}: your own cluster brings its own S3 service")
        return S3Server(*(os.environ[name] for name in S3_VARIABLES))

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        raise ClusterError(f"{self.name!r} is not our cluster, so we cannot sign a certificate for {name!r} there")

    def load_image(self, archive: Path) -> str:
        raise ClusterError(f"push {archive} to a registry that {self.name!r} pulls from; we cannot load it there")

    def is_healthy(self) -> bool:
        try:
            return self.kubectl("get", "--raw", "/readyz").strip() == "ok"
        except ClusterError:
            return False

    def stop(self) -> None:
        shutil.rmtree(self.layout.state, ignore_errors=True)


def start(name: str, bed: str, context: str) -> CurrentCluster:
    """The cluster of a context of the user's kubeconfig, by the context's name and never by default."""
    if not context:
        raise ClusterError(
            "name the context, as in --provider current:my-context, so that no cluster is hit by accident"
        )
    view = ["kubectl", "config", "view", "--raw", "--minify", "--flatten", "--context", context, "-o", "json"]
    with locked(Layout(name).lock):
        known = layout.load(name)
        if known is not None and known.provider != "current":
            raise ClusterError(
                f"{name!r} is a cluster of provider {known.provider!r} already; `down --name {name}` first"
            )
        record = Record(name=name, bed=bed, provider="current", facts={"context": context}, ready=True)
        cluster = CurrentCluster(record)
        write_private(cluster.kubeconfig, run(view))
        record.save()
        if not cluster.is_healthy():
            cluster.stop()
            raise ClusterError(
                f"the cluster of context {context!r} does not answer; `kubectl --context {context} version`"
            )
    return cluster
