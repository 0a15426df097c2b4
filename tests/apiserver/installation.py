"""The chart's objects on an API server that runs no pods: CRDs, rights and policies, without the operator's pod."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid

import yaml

from plumbline_operator.model.meta import Manifest
from tests.support.cluster import Cluster, start
from tests.support.render import NAMESPACE, documents

PODS = frozenset({"Deployment"})  # the test runs the operator itself, or does without


@contextmanager
def installed(name: str) -> Iterator[Cluster]:
    """A Bed A of this name with everything of the chart but its Deployment; removed at the end."""
    cluster = start(bed="A", name=f"{name}-{getpid()}")
    try:
        cluster.kubectl("create", "namespace", NAMESPACE)
        rest = [one for one in documents() if one["kind"] not in PODS]
        apply(cluster, *(one for one in rest if one["kind"] == "CustomResourceDefinition"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        apply(cluster, *(one for one in rest if one["kind"] != "CustomResourceDefinition"))
        yield cluster
    finally:
        cluster.stop()


def apply(cluster: Cluster, *objects: Manifest) -> None:
    """Apply objects as cluster administrator."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
