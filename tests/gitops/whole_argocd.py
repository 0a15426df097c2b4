"""A real Argo CD, with self-heal and prune, manages a model's whole life from a Git repository.

Not collected by itself, because Argo CD takes minutes to build: `python -m tests.proof gitops`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from plumbline_operator.kube.refs import CHILDREN
from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms import ROOMS
from tests.apiserver.installation import installed
from tests.apiserver.test_operator_process import Operator, complaints
from tests.apiserver.test_operator_process import Stage as Process
from tests.gitops import golden
from tests.gitops.compare import unlike
from tests.gitops.golden import CHALLENGER, CHAMPION, NAME, Cast
from tests.proof.goals import seconds
from tests.proof.ledger import record
from tests.support.argocd.application import Application, application
from tests.support.argocd.install import argocd
from tests.support.argocd.repository import Repository
from tests.support.cluster import Cluster, ClusterError
from tests.support.cluster.progress import say, wait_until
from tests.support.pod_actor import PodActor
from tests.support.routers import Routers
from tests.support.worlds import ready_of

GOAL = "gitops"
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(seconds(GOAL))]

TEAM = "flights"
SYNC_SECONDS = 120
STEP_SECONDS = 240  # of a rollout, whose steps hold for 30 s
PINNED_SYNCS = 10
MODEL, VERSIONS = f"ModelDeployment/{NAME}", {one: f"ModelVersion/{one}" for one in (CHAMPION, CHALLENGER)}


@dataclass(slots=True)
class Scene:
    """Everybody who takes part."""

    cluster: Cluster
    repository: Repository
    app: Application
    cast: Cast
    operator: Operator

    def commit(self, message: str, files: dict[str, str] | dict[str, list[Manifest]]) -> None:
        """A change in Git, and Argo CD has applied it."""
        say(message)
        self.app.until_synced(self.repository.commit(message, files), SYNC_SECONDS)

    def revert(self) -> None:
        """The last change taken back in Git, and Argo CD has applied that."""
        say("revert")
        self.app.until_synced(self.repository.revert(), SYNC_SECONDS)

    def look(self, kind: str, name: str) -> Manifest:
        """A live object of the team; empty while there is none."""
        text = self.cluster.kubectl("-n", TEAM, "get", kind, name, "-o", "json", "--ignore-not-found")
        found: Manifest = json.loads(text) if text.strip() else {}
        return found

    def deployment(self) -> Manifest:
        """The live ModelDeployment."""
        return self.look("modeldeployment", NAME)

    def serves(self, version: str) -> bool:
        """Whether this version gets all requests."""
        status = self.deployment()["status"]
        stable = status.get("stable", {})
        return bool(stable.get("version") == version and status["weights"].get(stable["variant"]) == 100)

    def until(self, what: str, fact: Callable[[], object]) -> None:
        """Wait for something that the operator does."""
        wait_until(what, fact, seconds=STEP_SECONDS, every=0.3)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A cluster with the chart, the operator's process with the chart's rights, routers, Git, Argo CD."""
    with ExitStack() as stack:
        cluster = stack.enter_context(installed("gitops"))
        cluster.kubectl("create", "namespace", TEAM)
        cast = Cast()
        routers = stack.enter_context(Routers(cluster.kubeconfig))
        stack.enter_context(PodActor(cluster.kubeconfig, cast.play, routers.address))
        operator = stack.enter_context(Process(cluster, tmp_path).operator("gitops"))
        repository = Repository(cluster)
        repository.serve()
        stack.enter_context(argocd(cluster))
        cast.held.add("evaluate")
        first = repository.commit("The champion, its data and its deployment", golden.files())
        app = stack.enter_context(application(cluster, repository, TEAM))
        app.until_synced(first, SYNC_SECONDS)
        yield Scene(cluster, repository, app, cast, operator)


