"""Traffic through a real Envoy to real servers: shares, stickiness, shadows, changes under load."""

import json
import os
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plumbline_contract.routes import Routes
from tests.router.dns import NameServer
from tests.router.fake_api import FakeApi
from tests.router.processes import Router, backend, routes, routing, start_router
from tests.serving import models
from tests.serving.bucket import Bucket
from tests.serving.processes import Answer, Caller, Served, ask, free_port, ready, rows, start_serving, until

BODY = json.dumps(rows((1, 2, 3))).encode()
JSON = {"content-type": "application/json"}
INFER = "/v2/models/fraud/infer"


def split(generation: int, stable: Served, canary: Served, weight: int) -> Routes:
    """The canary gets `weight` percent; the stable variant comes first, always."""
    return routes(generation, backend("stable", stable.port, 100 - weight), backend("canary", canary.port, weight))


class Load:
    """Callers that never stop asking; every answer is kept as its status and variant."""

    def __init__(self, port: int, callers: int = 4, headers: Callable[[int], dict[str, str]] | None = None) -> None:
        self._port, self._headers = port, headers or (lambda _: {})
        self._stop = threading.Event()
        self.answers: list[tuple[float, int, str]] = []
        self.seconds: list[float] = []
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _call(self, number: int) -> None:
        caller = Caller(self._port)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                answer = caller.ask("POST", INFER, BODY, JSON | self._headers(number))
                self.answers.append((started, answer.status, answer.headers.get("x-plumbline-variant", "")))
                self.seconds.append(time.monotonic() - started)
                if answer.headers.get("connection") == "close":
                    caller.close()
            except OSError as exc:
                self.answers.append((started, 0, repr(exc)))
                caller.close()
        caller.close()

    def more(self, count: int) -> "Load":
        """Return after this many further answers."""
        seen = len(self.answers)
        until(lambda: len(self.answers) >= seen + count, f"{count} further answers", 60)
        return self

    def failed(self) -> list[tuple[float, int, str]]:
        return [entry for entry in self.answers if entry[1] != 200]


def test_a_canary_of_five_percent_gets_five_percent_and_the_router_says_so(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 5)) as router:
        caller = router.caller()
        found = Counter(caller.ask("POST", INFER, BODY, JSON).headers["x-plumbline-variant"] for _ in range(5000))
        caller.close()
        # Binomial with p = 0.05: one standard deviation of 5,000 draws is 15.4; five of them is one run in 1.7 million.
        assert abs(found["canary"] - 250) < 78
        measured = router.measured()
        assert measured.requests == dict(found)
        assert measured.failures == {"stable": 0, "canary": 0}


def variants(router: Router, units: int) -> dict[str, str]:
    """The variant that each unit is sent to."""
    caller = router.caller()
    found = {}
    for number in range(units):
        answer = caller.ask("POST", INFER, BODY, JSON | {"x-plumbline-unit": f"customer-{number}"})
        found[f"customer-{number}"] = answer.headers["x-plumbline-variant"]
    caller.close()
    return found


def test_a_unit_stays_and_raising_the_weight_moves_none_out_of_the_canary(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 5)) as router:
        inside: set[str] = set()
        for generation, weight in enumerate((5, 25, 50, 100), start=1):
            if generation > 1:
                api.put(split(generation, stable, canary, weight))
                router.until(generation)
            found = variants(router, 400)
            assert variants(router, 400) == found, "a unit changed without a change of weights"
            now = {unit for unit, variant in found.items() if variant == "canary"}
            assert inside <= now, "a unit was moved out of the canary by a raise"
            assert abs(len(now) / 400 - weight / 100) < 0.12  # five standard deviations of a fair hash
            inside = now


