"""Runs under drawn faults, and the verdict on each: verified, refused for a named reason, or bad."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from plumbline_contract.base import digest_of
from plumbline_contract.hashkey import is_hash_key
from plumbline_contract.layout import hash_key, join, predictions
from plumbline_contract.report import Outcome, Report
from plumbline_contract.routes import SERVING_VARIABLE, ServingSettings
from tests.jobs.lake import PREFIX, Lake
from tests.serving.processes import answers, ask, start_serving, until
from tests.storage.ground import Ground, tree
from tests.storage.jobs import Ended, environment, process
from tests.storage.server import CREDENTIALS
from tests.storage.weather import Weather
from tests.storage.worker import Started, Worker, working
from tests.storage.works import COLLECT, CSV, FETCH, MODEL, PARQUET, Work
from tests.support.s3proxy import Visitor

LIMIT_SECONDS = 420.0  # of one run: a request that stays without an answer ends after its attempts and their pauses
REASONS = frozenset({"EndpointUnreachable", "DataUnavailable"})
DEFECT = "which is a defect of Plumbline"
SCORE = 1 / (1 + math.exp(-2.5))  # of the model for a row of ones

Way = Literal["process", "worker"]


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: a Job, or the start of a server when `work` is None; in a process of its own, or in a worker."""

    work: Work | None
    way: Way
    seed: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return "serving start" if self.work is None else self.work.name


CYCLE = (
    *(Plan(CSV, "worker"),) * 6,
    Plan(CSV, "process"),
    *(Plan(PARQUET, "worker"),) * 4,
    *(Plan(COLLECT, "worker"),) * 6,
    Plan(COLLECT, "process"),
    *(Plan(FETCH, "worker"),) * 2,
    *(Plan(None, "worker"),) * 4,
    Plan(None, "process"),
)
"""The mix, over and over."""


def plans(runs: int, seed: int) -> list[Plan]:
    """So many runs with a seed each, costly ones first, so that none of them is alone at the end."""
    drawn = [Plan(plan.work, plan.way, seed + place) for place, plan in zip(range(runs), CYCLE * runs, strict=False)]
    return sorted(drawn, key=lambda plan: plan.way)


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a run. `end`: `completed`, or the reason of its refusal. `bad`: what must not be."""

    plan: Plan
    bucket: str
    end: str
    seconds: float
    requests: int
    faults: tuple[str, ...]
    bad: tuple[str, ...] = ()

    def line(self) -> str:
        """For people."""
        return f"{self.plan.name} ({self.plan.way}, seed {self.plan.seed}, {self.bucket}): {self.end} {self.bad}"


@dataclass(slots=True)
class Trial:
    """All runs on one ground. `longest`: seconds that a slow body takes at most."""

    ground: Ground
    longest: float
    wanted: dict[str, tuple[Report, str]] = field(default_factory=dict)

    async def run_all(self, wanted: Sequence[Plan], lanes: int) -> list[Seen]:
        """What became of every run, so many at a time."""
        queue = list(reversed(wanted))
        seen: list[Seen] = []

        async def lane() -> None:
            async with working() as worker:
                while queue:
                    seen.append(await self._run(queue.pop(), worker))

        async with working() as worker:
            await self._references(worker)
        await asyncio.gather(*(lane() for _ in range(lanes)))
        return seen

    async def _references(self, worker: Worker) -> None:
        """What each Job answers when nothing is wrong."""
        for work in (CSV, PARQUET, COLLECT, FETCH):
            lake = self.ground.lake(work)
            root = self.ground.root(lake, work, 1)
            ended = await worker.job(environment(work.order(lake, self.ground.estate, 1), root), LIMIT_SECONDS)
            assert ended.code == 0, ended.output
            assert ended.report is not None
            self.wanted[work.name] = (ended.report, tree(root / "in"))

    async def _run(self, plan: Plan, worker: Worker) -> Seen:
        began = time.monotonic()
        lake = self.ground.lake(plan.work or CSV)
        weather = Weather(plan.seed, self.longest)
        self.ground.proxy.visitors[lake.name] = Visitor(trouble=weather.trouble)
        try:
            if plan.work is None:
                end, bad = await self._serving(plan, lake, worker)
            else:
                end, bad = await self._job(plan.work, plan.way, lake, worker)
        except TimeoutError:
            end, bad = "hang", [f"no end within {LIMIT_SECONDS:.0f} s"]
        bad += await asyncio.to_thread(self.ground.complaints, lake)
        met = self.ground.proxy.journal.faults(lake.name)
        requests = len(self.ground.proxy.journal.of(lake.name))
        names = tuple(type(one).__name__ for one in met)
        return Seen(plan, lake.name, end, time.monotonic() - began, requests, names, tuple(bad))

    async def _job(self, work: Work, way: Way, lake: Lake, worker: Worker) -> tuple[str, list[str]]:
        root = self.ground.root(lake, work, 1)
        variables = environment(work.order(lake, self.ground.estate, 1), root)
        if way == "worker":
            ended = await worker.job(variables, LIMIT_SECONDS)
        else:
            ended = await asyncio.wait_for(process(variables, lambda kill: None), LIMIT_SECONDS)
        report, files = self.wanted[work.name]
        end, bad = judged(ended, report)
        if end == COMPLETED and tree(root / "in") != files:
            bad.append("SILENT: the files are not those of the undisturbed run")
        return end, bad

    async def _serving(self, plan: Plan, lake: Lake, worker: Worker) -> tuple[str, list[str]]:
        settings = ServingSettings(
            variant="late-v9",
            deployment="late-arrival",
            namespace="team",
            model_name="late",
            manifest=self.ground.estate.model,
            endpoint=lake.storage.endpoint,
            bucket=lake.name,
            prefix=PREFIX,
        )
        if plan.way == "process":
            return await asyncio.to_thread(self._served, settings, lake)
        variables = {**CREDENTIALS, SERVING_VARIABLE: settings.canonical().decode(), "ORT_DISABLE_TELEMETRY": "1"}
        key, data = next((key, data) for key, data in self.ground.estate.objects.items() if "/predictions/" in key)
        place = join(predictions(PREFIX, "team", "late-arrival"), "late-v9", "2024-01-01", "00", key.rpartition("/")[2])
        started = await worker.start(variables, (place, data), LIMIT_SECONDS)
        held = lake.objects().get(place)
        return started_judged(started, self.ground, data, held)

    def _served(self, settings: ServingSettings, lake: Lake) -> tuple[str, list[str]]:
        """The start of a real server, and one answer of it."""
        folder = self.ground.folder / lake.name
        folder.mkdir()
        variables = {**CREDENTIALS, "ORT_DISABLE_TELEMETRY": "1"}
        served = start_serving(settings, folder, "--drain-seconds", "0.1", environment=variables)
        process = served.process
        try:
            until(
                lambda: process.ended() is not None or answers(served.port, "/v2/health/ready"),
                "a server that is ready or has ended",
                LIMIT_SECONDS,
            )
            bad = [] if process.ended() is not None else _answer_judged(served.port)
        except AssertionError as error:
            raise TimeoutError from error
        finally:
            process.stop()
        text = process.text()
        if "Traceback" in text:
            bad.append(f"a traceback: {text[-600:]}")
        lines = [line for line in text.splitlines() if line.startswith(REFUSAL)]
        if lines:
            return refusal_of(lines[0]), bad
        return COMPLETED, bad if process.ended() == 0 else [*bad, f"exit code {process.ended()}: {text[-600:]}"]


COMPLETED = "completed"
REFUSAL = "plumbline-serving cannot start: "


def judged(ended: Ended, wanted: Report) -> tuple[str, list[str]]:
    """The end of a Job's process, and what is bad about it."""
    bad = [f"a traceback: {ended.output[-600:]}"] if "Traceback" in ended.output else []
    report = ended.report
    if report is None:
        return "no report", [*bad, f"exit code {ended.code} and no report: {ended.output[-600:]}"]
    if ended.code == 0 and report.outcome is Outcome.DONE:
        same = (report.digests, report.numbers, report.verdicts) == (wanted.digests, wanted.numbers, wanted.verdicts)
        return COMPLETED, bad if same else [*bad, f"SILENT: {report.digests} in place of {wanted.digests}"]
    if ended.code != 3 or report.outcome is not Outcome.TROUBLE:
        bad.append(f"storage's fault is told as the input's: {ended.code} {report.reason}: {report.message}")
    if report.reason not in REASONS or not report.message or DEFECT in report.message:
        bad.append(f"no clear reason: {report.reason}: {report.message}")
    return report.reason, bad


