"""Starting and stopping: what ends the process, and with which words. The real process is in tests/apiserver."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest

from plumbline_operator import app
from plumbline_operator.__main__ import main
from plumbline_operator.app import Life
from plumbline_operator.kube.errors import Unreachable
from plumbline_operator.runtime.lease import Election
from plumbline_operator.runtime.listener import Listener
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.settings import Settings, read_settings
from plumbline_operator.signals.http import HttpSignals
from tests.support.fake_kube import FakeKube

IMAGES = {f"PLUMBLINE_{name}_IMAGE": f"{name.lower()}:1" for name in ("JOBS", "SERVING", "ROUTER")}


def settings(**changes: str) -> Settings:
    """The settings of a small installation."""
    return read_settings(IMAGES | {f"PLUMBLINE_{name.upper()}": value for name, value in changes.items()})


async def soon(task: asyncio.Task[Any]) -> Any:
    """The task's result, which must not take long."""
    return await asyncio.wait_for(task, 2)


def test_the_first_illness_is_the_one_that_is_told() -> None:
    life = Life()
    life.end("a watch is dead")
    life.end("the Lease was lost")
    life.end()
    assert life.stop.is_set()
    assert life.illness == "a watch is dead"


async def test_a_part_that_ends_by_itself_ends_the_process() -> None:
    life = Life()
    await soon(app._watched(life, "the Lease was lost", asyncio.sleep(0)))
    assert life.stop.is_set()
    assert life.illness == "the Lease was lost"


async def test_a_part_that_breaks_ends_the_process_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise RuntimeError("out of order")

    life = Life()
    await soon(app._watched(life, "a worker ended", broken()))
    assert life.illness == "a worker ended"
    assert "RuntimeError: out of order" in caplog.text


async def test_a_part_that_ends_during_a_shutdown_is_no_illness() -> None:
    life = Life()
    life.end()
    await soon(app._watched(life, "a worker ended", asyncio.sleep(0)))
    assert life.illness == ""


async def test_a_part_that_is_cancelled_at_the_end_is_no_illness() -> None:
    life = Life()
    task = app._watched(life, "a worker ended", asyncio.Event().wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not life.stop.is_set()


async def test_waiting_for_the_lease_ends_when_the_process_is_told_to_stop() -> None:
    life, cancelled = Life(), asyncio.Event()

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    leading = asyncio.create_task(app._unless_stopped(life, waiting()))
    await asyncio.sleep(0)
    life.end()
    assert await soon(leading) is False
    assert cancelled.is_set()


async def test_waiting_for_the_lease_ends_when_it_is_won() -> None:
    assert await app._unless_stopped(Life(), asyncio.sleep(0)) is True


async def test_what_goes_wrong_while_waiting_is_not_swallowed() -> None:
    async def broken() -> None:
        raise Unreachable("get", "leases", 0, "down")

    with pytest.raises(Unreachable, match="down"):
        await app._unless_stopped(Life(), broken())


async def test_missing_rights_are_all_named_before_the_lease_is_touched() -> None:
    kube, life = FakeKube(), Life()
    kube.denied = {("watch", "pods"), ("patch", "datasets/status")}
    await app._lead(settings(), life, Metrics(), kube)
    assert "watch pods in the cluster" in life.illness
    assert "patch datasets.plumbline.dev/status in the cluster" in life.illness
    assert "Install the chart's roles" in life.illness
    assert life.illness.count(" in the cluster") == 2
    assert kube.writes == []


async def test_missing_rights_name_the_namespace_when_few_are_watched() -> None:
    kube, life = FakeKube(), Life()
    kube.denied = {("create", "jobs")}
    await app._lead(settings(namespaces="a,b"), life, Metrics(), kube)
    assert "create jobs.batch in namespace a; create jobs.batch in namespace b" in life.illness


async def test_a_missing_right_on_the_lease_names_the_lease() -> None:
    kube, life = FakeKube(), Life()
    kube.denied = {("update", "leases")}
    await app._lead(settings(), life, Metrics(), kube)
    assert "update leases.coordination.k8s.io plumbline-operator in namespace plumbline-system" in life.illness


async def test_a_shutdown_waits_for_work_and_for_the_watches_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Listener):
        async def run(self) -> None:
            await asyncio.Event().wait()

    async def lasting(*_: object) -> None:
        await asyncio.sleep(2)

    monkeypatch.setattr(app, "LISTENER_SECONDS", 2)
    monkeypatch.setattr(app.Workers, "drain", lasting)
    monkeypatch.setattr(app, "listener", lambda ears, namespaces: Endless(lambda stop, ending: asyncio.sleep(0)))
    kube, life = FakeKube(), Life()
    election = Election(kube, "plumbline-system", "plumbline-operator", time.monotonic)
    life.end()
    begun = time.monotonic()
    await app._work(settings(), life, Metrics(), kube, HttpSignals(), election)  # type: ignore[arg-type]
    assert 2 <= time.monotonic() - begun < 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_it_without_an_illness(number: signal.Signals) -> None:
    loop, life = asyncio.get_running_loop(), Life()
    app._stop_on_signals(life)
    try:
        signal.raise_signal(number)
        await asyncio.wait_for(life.stop.wait(), 2)
    finally:
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(one)
    assert life.illness == ""


def test_wrong_settings_are_told_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in IMAGES:
        monkeypatch.delenv(name, raising=False)
    assert main() == 2
    assert "PLUMBLINE_JOBS_IMAGE" in capsys.readouterr().err