def test_a_models_whole_life_goes_through_git(scene: Scene) -> None:
    first_version(scene)
    promotion_and_rollback(scene)
    an_incident(scene)
    foreign_hands(scene)
    something_broken(scene)
    server_side_apply(scene)
    syncs, faults, strange = scene.app.syncs(), scene.app.faults(), differences(scene)
    loud = complaints(scene.operator)  # before the end: a status of what was deleted that very moment is a 404
    scene.app.remove(SYNC_SECONDS)
    left = leftovers(scene)
    figure = f"{syncs} syncs, {len(faults)} out of sync by us, {PINNED_SYNCS} under a pin, {len(left)} objects left"
    record(GOAL, runs=syncs, bad=len(faults) + len(strange) + len(left), figure=figure)
    assert faults == []
    assert strange == []
    assert left == []
    assert loud == []


def first_version(scene: Scene) -> None:
    """Progressing while it is evaluated, Suspended until somebody approves, Healthy when it serves."""
    app = scene.app
    app.until_shown(VERSIONS[CHAMPION], "Progressing", STEP_SECONDS)
    app.until_health("Progressing", SYNC_SECONDS)
    scene.cast.held.clear()
    shown = app.until_shown(VERSIONS[CHAMPION], "Suspended", STEP_SECONDS)
    assert shown.message.startswith("AwaitingApproval: ")
    assert "0 of 1 required approvals" in shown.message
    assert app.until_shown(MODEL, "Suspended", SYNC_SECONDS).message.startswith("AwaitingApproval")
    app.until_health("Suspended", SYNC_SECONDS)
    scene.commit("Bob approves the champion", golden.approval(scene.look("modelversion", CHAMPION)))
    app.until_health("Healthy", STEP_SECONDS)
    assert scene.serves(CHAMPION)
    app.until_shown(VERSIONS[CHAMPION], "Healthy", SYNC_SECONDS)
    assert app.story(VERSIONS[CHAMPION])[-3:] == ["Progressing", "Suspended", "Healthy"]
    assert "Degraded" not in app.story(MODEL)


def promotion_and_rollback(scene: Scene) -> None:
    """By commit and by revert, with every step of the rollout in between."""
    app = scene.app
    scene.commit("Train the challenger", golden.challenger())
    app.until_shown(VERSIONS[CHALLENGER], "Suspended", STEP_SECONDS)
    scene.commit("Bob approves the challenger", golden.approval(scene.look("modelversion", CHALLENGER)))
    app.until_shown(VERSIONS[CHALLENGER], "Healthy", STEP_SECONDS)
    scene.commit("Promote the challenger", golden.deployment(CHALLENGER))
    app.until_shown(MODEL, "Progressing", SYNC_SECONDS)
    assert set(steps_until(scene, CHALLENGER)) == {"shadow", "canary"}
    app.until_health("Healthy", SYNC_SECONDS)
    scene.revert()
    scene.until("the champion serves", lambda: scene.serves(CHAMPION))
    assert ready_of(scene.deployment()) == ("True", "RolledBack")
    app.until_health("Healthy", SYNC_SECONDS)
    scene.revert()
    scene.until("the challenger serves again", lambda: scene.serves(CHALLENGER))
    app.until_health("Healthy", SYNC_SECONDS)


def steps_until(scene: Scene, version: str) -> list[str]:
    """The steps of the rollout, seen until this version serves."""
    steps: list[str] = []

    def over() -> bool:
        step = scene.deployment()["status"].get("step", {}).get("name")
        steps.extend([step] if step and step not in steps else [])
        return scene.serves(version)

    scene.until(f"{version} serves", over)
    return steps


def an_incident(scene: Scene) -> None:
    """A pin outside Git stays in force whatever is synced, and what Git says is known to differ."""
    app = scene.app
    scene.cluster.kubectl("-n", TEAM, "apply", "-f", "-", stdin=yaml.safe_dump(golden.pin(CHAMPION)))
    scene.until("the champion serves", lambda: scene.serves(CHAMPION))
    before = app.syncs()
    for number in range(PINNED_SYNCS):
        scene.commit(f"Change {number + 1}", golden.deployment(CHALLENGER, change=str(number + 1)))
        live = scene.deployment()
        assert live["metadata"]["annotations"]["example.com/change"] == str(number + 1)
        assert live["spec"]["versionRef"]["name"] == CHALLENGER
        assert scene.serves(CHAMPION)
        diverged = find(live["status"]["conditions"], "GitDiverged") or {}
        assert (diverged.get("status"), ready_of(live)) == ("True", ("True", "Pinned"))
        assert ready_of(scene.look("releasepin", "incident")) == ("True", "InForce")
    assert app.syncs() - before >= PINNED_SYNCS
    shown = app.until_shown(MODEL, "Healthy", SYNC_SECONDS)
    assert shown.message.startswith("GitDiverged: "), shown
    scene.commit("The champion should serve", golden.deployment(CHAMPION))
    scene.until("Git and pin agree", lambda: not find(scene.deployment()["status"]["conditions"], "GitDiverged"))
    scene.cluster.kubectl("-n", TEAM, "delete", "releasepin", "incident")
    scene.until("the pin is gone", lambda: "pin" not in scene.deployment()["status"])
    assert scene.serves(CHAMPION)
    app.until_health("Healthy", SYNC_SECONDS)


