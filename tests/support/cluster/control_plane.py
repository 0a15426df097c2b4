"""etcd, API server, controller manager and scheduler as processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import processes, programs
from tests.support.cluster.access import Prober, certificate_user, inline, write_kubeconfig
from tests.support.cluster.audit import write_policy
from tests.support.cluster.layout import Layout, Record
from tests.support.cluster.paths import ClusterError
from tests.support.cluster.pki import Authority
from tests.support.cluster.progress import wait_until

LOOPBACK = "127.0.0.1"
DEFAULT_NAMESPACE = "/api/v1/namespaces/default"
SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"
START_SECONDS = 90  # it takes 4 s on an idle machine; a busy one with other builds is many times slower
AUDIT_MEGABYTES = 100_000  # in effect never: a rotated log would take lines away from a running test
ETCD_QUOTA_BYTES = 8 * 1024**3  # etcd's recommended maximum; its default of 2 GiB is too small for scale tests

# The order in which they start; they stop in the opposite one.
PARTS = ("etcd", "apiserver", "controller-manager", "scheduler")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the API server listens and which range Services get."""

    api: str = LOOPBACK
    service_range: str = "10.96.0.0/16"
    first_service: str = "10.96.0.1"


class ControlPlane:
    """The control plane of one cluster; starting and stopping its parts one by one is a test's tool too."""

    def __init__(
        self, layout: Layout, record: Record, addresses: Addresses, disabled_controllers: Sequence[str]
    ) -> None:
        self.layout = layout
        self.record = record
        self.addresses = addresses
        self.disabled_controllers = disabled_controllers
        self.authority = Authority(layout.pki)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.addresses.api}:{self.record.port('apiserver')}"

    def prober(self) -> Prober:
        """A cluster administrator's view of the API server's own health paths."""
        admin = self.authority.client("plumbline-admin", ["system:masters"])
        return Prober(self.server, self.authority.ca.certificate, admin)

    def kubeconfig(self, file_name: str, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig in the state folder for a user by client certificate; made when not there yet."""
        path = self.layout.state / "kubeconfigs" / f"{file_name}.yaml"
        if not path.exists():
            pair = self.authority.client(user, groups)
            ca_data = inline(self.authority.ca.certificate)
            write_kubeconfig(path, server=self.server, ca_data=ca_data, user=certificate_user(pair))
        return path

    def start(self, parts: Sequence[str]) -> None:
        """Starts the parts and returns when the API server serves and each other part is healthy."""
        if not self.authority.ca.certificate.exists():
            self.authority.create()
        for part in parts:
            self.start_part(part)
        for part in parts:
            self.wait_for(part)

    def start_part(self, part: str) -> None:
        """Starts one part without waiting for it."""
        command = {
            "etcd": self._etcd,
            "apiserver": self._apiserver,
            "controller-manager": self._controller_manager,
            "scheduler": self._scheduler,
        }[part]()
        processes.start(self.layout.pid_file(part), self.layout.log(part), command)

    def stop_part(self, part: str, *, grace_seconds: float = 10) -> None:
        """Stops one part; ``start_part`` brings it back with its data."""
        processes.stop(self.layout.pid_file(part), grace_seconds=grace_seconds)

    def wait_for(self, part: str) -> None:
        """Returns when the part is healthy; raises ClusterError with its log's end when it died or hangs."""
        if part == "apiserver":
            prober = self.prober()
            self._wait(part, lambda: prober.answers("/readyz") and prober.answers(DEFAULT_NAMESPACE))
        elif part == "controller-manager":
            prober = self.prober()
            # The first thing that pods need of it: the namespace's service account.
            self._wait(part, lambda: prober.answers(f"{DEFAULT_NAMESPACE}/serviceaccounts/default"))
        elif not processes.is_running(self.layout.pid_file(part)):
            raise ClusterError(f"{part} died:\n{processes.tail(self.layout.log(part))}")

    def _wait(self, part: str, fact: Callable[[], bool]) -> None:
        def healthy_or_dead() -> bool:
            return fact() or not processes.is_running(self.layout.pid_file(part))

        wait_until(f"{part} healthy (log {self.layout.log(part)})", healthy_or_dead, seconds=START_SECONDS)
        if not processes.is_running(self.layout.pid_file(part)):
            raise ClusterError(f"{part} died:\n{processes.tail(self.layout.log(part))}")

    def _etcd(self) -> list[str | Path]:
        client = f"http://{LOOPBACK}:{self.record.port('etcd')}"
        peer = f"http://{LOOPBACK}:{self.record.port('etcd-peer')}"
        return [
            programs.program(programs.ETCD, "etcd"),
            f"--data-dir={self.layout.data / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            f"--quota-backend-bytes={ETCD_QUOTA_BYTES}",
            # A test's data need not survive a power cut, and the disk is shared.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str | Path]:
        pki = self.authority
        serving = pki.server(
            "apiserver",
            [LOOPBACK, self.addresses.api, self.addresses.first_service],
            ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", SERVICE_ACCOUNT_ISSUER[8:]],
        )
        kubelet_client = pki.client("apiserver-kubelet-client", ["system:masters"])
        # The address of the `kubernetes` Service must not be a loopback one, so without a bridge there is none.
        reconciler = "none" if self.addresses.api == LOOPBACK else "lease"
        return [
            programs.program(programs.KUBERNETES, "kube-apiserver"),
            f"--etcd-servers=http://{LOOPBACK}:{self.record.port('etcd')}",
            f"--bind-address={self.addresses.api}",
            f"--advertise-address={self.addresses.api}",
            f"--secure-port={self.record.port('apiserver')}",
            f"--endpoint-reconciler-type={reconciler}",
            f"--service-cluster-ip-range={self.addresses.service_range}",
            f"--client-ca-file={pki.ca.certificate}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--kubelet-certificate-authority={pki.ca.certificate}",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
            # Else `kubectl logs` looks up the node's name in the host's DNS.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
            f"--service-account-key-file={pki.tokens.certificate}",
            f"--service-account-signing-key-file={pki.tokens.key}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--audit-policy-file={write_policy(self.layout.state / 'audit-policy.json')}",
            f"--audit-log-path={self.layout.state / 'audit.log'}",
            f"--audit-log-maxsize={AUDIT_MEGABYTES}",
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str | Path]:
        pki = self.authority
        kubeconfig = self.kubeconfig("controller-manager", "system:kube-controller-manager")
        disabled = [f"-{name}" for name in self.disabled_controllers]
        return [
            programs.program(programs.KUBERNETES, "kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self.record.port('controller-manager')}",
            f"--controllers={','.join(['*', *disabled])}",
            f"--service-account-private-key-file={pki.tokens.key}",
            f"--root-ca-file={pki.ca.certificate}",
            f"--cluster-signing-cert-file={pki.ca.certificate}",
            f"--cluster-signing-key-file={pki.ca.key}",
            "--use-service-account-credentials=true",
            # The default of 20 a second alone makes its start three seconds longer.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            f"--flex-volume-plugin-dir={self.layout.data / 'volume-plugins'}",
            "--leader-elect=false",
        ]

    def _scheduler(self) -> list[str | Path]:
        kubeconfig = self.kubeconfig("scheduler", "system:kube-scheduler")
        return [
            programs.program(programs.KUBERNETES, "kube-scheduler"),
            f"--kubeconfig={kubeconfig}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self.record.port('scheduler')}",
            "--leader-elect=false",
        ]