def started_judged(started: Started, ground: Ground, sent: bytes, held: bytes | None) -> tuple[str, list[str]]:
    """The start of a server in a worker, and what is bad about it."""
    if started.output:
        return "crash", [started.output[-600:]]
    if started.refusal:
        return refusal_of(REFUSAL + started.refusal), []
    key = bytes.fromhex(started.key)
    facts = {
        "manifest": started.manifest == ground.estate.model,
        "model": started.digest == digest_of(MODEL),
        "answer": math.isclose(started.score, SCORE, rel_tol=1e-5),
        "hash key": is_hash_key(key) and key == ground.estate.objects[hash_key(PREFIX)],
        "log": not started.logged or held == sent,
    }
    return COMPLETED, [f"SILENT: wrong {name}" for name, good in facts.items() if not good]


def _answer_judged(port: int) -> list[str]:
    one = {"datatype": "FP32", "shape": [1, 1], "data": [1.0]}
    body = {"inputs": [{"name": name} | one for name in ("delay", "wind")]}
    found = ask(port, "POST", "/v2/models/late/infer", json.dumps(body).encode(), {"content-type": "application/json"})
    score = found.json["outputs"][0]["data"][0] if found.status == 200 else math.nan
    return [] if math.isclose(score, SCORE, rel_tol=1e-5) else [f"SILENT: wrong answer {found}"]


def refusal_of(line: str) -> str:
    """The reason in the one line of a server that does not start."""
    text = line.removeprefix(REFUSAL)
    if text.startswith("cannot read") and "s3://" in text:
        return "EndpointUnreachable"
    return "DataUnavailable" if "has digest" in text or "is not a whole key" in text else f"unclear: {text}"


def figure_of(seen: Sequence[Seen]) -> str:
    """What is printed: how many of what, how they ended, and what they met."""
    ends = Counter(one.end for one in seen)
    kinds = Counter(f"{one.plan.name}{' (process)' if one.plan.way == 'process' else ''}" for one in seen)
    refused = ", ".join(f"{number} {end}" for end, number in ends.most_common() if end != COMPLETED)
    mix = ", ".join(f"{number} {name}" for name, number in kinds.most_common())
    faults, requests = sum(len(one.faults) for one in seen), sum(one.requests for one in seen)
    silent, done = sum("SILENT" in text for one in seen for text in one.bad), ends[COMPLETED]
    return (
        f"{done} completed and verified, {len(seen) - done} refused ({refused}), {silent} silent; "
        f"{faults} faults in {requests} requests; slowest {max(one.seconds for one in seen):.0f} s; {mix}"
    )
