"""Ten times the load a server can carry: it does its work, refuses the rest at once, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.load import quantile
from tests.overload.bench import LOAD_CORE, SERVER_CORE, TIMES, Seconds, Seen, model, on_core, overload
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.router.fake_api import FakeApi
from tests.router.processes import backend, routes, routing
from tests.serving.bucket import Bucket
from tests.serving.processes import serving
from tests.support.moto import s3_server

GOAL = "overload"
pytestmark = pytest.mark.timeout(seconds(GOAL))

WORK = 0.008  # seconds of a core for an answer: refusing nine for each may cost a fifth of that
LENGTHS = Seconds(peak=3, overload=6, after=7) if is_whole() else Seconds(peak=2, overload=4, after=6)
TURNS = 4 if is_whole() else 1
# A sample shares its two cores with other tests, and a second between peak and overload may be a bad one.
LEAST_KEPT, LONGEST_RECOVERY = (0.8, 5.0) if is_whole() else (0.4, LENGTHS.after - 1)
LEAST_OFFERED = 0.9 * TIMES if is_whole() else 2.0  # of the peak
SOON_REFUSED = 0.1 if is_whole() else 1.0  # seconds for half of all refusals; figures say how soon it was
MOST_GROWN = 128 * 2**20


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with ExitStack() as stack:
        with on_core(LOAD_CORE):
            url = stack.enter_context(s3_server())
        yield Bucket(url).create()


def test_ten_times_the_capacity(bucket: Bucket, tmp_path: Path) -> None:
    settings = bucket.settings(bucket.put_model(model(WORK)), variant="fraud-v-busy")
    seen: list[Seen] = []
    with ExitStack() as stack:
        with on_core(SERVER_CORE):
            served = stack.enter_context(serving(settings, tmp_path))
        api = FakeApi()
        stack.callback(api.close)
        with on_core(LOAD_CORE):
            router = stack.enter_context(routing(api, tmp_path / "router", routes(1, backend("v", served.port, 100))))
        ways = (("through the router", router.port), ("directly", served.port))
        for number in range(size(GOAL)):
            way, port = ways[number % len(ways)]
            seen.append(overload(way, port, [served.process.pid], tmp_path / "load", LENGTHS, TURNS))
            print(seen[-1].line())
    bad = [(one.line(), wrong) for one in seen if (wrong := complaints(one))]
    record(GOAL, runs=len(seen), bad=len(bad), figure="; ".join(one.line() for one in seen))
    assert bad == []


def complaints(seen: Seen) -> list[str]:
    """What a run shows that must not be."""
    half = quantile(seen.refusals, 0.5) if seen.refusals else float("inf")
    checks = {
        "offered": seen.offered >= LEAST_OFFERED,
        "goodput": seen.kept >= LEAST_KEPT,
        "lost requests": not seen.lost,
        "refused late": half <= SOON_REFUSED,
        "recovery": seen.recovery <= LONGEST_RECOVERY,
        "memory": seen.grown <= MOST_GROWN,
    }
    return [name for name, held in checks.items() if not held]
