"""Whatever a stranger does to what the operator has made, in whatever phase: it is as it was half a minute later.

What is tried comes from the live objects, so a kind of child that is new tomorrow is tried tomorrow.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pytest

from plumbline_operator.kube.refs import CHILDREN
from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.rights import MADE
from tests.faults import oracles
from tests.faults.lane import soon
from tests.faults.state import differences
from tests.foreign.actions import Done, actions_on, try_action
from tests.foreign.ground import Ground, ground
from tests.foreign.stage import PHASES, Stage, namespaced_types, settled_state, stage
from tests.proof.goals import is_whole, seconds, size
from tests.proof.ledger import record

GOAL = "foreign-hands"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

LIMIT_SECONDS = 30.0
SAMPLE_LIMIT_SECONDS = 120.0  # in a sample other tests run beside this one
PATHS = (("verify", "ingest", "collect", "evaluate"), ("drift",), ("settled",), ("canary",))  # phases, side by side
SAMPLE_PATHS = (("evaluate", "settled"),)
QUIET_SECONDS = 3.0

Try = tuple[str, Ref, Manifest]


async def test_what_strangers_do_to_children_does_not_last(tmp_path: Path) -> None:
    limit = LIMIT_SECONDS if is_whole() else SAMPLE_LIMIT_SECONDS
    with ground(f"foreign-{os.getpid()}", tmp_path, limit) as place:
        types = namespaced_types(place)
        paths = PATHS if is_whole() else SAMPLE_PATHS
        found = await asyncio.gather(*(_phases(place, types, phases) for phases in paths))
    done = [one for tried, _ in found for one in tried]
    wrong = [line for _, lines in found for line in lines]
    print(table(done))
    bad = [f"{one.phase} {one.kind} {one.name} {one.action}: {one.bad}" for one in done if one.bad]
    figure = f"{_kinds(done)}; slowest {max(one.seconds for one in done):.1f} s; {_rows(done)}"
    record(GOAL, runs=len(done), bad=len(bad) + len(wrong), figure=figure)
    assert bad + wrong == []
    if is_whole():
        assert {one.phase for one in done} == set(PHASES)
        assert {one.kind for one in done} >= {ref.kind for ref in CHILDREN} | MADE


async def _phases(place: Ground, types: list[Ref], phases: Sequence[str]) -> tuple[list[Done], list[str]]:
    """Everything that was tried on one path in these phases, and what else is wrong."""
    done: list[Done] = []
    wrong: list[str] = []
    async with stage(place, f"hands-{phases[0]}", types) as one:
        for phase in phases:
            await one.reach(phase)
            before = await settled_state(one)
            for name, ref, obj in await _tries(one, phase):
                done.append(await try_action(one, phase, name, ref, await _as_now(one, ref, obj)))
                await asyncio.to_thread(_note, one.lane.folder / "tried.txt", done[-1])
            one.lane.proxy.journal.changed()  # silence counts from now
            await soon("the phase as it was", partial(one.is_at, phase), place.limit)
            wrong += [f"{phase}: {line}" for line in differences(before, await settled_state(one))[:5]]
            wrong += [f"{phase}: {line}" for line in await _complaints(one)]
    return done, wrong


async def _as_now(one: Stage, ref: Ref, obj: Manifest) -> Manifest:
    """The object as it was when the phase began, but for its identity: it may have been made again since."""
    live = await one.stranger.look(ref, obj["metadata"]["name"])
    return obj if live is None else obj | {"metadata": obj["metadata"] | {"uid": live["metadata"]["uid"]}}


def _note(path: Path, one: Done) -> None:
    with path.open("a") as lines:
        lines.write(f"{one.seconds:5.1f} s {one.phase} {one.kind} {one.name} {one.action} {one.note} {one.bad}\n")


async def _tries(one: Stage, phase: str) -> list[Try]:
    """Every action on every child, and on the status of what users wrote; a sample has a part of them, evenly."""
    children = await one.children()
    pairs = [(ref, obj, True) for ref, obj in children] + [(ref, obj, False) for ref, obj in await one.own()]
    tries = [(name, ref, obj) for ref, obj, made in pairs for name in actions_on(obj, made=made)]
    if is_whole():
        return tries
    share = size(GOAL) // sum(len(phases) for phases in SAMPLE_PATHS)
    step = len(tries) / share
    return [tries[int(n * step)] for n in range(share)] if step > 1 else tries


async def _complaints(one: Stage) -> list[str]:
    entries = one.lane.proxy.journal.entries
    lines = oracles.foreign_specs(entries) + await oracles.changed_specs(one.lane)
    return lines + oracles.odd_weights(entries, []) + oracles.log_errors(one.lane.logs())


def table(done: Iterable[Done]) -> str:
    """Kind by action: how often, and the slowest."""
    cells: dict[tuple[str, str], list[Done]] = defaultdict(list)
    for one in done:
        cells[one.kind, one.action].append(one)
    actions = sorted({action for _, action in cells})
    lines = [["kind", *actions]]
    for kind in sorted({kind for kind, _ in cells}):
        lines.append([kind, *(_cell(cells.get((kind, action), [])) for action in actions)])
    return "\n".join(" | ".join(line) for line in lines)


def _cell(done: list[Done]) -> str:
    if not done:
        return "-"
    bad = sum(bool(one.bad) for one in done)
    return f"{len(done)}x {max(one.seconds for one in done):.1f} s" + (f" {bad} BAD" if bad else "")


def _rows(done: list[Done]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for one in done:
        counts[one.action] += 1
    return ", ".join(f"{action} {number}" for action, number in sorted(counts.items()))


def _kinds(done: list[Done]) -> str:
    return f"{len({one.kind for one in done})} kinds in {len({one.phase for one in done})} phases"
