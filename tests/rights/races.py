"""Approvers, an author and a releaser who all act at once, again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from plumbline_operator.kube import refs
from plumbline_operator.model.meta import Manifest
from tests.rights.ground import soon
from tests.rights.neighbours import KINDS
from tests.rights.people import ALICE, APPROVERS, BOB, DAN, TEAM, Cast
from tests.rooms import registry_objects as registry
from tests.rooms.data_objects import digest

TOGETHER = 10  # races at once
PAUSE_SECONDS = 0.4  # within which the acts of a race are scattered
SERVED_SECONDS = 120.0  # for what is approved in the end
CALM_SECONDS = 2.0  # for what is not
GONE_SECONDS = 60.0
APPROVAL, DEPLOYMENT = KINDS["Approval"], KINDS["ModelDeployment"]

Act = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Race:
    """One deployment, the version it names first and the one it is changed to, and everybody's acts."""

    number: int
    cast: Cast
    first: Manifest
    second: Manifest
    is_quiet: bool  # nobody denies its first version: some races must end in a promotion

    def acts(self, dice: random.Random) -> list[Act]:
        """What everybody does, in no order. Some of it is refused; that is part of it."""
        cast, name = self.cast, f"race-{self.number}"
        yes, no = self._decision("yes", BOB, "Approve"), self._decision("no", DAN, "Deny")
        own, other = self._decision("own", ALICE, "Approve"), self._decision("other", BOB, "Approve", digest("9"))
        change = {"spec": {"versionRef": {"name": self.second["metadata"]["name"]}}}
        found: list[Act] = [
            lambda: cast.alice.create(TEAM, self._deployment(name)),
            lambda: cast.alice.create(TEAM, own),
            lambda: cast.bob.create(TEAM, other),
        ]
        if dice.random() < 0.8:
            found.append(lambda: cast.bob.create(TEAM, yes))
        if not self.is_quiet and dice.random() < 0.5:
            found.append(lambda: cast.dan.create(TEAM, no))
        if dice.random() < 0.5:
            found.append(lambda: cast.alice.patch(DEPLOYMENT, TEAM, name, change))
        if dice.random() < 0.3:
            found.append(lambda: cast.bob.delete(APPROVAL, TEAM, yes["metadata"]["name"]))
        if dice.random() < 0.3:
            found.append(lambda: cast.dan.delete(APPROVAL, TEAM, no["metadata"]["name"]))
        dice.shuffle(found)
        return found

    def _deployment(self, name: str) -> Manifest:
        spec = {"modelRef": {"name": "delays"}, "versionRef": {"name": self.first["metadata"]["name"]}}
        return {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": "ModelDeployment",
            "metadata": {"name": name},
            "spec": spec | {"realTime": {"routerReplicas": 1}},
        }

    def _decision(self, title: str, approver: str, decision: str, manifest: str = "") -> Manifest:
        spec = self.first["spec"]
        about = {"manifest": manifest or spec["manifest"], "author": spec["author"]}
        about["name"] = self.first["metadata"]["name"]
        name = f"race-{self.number}-{title}"
        return registry.approval(name, approver, decision=decision, version=about, group=APPROVERS)


async def run_races(cast: Cast, versions: list[Manifest], number: int, seed: int) -> None:
    """So many races on these versions, several at once; everything they made is removed between."""
    dice = random.Random(seed)
    for start in range(0, number, TOGETHER):
        races = [
            Race(n, cast, versions[n % len(versions)], versions[(n + 1) % len(versions)], n % len(versions) == 0)
            for n in range(start, min(start + TOGETHER, number))
        ]
        await asyncio.gather(*(_scattered(act, dice.random() * PAUSE_SECONDS) for r in races for act in r.acts(dice)))
        await soon("what is approved serves", lambda: served(cast, versions), SERVED_SECONDS)
        await asyncio.sleep(CALM_SECONDS)  # not a wait for a fact: whatever wrongly comes must have time to come
        await clear(cast)


async def served(cast: Cast, versions: list[Manifest]) -> bool:
    """Whether each race whose version is approved as things stand now serves it."""
    said = [one["spec"] for one in await cast.admin.all(APPROVAL, TEAM)]
    valid = [one for one in said if one["approver"] in (BOB, DAN)]
    denied = {one["version"]["manifest"] for one in valid if one["decision"] == "Deny"}
    wanted = {one["version"]["manifest"] for one in valid if one["decision"] == "Approve"} - denied
    names = {one["metadata"]["name"] for one in versions if one["spec"]["manifest"] in wanted}
    for one in await cast.admin.all(DEPLOYMENT, TEAM):
        version = one["spec"]["versionRef"]["name"]
        stable = one.get("status", {}).get("stable", {}).get("version")
        if one["metadata"]["name"].startswith("race-") and version in names and stable != version:
            return False
    return True


async def clear(cast: Cast) -> None:
    """Remove every race's deployment and decisions, and wait until their pods are gone."""
    for ref in (DEPLOYMENT, APPROVAL):
        for one in await cast.admin.all(ref, TEAM):
            if one["metadata"]["name"].startswith("race-"):
                await cast.admin.delete(ref, TEAM, one["metadata"]["name"])

    async def gone() -> bool:
        return not any(p["metadata"]["name"].startswith("race-") for p in await cast.admin.all(refs.PODS, TEAM))

    await soon("the races' pods are gone", gone, GONE_SECONDS)


async def _scattered(act: Act, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await act()
