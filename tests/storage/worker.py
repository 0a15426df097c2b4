"""A process that does one Job, or one start of a server, after another: what a pod does, without its cold start.

An order comes as a line of JSON on standard input, what became of it goes as a line to standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np

from plumbline_contract.report import Report
from plumbline_serving.errors import StartFailure, StorageTrouble
from plumbline_serving.model import load
from plumbline_serving.server import hash_key, settings_from
from plumbline_serving.storage import Storage
from tests.storage import jobs

LINE_LIMIT = 1 << 24  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Started:
    """What a server had before it would have listened; `refusal` instead when it would not start."""

    refusal: str = ""
    manifest: str = ""
    digest: str = ""
    score: float = 0.0
    key: str = ""
    logged: bool = False
    output: str = ""


def start(variables: Mapping[str, str], segment: tuple[str, bytes]) -> Started:
    """Does what a server does before it listens, and then uploads one segment of its log."""
    os.environ.update(variables)
    try:
        settings = settings_from(os.environ)
        storage = Storage(settings)
        model = load(settings, storage)
        key = hash_key(os.environ, storage)
        logged = _uploaded(storage, *segment)
    except StartFailure as failure:
        return Started(refusal=str(failure))
    except Exception:  # noqa: BLE001 - whatever would end a server's process with a traceback is what is looked for
        return Started(output=traceback.format_exc())
    feed = {spec.name: np.ones((1, 1), dtype=spec.dtype) for spec in model.signature.inputs}
    score = float(model.run(feed)[0][0, 0])
    return Started("", settings.manifest, model.digest, score, key.hex(), logged)


def _uploaded(storage: Storage, key: str, data: bytes) -> bool:
    try:
        storage.put(key, data)
    except StorageTrouble:
        return False
    return True


class Worker:
    """The parent's end of such a process; it is started anew after it had to be killed."""

    def __init__(self) -> None:
        self._running: asyncio.subprocess.Process | None = None

    async def job(self, variables: Mapping[str, str], seconds: float) -> jobs.Ended:
        """Runs a Job's main(). Raises TimeoutError when it takes longer."""
        found = await self._ask({"work": "job", "variables": dict(variables)}, seconds)
        report = None if found["report"] is None else Report.model_validate(found["report"])
        return jobs.Ended(found["code"], report, found["output"])

    async def start(self, variables: Mapping[str, str], segment: tuple[str, bytes], seconds: float) -> Started:
        """Starts a server but for its socket. Raises TimeoutError when it takes longer."""
        order = {"work": "start", "variables": dict(variables), "key": segment[0], "data": segment[1].hex()}
        return Started(**await self._ask(order, seconds))

    async def _ask(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        running = await self._alive()
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(json.dumps(order).encode() + b"\n")
        await running.stdin.drain()
        try:
            line = await asyncio.wait_for(running.stdout.readline(), seconds)
        except TimeoutError:
            await self.stop()
            raise
        found: dict[str, Any] = json.loads(line)
        return found

    async def _alive(self) -> asyncio.subprocess.Process:
        if self._running is None:
            self._running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.storage.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT,
            )
        return self._running

    async def stop(self) -> None:
        """End the process."""
        if self._running is not None:
            self._running.kill()
            await self._running.wait()
            self._running = None


@asynccontextmanager
async def working() -> AsyncIterator[Worker]:
    """A worker, ended afterwards."""
    worker = Worker()
    try:
        yield worker
    finally:
        await worker.stop()


def _answered(order: dict[str, Any]) -> dict[str, Any]:
    if order["work"] == "start":
        return asdict(start(order["variables"], (order["key"], bytes.fromhex(order["data"]))))
    ended = jobs.within(order["variables"])
    report = None if ended.report is None else ended.report.model_dump(mode="json")
    return {"code": ended.code, "report": report, "output": ended.output}


def main() -> None:
    """Answers orders until there are no more."""
    answers: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        print(json.dumps(_answered(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
