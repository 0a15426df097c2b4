"""containerd: its configuration, its images, and the clearing away of what runs in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.cluster import network, processes
from tests.support.cluster.layout import Layout
from tests.support.cluster.paths import ClusterError, cache_root
from tests.support.cluster.progress import run, wait_until

CONTAINERD = Path("/usr/bin/containerd")
CTR = Path("/usr/bin/ctr")
CNI_PROGRAMS = Path("/usr/lib/cni")
PAUSE_IMAGE = "docker.io/plumbline/pause:1"
DEFAULT_REGISTRY_PREFIX = "docker.io/"  # what containerd puts before a name that has no host

CONFIGURATION = """\
version = 2
root = "{root}"
state = "{state}/containerd"
# Snapshotters of file systems that we do not use, each of which complains when its own is absent.
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE runc may not lower a score, and dies.
  restrict_oom_score_adj = true
  # Under our own folder, so that what is left of it can be told from other programs' mounts.
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni_programs}"
  conf_dir = "{state}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{state}/runc"
"""


def store_root() -> Path:
    """containerd's store, which is kept between runs so that images need not be unpacked again."""
    return cache_root() / "containerd"


class Containers:
    """One cluster's containerd."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.socket = layout.state / "containerd.sock"

    def start(self, pod_range: str) -> None:
        """Starts containerd without waiting for it."""
        self._write_network(pod_range)
        # What an earlier run's pods left: the store is kept for its images only.
        shutil.rmtree(store_root() / "io.containerd.grpc.v1.cri", ignore_errors=True)
        shutil.rmtree(store_root() / "io.containerd.runtime.v2.task", ignore_errors=True)
        config = self.layout.state / "containerd.toml"
        values = {"root": store_root(), "state": self.layout.state, "socket": self.socket}
        config.write_text(CONFIGURATION.format(**values, pause=PAUSE_IMAGE, cni_programs=CNI_PROGRAMS))
        command: list[str | Path] = [CONTAINERD, "--config", config]
        processes.start(self.layout.pid_file("containerd"), self.layout.log("containerd"), command)

    def wait(self) -> None:
        """Returns when containerd answers; raises ClusterError with its log's end when it does not."""
        log = self.layout.log("containerd")
        wait_until(f"containerd answers (log {log})", self._answers, seconds=60)
        if not processes.is_running(self.layout.pid_file("containerd")):
            raise ClusterError(f"containerd died:\n{processes.tail(log)}")

    def _answers(self) -> bool:
        if not processes.is_running(self.layout.pid_file("containerd")):
            return True
        try:
            self.ctr("version")
        except ClusterError:
            return False
        return True

    def ctr(self, *arguments: str | Path, seconds: float = 300) -> str:
        """The output of a ``ctr`` command in the namespace that the kubelet's containers live in."""
        return run([CTR, "--address", self.socket, "--namespace", "k8s.io", *arguments], seconds=seconds)

    def images(self) -> dict[str, str]:
        """The digest of every image, by its full name."""
        rows = [line.split() for line in self.ctr("images", "ls").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def load(self, archive: Path, name: str, digest: str) -> str:
        """Imports an OCI archive; pods may then name it by tag and by digest. Returns the name by digest."""
        full = full_name(name)
        by_digest = f"{full.rpartition(':')[0]}@{digest}"
        present = self.images()
        if present.get(full) != digest:
            self.ctr("images", "import", archive)
        if present.get(by_digest) != digest:
            self.ctr("images", "tag", "--force", full, by_digest)
        return short_name(by_digest)

    def prune(self) -> None:
        """Forgets the images that only a digest still names: their tag has moved on since."""
        present = self.images()
        tagged = {digest for name, digest in present.items() if "sha256:" not in name}
        if stale := [name for name, digest in present.items() if digest not in tagged]:
            self.ctr("images", "remove", *stale)

    def shim_address_files(self) -> list[Path]:
        """The files that say where each container's shim has its socket, which a killed shim leaves behind."""
        return list((self.layout.state / "containerd" / "io.containerd.runtime.v2.task").glob("*/*/address"))

    def forget_containers(self) -> None:
        """Removes what the store still says of an earlier run's containers; the images stay."""
        if known := self.ctr("containers", "ls", "-q").split():
            self.ctr("containers", "delete", *known)

    def _write_network(self, pod_range: str) -> None:
        bridge = {
            "type": "bridge",
            "bridge": network.BRIDGE,
            "isGateway": False,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.layout.state / "addresses"),
                "ranges": [[{"subnet": pod_range, "gateway": network.bridge_address(pod_range)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        chain = {"cniVersion": "0.4.0", "name": "plumbline", "plugins": [bridge]}
        folder = self.layout.state / "cni"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "10-plumbline.conflist").write_text(json.dumps(chain, indent=2))


def full_name(name: str) -> str:
    """The name as containerd and the kubelet write it: with the default registry where there is no host."""
    host = name.partition("/")[0]
    has_host = "/" in name and ("." in host or ":" in host or host == "localhost")
    return name if has_host else DEFAULT_REGISTRY_PREFIX + name


def short_name(full: str) -> str:
    """The name as people write it: without the default registry."""
    return full.removeprefix(DEFAULT_REGISTRY_PREFIX)
