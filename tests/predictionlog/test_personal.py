"""Personal values that come in by any way are found nowhere but in the answer to the one who sent them."""

import http.client
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from plumbline_contract.routes import ServingSettings
from tests.predictionlog.bucket import Troubled, troubled_bucket
from tests.predictionlog.canaries import REDACT, ROWS, VISIBLE, WAYS, Way, numbers, post, request, words
from tests.predictionlog.search import files, objects, sightings
from tests.proof.goals import seconds, size
from tests.proof.ledger import record
from tests.router.fake_api import TOKEN, FakeApi
from tests.router.processes import Router, backend, routes, routing
from tests.serving import models
from tests.serving.bucket import CREDENTIALS
from tests.serving.processes import Served, ask, serving, start_serving, until

GOAL = "pii"
SEED = 4
VARIANT = "fraud-v-personal"
pytestmark = pytest.mark.timeout(seconds(GOAL))


@pytest.fixture
def bucket() -> Iterator[Troubled]:
    with troubled_bucket() as made:
        yield made


@dataclass
class Planted:
    """The canaries, and what a way should have answered and did not."""

    values: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def everywhere(self, port: int, ways: Iterable[Way], seed: int) -> None:
        """One canary by each way to this port, and more of them in good and in failing requests."""
        word, number = words(seed), numbers(seed)
        for way in ways:
            self.values.append(next(word))
            status = way.send(port, self.values[-1]).status
            if status not in way.statuses:
                self.surprises.append(f"{way.name}: {status}")
        for _ in range(ROWS):
            personal = [next(word), next(word), next(number), next(number)]
            self.values += map(str, personal)
            good = post(port, request(name=str(personal[0]), note=str(personal[1]), salary=int(personal[2])))
            # An index far outside of the model's table: ONNX Runtime quotes it in what it says of the failure.
            failed = post(port, request(place=int(personal[3])))
            if good.status != 200 or failed.status not in (400, 500) or str(personal[3]) not in failed.body.decode():
                self.surprises.append(f"{good.status}, {failed.status} {failed.body!r}")


def test_no_canary_is_found_anywhere(bucket: Troubled, tmp_path: Path) -> None:
    secrets = dict(zip([*CREDENTIALS, "PLUMBLINE_HASH_KEY"], words(SEED + 2), strict=False))
    settings = bucket.settings(
        bucket.put_model(models.personal()), variant=VARIANT, log_flush_seconds=0.5, redact=REDACT
    )
    planted = Planted()
    api = FakeApi()
    try:
        with (
            serving(settings, tmp_path, environment=secrets | {"TMPDIR": str(tmp_path)}) as served,
            routing(api, tmp_path / "router", routes(1, backend(VARIANT, served.port, 100))) as router,
        ):
            bucket.trouble.refuse_until = float("inf")  # what the log says of storage that refuses is searched, too
            planted.everywhere(router.port, WAYS, SEED)
            # Beside the router a caller's own request id is kept, and is the caller's to choose.
            planted.everywhere(served.port, [way for way in WAYS if way.name != "x-request-id"], SEED + 1)
            until(lambda: bucket.trouble.refused > 0, "storage has refused a segment")
            bucket.trouble.clear()
            places = pages(served, router)
    finally:
        api.close()
    places |= failed_start(tmp_path, settings, secrets) | files(tmp_path) | objects(bucket)
    values = [*planted.values, *secrets.values()]
    found = sightings(values, {place: held for place, held in places.items() if not place.endswith("/token")})
    figure = (
        f"{len(values)} canaries by {len(WAYS) + 4} ways and in Secrets, {len(found)} found in {len(places)} places"
    )
    print(figure)
    record(GOAL, runs=len(values), bad=len(found), figure=figure, seed=str(SEED))
    assert planted.surprises == []
    assert len(values) >= size(GOAL)
    assert sightings([VISIBLE], places), "the search finds what is there"
    assert sightings([TOKEN], places) == [f"{TOKEN} in router/token"], "the search reads the router's files"
    assert found == []


def pages(served: Served, router: Router) -> dict[str, bytes]:
    """What server, router agent and Envoy say of themselves."""
    found = {"serving /metrics": ask(served.port, "GET", "/metrics").body}
    found |= {
        f"router {path}": ask(router.measure_port, "GET", path).body for path in ("/metrics", "/measured", "/ready")
    }
    return found | {f"envoy {path}": admin(router, path) for path in ("/stats", "/config_dump", "/clusters")}


def admin(router: Router, path: str) -> bytes:
    """A page of Envoy's admin interface."""
    connection = http.client.HTTPConnection("envoy")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(router.folder / "admin.sock"))
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def failed_start(folder: Path, settings: ServingSettings, secrets: dict[str, str]) -> dict[str, bytes]:
    """The last words of servers that cannot start: what the kubelet puts into the pod's status."""
    said = {}
    for change in ({"redact": {"name": "Mask"}}, {"bucket": "another"}, {"manifest": "sha256:" + "0" * 64}):
        served = start_serving(settings.model_copy(update=change), folder, environment=secrets)
        assert served.process.wait(60) == 1
        said[f"termination message of {change}"] = served.process.text().encode()
        assert "cannot start" in served.process.text()
    return said
