"""Start, memory, delay and rest on an API server full of objects, against thresholds.toml."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_operator.crdgen import definition
from plumbline_operator.rooms import ROOMS
from tests.faults.oracles import log_errors
from tests.proof.figures import spread
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.scale.measure import Rest, at_rest, quantile, quiet, reconcile_delays, started
from tests.scale.operator import Audit, running
from tests.scale.world import TEAM_OBJECTS, Team, admin, fill
from tests.support.cluster import Cluster, start
from tests.support.pod_actor import PodActor

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds("scale"))]

LIMITS: dict[str, float] = tomllib.loads(Path(__file__).with_name("thresholds.toml").read_text())
OBJECTS = 5000 if is_whole() else 2 * TEAM_OBJECTS
RESTING = 1000 if is_whole() else TEAM_OBJECTS
REST_SECONDS = 180.0 if is_whole() else 10.0  # of one look; all of them together are longer than a resync's period
CHANGE_SECONDS = 60.0 if is_whole() else 5.0
PATIENCE = 1 if is_whole() else 10  # a sample has other tests beside it
FILL_SECONDS = 1800.0
QUIET_SECONDS = 15.0 if is_whole() else 5.0


@pytest.fixture
def bed() -> Iterator[Cluster]:
    cluster = start(bed="A", name=f"scale-{os.getpid()}")
    try:
        text = yaml.safe_dump_all([definition(room.kind) for room in ROOMS])
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield cluster
    finally:
        cluster.stop()


async def test_a_full_api_server_is_started_upon_restarted_upon_and_followed(bed: Cluster, tmp_path: Path) -> None:
    log, rounds = tmp_path / "operator.log", []
    async with admin(bed) as kube:
        teams = await filled(bed, kube, OBJECTS, log)
        for _ in range(size("scale")):
            rounds.append(await one_round(bed, teams, log))
    starts, memory, writes, p99 = (list(column) for column in zip(*rounds, strict=True))
    figure = (
        f"{OBJECTS} objects: start {spread(starts)} s, {spread(memory)} MiB, "
        f"p99 {spread(p99)} s at {LIMITS['changes_per_second']:.0f} changes/s, {sum(writes)} writes by restarts"
    )
    over = [number for number, one in enumerate(rounds, 1) if exceeds(*one)]
    record("scale", runs=len(rounds), bad=len(over), figure=figure)
    assert over == [], figure
    assert log_errors(log.read_text()) == []


async def test_rest_costs_next_to_nothing(bed: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "operator.log"
    async with admin(bed) as kube:
        await filled(bed, kube, RESTING, log)
        with running(bed, log) as operator:
            audit = Audit(bed.audit_log)
            await started(operator, RESTING, LIMITS["start_seconds"] * PATIENCE)
            await quiet(audit, QUIET_SECONDS, FILL_SECONDS)
            looks = [await at_rest(operator, audit, REST_SECONDS) for _ in range(size("rest"))]
    requests, core = spread([one.requests for one in looks], 2), spread([100 * one.core for one in looks])
    figure = f"{RESTING} objects: {requests} requests/s, {core} % of a core in {REST_SECONDS:.0f} s each"
    busy = [one for one in looks if is_too_busy(one)]
    record("rest", runs=len(looks), bad=len(busy), figure=figure)
    assert busy == [], figure


async def filled(bed: Cluster, kube: Any, objects: int, log: Path) -> list[Team]:
    """The world, settled: an operator has worked until it had nothing to write any more."""
    with PodActor(bed.kubeconfig), running(bed, log):
        audit = Audit(bed.audit_log)
        teams = await fill(kube, objects)
        await quiet(audit, QUIET_SECONDS, FILL_SECONDS)
    return teams


async def one_round(bed: Cluster, teams: list[Team], log: Path) -> tuple[float, float, int, float]:
    """Start seconds, peak MiB, writes by the start, p99 of the delay."""
    audit = Audit(bed.audit_log)
    with running(bed, log) as operator:
        took = await started(operator, OBJECTS, FILL_SECONDS)
        written = audit.writes()
        delays = await reconcile_delays(bed, teams, LIMITS["changes_per_second"], CHANGE_SECONDS)
        for team in teams:
            await team.forget_consents()
        await quiet(audit, QUIET_SECONDS, FILL_SECONDS)  # or the next start would finish what this one had begun
        return took, operator.peak_mib(), len(written), quantile(delays, 0.99)


def exceeds(took: float, mib: float, writes: int, p99: float) -> bool:
    """Whether a round broke a threshold."""
    return (
        took > LIMITS["start_seconds"] * PATIENCE
        or mib > LIMITS["memory_mib"]
        or writes > 0
        or p99 > LIMITS["reconcile_p99_seconds"] * PATIENCE
    )


def is_too_busy(rest: Rest) -> bool:
    """Whether rest cost more than allowed. In a sample a resync or a timer weighs more, so only much more counts."""
    return (
        rest.requests > LIMITS["rest_requests_per_second"] * PATIENCE
        or rest.core > LIMITS["rest_core_share"] * PATIENCE
    )
