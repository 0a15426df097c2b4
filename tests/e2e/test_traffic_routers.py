"""Routers restarted and their agents killed under an open loop of requests: callers notice nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from plumbline_contract.routes import UNIT_HEADER
from plumbline_operator.build.router import router_labels
from tests.e2e import truth
from tests.e2e.conftest import Told
from tests.load import Load, failures, post
from tests.support.demo.story import DEPLOYMENT, MODEL, NODE_PORT
from tests.traffic_node.node import kill
from tests.traffic_node.scene import Scene, until

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(3600)]

RATE, WELL_SECONDS = 50, 180.0


def test_routers_restarted_one_by_one_and_agents_killed_fail_nobody(told: Told, tmp_path: Path) -> None:
    path = f"/v2/models/{MODEL}/infer"
    departures = itertools.islice(truth.departures()(), 500)
    requests = [post(path, json.dumps(body).encode(), {UNIT_HEADER: unit}) for unit, body in departures]
    scene = Scene(told.cluster, told.admin, DEPLOYMENT, old="", new="", fresh="", port=NODE_PORT, requests=requests)
    with Load(tmp_path, NODE_PORT, requests, RATE) as load:
        load.more(RATE)
        for pod in scene.routers():
            told.admin.kubectl("delete", "pod", pod["metadata"]["name"])  # returns when it is gone
            scene.until_ready(router_labels(DEPLOYMENT), 2, WELL_SECONDS)
        for pod in scene.routers():
            assert kill(pod, "plumbline_router.agent") == 1
        load.more(2 * RATE)
        scene.until_ready(router_labels(DEPLOYMENT), 2, WELL_SECONDS)
        until(lambda: len(scene.routers()) == 2, "no router pod was replaced", WELL_SECONDS)
        shots = load.stop()
    assert failures(shots) == []
    assert len(shots) >= 3 * RATE
