"""The election: one leader, a takeover when the old one falls silent, and no trust in other clocks."""

from __future__ import annotations

import asyncio
import copy

import pytest

from plumbline_operator.kube.errors import Conflict, Unreachable
from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.runtime import lease
from plumbline_operator.runtime.lease import LEASE_SECONDS, Election


class Server:
    """One Lease with resourceVersions, as an API server keeps it."""

    def __init__(self) -> None:
        self.lease: Manifest | None = None
        self.down = False
        self._version = 0

    async def get(self, ref: Ref, namespace: str, name: str) -> Manifest | None:
        self._check()
        return copy.deepcopy(self.lease)

    async def create(self, ref: Ref, manifest: Manifest) -> Manifest:
        self._check()
        if self.lease is not None:
            raise Conflict("create", "lease", 409, "exists")
        return self._store(manifest)

    async def replace(self, ref: Ref, manifest: Manifest) -> Manifest:
        self._check()
        assert self.lease is not None
        if manifest["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("replace", "lease", 409, "changed")
        return self._store(manifest)

    def _check(self) -> None:
        if self.down:
            raise Unreachable("get", "lease", 0, "down")

    def _store(self, manifest: Manifest) -> Manifest:
        self._version += 1
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        return self.lease


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.001)


def candidate(server: Server, clock: Clock, holder: str) -> Election:
    return Election(server, "system", "operator", clock, holder)


async def leads(election: Election) -> bool:
    try:
        await asyncio.wait_for(election.acquire(), 0.05)
    except TimeoutError:
        return False
    return True


async def test_the_first_one_leads_and_the_second_waits_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server, clock = Server(), Clock()
    assert await leads(candidate(server, clock, "a"))
    assert lease.WAITING not in caplog.text
    assert not await leads(candidate(server, clock, "b"))
    assert caplog.messages.count(lease.WAITING) == 1


async def test_a_silent_leader_is_followed_after_its_time_by_the_followers_own_clock() -> None:
    server, clock = Server(), Clock()
    assert await leads(candidate(server, clock, "a"))
    follower = candidate(server, clock, "b")
    assert not await leads(follower)
    clock.now += LEASE_SECONDS + 1
    assert await leads(follower)
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


async def test_a_leader_that_renews_is_not_followed() -> None:
    server, clock = Server(), Clock()
    leader, follower = candidate(server, clock, "a"), candidate(server, clock, "b")
    assert await leads(leader)
    for _ in range(3):
        assert not await leads(follower)
        clock.now += LEASE_SECONDS - 1
        assert await leads(leader)


async def test_a_released_lease_is_taken_at_once() -> None:
    server, clock = Server(), Clock()
    leader = candidate(server, clock, "a")
    assert await leads(leader)
    await leader.release()
    assert await leads(candidate(server, clock, "b"))


async def is_confirmed(election: Election) -> bool:
    try:
        await asyncio.wait_for(election.confirmed(), 0.05)
    except TimeoutError:
        return False
    return True


async def test_a_leader_cut_off_from_the_api_server_begins_nothing_and_goes_on_when_it_is_back() -> None:
    server, clock = Server(), Clock()
    leader = candidate(server, clock, "a")
    assert await leads(leader)
    keeping = asyncio.create_task(leader.keep())
    assert await is_confirmed(leader)
    server.down = True
    clock.now += 11  # nobody else could have taken it yet
    assert not await is_confirmed(leader)
    server.down = False
    await asyncio.wait_for(leader.confirmed(), 1)
    assert not keeping.done()
    keeping.cancel()


async def test_a_leader_that_slept_begins_nothing_and_leaves_when_another_one_leads() -> None:
    server, clock = Server(), Clock()
    old, new = candidate(server, clock, "a"), candidate(server, clock, "b")
    assert await leads(old)
    assert not await leads(new)
    assert old.leads()
    clock.now += 60
    assert not old.leads()
    assert not await is_confirmed(old)
    assert await leads(new)
    await asyncio.wait_for(old.keep(), 1)
    assert not await is_confirmed(old)


async def test_who_lost_the_lease_does_not_release_anothers() -> None:
    server, clock = Server(), Clock()
    old = candidate(server, clock, "a")
    assert await leads(old)
    new = candidate(server, clock, "b")
    assert not await leads(new)
    clock.now += LEASE_SECONDS + 1
    assert await leads(new)
    await old.release()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == "b"
