"""Every pod we can make passes Pod Security `restricted`, and carries no token that it does not need."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_operator.kube import refs
from plumbline_operator.kube.http import path_of
from plumbline_operator.model.meta import Manifest
from tests.proof.goals import seconds
from tests.proof.ledger import record
from tests.rights.caller import Answer, Caller, caller
from tests.rights.ground import installed, made
from tests.rights.references import fields
from tests.rights.templates import MAKERS, every_verb, makers, templates, verbs

GOAL = "restricted-pods"
TEAM = "team"
timed = pytest.mark.timeout(seconds(GOAL))

# Fields by which a pod reaches the node or another identity: our specs must not have them under any name.
POWERS = re.compile(
    "^(host(Path|Network|PID|IPC|Port)|privileged|securityContext|capabilities|runAs.*|nodeName|serviceAccount(Name)?|"
    "automountServiceAccountToken|volumes|volumeMounts|procMount|sysctls|allowPrivilegeEscalation|template|podTemplate)$"
)
TOKENS = ("router", "operator")  # containers that talk to the API server

WEAKENED: dict[str, Any] = {  # one thing that `restricted` asks for, taken away
    "any capability": lambda pod: [one["securityContext"].pop("capabilities") for one in containers(pod)],
    "escalation": lambda pod: [one["securityContext"].pop("allowPrivilegeEscalation") for one in containers(pod)],
    "root": lambda pod: pod["spec"]["securityContext"].update(runAsNonRoot=False),
    "no seccomp": lambda pod: pod["spec"]["securityContext"].pop("seccompProfile"),
    "the host's files": lambda pod: pod["spec"]["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "the host's network": lambda pod: pod["spec"].update(hostNetwork=True),
    "privilege": lambda pod: containers(pod)[0]["securityContext"].update(
        privileged=True, allowPrivilegeEscalation=True
    ),
}


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a template."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def test_everything_that_makes_pods_is_known() -> None:
    assert makers() == MAKERS


def test_no_spec_lets_a_user_reach_the_node() -> None:
    names = {(one.place, one.path.rpartition(".")[2].rstrip("[]{}")) for one in fields()}
    assert [place for place, name in sorted(names) if POWERS.match(name)] == []


async def test_every_kind_of_work_is_among_the_templates() -> None:
    found = [(title, pod) async for title, pod in templates()]
    assert {verb for _, pod in found for verb in verbs(pod)} == every_verb()
    names = {one["name"] for _, pod in found for one in containers(pod)}
    assert names == {"main", "fetch", "train", "collect", "server", "router", "operator"}


async def test_only_who_talks_to_the_api_server_has_a_token() -> None:
    async for title, pod in templates():
        talks = {one["name"] for one in containers(pod)} & set(TOKENS)
        assert pod["spec"]["automountServiceAccountToken"] is bool(talks), title
        assert ("serviceAccountName" in pod["spec"]) is bool(talks), title


@timed
@pytest.mark.apiserver
async def test_every_pod_is_taken_where_only_restricted_ones_are() -> None:
    found = {title: pod async for title, pod in templates()}
    bad = []
    with installed("restricted", namespaces=(TEAM,)) as cluster:
        async with caller(cluster.kubeconfig) as admin:
            await made(admin, TEAM, *accounts(found))
            for title, pod in found.items():
                answer = await admitted(admin, pod)
                bad += [] if answer.ok else [f"{title}: {answer.text}"]
                bad += await mutants(admin, title, pod)
    weaker = len(found) * len(WEAKENED)
    figure = f"{len(found)} pod templates taken; {weaker} weakened copies of them refused"
    record(GOAL, runs=len(found), bad=len(bad), figure=figure)
    assert bad == []


def accounts(found: dict[str, Manifest]) -> list[Manifest]:
    """The ServiceAccounts that the pods name."""
    names = {pod["spec"]["serviceAccountName"] for pod in found.values() if "serviceAccountName" in pod["spec"]}
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} for name in sorted(names)]


async def admitted(admin: Caller, pod: Manifest) -> Answer:
    """The API server's answer to a pod of this template; nothing is kept."""
    meta = {k: v for k, v in pod.get("metadata", {}).items() if k in ("labels", "annotations")}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "try-", "namespace": TEAM, **meta},
        "spec": pod["spec"],
    }
    return await admin.ask("POST", path_of(refs.PODS, TEAM), body, query={"dryRun": "All", "fieldValidation": "Strict"})


async def mutants(admin: Caller, title: str, pod: Manifest) -> list[str]:
    """Weakened copies that were taken all the same: then the question above would say nothing."""
    taken = []
    for how, weaken in WEAKENED.items():
        worse = copy.deepcopy(pod)
        weaken(worse)
        answer = await admitted(admin, worse)
        if answer.ok or "violates PodSecurity" not in answer.text:
            taken.append(f"{title} with {how}: {answer.code} {answer.text}")
    return taken


def test_the_kustomize_base_has_the_charts_pod() -> None:
    base = list(yaml.safe_load_all(Path("charts/kustomize/install.yaml").read_text()))
    made_by = [one["kind"] for one in base if one and "template" in (one.get("spec") or {})]
    assert made_by == ["Deployment"]
