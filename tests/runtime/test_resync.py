"""The resync repairs what watches missed, and notices a watch that is dead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import generate_latest

from plumbline_operator.kube.errors import Unreachable
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.runtime.ears import Ears
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from plumbline_operator.runtime.resync import Resync
from tests.runtime.test_ears import woken
from tests.runtime.toy import KIND, ROOM
from tests.support.clock import Clock
from tests.support.fake_kube import FakeKube
from tests.support.worlds import raw, ready

BEAR, CUB = Key("Toy", "team", "bear"), Key("Toy", "team", "cub")


def toy(name: str, **metadata: Any) -> Manifest:
    return raw(KIND, name, {"size": 1}, **metadata)


@pytest.fixture
def ears() -> Ears:
    return Ears({"Toy": ROOM}, WorkQueue(Clock()), Links(), Metrics())


def hear(ears: Ears, kube: FakeKube, *names: str) -> None:
    """The watch tells of these as they are now."""
    for name in names:
        found = kube.look("Toy", name)
        assert found is not None
        ears.note(ROOM, found)


def resync(kube: FakeKube, ears: Ears, **more: Any) -> Resync:
    return Resync(kube, ears, period_seconds=0.0, grace_seconds=0.0, **more)


async def ends(one: Resync) -> bool:
    """Whether the resync finds a dead watch."""
    try:
        await asyncio.wait_for(one.run(), 0.2)
    except TimeoutError:
        return False
    return True


async def test_everything_is_looked_at_once_more(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), toy("cub"))
    await resync(kube, ears).look()
    assert woken(ears) == {BEAR, CUB}


async def test_only_the_watched_namespaces_are_listed(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), toy("cub", namespace="others"))
    await resync(kube, ears, namespaces=("team",)).look()
    assert woken(ears) == {BEAR}


async def test_a_watch_that_tells_everything_is_alive(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    hear(ears, kube, "bear")
    assert not await ends(resync(kube, ears))


async def test_an_object_that_no_watch_ever_told_of_means_a_dead_watch(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), toy("cub"))
    hear(ears, kube, "bear")
    assert await ends(resync(kube, ears))


async def test_a_change_that_no_watch_told_of_means_a_dead_watch(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    hear(ears, kube, "bear")
    kube.edit(toy("bear"), spec={"size": 2})
    assert await ends(resync(kube, ears))


async def test_a_watch_may_be_late_within_the_grace_period(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    one = Resync(kube, ears, period_seconds=0.0, grace_seconds=0.05)
    running = asyncio.create_task(one.run())
    await asyncio.sleep(0.01)
    assert one.unheard == {BEAR: 1}
    hear(ears, kube, "bear")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(running, 0.2)


async def test_an_object_that_went_meanwhile_proves_nothing(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    one = resync(kube, ears)
    await one.look()
    kube.remove(toy("bear"))
    assert not await one._stays_deaf()


async def test_trouble_with_the_api_server_ends_nothing(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    kube.fail("list", "Toy", Unreachable("list", "toys", 503, "away"))
    kube.fail("get", "Toy", Unreachable("get", "toys", 503, "away"))
    assert await ends(resync(kube, ears))  # it went on after both, and only then found the dead watch
    assert kube.failures == []


async def test_what_went_unnoticed_is_forgotten_and_wakes_who_depended_on_it(ears: Ears) -> None:
    kube = FakeKube(ready(toy("bear"), "Played"), toy("cub", labels={"after": "bear"}))
    hear(ears, kube, "bear", "cub")
    woken(ears)
    kube.remove(toy("bear"))
    await resync(kube, ears).look()
    assert woken(ears) == {CUB}
    assert set(ears.heard) == {CUB}
    assert b'name="bear"' not in generate_latest(ears.metrics.registry)
