"""Bed B's node: kubelet and kube-proxy on top of containerd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.cluster import cgroups, network, processes, programs
from tests.support.cluster.containers import Containers
from tests.support.cluster.control_plane import ControlPlane

NODE_NAME = "plumbline"
LOOPBACK = "127.0.0.1"
CLUSTER_DOMAIN = "cluster.local"
PARTS = ("kubelet", "kube-proxy")


class Node:
    """The one node. ``pods`` and ``services`` are its address ranges."""

    def __init__(self, control_plane: ControlPlane, containers: Containers, pods: str, services: str) -> None:
        self.control_plane = control_plane
        self.containers = containers
        self.layout = control_plane.layout
        self.record = control_plane.record
        self.address = network.bridge_address(pods)
        self.pods = pods
        self.dns_service = network.service_address(services, 10)

    def start(self) -> None:
        """Starts kubelet and kube-proxy without waiting for them."""
        cgroups.create(self.record.name)
        self._start("kubelet", self._kubelet())
        self._start("kube-proxy", self._kube_proxy())

    def _start(self, part: str, command: Sequence[str | Path]) -> None:
        processes.start(self.layout.pid_file(part), self.layout.log(part), command)

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.layout.state / f"{name}.json"
        path.write_text(json.dumps(content, indent=2))
        return path

    def _kubelet(self) -> list[str | Path]:
        kubeconfig = self.control_plane.kubeconfig("kubelet", f"system:node:{NODE_NAME}", ["system:nodes"])
        return [
            programs.program(programs.KUBERNETES, "kubelet"),
            f"--config={self._write('kubelet', self._kubelet_configuration())}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={self.address}",
            f"--root-dir={self.layout.data / 'kubelet'}",
        ]

    def _kubelet_configuration(self) -> dict[str, Any]:
        serving = self.control_plane.authority.server("kubelet", [self.address, LOOPBACK], [NODE_NAME])
        resolver = self.layout.state / "resolv.conf"
        # Not the machine's own file: its server may be one on loopback, which no pod reaches.
        resolver.write_text(f"nameserver {self.address}\n")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "port": self.record.port("kubelet"),
            "healthzBindAddress": LOOPBACK,
            "healthzPort": self.record.port("kubelet-healthz"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.control_plane.authority.ca.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "containerRuntimeEndpoint": f"unix://{self.containers.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroups.name_of(self.record.name)}",
            "failCgroupV1": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "clusterDNS": [self.dns_service],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(resolver),
            "podLogsDir": str(self.layout.data / "pod-logs"),
            "volumePluginDir": str(self.layout.data / "volume-plugins"),
            # Images come from archives: one that is collected cannot be pulled again.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "serializeImagePulls": False,
            "oomScoreAdj": 0,
            # Bursts of pods are what tests make; the default of 50 a second slows them.
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
        }

    def _kube_proxy(self) -> list[str | Path]:
        kubeconfig = self.control_plane.kubeconfig("kube-proxy", "system:kube-proxy")
        configuration = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": NODE_NAME,
            "clusterCIDR": self.pods,
            "bindAddress": self.address,
            "healthzBindAddress": f"{LOOPBACK}:{self.record.port('kube-proxy-healthz')}",
            "metricsBindAddress": f"{LOOPBACK}:{self.record.port('kube-proxy-metrics')}",
            # NodePorts answer on loopback and to pods, and not to the machine's neighbours.
            "nodePortAddresses": ["127.0.0.0/8", self.pods],
            # A rule appears as soon as a Service does, and not up to a second later.
            "iptables": {"minSyncPeriod": "0s", "localhostNodePorts": True},
            # The machine's own connection tracking settings stay as they are.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "oomScoreAdj": 0,
        }
        return [
            programs.program(programs.KUBERNETES, "kube-proxy"),
            f"--config={self._write('kube-proxy', configuration)}",
        ]
