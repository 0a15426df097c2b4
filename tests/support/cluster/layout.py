"""One cluster's folders, its record on disk, and the ports it may use."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cluster import processes
from tests.support.cluster.paths import ClusterError, data_root, locked, state_root, write_private

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")

# Below the kernel's ephemeral ports (32768…) and below NodePorts (30000…), so that no outgoing connection
# and no Service takes one of them between the choice and the listening.
FIRST_PORT = 20000
LAST_PORT = 29999
PORT_NAMES = (
    *("etcd", "etcd-peer", "apiserver", "controller-manager", "scheduler"),
    *("kubelet", "kubelet-healthz", "kube-proxy-healthz", "kube-proxy-metrics"),
    *("coredns-health", "coredns-ready", "s3"),
    *("git", "redis", "argocd-repo", "argocd-repo-metrics", "argocd-controller-metrics"),
)
PORTS_PER_CLUSTER = 20


def lock_folder() -> Path:
    """Where the locks lie: outside the clusters' own folders, which come and go."""
    return state_root() / ".locks"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one cluster keeps what."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ClusterError(f"cluster name {self.name!r}: use 1 to 40 of a-z, 0-9 and '-', not at the ends")

    @property
    def state(self) -> Path:
        """Pid files, certificates, configuration, logs."""
        return state_root() / self.name

    @property
    def data(self) -> Path:
        """etcd's files, volumes, objects."""
        return data_root() / self.name

    @property
    def pki(self) -> Path:
        """The certificate authority and all it signed."""
        return self.state / "pki"

    @property
    def lock(self) -> Path:
        """Held while the cluster is started or stopped."""
        return lock_folder() / self.name

    def pid_file(self, part: str) -> Path:
        """The pid file of one of the cluster's processes."""
        return self.state / "pids" / part

    def log(self, part: str) -> Path:
        """The log of one of the cluster's processes."""
        return self.state / "logs" / f"{part}.log"

    def running_parts(self) -> list[str]:
        """The names of the parts that live, in alphabetical order."""
        folder = self.state / "pids"
        files = sorted(folder.iterdir()) if folder.exists() else []
        return [file.name for file in files if processes.is_running(file)]


@dataclass(slots=True)
class Record:
    """What a cluster's ``cluster.json`` says; written before anything starts, and again when all is up."""

    name: str
    bed: str
    provider: str
    first_port: int = 0
    ready: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The port of one listener, by its name."""
        return self.first_port + PORT_NAMES.index(name)

    def save(self) -> None:
        """Writes the record whole or not at all."""
        path = Layout(self.name).state / "cluster.json"
        values = {slot: getattr(self, slot) for slot in self.__slots__}
        write_private(path.with_suffix(".part"), json.dumps(values, indent=2)).rename(path)


def load(name: str) -> Record | None:
    """The record of a cluster; None when there is none."""
    try:
        return Record(**json.loads((Layout(name).state / "cluster.json").read_text()))
    except FileNotFoundError:
        return None


def known_clusters() -> Iterator[Record]:
    """The records of all clusters of this machine, in the order of their names."""
    root = state_root()
    for folder in sorted(root.iterdir()) if root.exists() else []:
        if (folder / "cluster.json").exists():
            record = load(folder.name)
            if record is not None:
                yield record


def reserve(name: str, bed: str, provider: str) -> Record:
    """A new record with a block of ports that no other cluster has and nobody listens on now."""
    with locked(lock_folder() / ".ports"):
        taken = {record.first_port for record in known_clusters() if record.name != name}
        for first in range(FIRST_PORT, LAST_PORT - PORTS_PER_CLUSTER, PORTS_PER_CLUSTER):
            if first not in taken and all(_is_free(first + k) for k in range(len(PORT_NAMES))):
                record = Record(name=name, bed=bed, provider=provider, first_port=first)
                record.save()
                return record
    raise ClusterError(f"no free block of {PORTS_PER_CLUSTER} ports between {FIRST_PORT} and {LAST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
