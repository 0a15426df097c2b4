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

from tests.support.cluster import current, embedded, kind, layout
from tests.support.cluster.cluster import Cluster, S3Server
from tests.support.cluster.layout import Record
from tests.support.cluster.paths import ClusterError
from tests.support.cluster.sweep import leftovers

__all__ = ["Cluster", "ClusterError", "S3Server", "find", "leftovers", "start", "stop"]


def start(
    bed: Literal["A", "B"],
    name: str,
    provider: str = "auto",
    image_archives: Sequence[Path] = (),
    *,
    disabled_controllers: Sequence[str] = (),
) -> Cluster:
    """The running cluster of that name; a healthy one is used again, anything else is cleared away first.

    provider: ``embedded``; ``kind``; ``current:<context>``, a context of your kubeconfig; or ``auto``, which
    is kind for a Bed B where a Docker engine and the kind program work, and embedded otherwise.
    image_archives: OCI archives to load (Bed B).
    disabled_controllers: the controller manager's controllers that must not run, such as
    ``job-controller`` (embedded only).
    Raises ClusterError that says what is missing and what to do.
    """
    cluster = _started(bed, name, provider, disabled_controllers)
    for archive in image_archives:
        cluster.load_image(archive)
    return cluster


def _started(bed: str, name: str, provider: str, disabled_controllers: Sequence[str]) -> Cluster:
    chosen, _, context = provider.partition(":")
    if chosen == "auto":
        chosen = "kind" if bed == "B" and kind.works() else "embedded"
    if chosen == "embedded":
        return embedded.start(name, bed, disabled_controllers)
    if disabled_controllers:
        raise ClusterError(f"provider {chosen!r} cannot run without {disabled_controllers[0]}; use embedded")
    if chosen == "kind":
        return kind.start(name, bed)
    if chosen == "current":
        return current.start(name, bed, context)
    raise ClusterError(f"provider {provider!r} is none of auto, embedded, kind, current:<context>")


def find(name: str) -> Cluster:
    """The cluster of that name as it is, started by whomever; raises ClusterError when there is none ready."""
    record = layout.load(name)
    if record is None or not record.ready:
        raise ClusterError(f"no cluster {name!r} is ready; `up --bed A --name {name}` starts one")
    return _known(record)


def stop(name: str) -> None:
    """Ends a cluster by its files alone and removes everything it made; nothing happens where nothing is."""
    record = layout.load(name)
    if record is None or record.provider == "embedded":
        embedded.stop(name)
    else:
        _known(record).stop()


def _known(record: Record) -> Cluster:
    if record.provider == "embedded":
        return embedded.EmbeddedCluster(record)
    return kind.KindCluster(record) if record.provider == "kind" else current.CurrentCluster(record)
