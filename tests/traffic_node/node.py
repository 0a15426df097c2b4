"""What can be done to the parts of a node that runs as processes of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cluster import Cluster, addons, processes
from tests.support.cluster.control_plane import LOOPBACK
from tests.support.cluster.embedded import EmbeddedCluster
from tests.support.demo.people import Raw


def processes_of(pod: Raw, word: str) -> list[int]:
    """The processes of a pod whose command line has this word."""
    return [pid for pid in _all() if pod["metadata"]["uid"] in _read(pid, "cgroup") and word in _read(pid, "cmdline")]


def kill(pod: Raw, word: str) -> int:
    """SIGKILL the processes of a pod whose command line has this word; how many there were."""
    found = processes_of(pod, word)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return len(found)


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _read(pid: int, file: str) -> str:
    try:
        return (Path("/proc") / str(pid) / file).read_text(errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextmanager
def no_api_server(cluster: Cluster) -> Iterator[None]:
    """The API server is gone meanwhile."""
    assert isinstance(cluster, EmbeddedCluster)
    cluster.control_plane.stop_part("apiserver", grace_seconds=0)
    try:
        yield
    finally:
        cluster.control_plane.start_part("apiserver")
        cluster.control_plane.wait_for("apiserver")


def bridge(cluster: Cluster) -> str:
    """The address of this machine that pods reach."""
    assert isinstance(cluster, EmbeddedCluster)
    return str(cluster.record.facts["addresses"]["api"])


@contextmanager
def no_bucket(cluster: Cluster) -> Iterator[None]:
    """The S3 server is gone meanwhile."""
    assert isinstance(cluster, EmbeddedCluster)
    layout, record = cluster.layout, cluster.record
    processes.stop(layout.pid_file("s3"))
    try:
        yield
    finally:
        addons.start_s3(layout, record, {LOOPBACK: record.port("s3"), bridge(cluster): addons.S3_PORT})
        addons.wait_for_s3(layout, record.port("s3"))
