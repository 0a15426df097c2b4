"""The router's first process: who is begun again, who takes the whole router along, and in which order it ends."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from plumbline_router.files import ORDERS
from plumbline_router.supervisor import supervise

SAY = "import os,sys,time,signal,pathlib; log=pathlib.Path(sys.argv[1]); say=lambda t: log.open('a').write(t+'\\n');"
SLEEP = "time.sleep(60)"


def program(log: Path, body: str) -> list[str]:
    """A program that may say() something into the log."""
    return [sys.executable, "-c", SAY + body, str(log)]


class House:
    """A folder with a pretended Envoy; its agent gives the orders and then does what it is told."""

    def __init__(self, folder: Path, envoy: str = f"say('envoy up'); {SLEEP}", drain_seconds: float = 0.1) -> None:
        self.folder, self.log = folder, folder / "log"
        self.log.touch()
        orders = {"command": program(self.log, envoy), "socket": str(folder / "sock"), "drain_seconds": drain_seconds}
        self._orders = json.dumps(orders)

    def agent(self, body: str) -> list[str]:
        path = str(self.folder / ORDERS)
        return program(self.log, f"say('agent up'); pathlib.Path({path!r}).write_text({self._orders!r});\n{body}")

    def said(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1]

    async def until(self, line: str, times: int = 1) -> None:
        deadline = time.monotonic() + 20
        while self.said().count(line) < times:
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.01)


async def stopped(house: House, task: "asyncio.Task[int]") -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    return await asyncio.wait_for(task, 20)


async def test_an_agent_that_ends_is_begun_again_and_envoy_never_notices(tmp_path: Path) -> None:
    house = House(tmp_path)
    task = asyncio.create_task(supervise(tmp_path, house.agent("time.sleep(0.05); sys.exit(3)")))
    await house.until("agent up", times=3)
    assert house.said().count("envoy up") == 1
    assert await stopped(house, task) == 0


async def test_the_agent_ends_before_envoy_is_told_to(tmp_path: Path) -> None:
    tell = "signal.signal(15, lambda *_: (time.sleep(0.2), say('{0} ends'), sys.exit(0)));"
    house = House(tmp_path, f"{tell.format('envoy')} say('envoy up'); {SLEEP}")
    task = asyncio.create_task(supervise(tmp_path, house.agent(f"{tell.format('agent')} say('agent set'); {SLEEP}")))
    await house.until("envoy up")
    await house.until("agent set")
    assert await stopped(house, task) == 0
    assert house.said()[-2:] == ["agent ends", "envoy ends"]


@pytest.mark.parametrize("agent", [SLEEP, f"signal.signal(15, lambda *_: sys.exit(1)); say('agent set'); {SLEEP}"])
async def test_callers_get_their_time_to_leave_when_the_agent_cannot_drain(tmp_path: Path, agent: str) -> None:
    envoy = f"signal.signal(15, lambda *_: (say('envoy ends'), sys.exit(0))); say('envoy up'); {SLEEP}"
    house = House(tmp_path, envoy, drain_seconds=1.0)
    task = asyncio.create_task(supervise(tmp_path, house.agent(agent)))
    await house.until("envoy up")
    if "agent set" in agent:
        await house.until("agent set")
    begun = time.monotonic()
    assert await stopped(house, task) == 0
    assert time.monotonic() - begun >= 1.0
    assert house.said()[-1] == "envoy ends"


async def test_the_end_of_envoy_is_the_end_of_the_router_and_of_its_agent(tmp_path: Path) -> None:
    house = House(tmp_path, "sys.exit(7)")
    (tmp_path / "sock").touch()  # what an earlier Envoy has left
    begun = time.monotonic()
    assert await supervise(tmp_path, house.agent(SLEEP)) == 1
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "sock").exists()


@pytest.mark.parametrize("left", [True, False])
async def test_an_agent_that_cannot_start_is_the_end_of_the_router(tmp_path: Path, left: bool) -> None:
    if left:  # orders of an earlier life are not obeyed
        (tmp_path / ORDERS).write_text('{"command": ["false"], "socket": "/nowhere", "drain_seconds": 1}')
    assert await supervise(tmp_path, [sys.executable, "-c", "raise SystemExit(4)"]) == 4


async def test_a_stop_before_the_start_is_orderly(tmp_path: Path) -> None:
    house = House(tmp_path)
    task = asyncio.create_task(supervise(tmp_path, program(house.log, f"say('waiting'); {SLEEP}")))
    await house.until("waiting")
    assert await stopped(house, task) == 0
