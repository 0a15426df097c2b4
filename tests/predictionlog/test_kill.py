"""kill -9 under load: what is older than the flush window is in the bucket, and the rest is counted to the row.

At any moment, and right at a write to the bucket: before it is stored, and when it is, before the answer.
"""

import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from plumbline_contract.routes import ServingSettings
from tests.predictionlog.bucket import Crash, Troubled, troubled_bucket
from tests.predictionlog.callers import CALLERS, Callers
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record
from tests.serving import models
from tests.serving.processes import Served, ask, ready, start_serving, until

GOAL, AT_A_WRITE = "log-kill", "log-crash"
SEED = 8
WINDOW = 5.0 if is_whole() else 1.5  # seconds; 5 is what a ModelDeployment has when it says nothing
ALLOWANCE = 0.0 if is_whole() else 3.0  # a sample has other tests beside it, on the same two cores
LONGEST_LIFE = 1.6 * WINDOW + ALLOWANCE
SLOWEST_PUT = 0.4 * WINDOW  # the window is promised for a bucket that needs at most half of it
SHORT_WINDOW = 0.5  # where kills come at writes: the sooner comes the next one
VARIANT = "fraud-v-killed"
pytestmark = pytest.mark.timeout(seconds(GOAL))


@dataclass(frozen=True)
class Life:
    """One process from its start to its kill: what it answered, and what its successor says is lost."""

    answers: list[tuple[float, str]]
    killed: float
    counted: int

    def missing(self, stored: set[str]) -> list[float]:
        """How many seconds before the kill each answer was given that the bucket lacks."""
        return [self.killed - moment for moment, name in self.answers if name not in stored]


@pytest.fixture
def bucket() -> Iterator[Troubled]:
    with troubled_bucket() as made:
        yield made


def counted(served: Served) -> int:
    """Rows that killed processes of this pod have lost, as the metrics say."""
    text = ask(served.port, "GET", "/metrics").body.decode()
    found = re.search(r'plumbline_serving_log_rows_dropped_total\{reason="killed"\} ([0-9.e+]+)', text)
    assert found is not None, text
    return int(float(found[1]))


def start(settings: ServingSettings, folder: Path) -> Served:
    """The container of the one pod, started again: the same name and the same scratch volume."""
    served = start_serving(settings, folder, environment={"HOSTNAME": "fraud-0", "TMPDIR": str(folder)})
    until(lambda: ready(served), f"server ready; its output: {served.process.output}")
    return served


def test_a_kill_costs_at_most_the_flush_window_and_is_counted_to_the_row(bucket: Troubled, tmp_path: Path) -> None:
    draw = random.Random(SEED)
    settings = bucket.settings(bucket.put_model(models.logistic()), variant=VARIANT, log_flush_seconds=WINDOW)
    lives: list[Life] = []
    served = start(settings, tmp_path)
    for _ in range(size(GOAL)):
        before = counted(served)
        bucket.trouble.delay = draw.choice((0.0, draw.uniform(0, SLOWEST_PUT)))
        with Callers(served.port) as callers:
            callers.more(1)
            time.sleep(draw.uniform(0, LONGEST_LIFE))  # the moment of the kill is what is tried
            killed = time.monotonic()
            served.process.send(signal.SIGKILL)
            served.process.wait()
        served = start(settings, tmp_path)
        lives.append(Life(callers.answers, killed, counted(served) - before))
    served.process.stop()
    judge(lives, set(bucket.predictions(VARIANT).column("request_id").to_pylist()))


def test_a_kill_at_a_write_leaves_it_whole_or_not_at_all_and_the_count_knows_which(
    bucket: Troubled, tmp_path: Path
) -> None:
    settings = bucket.settings(bucket.put_model(models.logistic()), variant=VARIANT, log_flush_seconds=SHORT_WINDOW)
    lives: list[Life] = []
    served = start(settings, tmp_path)
    for number in range(size(AT_A_WRITE)):
        before = counted(served)
        with Callers(served.port) as callers:
            callers.more(1)
            kill = partial(served.process.send, signal.SIGKILL)
            bucket.trouble.crash = Crash(kill, stored=bool(number % 2), spare=number % 3)
            served.process.wait()
            killed = time.monotonic()
        served = start(settings, tmp_path)
        lives.append(Life(callers.answers, killed, counted(served) - before))
    served.process.stop()
    bad = miscounts(lives, set(bucket.predictions(VARIANT).column("request_id").to_pylist()))
    answered, lost = sum(len(life.answers) for life in lives), sum(life.counted for life in lives)
    figure = f"{len(lives)} kills at a write, half of them with it stored; of {answered} answers {lost} counted as lost"
    record(AT_A_WRITE, runs=len(lives), bad=len(bad), figure=figure)
    assert lost > 0, "no kill has lost anything: they were not under load"
    assert bad == []


def miscounts(lives: list[Life], stored: set[str]) -> list[int]:
    """The rows counted beyond those that callers miss, of each life where answers on their way do not explain them."""
    off = [life.counted - len(life.missing(stored)) for life in lives]
    return [one for one in off if not 0 <= one <= CALLERS]


def judge(lives: list[Life], stored: set[str]) -> None:
    """Every life kept the promise, and its loss was counted, but for answers that were on their way to a caller."""
    missing = [life.missing(stored) for life in lives]
    oldest = [max(ages, default=0.0) for ages in missing]
    off = miscounts(lives, stored)
    late = sum(age > WINDOW + ALLOWANCE for age in oldest)
    lost, answered = sum(map(len, missing)), sum(len(life.answers) for life in lives)
    figure = (
        f"{len(lives)} kills, {answered} answers, {lost} lost, {sum(life.counted for life in lives)} counted as lost; "
        f"the oldest lost was answered {max(oldest):.2f} s before the kill (window {WINDOW:g} s)"
    )
    print(figure)
    record(GOAL, runs=len(lives), bad=late + len(off), figure=figure, seed=str(SEED))
    assert lost > 0, "no kill has lost anything: they were not under load"
    assert (late, off) == (0, []), oldest
