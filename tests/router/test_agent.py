"""A router from its start to its end, with and without the API server."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.proof.ledger import record
from tests.router.fake_api import FakeApi
from tests.router.load import BODY, INFER, JSON, Load, split
from tests.router.processes import Router, backend, routes, routing, start_router
from tests.serving.processes import Answer, Served, ask, free_port, until
from tests.serving.test_bad_input import LARGE, poured


@pytest.mark.parametrize("bad", ["{", '{"generation": 9, "deployment": "fraud", "backends": []}'])
def test_a_bad_config_map_changes_nothing_and_is_counted(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path, bad: str
) -> None:
    with routing(api, tmp_path, split(5, stable, canary, 0)) as router, Load(router.port) as load:
        load.more(20)
        api.put(bad)
        until(lambda: metric(router, "plumbline_router_routes_refused_total") == 1, "the refusal is counted", 10)
        api.put(split(4, stable, canary, 100))  # older than what is in force
        until(lambda: metric(router, "plumbline_router_routes_refused_total") == 2, "the refusal is counted", 10)
        load.more(50)
        assert router.in_force() == 5
        assert ask(router.measure_port, "GET", "/healthz").status == 200
        api.put(split(6, stable, canary, 100))
        router.until(6, 10)
    assert not load.failed()
    assert "generation is 4 but 5 is in force" in router.process.text()


def metric(router: Router, name: str) -> float:
    """One of the agent's or Envoy's metrics."""
    for line in ask(router.measure_port, "GET", "/metrics").body.decode().splitlines():
        if line.startswith((f"{name} ", f"{name}{{")):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_a_router_that_starts_without_the_api_serves_its_last_routes(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(3, stable, canary, 100)):
        pass
    router = start_router(f"http://127.0.0.1:{free_port()}", tmp_path)
    try:
        router.until(3)
        answer = ask(router.port, "POST", INFER, BODY, JSON)
        assert (answer.status, answer.headers["x-plumbline-variant"]) == (200, "canary")
        assert metric(router, "plumbline_router_api_connected") == 0
    finally:
        router.process.stop()


def test_a_router_without_any_routes_says_so_and_is_not_ready(api: FakeApi, tmp_path: Path) -> None:
    router = start_router(api.url, tmp_path)
    try:
        until(lambda: alive(router), "the router is alive", 20)
        assert ask(router.measure_port, "GET", "/ready").status == 503
        answer = ask(router.port, "POST", INFER, BODY, JSON)
        assert answer.status == 503
        assert "no routes yet" in answer.json["error"]
        assert router.measured().generation == 0
    finally:
        router.process.stop()


def alive(router: Router) -> bool:
    try:
        return ask(router.measure_port, "GET", "/healthz").status == 200
    except OSError:
        return False


def child(router: Router, named: str) -> int:
    """The process below the router's first one whose command line has this word."""
    pids = Path(f"/proc/{router.process.pid}/task/{router.process.pid}/children").read_text().split()
    found = [int(pid) for pid in pids if named in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")]
    (one,) = found
    return one


def test_a_router_ends_when_its_envoy_does(api: FakeApi, stable: Served, canary: Served, tmp_path: Path) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router:
        agent = child(router, "plumbline_router.agent")
        os.kill(child(router, "--config-path"), signal.SIGKILL)
        assert router.process.wait(20) == 1
        assert "Envoy ended by itself" in router.process.text()
        assert not Path(f"/proc/{agent}").exists()


def test_an_agent_killed_while_routes_change_fails_no_request_and_none_goes_back(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    kills, chance = 8, random.Random(7)
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router, Load(router.port) as load:
        envoy = child(router, "--config-path")
        assert ask(router.port, "GET", "/router/live").status == 200
        for generation in range(2, 2 + kills):
            api.put(split(generation, stable, canary, 100 * (generation % 2)))
            time.sleep(chance.uniform(0, 0.03))  # somewhere between the first file and the last
            os.kill(child(router, "plumbline_router.agent"), signal.SIGKILL)
            router.until(generation)
            load.more(30)
            in_force = time.monotonic()
            load.more(30)
            wanted = "canary" if generation % 2 else "stable"
            assert {variant for begun, _, variant in load.answers if begun > in_force} == {wanted}
        assert child(router, "--config-path") == envoy
    assert load.failed() == []
    assert router.process.text().count("the agent ended with exit code -9") == kills


def test_a_router_that_starts_anew_in_its_pod_has_the_newest_routes_its_envoy_had(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    """An agent that was killed between the route table and its own memory of it must not take traffic back."""
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router:
        api.put(split(2, stable, canary, 100))
        router.until(2)
    state = router.folder / "state.json"
    state.write_text(split(1, stable, canary, 0).canonical().decode())
    router = start_router(f"http://127.0.0.1:{free_port()}", tmp_path)
    try:
        until(lambda: alive(router), "the router is alive", 20)
        assert ask(router.port, "POST", INFER, BODY, JSON).headers["x-plumbline-variant"] == "canary"
    finally:
        router.process.stop()


def test_a_draining_router_answers_and_sends_its_callers_elsewhere(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0), PLUMBLINE_DRAIN_SECONDS="2") as router:
        assert "connection" not in ask(router.port, "POST", INFER, BODY, JSON).headers
        router.process.send(signal.SIGTERM)
        until(lambda: ask(router.measure_port, "GET", "/ready").status == 503, "readiness off", 5)
        until(lambda: closing(router), "answers say connection: close", 2)
        assert router.process.wait(20) == 0


def closing(router: Router) -> bool:
    answer = ask(router.port, "POST", INFER, BODY, JSON)
    assert answer.status == 200
    return answer.headers.get("connection") == "close"


def test_a_body_over_the_limit_is_413_at_the_router(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router:
        answers = [poured(router.port, INFER, size, chunked=c) for size in (17 << 20, LARGE) for c in (False, True)]
        words = f"the body is larger than {16 << 20} bytes; send fewer rows per request"
        good = [one for one in answers if (one.status, one.json) == (413, {"error": words})]
        figure = f"{len(good)} of {len(answers)} bodies over the limit refused by the router"
        record("bad-input-inference", runs=len(answers), bad=len(answers) - len(good), figure=figure)
        assert good == answers
        assert ask(router.port, "POST", INFER, BODY, JSON).status == 200


def test_what_the_router_refuses_itself_is_json_too(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router:
        outside = ask(router.port, "GET", "/metrics")
        assert (outside.status, "below /v2" in outside.json["error"]) == (404, True)
        gone = routes(2, backend("gone", free_port(), 100))
        api.put(gone)
        router.until(2)
        unreachable: Answer = ask(router.port, "POST", INFER, BODY, JSON)
        assert (unreachable.status, "error" in unreachable.json) == (503, True)
        assert unreachable.headers["x-plumbline-variant"] == "gone"
        assert router.measured().failures["gone"] == 1
