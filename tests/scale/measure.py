"""What is measured on a full API server, each as a plain number."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.lane import soon
from tests.scale.operator import Audit, Operator
from tests.scale.verdicts import Verdicts, verdicts
from tests.scale.world import Team, admin_configuration
from tests.support.cluster import Cluster

SETTLED_LOOKS = 3  # with an empty queue, half a second apart
SEEN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Rest:
    """What an operator does while nothing happens: requests per second besides watches, and its share of a core."""

    requests: float
    core: float


async def started(operator: Operator, objects: int, limit: float) -> float:
    """Seconds from the process's start until every object was reconciled. Raises Late."""
    empty = 0

    async def over() -> bool:
        nonlocal empty
        operator.assert_alive()
        done, depth = await asyncio.to_thread(_progress, operator)
        empty = empty + 1 if done >= objects and depth == 0 else 0
        return empty >= SETTLED_LOOKS

    await soon(f"{objects} objects are reconciled", over, limit)
    return time.monotonic() - operator.started


async def quiet(audit: Audit, seconds: float, limit: float) -> None:
    """Wait until the operator has written nothing for so long. Raises Late."""
    seen, since = -1, time.monotonic()

    async def silent() -> bool:
        nonlocal seen, since
        number = len(await asyncio.to_thread(audit.writes))
        if number != seen:
            seen, since = number, time.monotonic()
        return time.monotonic() - since > seconds

    await soon(f"no write for {seconds:.0f} s", silent, limit)


async def at_rest(operator: Operator, audit: Audit, seconds: float) -> Rest:
    """What so many seconds of rest cost."""
    audit = Audit(audit.path)
    core, begun = operator.core_seconds(), time.monotonic()
    await asyncio.sleep(seconds)  # the length of the measurement, not a wait for something
    lasted = time.monotonic() - begun
    return Rest(len(audit.requests()) / lasted, (operator.core_seconds() - core) / lasted)


async def reconcile_delays(cluster: Cluster, teams: Sequence[Team], rate: float, seconds: float) -> list[float]:
    """Create Approvals at this rate; seconds from each one's creation to the operator's verdict on it, sorted.

    The rate is kept whatever the operator does: an open loop. Raises Late.
    """
    made: dict[tuple[str, str], float] = {}
    versions = {team.namespace: await team.versions() for team in teams}

    async def create(team: Team, number: int) -> None:
        choices, sent = versions[team.namespace], time.monotonic()
        one = await team.consent(choices[number % len(choices)], number)
        made[team.namespace, one["metadata"]["name"]] = sent

    async with verdicts(await admin_configuration(cluster)) as seen:
        begun, work = time.monotonic(), []
        for number, team in zip(range(int(rate * seconds)), itertools.cycle(teams), strict=False):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))  # the pace of an open loop
            work.append(asyncio.create_task(create(team, number)))
        await asyncio.gather(*work)
        await soon("every Approval is judged", lambda: _all_of(made, seen), SEEN_SECONDS)
    return sorted(seen[key] - sent for key, sent in made.items())


async def _all_of(made: Mapping[tuple[str, str], float], seen: Verdicts) -> bool:
    return made.keys() <= seen.keys()


def _progress(operator: Operator) -> tuple[float, float]:
    return operator.total("plumbline_reconcile_seconds_count"), operator.total("plumbline_queue_depth")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the sorted values does not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]
