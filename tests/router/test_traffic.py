"""Traffic through a real Envoy to real servers: shares, stickiness, shadows, changes under load."""

import contextlib
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbline_router.render import SHADOW_ANSWER_BYTES
from tests.router.dns import NameServer
from tests.router.fake_api import FakeApi
from tests.router.load import BODY, INFER, JSON, Load, split
from tests.router.processes import Router, backend, routes, routing
from tests.serving import models
from tests.serving.bucket import Bucket
from tests.serving.processes import Served, free_port, ready, start_serving, until


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


def test_a_pod_that_is_killed_while_it_answers_fails_no_request(
    api: FakeApi, bucket: Bucket, names: NameServer, tmp_path: Path
) -> None:
    settings = bucket.settings(bucket.put_model(models.constant(0.5)), variant="killed")
    port = free_port()
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
        with router_up as router, Load(router.port, 8) as load:
            load.more(200)
            pods[0].process.send(signal.SIGKILL)
            load.more(500)
    finally:
        for one in pods:
            one.process.stop()
    assert load.failed() == []


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


class Spoilt:
    """A server that looks healthy and says `answer` to every inference, or breaks the connection when that is empty."""

    def __init__(self, answer: bytes) -> None:
        self._said = answer
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := connection.recv(65536):
                if b"/v2/health/" in request:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                elif not self._said:
                    return
                elif request.startswith(b"POST"):  # and not the rest of one
                    connection.sendall(self._said)


def sized(size: int, status: int = 200) -> bytes:
    """An answer of so many bytes."""
    return f"HTTP/1.1 {status} Said\r\ncontent-length: {size}\r\n\r\n".encode() + size * b"x"


@pytest.mark.parametrize("answer", [b"", sized(SHADOW_ANSWER_BYTES + 1)], ids=["breaks", "floods"])
def test_a_shadow_that_breaks_its_connections_or_answers_too_much_is_put_aside_and_its_drops_are_counted(
    api: FakeApi, stable: Served, tmp_path: Path, answer: bytes
) -> None:
    spoilt = Spoilt(answer)
    document = routes(1, backend("stable", stable.port, 100), shadow=backend("spoilt", spoilt.port, 100))
    with routing(api, tmp_path, document) as router:
        with Load(router.port) as load:
            load.more(2000)
        measured = router.measured()
    spoilt.close()
    assert not load.failed()
    assert measured.mirrored["spoilt"] >= 5, "it was never tried"
    assert measured.mirror_dropped["spoilt"] > measured.mirrored["spoilt"]
    assert "spoilt" not in measured.requests


@pytest.mark.parametrize("status", [200, 500, 503])
def test_a_shadow_may_say_anything_of_sensible_size(api: FakeApi, stable: Served, tmp_path: Path, status: int) -> None:
    spoilt = Spoilt(sized(SHADOW_ANSWER_BYTES, status))
    document = routes(1, backend("stable", stable.port, 100), shadow=backend("spoilt", spoilt.port, 100))
    with routing(api, tmp_path, document) as router:
        caller = router.caller()
        for number in range(1, 21):
            assert caller.ask("POST", INFER, BODY, JSON).status == 200
            until(lambda sent=number: router.measured().mirrored["spoilt"] == sent, "the copy is counted", 10)
        caller.close()
        assert router.measured().mirror_dropped["spoilt"] == 0
    spoilt.close()


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
