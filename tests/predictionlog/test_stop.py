"""A graceful stop loses no row, also when the bucket answers slowly, refuses, or stands still for a while."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.predictionlog.bucket import Trouble, Troubled, troubled_bucket
from tests.predictionlog.callers import Callers
from tests.proof.goals import seconds, size
from tests.proof.ledger import record
from tests.serving import models
from tests.serving.processes import Served, answers, ready, start_serving, until

GOAL = "log-drain"
WINDOW = 1000.0  # so that nothing but the stop writes
DRAIN = ("--drain-seconds", "1")
TROUBLE_SECONDS = 8.0  # with the draining and the finishing well inside of the pod's grace of 60 s
pytestmark = pytest.mark.timeout(seconds(GOAL))


@pytest.fixture
def bucket() -> Iterator[Troubled]:
    with troubled_bucket() as made:
        yield made


def nothing(_: Trouble) -> None:
    """The bucket works."""


def slow(trouble: Trouble) -> None:
    trouble.delay = TROUBLE_SECONDS / 2


def refuses(trouble: Trouble) -> None:
    trouble.refuse_until = time.monotonic() + TROUBLE_SECONDS


def stands_still(trouble: Trouble) -> None:
    trouble.flow.clear()


TROUBLES: tuple[Callable[[Trouble], None], ...] = (refuses, stands_still, slow, nothing)


@dataclass(frozen=True)
class Stop:
    """One stop: under which trouble, the answers that the bucket lacks, and how the process ended."""

    trouble: str
    answered: int
    missing: int
    code: int
    seconds: float

    @property
    def bad(self) -> bool:
        return self.missing > 0 or self.code != 0


def test_a_graceful_stop_loses_nothing(bucket: Troubled, tmp_path: Path) -> None:
    manifest = bucket.put_model(models.logistic())
    stops = []
    for number in range(size(GOAL)):
        variant = f"fraud-v-stop-{number}"
        settings = bucket.settings(manifest, variant=variant, log_flush_seconds=WINDOW)
        served = start_serving(settings, tmp_path, *DRAIN, environment={"TMPDIR": str(tmp_path)})
        until(lambda started=served: ready(started), f"server ready; its output: {served.process.output}")
        stops.append(stop(bucket, served, variant, TROUBLES[number % len(TROUBLES)]))
    bad = [one for one in stops if one.bad]
    figure = (
        f"{len(stops)} stops, {sum(one.answered for one in stops)} answers, {sum(one.missing for one in stops)} lost; "
        f"the longest end took {max(one.seconds for one in stops):.1f} s"
    )
    print(figure)
    record(GOAL, runs=len(stops), bad=len(bad), figure=figure)
    assert bad == []


def stop(bucket: Troubled, served: Served, variant: str, trouble: Callable[[Trouble], None]) -> Stop:
    """Stop a server under load while the bucket is in this trouble, which begins now and ends by itself."""
    process = served.process
    with Callers(served.port) as callers:
        callers.more(50)
        trouble(bucket.trouble)
        began = time.monotonic()
        process.send(signal.SIGTERM)
        until(lambda: not answers(served.port, "/v2/health/live"), "the server listens no more", 30)
    if trouble is stands_still:
        until(lambda: time.monotonic() > began + TROUBLE_SECONDS, "the trouble's time is over")
        bucket.trouble.flow.set()
    code = process.wait(50)
    ended = time.monotonic() - began
    bucket.trouble.clear()
    stored = set(bucket.predictions(variant).column("request_id").to_pylist())
    missing = sum(name not in stored for _, name in callers.answers)
    return Stop(trouble.__name__, len(callers.answers), missing, code, ended)
