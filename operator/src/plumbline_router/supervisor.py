"""The router pod's first process: keeps Envoy and its agent running, neither at the other's expense.

```
               ┌── agent   follows the routes. It ends: begun again; Envoy goes on with the routes it has
  supervisor ──┤     │ orders (how to start Envoy), routes and clusters as files
               └── Envoy   carries the requests. It ends: the container ends, and the kubelet starts all anew

  SIGTERM ──▶ the agent drains Envoy and ends ──▶ Envoy ends
```

It imports as little as it can: a process that does next to nothing should cost next to nothing.
"""

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline_router.files import ORDERS

AGENT = (sys.executable, "-m", "plumbline_router.agent")
POLL_SECONDS = 0.02
PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0  # before an agent that ended is begun again
HEALTHY_SECONDS = 30.0  # an agent that lived longer did not end because of how it was started
ANSWER_SECONDS = 20.0  # beyond the drain, for the agent to end
STOP_SECONDS = 10.0  # for Envoy to end


@dataclass(frozen=True, slots=True)
class Orders:
    """How Envoy is started: its command, the admin socket an earlier one may have left, and how long it drains."""

    command: tuple[str, ...]
    socket: Path
    drain_seconds: float


async def supervise(folder: Path, agent: Sequence[str] = AGENT) -> int:
    """Run until SIGTERM or SIGINT; the exit code: 0 after an orderly end, 1 when Envoy or the first agent failed."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    (folder / ORDERS).unlink(missing_ok=True)  # of an earlier life, perhaps of another image
    first = await _begin(agent)
    orders = await _orders(folder / ORDERS, first, stop)
    if orders is None:
        code = await _end(first, STOP_SECONDS)
        return 0 if stop.is_set() else code or 1
    orders.socket.unlink(missing_ok=True)
    envoy = await _begin(orders.command)
    last = await _keep(agent, first, envoy, stop)
    if envoy.returncode is not None:
        await _end(last, 0.0)
        return 1
    await _drained(last, envoy, orders.drain_seconds)
    await _end(envoy, STOP_SECONDS)
    return 0


async def _orders(file: Path, agent: Process, stop: asyncio.Event) -> Orders | None:
    """The orders once an agent has written them; None when it ended instead, or when nobody wants Envoy any more."""
    while agent.returncode is None and not stop.is_set():
        if (found := _read(file)) is not None:
            return found
        await asyncio.sleep(POLL_SECONDS)
    return None


def _read(file: Path) -> Orders | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Orders(tuple(told["command"]), Path(told["socket"]), float(told["drain_seconds"]))


async def _keep(agent: Sequence[str], current: Process, envoy: Process, stop: asyncio.Event) -> Process:
    """Begin agents anew until Envoy ends or a stop is asked for; the last agent."""
    pause = PAUSE_SECONDS
    while True:
        begun = time.monotonic()
        await _first(current.wait(), envoy.wait(), stop.wait())
        if stop.is_set():
            return current
        if envoy.returncode is not None:
            _say(f"Envoy ended by itself with exit code {envoy.returncode}")
            return current
        pause = PAUSE_SECONDS if time.monotonic() - begun > HEALTHY_SECONDS else min(2 * pause, MAX_PAUSE_SECONDS)
        _say(f"the agent ended with exit code {current.returncode}; Envoy keeps its routes; again in {pause:.1f} s")
        await _first(asyncio.sleep(pause), envoy.wait(), stop.wait())
        if not stop.is_set():
            current = await _begin(agent)


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of these is over."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _drained(agent: Process, envoy: Process, seconds: float) -> None:
    """Have the agent drain Envoy. Where it does not, callers get the same time to leave, but nobody tells them.

    It may be gone, may have begun a moment ago and die of the signal, or may fail while it drains.
    """
    begun = time.monotonic()
    await _end(agent, 2 * seconds + ANSWER_SECONDS)
    await _first(asyncio.sleep(begun + seconds - time.monotonic()), envoy.wait())


async def _begin(command: Sequence[str]) -> Process:
    """Start a program; in a session of its own, because a signal to our group is ours to pass on."""
    return await asyncio.create_subprocess_exec(*command, start_new_session=True)


async def _end(process: Process, seconds: float) -> int:
    """Ask a process to end, by force when it has not within this time; its exit code."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            _say(f"process {process.pid} did not end within {seconds:.0f} s; killing it")
            process.kill()
            await process.wait()
    return process.returncode or 0


def _say(text: str) -> None:
    print(f"plumbline-router: {text}", file=sys.stderr, flush=True)
