"""The operator's port: probes that can fail, and metrics that can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from plumbline_operator.runtime.health import HealthServer
from plumbline_operator.runtime.metrics import Metrics


@dataclass
class Answer:
    """A running port, and what the process says of itself."""

    base: str
    metrics: Metrics
    sick: str = ""
    unready: str = ""

    async def get(self, path: str) -> tuple[int, str, str]:
        async with aiohttp.ClientSession() as session, session.get(self.base + path) as response:
            return response.status, await response.text(), response.content_type


@pytest.fixture
async def port(unused_tcp_port: int) -> AsyncIterator[Answer]:
    answer = Answer(f"http://127.0.0.1:{unused_tcp_port}", Metrics())
    server = HealthServer(answer.metrics, lambda: answer.sick, lambda: answer.unready, unused_tcp_port, "127.0.0.1")
    await server.start()
    yield answer
    await server.stop()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_process_that_is_well_says_so(port: Answer, path: str) -> None:
    assert (await port.get(path))[:2] == (200, "ok")


async def test_an_illness_fails_the_liveness_probe_and_is_named(port: Answer) -> None:
    port.sick = "a watch is dead"
    assert (await port.get("/healthz"))[:2] == (503, "a watch is dead")
    assert (await port.get("/readyz"))[0] == 200


async def test_who_cannot_work_is_not_ready_but_lives(port: Answer) -> None:
    port.unready = "no rights"
    assert (await port.get("/readyz"))[:2] == (503, "no rights")
    assert (await port.get("/healthz"))[0] == 200


async def test_metrics_are_served_as_prometheus_reads_them(port: Answer) -> None:
    port.metrics.called("get", "jobs", 404, 0.01)
    status, text, kind = await port.get("/metrics")
    assert (status, kind) == (200, "text/plain")
    assert 'plumbline_api_calls_total{code="404",resource="jobs",verb="get"} 1.0' in text


async def test_only_the_samples_asked_for_are_served(port: Answer) -> None:
    port.metrics.called("get", "jobs", 404, 0.01)
    port.metrics.leader.set(1)
    _, text, _ = await port.get("/metrics?name[]=plumbline_leader&name[]=plumbline_api_calls_total")
    samples = sorted(line for line in text.splitlines() if not line.startswith("#"))
    assert samples == ['plumbline_api_calls_total{code="404",resource="jobs",verb="get"} 1.0', "plumbline_leader 1.0"]


async def test_a_server_that_was_never_started_stops_quietly() -> None:
    await HealthServer(Metrics(), lambda: "", lambda: "", 0).stop()
