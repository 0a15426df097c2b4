"""What every provider's cluster offers to tests and scripts."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import programs
from tests.support.cluster.access import write_kubeconfig
from tests.support.cluster.layout import Layout, Record
from tests.support.cluster.progress import run

TOKEN_SECONDS = 24 * 3600  # longer than any test session; the API server's own bound is far above


@dataclass(frozen=True, slots=True)
class S3Server:
    """An S3 service: where pods and where this machine reach it, and the key pair of its owner."""

    endpoint: str
    host_endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"


class Cluster(ABC):
    """A running cluster. ``name`` and ``bed`` are as asked for; ``provider`` says who runs it."""

    def __init__(self, record: Record) -> None:
        self.layout = Layout(record.name)
        self.record = record
        self.name = record.name
        self.bed = record.bed
        self.provider = record.provider

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """A kubeconfig of a cluster administrator."""

    @property
    @abstractmethod
    def audit_log(self) -> Path:
        """The API server's audit log, JSON lines."""

    @property
    @abstractmethod
    def s3(self) -> S3Server:
        """The cluster's S3 service; on Bed A it is started when first asked for."""

    @abstractmethod
    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of a user known by client certificate, in these groups, with no rights of its own."""

    @abstractmethod
    def load_image(self, archive: Path) -> str:
        """Makes an OCI archive's image usable by pods, by tag and by digest; returns ``name@sha256:…``."""

    @abstractmethod
    def is_healthy(self) -> bool:
        """Whether every part runs and the API server is ready."""

    @abstractmethod
    def stop(self) -> None:
        """Ends the cluster and removes everything it made."""

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 120) -> str:
        """The standard output of a kubectl command as cluster administrator; raises ClusterError if it fails."""
        return run([self.kubectl_program(), "--kubeconfig", self.kubeconfig, *arguments], stdin=stdin, seconds=seconds)

    def kubectl_program(self) -> str | Path:
        """The kubectl to use: the machine's own, for clusters that are not built here."""
        return shutil.which("kubectl") or programs.program(programs.KUBERNETES, "kubectl")

    @property
    def node_name(self) -> str:
        """The name of the first node; raises ClusterError where there is none (Bed A)."""
        return self.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a fresh token of an existing service account, for programs outside the cluster."""
        token = self.kubectl("-n", namespace, "create", "token", name, f"--duration={TOKEN_SECONDS}s").strip()
        admin = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        cluster = admin["clusters"][0]["cluster"]
        return write_kubeconfig(
            self.layout.state / "kubeconfigs" / f"sa-{namespace}-{name}.yaml",
            server=cluster["server"],
            ca_data=cluster.get("certificate-authority-data"),
            user={"token": token},
            namespace=namespace,
        )
