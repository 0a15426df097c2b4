"""The embedded provider: every part of the cluster is a process of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.support.cluster import host, layout, processes, programs
from tests.support.cluster.cluster import Cluster, S3Server
from tests.support.cluster.control_plane import Addresses, ControlPlane
from tests.support.cluster.layout import Record
from tests.support.cluster.paths import ClusterError, locked
from tests.support.cluster.progress import say, timed

CONTROL_PLANE_OF_BED = {
    "A": ("etcd", "apiserver", "controller-manager"),
    "B": ("etcd", "apiserver", "controller-manager", "scheduler"),
}


class EmbeddedCluster(Cluster):
    """Bed A: a control plane on loopback. Bed B: a whole node on a bridge of its own."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        addresses = Addresses(**record.facts.get("addresses", {}))
        self.control_plane = ControlPlane(self.layout, record, addresses, record.facts["disabled_controllers"])

    @property
    def kubeconfig(self) -> Path:
        return self.control_plane.kubeconfig("admin", "plumbline-admin", ["system:masters"])

    @property
    def audit_log(self) -> Path:
        return self.layout.state / "audit.log"

    @property
    def s3(self) -> S3Server:
        raise ClusterError("not here yet")

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        pair = self.control_plane.authority.client(name, groups)
        return self.control_plane.kubeconfig(pair.certificate.stem, name, groups)

    def load_image(self, archive: Path) -> str:
        raise ClusterError(f"{archive}: Bed A runs no pods, so it takes no images; start Bed B")

    def is_healthy(self) -> bool:
        wanted = set(CONTROL_PLANE_OF_BED[self.bed])
        return wanted <= set(self.layout.running_parts()) and self.control_plane.prober().answers("/readyz")

    def stop(self) -> None:
        stop(self.name)


def start(name: str, bed: str, disabled_controllers: Sequence[str] = ()) -> EmbeddedCluster:
    """The running cluster of that name: the one that runs already, if healthy, else a fresh one."""
    require_machine(bed)
    for part in programs.PARTS_OF_BED[bed]:
        programs.built(part)
    with locked(layout.Layout(name).lock):
        running = _reusable(name, bed)
        if running:
            return running
        stop_everything(name)
        with timed(f"starting Bed {bed} {name!r}"):
            return _start_fresh(name, bed, disabled_controllers)


def require_machine(bed: str) -> None:
    """Raises ClusterError that names what this machine lacks for the bed."""
    host.require_linux()
    host.require_commands(["openssl", "setsid", "sh", "nice"])
    cold = any(not part.folder.exists() for part in programs.PARTS_OF_BED[bed])
    cold_bytes = host.COLD_BED_B_BYTES if bed == "B" else host.COLD_BED_A_BYTES
    host.require_disk(cold_bytes if cold else host.WARM_BYTES, f"Bed {bed}")


def _reusable(name: str, bed: str) -> EmbeddedCluster | None:
    record = layout.load(name)
    if record is None:
        return None
    if record.ready and record.bed == bed and record.provider == "embedded":
        cluster = EmbeddedCluster(record)
        if cluster.is_healthy():
            return cluster
    say(f"{name!r} is there but not a whole Bed {bed}; clearing it away")
    return None


def _start_fresh(name: str, bed: str, disabled_controllers: Sequence[str]) -> EmbeddedCluster:
    record = layout.reserve(name, bed, "embedded")
    record.facts["disabled_controllers"] = list(disabled_controllers)
    record.save()
    cluster = EmbeddedCluster(record)
    cluster.control_plane.start(CONTROL_PLANE_OF_BED[bed])
    record.ready = True
    record.save()
    return cluster


def stop(name: str) -> None:
    """Ends a cluster and removes everything it made."""
    with locked(layout.Layout(name).lock):
        stop_everything(name)


def stop_everything(name: str) -> None:
    """Ends whatever is left of a cluster, from its files alone; nothing happens where nothing is."""
    where = layout.Layout(name)
    for part in ("scheduler", "controller-manager", "apiserver", "etcd"):
        processes.stop(where.pid_file(part))
    for folder in (where.state, where.data):
        shutil.rmtree(folder, ignore_errors=True)
