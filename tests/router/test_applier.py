"""Routes in force: only forwards, in an order without gaps, and whole after a crash."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from plumbline_contract.routes import Routes
from plumbline_router.applier import Applier, read_routes
from plumbline_router.errors import BadRoutes, NotApplied
from plumbline_router.files import write_json
from plumbline_router.measure import Meter
from plumbline_router.settings import Settings
from tests.router.processes import backend, routes
from tests.router.test_render import given_settings

ONE = routes(1, backend("a", 1, 100))
TWO = routes(2, backend("a", 1, 90), backend("b", 2, 10))
THREE = routes(3, backend("b", 2, 100))


class Envoy:
    """Stands for Envoy: takes whatever file it finds, and writes down what it saw each time it was asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.seen: list[tuple[frozenset[str], frozenset[str]]] = []
        self.rejects = False
        self._rejected = 0

    async def stats(self, pattern: str) -> Mapping[str, object]:
        clusters = json.loads(self._settings.clusters.read_text())
        table = json.loads(self._settings.routes.read_text())
        named = {
            share["name"]
            for entry in table["resources"][0]["virtual_hosts"][0]["routes"]
            for share in entry.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
        }
        self.seen.append((frozenset(cluster["name"] for cluster in clusters["resources"]), frozenset(named)))
        if self.rejects:
            self._rejected += 1
            return {"cluster_manager.cds.update_rejected": self._rejected}
        return {
            "cluster_manager.cds.version_text": clusters["version_info"],
            "http.ingress.rds.routes.version_text": table["version_info"],
            "cluster_manager.warming_clusters": 0,
        }


class Bench:
    """An applier before its pretended Envoy."""

    def __init__(self, folder: Path, linger_seconds: float = 30.0) -> None:
        self.settings = replace(given_settings(folder), linger_seconds=linger_seconds)
        self.envoy = Envoy(self.settings)
        self.applier = Applier(self.settings, self.envoy, Meter())
        self.applier.prepare()

    def again(self) -> "Bench":
        """The same files after a restart."""
        return Bench(self.settings.folder.parent)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_at_no_moment_a_route_names_a_cluster_that_is_not_there(bench: Bench) -> None:
    for document in (ONE, TWO, THREE):
        assert await bench.applier.apply(document)
    assert bench.envoy.seen
    for clusters, named in bench.envoy.seen:
        assert named <= clusters


async def test_clusters_stay_until_their_last_answers_are_given(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.applier.apply(TWO)
    await bench.applier.apply(THREE)
    assert {"serve-a", "serve-b"} == bench.envoy.seen[-1][0]


@pytest.mark.parametrize("older", [ONE, TWO.model_copy(update={"backends": ONE.backends})])
async def test_routes_never_go_backwards_nor_change_within_a_generation(bench: Bench, older: Routes) -> None:
    await bench.applier.apply(TWO)
    with pytest.raises(BadRoutes, match="generation"):
        await bench.applier.apply(older)
    assert bench.applier.in_force == TWO


async def test_the_same_routes_again_are_no_change(bench: Bench) -> None:
    await bench.applier.apply(TWO)
    before = bench.settings.routes.stat().st_mtime_ns
    assert not await bench.applier.apply(TWO)
    assert bench.settings.routes.stat().st_mtime_ns == before


async def test_routes_that_envoy_refuses_are_not_in_force(bench: Bench) -> None:
    await bench.applier.apply(ONE)
    bench.envoy.rejects = True
    with pytest.raises(NotApplied, match="refused"):
        await bench.applier.apply(TWO)
    assert bench.applier.in_force == ONE
    bench.envoy.rejects = False
    assert await bench.applier.apply(TWO)


async def test_a_restart_without_the_api_knows_the_last_routes_and_their_generation(bench: Bench) -> None:
    await bench.applier.apply(TWO)
    after = bench.again()
    assert after.applier.in_force == TWO
    with pytest.raises(BadRoutes):
        await after.applier.apply(ONE)


@pytest.mark.parametrize("rest", ['{"generation": 2, "depl', "", "[]", "\x00"])
async def test_a_state_file_that_is_damaged_is_not_believed(bench: Bench, rest: str) -> None:
    await bench.applier.apply(TWO)
    bench.settings.state.write_text(rest)
    after = bench.again()
    assert after.applier.in_force is None
    assert await after.applier.apply(ONE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "JSON"),
        ('{"generation": 1}', "deployment"),
        ('{"generation": -1, "deployment": "d", "backends": []}', "generation"),
        (ONE.canonical().decode().replace("100", "99"), "99, not 100"),
        (ONE.canonical().decode().replace('"host"', '"hosts"'), "backends.0"),
    ],
)
def test_a_bad_document_is_refused_with_its_field(text: str, told: str) -> None:
    with pytest.raises(BadRoutes, match=told):
        read_routes(text)


KILLED = """
import os, sys
from pathlib import Path
from plumbline_router import files
step, target = sys.argv[1], Path(sys.argv[2])
def die(*_): os.kill(os.getpid(), 9)
if step == "write": files.json.dump = lambda document, sink, **_: (sink.write('{"half'), sink.flush(), die())
if step == "sync": files.os.fsync = die
if step == "rename": files.Path.rename = die
files.write_json(target, {"new": True})
"""


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_a_writer_killed_at_any_step_leaves_the_old_file_whole(tmp_path: Path, step: str) -> None:
    target = tmp_path / "xds" / "routes.json"
    write_json(target, {"old": True})
    ended = subprocess.run([sys.executable, "-c", KILLED, step, str(target)], env=dict(os.environ), check=False)
    assert ended.returncode == -9
    assert json.loads(target.read_text()) == {"old": True}
    write_json(target, {"newer": True})
    assert json.loads(target.read_text()) == {"newer": True}


async def test_a_cluster_goes_when_its_time_is_over_and_not_when_newer_routes_need_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, linger_seconds=0.0)
    await bench.applier.apply(TWO)
    await bench.applier.apply(THREE)
    for _ in range(200):
        if bench.envoy.seen[-1][0] == {"serve-b"}:
            break
        await asyncio.sleep(0.01)
    assert bench.envoy.seen[-1] == ({"serve-b"}, {"serve-b"})
    await bench.applier.apply(routes(4, backend("b", 2, 50), backend("a", 1, 50)))
    await asyncio.sleep(0)
    assert bench.envoy.seen[-1][0] == {"serve-a", "serve-b"}
