"""Jobs as a pod runs them: `python -m plumbline_jobs`, and the same main() inside a worker."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plumbline_contract.report import Report
from plumbline_contract.runspec import RUNSPEC_VARIABLE, RunSpec
from plumbline_jobs import main, places
from tests.storage.server import CREDENTIALS

KILLED = -9


@dataclass(frozen=True, slots=True)
class Ended:
    """How a Job's process ended. `report` is None when it left none; `output` is all that it printed."""

    code: int
    report: Report | None
    output: str


def environment(order: RunSpec, root: Path) -> dict[str, str]:
    """The variables of a Job's container."""
    (root / "tmp").mkdir(exist_ok=True)
    return {
        **CREDENTIALS,
        RUNSPEC_VARIABLE: order.canonical().decode(),
        places.TERMINATION_VARIABLE: str(root / "termination-log"),
        places.ROOT_VARIABLE: str(root),
        "TMPDIR": str(root / "tmp"),
        "ORT_DISABLE_TELEMETRY": "1",  # as in the image
    }


async def process(variables: Mapping[str, str], started: Callable[[Callable[[], None]], None]) -> Ended:
    """Runs a Job in a process of its own; `started` is handed what kills it."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "plumbline_jobs"),
        env=os.environ | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    started(lambda: _kill(running))
    try:
        output, _ = await running.communicate()
    except asyncio.CancelledError:
        _kill(running)
        await running.wait()
        raise
    return Ended(running.returncode or 0, told(variables), output.decode(errors="replace"))


def _kill(running: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        running.kill()


def told(variables: Mapping[str, str]) -> Report | None:
    """The report that a Job left; None when there is none, or half of one."""
    path = Path(variables[places.TERMINATION_VARIABLE])
    try:
        return Report.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def within(variables: Mapping[str, str]) -> Ended:
    """Runs a Job's main() in this process, which does nothing else meanwhile."""
    os.environ.update(variables)
    tempfile.tempdir = None  # else the first Job's TMPDIR would be everybody's
    output = io.StringIO()
    code = -1
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main.main()
        except Exception:  # noqa: BLE001 - whatever would end a Job's process with a traceback is what is looked for
            traceback.print_exc()
    return Ended(code, told(variables), output.getvalue())
