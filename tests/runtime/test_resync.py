"""The resync repairs what watches missed, and notices a watch that is dead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import generate_latest

from plumbline_operator.kube.errors import Unreachable
from plumbline_operator.kube.refs import JOBS
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE, OWNER_KIND, OWNER_NAME, Key, Manifest
from plumbline_operator.runtime.ears import Ears
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.queue import WorkQueue
from plumbline_operator.runtime.resync import PARTS, Resync
from tests.runtime.test_ears import woken
from tests.runtime.toy import KIND, ROOM
from tests.support.clock import Clock
from tests.support.fake_kube import FakeKube
from tests.support.worlds import raw, ready, thing

BEAR, CUB = Key("Toy", "team", "bear"), Key("Toy", "team", "cub")
GRACE = 120.0


def toy(name: str, **metadata: Any) -> Manifest:
    return raw(KIND, name, {"size": 1}, **metadata)


def job(name: str, owner: str) -> Manifest:
    labels = {MANAGED_BY: MANAGED_VALUE, OWNER_KIND: "Toy", OWNER_NAME: owner}
    return thing("batch/v1", "Job", name, labels=labels)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ears(clock: Clock) -> Ears:
    return Ears({"Toy": ROOM}, WorkQueue(clock), Links(), Metrics())


def hear(ears: Ears, kube: FakeKube, *names: str, kind: str = "Toy") -> None:
    """The watch tells of these as they are now."""
    for name in names:
        found = kube.look(kind, name)
        assert found is not None
        ears.hear(KIND.ref if kind == "Toy" else JOBS, found, False)


class Bench(Resync):
    """A resync with a clock of the test's, that counts how often the watches were begun anew."""

    def __init__(self, kube: FakeKube, ears: Ears, **more: Any) -> None:
        self.now, self.renewals = 0.0, 0
        super().__init__(kube, ears, 10.0, renew=self._count, clock=lambda: self.now, **more)

    def _count(self) -> None:
        self.renewals += 1

    async def pass_by(self, seconds: float) -> None:
        """Look and judge every ten seconds for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += self.period_seconds
            self.judge()
            await self.look()


async def test_what_no_watch_told_of_is_heard_of_by_the_list(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), toy("cub"))
    assert await Bench(kube, ears).look()
    assert woken(ears) == {BEAR, CUB}
    assert set(ears.heard) == {BEAR, CUB}


async def test_what_was_heard_is_left_alone_but_comes_up_once_in_all_parts(ears: Ears, clock: Clock) -> None:
    kube = FakeKube(toy("bear"), toy("cub"))
    hear(ears, kube, "bear", "cub")
    woken(ears)
    one, seen = Bench(kube, ears), []
    for _ in range(PARTS):
        await one.look()
        clock.pass_(one.period_seconds)
        seen += woken(ears)
    assert sorted(seen) == [BEAR, CUB]


async def test_what_comes_up_comes_up_one_by_one_within_the_period(ears: Ears, clock: Clock) -> None:
    names = [f"bear-{number}" for number in range(40 * PARTS)]
    kube = FakeKube(*map(toy, names))
    hear(ears, kube, *names)
    woken(ears)
    one, seen = Bench(kube, ears), []
    await one.look()
    for _ in range(10):
        clock.pass_(one.period_seconds / 10)
        seen.append(len(woken(ears)))
    assert 20 < sum(seen) < 60
    assert max(seen) < sum(seen) / 3


async def test_a_child_that_no_watch_told_of_wakes_its_owner(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), job("bear-play", "bear"))
    hear(ears, kube, "bear")
    hear(ears, kube, "bear-play", kind="Job")
    kube.say(job("bear-play", "bear"), {"succeeded": 1})
    woken(ears)
    one = Bench(kube, ears, _looks=part_without(BEAR))
    await one.look()
    assert woken(ears) == {BEAR}
    await one.look()
    assert woken(ears) == set()


async def test_a_child_that_went_unnoticed_wakes_its_owner(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), job("bear-play", "bear"))
    hear(ears, kube, "bear")
    hear(ears, kube, "bear-play", kind="Job")
    kube.remove(job("bear-play", "bear"))
    woken(ears)
    await Bench(kube, ears, _looks=part_without(BEAR)).look()
    assert woken(ears) == {BEAR}
    assert set(ears.heard) == {BEAR}


async def test_only_the_watched_namespaces_are_listed(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), toy("cub", namespace="others"))
    await Bench(kube, ears, namespaces=("team",)).look()
    assert woken(ears) == {BEAR}


async def test_a_watch_that_tells_everything_is_alive(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    hear(ears, kube, "bear")
    one = Bench(kube, ears)
    await one.pass_by(2 * GRACE)
    assert one.renewals == 0


async def test_a_watch_that_tells_of_nothing_for_the_whole_grace_is_dead(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    hear(ears, kube, "bear")
    kube.edit(toy("bear"), spec={"size": 2})
    one = Bench(kube, ears)
    await one.pass_by(GRACE)
    assert (one.renewals, set(one.doubts)) == (0, {(KIND.ref, None)})
    await one.pass_by(10)
    assert one.renewals == 1


async def test_a_dead_watch_of_children_is_noticed_too(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), job("bear-play", "bear"))
    hear(ears, kube, "bear")
    one = Bench(kube, ears)
    await one.pass_by(GRACE + 10)
    assert one.renewals == 1


async def test_a_watch_that_loses_half_is_alive_and_is_repaired_meanwhile(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), toy("cub"))
    hear(ears, kube, "bear", "cub")
    one = Bench(kube, ears)
    for size in range(1, 10):
        kube.edit(toy("bear"), spec={"size": size + 1})
        woken(ears)
        await one.pass_by(GRACE / 4)
        assert BEAR in woken(ears)
        kube.edit(toy("cub"), spec={"size": size + 1})
        hear(ears, kube, "cub")
    assert one.renewals == 0


async def test_a_watch_may_be_late_within_the_grace_period(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    one = Bench(kube, ears)
    await one.pass_by(GRACE)
    hear(ears, kube, "bear")
    await one.pass_by(GRACE)
    assert (one.renewals, one.doubts) == (0, {})


async def test_after_the_watches_began_anew_they_have_the_whole_grace_again(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    one = Bench(kube, ears)
    await one.pass_by(GRACE + 10)
    await one.pass_by(GRACE - 10)
    assert one.renewals == 1


async def test_one_kind_that_cannot_be_listed_keeps_no_other_from_being_looked_at(ears: Ears) -> None:
    kube = FakeKube(toy("bear"), job("cub-play", "cub"))
    kube.fail("list", "Toy", Unreachable("list", "toys", 503, "away"))
    one = Bench(kube, ears)
    assert not await one.look()
    assert woken(ears) == {CUB}
    assert await one.look()
    assert woken(ears) == {BEAR}


async def test_it_goes_on_for_ever_and_tries_again_soon_after_trouble(ears: Ears) -> None:
    kube = FakeKube(toy("bear"))
    kube.fail("list", "Toy", Unreachable("list", "toys", 503, "away"))
    running = asyncio.create_task(Resync(kube, ears, period_seconds=0.01).run())
    async with asyncio.timeout(5):
        while True:
            if BEAR in woken(ears):
                break
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()


async def test_what_went_unnoticed_is_forgotten_and_wakes_who_depended_on_it(ears: Ears) -> None:
    kube = FakeKube(ready(toy("bear"), "Played"), toy("cub", labels={"after": "bear"}))
    hear(ears, kube, "bear", "cub")
    woken(ears)
    kube.remove(toy("bear"))
    await Bench(kube, ears, _looks=part_without(CUB)).look()
    assert woken(ears) == {CUB}
    assert set(ears.heard) == {CUB}
    assert b'name="bear"' not in generate_latest(ears.metrics.registry)


def part_without(key: Key) -> int:
    """The number of a look whose part of everything does not contain this object."""
    probe = Resync(FakeKube(), Ears({}, WorkQueue(Clock()), Links(), Metrics()), 1.0)
    while probe._is_turn_of(key) or _next_is_turn(probe, key):
        probe._looks += 1
    return probe._looks


def _next_is_turn(probe: Resync, key: Key) -> bool:
    probe._looks += 1
    found = probe._is_turn_of(key)
    probe._looks -= 1
    return found