def foreign_hands(scene: Scene) -> None:
    """Self-heal is on: what somebody changes past Git is taken back."""
    scene.app.excused = True
    patch = json.dumps({"spec": {"versionRef": {"name": CHALLENGER}}})
    scene.cluster.kubectl("-n", TEAM, "patch", "modeldeployment", NAME, "--type=merge", "-p", patch)
    scene.until("it is healed", lambda: scene.deployment()["spec"]["versionRef"]["name"] == CHAMPION)
    scene.until("the champion serves", lambda: scene.serves(CHAMPION))
    scene.app.until_synced(scene.repository.head(), SYNC_SECONDS)
    scene.app.until_health("Healthy", SYNC_SECONDS)
    scene.app.excused = False


def something_broken(scene: Scene) -> None:
    """Degraded with the reason, and healthy again by a revert, whose prune takes everything along."""
    scene.commit("A dataset that is too small", golden.bad_dataset())
    shown = scene.app.until_shown(f"Dataset/{golden.BAD}", "Degraded", STEP_SECONDS)
    assert shown.message.startswith("TestFailed: "), shown
    scene.app.until_health("Degraded", SYNC_SECONDS)
    scene.revert()
    scene.until("it is pruned", lambda: not scene.look("dataset", golden.BAD))
    scene.app.until_health("Healthy", SYNC_SECONDS)


def server_side_apply(scene: Scene) -> None:
    """The other way in which Argo CD applies and compares."""
    patch = json.dumps({"spec": {"syncPolicy": {"syncOptions": ["ServerSideApply=true"]}}})
    scene.cluster.kubectl("-n", "argocd", "patch", "application", scene.app.name, "--type=merge", "-p", patch)
    scene.commit("A change by server-side apply", golden.deployment(CHAMPION, change="applied"))
    assert scene.deployment()["metadata"]["annotations"]["example.com/change"] == "applied"
    scene.app.until_health("Healthy", SYNC_SECONDS)


def differences(scene: Scene) -> list[str]:
    """Where a live spec is not what Git says, and whoever but Argo CD has written to one."""
    lines = []
    for wanted in scene.repository.objects():
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        live = scene.look(kind.lower(), name)
        lines += [f"{kind} {name}{line}" for line in unlike(wanted["spec"], live["spec"], ".spec")]
        fields = json.loads(
            scene.cluster.kubectl("-n", TEAM, "get", kind.lower(), name, "-o", "json", "--show-managed-fields")
        )["metadata"]["managedFields"]
        writers = {one["manager"] for one in fields if one.get("subresource") != "status"}
        lines += [f"{kind} {name} was written by {writer}" for writer in writers if "plumbline" in writer]
    return lines


def leftovers(scene: Scene) -> list[str]:
    """Whatever is still in the team's namespace once the garbage collector has had its time."""
    refs = [*(room.kind.ref for room in ROOMS), *CHILDREN]
    kinds = ",".join(sorted({f"{one.plural}.{one.group}".rstrip(".") for one in refs} | {"pods", "jobs.batch"}))

    def names() -> list[str]:
        listed = scene.cluster.kubectl("-n", TEAM, "get", kinds, "-o", "name").split()
        return [one for one in listed if one not in ("configmap/kube-root-ca.crt", "serviceaccount/default")]

    try:
        wait_until("the namespace is empty", lambda: not names(), seconds=STEP_SECONDS, every=1)
    except ClusterError:
        return names()
    return []
