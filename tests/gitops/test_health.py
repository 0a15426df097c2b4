"""The health scripts for Argo CD, in the interpreter that Argo CD has, on every state the rooms know."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from plumbline_operator.healthgen import PATCH, script, settings
from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms import ROOMS
from tests.gitops.states import KINDS, drifting, raw_of, settled
from tests.proof.goals import goals
from tests.proof.ledger import record
from tests.rooms.release_objects import monitor
from tests.support.argocd.scripts import Health, healths
from tests.support.worlds import condition, ready, ready_of, with_status

GOAL = "gitops-health"

# Said here once more, so that a reason that slips out of a room's list is missed.
AWAITED = {
    ("ModelVersion", "AwaitingApproval"),
    ("ModelVersion", "ApprovalExpired"),
    ("ModelDeployment", "AwaitingApproval"),
    ("DriftMonitor", "NoVersionServing"),
}


def shown(*objects: Manifest) -> list[Health]:
    """What Argo CD would show of these objects."""
    return healths((script(KINDS[one["kind"]].kind), one) for one in objects)


def expected(obj: Manifest) -> str:
    """What it should show, in Python's words."""
    if find(obj["status"]["conditions"], "Stalled"):
        return "Degraded"
    status, reason = ready_of(obj)
    if status == "True":
        return "Healthy"
    return "Suspended" if (obj["kind"], reason) in AWAITED else "Progressing"


async def test_every_state_is_shown_as_what_it_is() -> None:
    objects = await settled()
    seen: dict[str, set[str]] = defaultdict(set)
    for obj, health in zip(objects, shown(*objects), strict=True):
        what = f"{obj['kind']} {obj['metadata']['name']} {ready_of(obj)}"
        assert health.status == expected(obj), what
        assert any(health.message == f"{c['reason']}: {c['message']}" for c in obj["status"]["conditions"]), what
        seen[obj["kind"]].add(health.status)
    assert seen["DatasetSnapshot"] == {"Healthy"}  # sealed is all it can be
    for kind in ("Connection", "Dataset", "TrainingRun", "RegisteredModel", "Approval", "ReleasePin"):
        assert seen[kind] == {"Healthy", "Progressing", "Degraded"}, kind
    record(GOAL, runs=len(objects), figure=f"{len(objects)} states of {len(seen)} kinds shown as what they are")
    assert len(objects) >= goals()[GOAL].sample
    for kind in ("ModelVersion", "ModelDeployment"):
        assert seen[kind] == {"Healthy", "Progressing", "Suspended", "Degraded"}, kind


async def test_what_the_operator_has_not_seen_yet_is_progressing() -> None:
    changed: list[Manifest] = []
    for kind in KINDS:
        whole = ready(raw_of(kind))
        later = whole | {"metadata": whole["metadata"] | {"generation": 2}}
        changed += [raw_of(kind), with_status(raw_of(kind), conditions=[]), later, raw_of(kind) | {"status": {}}]
    assert {one.status for one in shown(*changed)} == {"Progressing"}


async def test_bad_news_about_something_that_works_are_its_message() -> None:
    pinned = condition(ready(raw_of("ModelDeployment"), "Pinned"), "GitDiverged", "True", "GitDiverged", "v1 serves.")
    found = shown(pinned, drifting(monitor()))
    assert found == [Health("Healthy", "GitDiverged: v1 serves."), Health("Healthy", "Drifted: PSI of temp is 6.2.")]


async def test_a_condition_of_somebody_else_changes_nothing() -> None:
    audited = condition(ready(raw_of("Dataset"), "Validated"), "example.com/Audited", "True", "Seen")
    assert [one.status for one in shown(audited)] == ["Healthy"]


def test_the_patch_has_a_script_for_every_kind_and_is_what_the_code_says() -> None:
    patch: dict[str, Any] = yaml.safe_load(Path(PATCH).read_text())
    assert patch["data"] == dict(settings(room.kind for room in ROOMS))
    assert [f"resource.customizations.health.plumbline.dev_{kind}" for kind in KINDS] == list(patch["data"])
