"""Two deployments want one port of the nodes: only an API server knows, so a real one is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_kube_config

from plumbline_operator.crdgen import definition
from plumbline_operator.kube.http import HttpKube
from plumbline_operator.kube.refs import SERVICES
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms import ROOMS
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from plumbline_operator.runtime.events import Recorder
from plumbline_operator.runtime.loop import Loop
from plumbline_operator.runtime.room import Sight
from tests.rooms.release_objects import deployment
from tests.support.cluster import Cluster, start
from tests.support.worlds import IMAGES, NAMESPACE, FakeSignals, ready_of

pytestmark = pytest.mark.apiserver

PORT = 30123


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A real API server with our kinds and a namespace."""
    found = start(bed="A", name=f"badinput-{os.getpid()}")
    try:
        text = yaml.safe_dump_all([definition(room.kind) for room in ROOMS])
        found.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        found.kubectl("create", "namespace", NAMESPACE)
        yield found
    finally:
        found.stop()


def outside(name: str) -> Manifest:
    """A deployment that answers on the port of every node."""
    own = deployment("v1", nodePort=PORT)
    return {k: v for k, v in own.items() if k != "status"} | {"metadata": {"name": name, "namespace": NAMESPACE}}


async def client(cluster: Cluster) -> HttpKube:
    """The administrator's connection."""
    configuration = Configuration()
    configuration.retries = None
    await load_kube_config(config_file=str(cluster.kubeconfig), client_configuration=configuration)
    return HttpKube(configuration)


async def test_the_second_deployment_on_a_port_is_told_that_it_is_taken(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([outside("early"), outside("late")]))
    kube = await client(cluster)
    loop = Loop(kube, Sight(kube, FakeSignals(), IMAGES), Recorder(kube))
    for name in ("early", "late", "early"):
        await loop.reconcile(ROOM, Key(ROOM.kind.kind, NAMESPACE, name), datetime.now(UTC))
    early, late = [await kube.get(ROOM.kind.ref, NAMESPACE, name) for name in ("early", "late")]
    kept, refused = [await kube.get(SERVICES, NAMESPACE, name) for name in ("early", "late")]
    await kube.close()
    assert early is not None
    assert late is not None
    assert ready_of(late) == ("False", "Refused")
    assert is_true(late, "Stalled")
    message = str((find(late["status"]["conditions"], "Ready") or {})["message"])
    assert f"nodePort: Invalid value: {PORT}: provided port is already allocated" in message
    assert 'Service "late" is invalid' in message
    assert ready_of(early) == ("False", "ModelNotFound")  # it waits for its model, and has its port
    assert kept is not None
    assert kept["spec"]["ports"][0]["nodePort"] == PORT
    assert refused is None
