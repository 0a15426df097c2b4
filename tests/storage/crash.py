"""kill -9 of a Job at a numbered write, the next attempt after it, and what must be true then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline_contract.layout import hash_key
from plumbline_contract.report import Outcome, Report
from tests.jobs.lake import PREFIX, Lake
from tests.storage.ground import Ground, tree
from tests.storage.jobs import KILLED, Ended, environment, process
from tests.storage.worker import Worker, working
from tests.storage.works import Work
from tests.support.s3proxy import Crash, Visitor

LIMIT_SECONDS = 120.0  # of one Job's process; it takes two or three when nothing else runs


@dataclass(frozen=True, slots=True)
class End:
    """What counts as the result of a Job: its report without words for people, its files, its blobs by digest."""

    outcome: Outcome
    digests: tuple[tuple[str, str], ...]
    numbers: tuple[tuple[str, float], ...]
    files: str


@dataclass(frozen=True, slots=True)
class Case:
    """One Job killed at one write."""

    work: Work
    crash: Crash


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case. `seconds` of the second attempt."""

    case: Case
    bucket: str
    seconds: float
    complaints: tuple[str, ...]

    def line(self) -> str:
        """For people."""
        crash = self.case.crash
        return f"{self.case.work.name}: killed {crash.side} write {crash.number} ({self.bucket}): {self.complaints}"


async def writes_of(ground: Ground, work: Work, worker: Worker) -> int:
    """How many numbered writes an undisturbed Job makes."""
    lake = ground.lake(work)
    ended = await second(ground, lake, work, worker)
    assert ended.code == 0, ended.output
    assert ground.complaints(lake) == ()
    return len(ground.proxy.journal.writes(lake.name))


async def first(ground: Ground, lake: Lake, case: Case) -> Ended:
    """The first attempt: a process of its own, killed where the case says."""
    visitor = Visitor(crash=case.crash)
    ground.proxy.visitors[lake.name] = visitor

    def started(kill: Callable[[], None]) -> None:
        visitor.kill = kill

    variables = environment(case.work.order(lake, ground.estate, 1), ground.root(lake, case.work, 1))
    return await asyncio.wait_for(process(variables, started), LIMIT_SECONDS)


async def second(ground: Ground, lake: Lake, work: Work, worker: Worker) -> Ended:
    """The operator's next attempt, which nothing disturbs."""
    return await worker.job(environment(work.order(lake, ground.estate, 2), ground.root(lake, work, 2)), LIMIT_SECONDS)


async def killed_and_run_again(ground: Ground, case: Case, worker: Worker, wanted: dict[str, End]) -> Result:
    """One case: the first attempt is killed, the second is left alone."""
    lake = ground.lake(case.work)
    killed = await first(ground, lake, case)
    complaints = [f"not killed, but ended with {killed.code}"] if killed.code != KILLED else []
    complaints += [f"after the kill: {one}" for one in ground.complaints(lake)]
    key = _hash_key(lake)
    began = time.monotonic()
    ended = await second(ground, lake, case.work, worker)
    seconds = time.monotonic() - began
    complaints += [f"at the end: {one}" for one in ground.complaints(lake)]
    if key and key != _hash_key(lake):
        complaints.append("the hash key was replaced")
    complaints += _differences(end_of(ground, lake, ended), await _reference(ground, lake, case.work, worker, wanted))
    left = sorted((ground.folder / lake.name / "a2" / "tmp").iterdir())
    complaints += [f"left behind: {one.name}" for one in left]
    return Result(case, lake.name, seconds, tuple(complaints))


def end_of(ground: Ground, lake: Lake, ended: Ended) -> End | None:
    """The result of a second attempt; None when it has none."""
    report = ended.report
    if report is None or ended.code != 0 or report.outcome is not Outcome.DONE:
        return None
    return _end(report, ground.folder / lake.name / "a2" / "in")


def _end(report: Report, files: Path) -> End:
    return End(
        report.outcome, tuple(sorted(report.digests.items())), tuple(sorted(report.numbers.items())), tree(files)
    )


async def _reference(ground: Ground, lake: Lake, work: Work, worker: Worker, wanted: dict[str, End]) -> End:
    """The result of an undisturbed second attempt: with the same hash key, where the Job made one."""
    if work.makes_key:
        return await undisturbed(ground, work, worker, {hash_key(PREFIX): _hash_key(lake)})
    if work.name not in wanted:
        wanted[work.name] = await undisturbed(ground, work, worker, {})
    return wanted[work.name]


async def undisturbed(ground: Ground, work: Work, worker: Worker, given: dict[str, bytes]) -> End:
    """The result of a second attempt in a bucket where nothing happened; `given`: objects to put into it first."""
    lake = ground.lake(work)
    for key, data in given.items():
        lake.write(key, data)
    ended = await second(ground, lake, work, worker)
    found = end_of(ground, lake, ended)
    assert found is not None, ended.output
    return found


def _hash_key(lake: Lake) -> bytes:
    return lake.objects().get(hash_key(PREFIX), b"")


def _differences(found: End | None, wanted: End) -> list[str]:
    if found is None:
        return ["the next attempt did not do its work"]
    return [] if found == wanted else [f"the end is {found}, undisturbed it is {wanted}"]


async def run_all(ground: Ground, cases: Sequence[Case], lanes: int) -> list[Result]:
    """The results of all cases, so many at a time."""
    queue, wanted = list(reversed(cases)), dict[str, End]()
    results: list[Result] = []

    async def lane() -> None:
        async with working() as worker:
            while queue:
                results.append(await killed_and_run_again(ground, queue.pop(), worker, wanted))

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return results
