"""Whatever users delete and write again under its name, in whatever phase: the path ends as if nothing had been."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plumbline_operator.kube.refs import ref_of
from plumbline_operator.model.meta import Manifest, Ref
from tests.faults import oracles
from tests.faults.lane import Late, soon
from tests.faults.state import differences
from tests.foreign.ground import Ground, ground
from tests.foreign.stage import PHASES, REACH_SECONDS, Stage, namespaced_types, settled_state, stage
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record

GOAL = "rebirth"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

LIMIT_SECONDS = 30.0  # to be back where the path was
SAMPLE_LIMIT_SECONDS = 120.0
SAMPLE_PHASES = ("settled",)
LANES = 2  # phases side by side
REBORN = tuple(one for one in PHASES if one != "canary")  # what serves twice is another reference


async def test_what_goes_and_comes_again_changes_no_end(tmp_path: Path) -> None:
    limit = LIMIT_SECONDS if is_whole() else SAMPLE_LIMIT_SECONDS
    phases = REBORN if is_whole() else SAMPLE_PHASES
    with ground(f"rebirth-{os.getpid()}", tmp_path, limit) as place:
        types = namespaced_types(place)
        wanted = await _reference(place, types) if is_whole() else None
        gate = asyncio.Semaphore(LANES)

        async def one(phase: str) -> tuple[list[float], list[str]]:
            async with gate:
                return await _phase(place, types, phase, wanted)

        runs = await asyncio.gather(*(one(phase) for phase in phases))
    times = [time for found, _ in runs for time in found]
    bad = [line for _, lines in runs for line in lines]
    record(GOAL, runs=len(times), bad=len(bad), figure=f"{len(phases)} phases, slowest {max(times):.1f} s")
    assert bad == []


async def _reference(place: Ground, types: list[Ref]) -> dict[str, Any]:
    """The end of a path on which nothing went."""
    async with stage(place, "reference", types) as one:
        await one.reach("settled")
        return await settled_state(one)


async def _phase(
    place: Ground, types: list[Ref], phase: str, wanted: dict[str, Any] | None
) -> tuple[list[float], list[str]]:
    """Every object of this phase, one after the other; how long each took, and what is wrong.

    wanted: the end of a path on which nothing went; None: how it is before anything goes, in the settled phase.
    """
    times, wrong = [], []
    async with stage(place, f"rebirth-{phase}", types) as one:
        await one.reach(phase)
        wanted = wanted or await settled_state(one)
        for obj in _chosen(one.lane.written):
            title = f"{phase}: {obj['kind']} {obj['metadata']['name']}"
            try:
                times.append(await _again(one, phase, obj))
            except Late as late:
                times.append(place.limit)
                wrong.append(f"{title}: {late}")
        await one.reach("settled")
        wrong += await _end(one, phase, wanted)
        wrong += [f"{phase}: {line}" for line in oracles.foreign_specs(one.lane.proxy.journal.entries)]
        wrong += [f"{phase}: {line}" for line in oracles.log_errors(one.lane.logs())]
    return times, wrong


def _chosen(written: list[Manifest]) -> list[Manifest]:
    """All of them; a sample has a part, from the end of the path, where most hangs on them."""
    return list(written) if is_whole() else written[-(size(GOAL) // len(SAMPLE_PHASES)) :]


async def _again(one: Stage, phase: str, obj: Manifest) -> float:
    """Delete what a user wrote and, as soon as it is gone, write it again; how long until all is where it was."""
    started = asyncio.get_running_loop().time()
    ref, name = ref_of(obj), obj["metadata"]["name"]
    await one.stranger.delete(ref, name)

    async def gone() -> bool:
        return await one.stranger.look(ref, name) is None

    await soon("it is gone", gone, one.ground.limit)
    await one.stranger.create(
        ref, {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": name}, "spec": obj["spec"]}
    )
    one.lane.proxy.journal.changed()  # silence counts from now
    await soon(f"phase {phase} again", partial(one.is_at, phase), one.ground.limit)
    return asyncio.get_running_loop().time() - started


async def _end(one: Stage, phase: str, wanted: dict[str, Any]) -> list[str]:
    """Where the end differs from that of a path on which nothing went."""
    last: list[str] = []

    async def there() -> bool:
        last[:] = differences(wanted, await settled_state(one))
        return not last

    try:
        await soon("the reference state", there, REACH_SECONDS if not is_whole() else one.ground.limit)
    except Late:
        return [f"{phase}: {line}" for line in last[:5]]
    return []
