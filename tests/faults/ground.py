"""An API server with our kinds, and somebody who plays kubelet on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from plumbline_operator.crdgen import definition
from plumbline_operator.rooms import ROOMS
from tests.faults.cases import LIMIT_SECONDS, QUIET_SECONDS, Ground
from tests.faults.users import first_service
from tests.proof.goals import is_whole
from tests.support.cluster import start
from tests.support.pod_actor import PodActor
from tests.support.routers import Routers


@contextmanager
def ground(name: str, folder: Path, limit: float = LIMIT_SECONDS, quiet: float = QUIET_SECONDS) -> Iterator[Ground]:
    """A Bed A of this name, gone at the end. `limit`: seconds from a restart to the reference state; `quiet`: of
    silence that must follow."""
    cluster = start(bed="A", name=name)
    try:
        text = yaml.safe_dump_all([definition(room.kind) for room in ROOMS])
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        with Routers(cluster.kubeconfig) as routers, PodActor(cluster.kubeconfig, address=routers.address):
            yield Ground(cluster, folder, limit, quiet)
    finally:
        cluster.stop()


def of_this_size(place: Ground) -> Ground:
    """Where a sample walks only as far as the first model in service; what comes after takes three times as long."""
    return place if is_whole() else replace(place, users=first_service)
