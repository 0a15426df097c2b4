"""Both ways to install, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from plumbline_operator.rooms import ROOMS
from tests.support.cluster import Cluster, start
from tests.support.helm import helm
from tests.support.render import CHART, NAMESPACE

pytestmark = pytest.mark.apiserver


@pytest.fixture
def cluster(worker_id: str) -> Iterator[Cluster]:
    bed = start(bed="A", name=f"install-{worker_id}")
    yield bed
    bed.stop()


def installed(cluster: Cluster) -> tuple[set[str], int]:
    """The kinds of ours that are served, and how many operators are asked for."""
    kinds = cluster.kubectl("api-resources", "--api-group=plumbline.dev", "--no-headers", "-o", "wide")
    deployment = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "deployment", "plumbline", "-o", "json"))
    return {line.split()[4] for line in kinds.splitlines()}, deployment["spec"]["replicas"]


def test_kubectl_and_helm_install_the_same_and_helm_takes_over(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "-k", "charts/kustomize")
    assert installed(cluster) == ({room.kind.kind for room in ROOMS}, 1)

    adopt = ("--take-ownership", "--namespace", NAMESPACE)
    helm(cluster, "upgrade", "--install", "plumbline", str(CHART), *adopt, "--set=operator.replicas=2")
    assert installed(cluster) == ({room.kind.kind for room in ROOMS}, 2)

    helm(cluster, "uninstall", "plumbline", "--namespace", NAMESPACE, "--wait")
    kept = cluster.kubectl("get", "crds", "-o", "name")
    assert len([line for line in kept.splitlines() if line.endswith("plumbline.dev")]) == len(ROOMS)
    assert cluster.kubectl("-n", NAMESPACE, "get", "deployments", "-o", "name").strip() == ""
