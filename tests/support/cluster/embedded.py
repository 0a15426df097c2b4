"""The embedded provider: every part of the cluster is a process of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.cluster import addons, containers, host, layout, network, oci, processes, programs, sweep
from tests.support.cluster.cluster import Cluster, S3Server
from tests.support.cluster.control_plane import LOOPBACK, Addresses, ControlPlane
from tests.support.cluster.layout import Layout, Record
from tests.support.cluster.node import NODE_NAME, Node
from tests.support.cluster.paths import ClusterError, cache_root, locked
from tests.support.cluster.progress import say, timed, wait_until

CONTROL_PLANE_OF_BED = {
    "A": ("etcd", "apiserver", "controller-manager"),
    "B": ("etcd", "apiserver", "controller-manager", "scheduler"),
}
NODE_PARTS = ("containerd", "kubelet", "kube-proxy", "coredns", "s3")
NODE_SECONDS = 120


class EmbeddedCluster(Cluster):
    """Bed A: a control plane on loopback. Bed B: a whole node on a bridge of its own."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        addresses = Addresses(**record.facts.get("addresses", {}))
        self.control_plane = ControlPlane(self.layout, record, addresses, record.facts["disabled_controllers"])
        self.containers = containers.Containers(self.layout)

    @property
    def kubeconfig(self) -> Path:
        return self.control_plane.kubeconfig("admin", "plumbline-admin", ["system:masters"])

    @property
    def audit_log(self) -> Path:
        return self.layout.state / "audit.log"

    @property
    def s3(self) -> S3Server:
        with locked(self.layout.lock):
            # Another process may have started it, and so chosen the keys, since this record was read.
            record = layout.load(self.name) or self.record
            if not processes.is_running(self.layout.pid_file("s3")):
                addons.start_s3(self.layout, record, {LOOPBACK: record.port("s3")})
                addons.wait_for_s3(self.layout, record.port("s3"))
        return addons.s3_facts(record, in_cluster=self.bed == "B")

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        pair = self.control_plane.authority.client(name, groups)
        return self.control_plane.kubeconfig(pair.certificate.stem, name, groups)

    def load_image(self, archive: Path) -> str:
        if self.bed == "A":
            raise ClusterError(f"{archive}: Bed A runs no pods, so it takes no images; start Bed B")
        name, digest = oci.archive_facts(archive)
        return self.containers.load(archive, name, digest)

    def kubectl_program(self) -> Path:
        return programs.program(programs.KUBERNETES, "kubectl")

    def is_healthy(self) -> bool:
        wanted = {*CONTROL_PLANE_OF_BED[self.bed], *(NODE_PARTS if self.bed == "B" else ())}
        return wanted <= set(self.layout.running_parts()) and self.control_plane.prober().answers("/readyz")

    def stop(self) -> None:
        stop(self.name)


def start(name: str, bed: str, disabled_controllers: Sequence[str] = ()) -> EmbeddedCluster:
    """The running cluster of that name: the one that runs already, if healthy, else a fresh one."""
    require_machine(bed)
    for part in programs.PARTS_OF_BED[bed]:
        programs.built(part)
    with locked(Layout(name).lock):
        running = _reusable(name, bed, disabled_controllers)
        if running:
            return running
        sweep.end_cluster(name)
        try:
            with timed(f"starting Bed {bed} {name!r}"):
                return (_start_bed_a if bed == "A" else _start_bed_b)(name, disabled_controllers)
        except ClusterError as error:
            if layout.load(name) is None:
                raise
            logs = sweep.keep_logs(name)
            sweep.end_cluster(name)
            raise ClusterError(f"{error}\nThe logs are kept in {logs}") from error


def stop(name: str) -> None:
    """Ends a cluster and removes everything it made."""
    with locked(Layout(name).lock):
        sweep.end_cluster(name)


def require_machine(bed: str) -> None:
    """Raises ClusterError that names what this machine lacks for the bed; installs packages for Bed B."""
    host.require_linux()
    host.require_commands(["openssl", "setsid", "sh", "nice"])
    cold = any(not part.folder.exists() for part in programs.PARTS_OF_BED[bed])
    cold_bytes = host.COLD_BED_B_BYTES if bed == "B" else host.COLD_BED_A_BYTES
    host.require_disk(cold_bytes if cold else host.WARM_BYTES, f"Bed {bed}")
    if bed == "B":
        host.require_root()
        host.install_packages(host.PACKAGE_FILES)


