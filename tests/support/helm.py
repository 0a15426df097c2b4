"""Helm, built from its Go module like the cluster's other programs."""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster import Cluster, programs
from tests.support.cluster.progress import run

HELM = programs.Part("helm", ["helm.sh/helm/v3/cmd/helm"])


def helm_program() -> Path:
    """The helm binary, built now if it is not there yet."""
    return programs.built(HELM) / "helm"


def helm(cluster: Cluster, *arguments: str, seconds: float = 300) -> str:
    """The output of a helm command as cluster administrator; raises ClusterError if it fails."""
    return run([helm_program(), "--kubeconfig", cluster.kubeconfig, *arguments], seconds=seconds)
