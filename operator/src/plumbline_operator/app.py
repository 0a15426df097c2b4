"""Starts and stops the operator.

log in ─ health port ─ rights ─ Lease ─ workers, resync, listener             (start)
no more news, and work in progress is finished, at most 20 s ─ Lease is released  (stop)
"""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from plumbline_operator.kube.auth import login
from plumbline_operator.kube.http import HttpKube
from plumbline_operator.model.meta import Key
from plumbline_operator.rights import missing
from plumbline_operator.rooms import ROOMS
from plumbline_operator.runtime.ears import Ears
from plumbline_operator.runtime.events import Recorder
from plumbline_operator.runtime.health import HealthServer
from plumbline_operator.runtime.lease import Election
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.listener import listener
from plumbline_operator.runtime.loop import Loop
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from plumbline_operator.runtime.resync import Resync
from plumbline_operator.runtime.room import Sight
from plumbline_operator.runtime.workers import Workers
from plumbline_operator.settings import Settings
from plumbline_operator.signals.http import HttpSignals

LISTENER_SECONDS = 10.0  # how long a shutdown waits for the watches to close

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Life:
    """Whether the process should go on, and why not."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    illness: str = ""

    def end(self, illness: str = "") -> None:
        """Begin to stop; with an illness the process ends with an error, so that it is started again."""
        self.illness = self.illness or illness
        self.stop.set()


async def run(settings: Settings) -> int:
    """Run until told to stop; the exit status is 0, or 1 when something was wrong."""
    life, metrics = Life(), Metrics()
    _stop_on_signals(life)
    kube = HttpKube(await login(), metrics.called)
    health = HealthServer(metrics, lambda: life.illness, lambda: "", settings.health_port, settings.health_host)
    await health.start()
    try:
        await _lead(settings, life, metrics, kube)
    finally:
        await health.stop()
        await kube.close()
    if life.illness:
        log.error("ended: %s", life.illness)
    return 1 if life.illness else 0


async def _lead(settings: Settings, life: Life, metrics: Metrics, kube: HttpKube) -> None:
    """Wait for the Lease, then work until stopped."""
    lacking: list[str] = []

    async def ask() -> None:
        lacking.extend(await missing(kube, ROOMS, settings.watched, (settings.lease_namespace, settings.lease_name)))

    if not await _unless_stopped(life, ask()):
        return
    if lacking:
        life.end(f"the operator lacks rights: {'; '.join(lacking)}. Install the chart's roles for it")
        return
    election = Election(kube, settings.lease_namespace, settings.lease_name, time.monotonic)
    if not await _unless_stopped(life, election.acquire()):
        return
    kube.fence(election.leads)
    metrics.leader.set(1)
    signals = HttpSignals()
    try:
        await _work(settings, life, metrics, kube, signals, election)
    finally:
        await signals.close()
        await election.release()


async def _work(
    settings: Settings, life: Life, metrics: Metrics, kube: HttpKube, signals: HttpSignals, election: Election
) -> None:
    rooms = {room.kind.kind: room for room in ROOMS}
    queue: WorkQueue[Key] = WorkQueue(time.monotonic)
    ears = Ears(rooms, queue, Links(), metrics)
    loop = Loop(kube, Sight(kube, signals, settings.images), Recorder(kube, election.holder))
    workers = Workers(rooms, queue, loop, metrics, lambda: datetime.now(UTC), election.confirmed)
    listening = listener(ears, settings.watched)
    resync = Resync(kube, ears, settings.resync_seconds, settings.watched, listening.renew)
    tasks = [
        *(_watched(life, "a worker ended", workers.work()) for _ in range(settings.workers)),
        _watched(life, "the Lease was lost", election.keep()),
        _watched(life, "the resync ended", resync.run()),
    ]
    ears_open = _watched(life, "the listener ended", listening.run())
    await life.stop.wait()
    listening.end()
    # At the same time: one after the other would take all of the pod's 30 s, and leave none for the Lease.
    await asyncio.gather(workers.drain(settings.drain_seconds), asyncio.wait([ears_open], timeout=LISTENER_SECONDS))
    for task in (*tasks, ears_open):
        task.cancel()
    await asyncio.gather(*tasks, ears_open, return_exceptions=True)


def _watched(life: Life, illness: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """A task whose end, other than by us, is the end of the process."""

    async def guarded() -> None:
        try:
            await work
        except Exception:  # whatever ends a task of the machinery ends the process, with its traceback in the log
            log.exception(illness)
        if not life.stop.is_set():
            life.end(illness)

    return asyncio.create_task(guarded())


async def _unless_stopped(life: Life, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work ended before the process was told to stop."""
    tasks = [asyncio.create_task(work), asyncio.create_task(_until_stopped(life))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
    return not life.stop.is_set()


async def _until_stopped(life: Life) -> None:
    await life.stop.wait()


def _stop_on_signals(life: Life) -> None:
    """Stop on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.end)