def _reusable(name: str, bed: str, disabled_controllers: Sequence[str]) -> EmbeddedCluster | None:
    record = layout.load(name)
    if record is None:
        return None
    as_asked = (record.bed, record.provider) == (bed, "embedded")
    if as_asked and record.ready and record.facts["disabled_controllers"] == list(disabled_controllers):
        cluster = EmbeddedCluster(record)
        if cluster.is_healthy():
            return cluster
    say(f"{name!r} is there but not a whole Bed {bed}; clearing it away")
    return None


def _reserved(name: str, bed: str, disabled_controllers: Sequence[str]) -> Record:
    record = layout.reserve(name, bed, "embedded")
    record.facts["disabled_controllers"] = list(disabled_controllers)
    record.save()
    return record


def _start_bed_a(name: str, disabled_controllers: Sequence[str]) -> EmbeddedCluster:
    record = _reserved(name, "A", disabled_controllers)
    cluster = EmbeddedCluster(record)
    cluster.control_plane.start(CONTROL_PLANE_OF_BED["A"])
    record.ready = True
    record.save()
    return cluster


def _start_bed_b(name: str, disabled_controllers: Sequence[str]) -> EmbeddedCluster:
    with locked(layout.lock_folder() / ".bed-b"):
        sweep.end_dead_bed_bs(other_than=name)
        network.require_no_other_kubernetes()
        # A Bed B whose record is gone can leave its bridge and chains behind.
        network.down()
        record = _reserved(name, "B", disabled_controllers)
        pods, services = network.free_ranges()
        record.facts["settings"] = network.current_settings()
        record.facts["made_folders"] = sweep.missing_fixed_folders()
        record.facts["addresses"] = {
            "api": network.bridge_address(pods),
            "service_range": services,
            "first_service": network.service_address(services, 1),
        }
        record.save()
        cluster = EmbeddedCluster(record)
        # Inside the lock: from here on the cluster has a living process, by which others see it.
        network.up(pods)
        cluster.containers.start(pods)
    _start_node(cluster, Node(cluster.control_plane, cluster.containers, pods, services))
    record.ready = True
    record.save()
    return cluster


def _start_node(cluster: EmbeddedCluster, node: Node) -> None:
    record = cluster.record
    addons.start_s3(cluster.layout, record, {LOOPBACK: record.port("s3"), node.address: addons.S3_PORT})
    cluster.control_plane.start(CONTROL_PLANE_OF_BED["B"])
    cluster.kubectl("apply", "-f", "-", stdin=addons.dns_manifests(node.address, node.dns_service))
    cluster.kubectl("apply", "-f", "-", stdin=addons.s3_manifests(node.address, addons.S3_PORT))
    addons.start_dns(cluster.control_plane, node)
    cluster.containers.wait()
    cluster.containers.forget_containers()
    cluster.containers.prune()
    cluster.load_image(pause_archive())
    node.start()
    addons.wait_for_s3(cluster.layout, record.port("s3"))
    prober = cluster.control_plane.prober()
    node_path = f"/api/v1/nodes/{NODE_NAME}"
    wait_until(
        f"the kubelet registers (log {cluster.layout.log('kubelet')})",
        lambda: prober.answers(node_path),
        seconds=NODE_SECONDS,
    )
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"node/{NODE_NAME}", f"--timeout={NODE_SECONDS}s", seconds=NODE_SECONDS + 10
    )
    dead = set(NODE_PARTS) - set(cluster.layout.running_parts())
    for part in sorted(dead):
        raise ClusterError(f"{part} died:\n{processes.tail(cluster.layout.log(part))}")


def pause_archive() -> Path:
    """The OCI archive of the image that holds a pod's namespaces open."""
    folder = programs.built(programs.PAUSE)
    archive = cache_root() / "images" / f"pause-{programs.PAUSE.key()}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        layer = oci.write_layer(folder / "layer.tar", [oci.Entry("pause", folder / "pause")])
        settings = {"Entrypoint": ["/pause"], "User": "65535:65535"}
        oci.write_archive(archive.with_suffix(".part"), containers.PAUSE_IMAGE, [layer], settings)
        archive.with_suffix(".part").rename(archive)
    return archive