def test_no_request_fails_while_weights_change_and_each_change_is_in_force_within_a_second(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router, Load(router.port) as load:
        for generation in range(2, 22):
            weight = (0, 5, 50, 100)[generation % 4]
            started = time.monotonic()
            api.put(split(generation, stable, canary, weight))
            router.until(generation)
            assert time.monotonic() - started < 1.0
            load.more(50)
    assert not load.failed()


def test_after_a_pin_no_new_request_reaches_the_other_variant(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 100)) as router, Load(router.port) as load:
        load.more(100)
        started = time.monotonic()
        api.put(split(2, stable, canary, 0))
        router.until(2)
        in_force = time.monotonic()
        load.more(200)
    assert in_force - started < 1.0
    assert not load.failed()
    late = [variant for begun, _, variant in load.answers if begun > in_force]
    assert set(late) == {"stable"}


def test_a_target_that_was_forgotten_is_back_within_a_second(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    only = routes(1, backend("canary", canary.port, 100))
    with routing(api, tmp_path, only, PLUMBLINE_LINGER_SECONDS="0") as router, Load(router.port) as load:
        load.more(50)
        started = time.monotonic()
        api.put(routes(2, backend("stable", stable.port, 100)))
        router.until(2)
        assert time.monotonic() - started < 1.0
        load.more(50)
    assert not load.failed()


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


def test_no_request_fails_while_a_pod_is_replaced(
    api: FakeApi, bucket: Bucket, names: NameServer, tmp_path: Path
) -> None:
    settings = bucket.settings(bucket.put_model(models.constant(0.5)), variant="rolled")
    port = free_port()

    def pod(number: int) -> Served:
        host = f"127.0.0.{number}"
        served = start_serving(
            settings,
            tmp_path,
            "--host",
            host,
            "--drain-seconds",
            "4",
            port=port,
            environment={"HOSTNAME": f"pod-{number}"},
        )
        names.addresses = (*names.addresses, host)  # published before it is ready, as the headless Service does
        return Served(served.process, port, host)

    pods = [pod(2)]
    until(lambda: ready(pods[0]), "the first pod is ready")
    document = routes(1, backend("rolled", port, 100, "rolled.demo.svc.cluster.local."))
    try:
        with (
            routing(api, tmp_path, document, PLUMBLINE_DNS_RESOLVER=names.address) as router,
            Load(router.port) as load,
        ):
            for number in (3, 4):
                load.more(100)
                pods.append(pod(number))
                until(lambda: ready(pods[-1]), "the new pod is ready")
                load.more(20)
                pods[-2].process.send(signal.SIGTERM)
                assert pods[-2].process.wait(40) == 0
                names.addresses = (pods[-1].host,)
                load.more(100)
            assert router.measured().failures == {"rolled": 0}
    finally:
        for one in pods:
            one.process.stop()
    assert not load.failed()


def test_a_pod_that_is_killed_costs_at_most_the_requests_it_was_answering(
    api: FakeApi, bucket: Bucket, names: NameServer, tmp_path: Path
) -> None:
    settings = bucket.settings(bucket.put_model(models.constant(0.5)), variant="killed")
    port, callers = free_port(), 4
    pods = [
        Served(start_serving(settings, tmp_path, "--host", f"127.0.0.{n}", port=port).process, port, f"127.0.0.{n}")
        for n in (2, 3)
    ]
    names.addresses = tuple(one.host for one in pods)
    document = routes(1, backend("killed", port, 100, "killed.demo.svc.cluster.local."))
    try:
        for one in pods:
            until(lambda one=one: ready(one), "a pod is ready")
        router_up = routing(api, tmp_path, document, PLUMBLINE_DNS_RESOLVER=names.address)
        with router_up as router, Load(router.port, callers) as load:
            load.more(200)
            pods[0].process.send(signal.SIGKILL)
            load.more(500)
    finally:
        for one in pods:
            one.process.stop()
    assert len(load.failed()) <= callers


class Stuck:
    """A server that takes connections and requests and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._socket.close()


def test_a_shadow_that_hangs_does_not_slow_the_primary_and_its_drops_are_counted(
    api: FakeApi, stable: Served, tmp_path: Path
) -> None:
    stuck = Stuck()
    alone = routes(1, backend("stable", stable.port, 100))
    shadowed = routes(2, backend("stable", stable.port, 100), shadow=backend("stuck", stuck.port, 100))
    with routing(api, tmp_path, alone) as router:
        with Load(router.port) as before:
            before.more(500)
        api.put(shadowed)
        router.until(2)
        with Load(router.port) as during:
            during.more(2000)
        measured = router.measured()
    stuck.close()
    assert not before.failed()
    assert not during.failed()
    # A closed loop on two busy cores is noisy; a primary that waited for its shadow would need 30 s an answer.
    assert statistics.median(during.seconds) < 3 * statistics.median(before.seconds) + 0.005
    assert max(during.seconds) < 5
    assert measured.mirror_dropped["stuck"] > 1500
    assert measured.mirrored["stuck"] <= 64
    assert "stuck" not in measured.requests


def test_primary_and_shadow_log_the_same_request_id_and_only_the_shadow_its_role(
    api: FakeApi, bucket: Bucket, stable: Served, canary: Served, tmp_path: Path
) -> None:
    document = routes(1, backend("stable", stable.port, 100), shadow=backend("canary", canary.port, 100))
    seen = {row["request_id"] for row in bucket.predictions("canary").to_pylist()}
    with routing(api, tmp_path, document) as router:
        caller = router.caller()
        claims = JSON | {"x-request-id": "forged", "x-plumbline-role": "shadow"}
        stamped = [caller.ask("POST", INFER, BODY, claims).headers["x-request-id"] for _ in range(20)]
        caller.ask("GET", "/v2/models/fraud")
        caller.close()
        assert router.measured().mirrored == {"canary": 20}
    assert len(set(stamped)) == 20

    def logged(variant: str) -> dict[str, tuple[str, float]]:
        table = bucket.predictions(variant).to_pylist()
        return {
            row["request_id"]: (row["role"], row["out.probability"]) for row in table if row["request_id"] in stamped
        }

    until(lambda: len(logged("stable")) == len(logged("canary")) == 20, "both logs hold all requests", 10)
    assert set(logged("stable").values()) == {("primary", 0.25)}
    assert set(logged("canary").values()) == {("shadow", 0.75)}
    assert not seen & set(stamped)


def test_a_shadow_of_some_percent_gets_about_that_many(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    document = routes(1, backend("stable", stable.port, 100), shadow=backend("canary", canary.port, 30))
    with routing(api, tmp_path, document) as router:
        caller = router.caller()
        for _ in range(1000):
            caller.ask("POST", INFER, BODY, JSON)
        caller.close()
        measured = router.measured()
    assert abs(measured.mirrored["canary"] - 300) < 75  # five standard deviations
    assert measured.requests == {"stable": 1000}


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


def test_a_router_ends_when_its_envoy_does(api: FakeApi, stable: Served, canary: Served, tmp_path: Path) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router:
        children = Path(f"/proc/{router.process.pid}/task/{router.process.pid}/children").read_text().split()
        (envoy,) = [int(child) for child in children]
        os.kill(envoy, signal.SIGKILL)
        assert router.process.wait(20) == 1
        assert "Envoy ended by itself" in router.process.text()


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


def test_what_the_router_refuses_itself_is_json_too(
    api: FakeApi, stable: Served, canary: Served, tmp_path: Path
) -> None:
    with routing(api, tmp_path, split(1, stable, canary, 0)) as router:
        outside = ask(router.port, "GET", "/metrics")
        assert (outside.status, "below /v2" in outside.json["error"]) == (404, True)
        large = (b" " * 65536 for _ in range(260))
        answer = ask(router.port, "POST", INFER, large, JSON)
        assert (answer.status, "error" in answer.json) == (413, True)
        gone = routes(2, backend("gone", free_port(), 100))
        api.put(gone)
        router.until(2)
        unreachable: Answer = ask(router.port, "POST", INFER, BODY, JSON)
        assert (unreachable.status, "error" in unreachable.json) == (503, True)
        assert unreachable.headers["x-plumbline-variant"] == "gone"
        assert router.measured().failures["gone"] == 1
