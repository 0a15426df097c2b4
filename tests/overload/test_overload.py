"""Ten times the load a server can carry: it does its work, refuses the rest at once, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from math import inf
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
LENGTHS = Seconds(3, 6, after=7, patience=5) if is_whole() else Seconds(2, 4, after=2, patience=60)
TURNS = 4 if is_whole() else 1
LEAST_OFFERED = 0.9 * TIMES  # of the peak
LEAST_KEPT = 0.8  # of the peak
SOON_REFUSED = 0.1  # seconds for half of all refusals
LONGEST_RECOVERY = 5.0  # seconds
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
    """What a run shows that must not be.

    A sample shares its two cores with other tests, so its clocks say how busy these are: they are printed, not judged.
    """
    held = {
        "offered": seen.offered >= LEAST_OFFERED,
        "answers": all(turn.answers for turn in seen.turns),
        "refusals": bool(seen.refusals),
        "lost requests": not seen.lost,
        "normal again": seen.recovery < inf,
        "memory": seen.grown <= MOST_GROWN,
    }
    return [name for name, well in (held | (punctual(seen) if is_whole() else {})).items() if not well]


def punctual(seen: Seen) -> dict[str, bool]:
    """What holds for a server that has a core to itself."""
    return {
        "goodput": seen.kept >= LEAST_KEPT,
        "refused late": bool(seen.refusals) and quantile(seen.refusals, 0.5) <= SOON_REFUSED,
        "recovery": seen.recovery <= LONGEST_RECOVERY,
    }
