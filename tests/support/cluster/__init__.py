"""A real Kubernetes for tests, without a container registry.

>>> from tests.support.cluster import start
>>> cluster = start(bed="A", name="example")
>>> cluster.kubectl("get", "namespaces")
>>> cluster.stop()

Bed A is a control plane (etcd, API server, controller manager); several run side by side. Bed B is a whole
node with real pods; one runs at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.support.cluster.cluster import Cluster, S3Server
from tests.support.cluster.paths import ClusterError

__all__ = ["Cluster", "ClusterError", "S3Server", "start"]


def start(
    bed: Literal["A", "B"],
    name: str,
    provider: str = "auto",
    image_archives: Sequence[Path] = (),
    *,
    disabled_controllers: Sequence[str] = (),
) -> Cluster:
    """The running cluster of that name; a healthy one is used again, anything else is cleared away first.

    provider: ``embedded``, ``kind``, ``current:<context>``, or ``auto`` (kind where a Docker engine works and
    the kind program is there, for Bed B; else embedded).
    image_archives: OCI archives to load (Bed B).
    disabled_controllers: names of the controller manager's controllers that must not run (embedded only).
    Raises ClusterError that says what is missing.
    """
    from tests.support.cluster import embedded

    cluster = embedded.start(name, bed, disabled_controllers)
    for archive in image_archives:
        cluster.load_image(archive)
    return cluster
