"""The operator, and each router, may do exactly what they do: nothing granted is unused, nothing asked is forbidden."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from plumbline_contract.routes import ROUTES_KEY
from plumbline_operator.build.router import RBAC, router_name, routes_name
from plumbline_operator.kube import refs
from plumbline_operator.kube.http import path_of
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.runtime.owned import owner_reference
from plumbline_router.settings import Settings
from plumbline_router.source import RoutesSource
from tests.faults.oracles import log_errors
from tests.proof.goals import is_whole, seconds
from tests.proof.ledger import record
from tests.rights.caller import Caller, caller, person
from tests.rights.errands import golden_path, remove, repair, resize_and_replace
from tests.rights.ground import ACCOUNT, SYSTEM, audit, careful, installed, made, now, operator
from tests.rights.neighbours import SECRETS
from tests.rights.rules import (
    Right,
    asked,
    blocked_owners,
    forbidden,
    granted,
    too_much,
    uncovered,
    undiscovered,
    unused,
)
from tests.support.cluster import Cluster
from tests.support.pod_actor import PodActor
from tests.support.render import documents

GOAL = "rights"
TEAM, ELSEWHERE = "team", "elsewhere"
ROLES = ("ClusterRole", "Role")
DEPLOYED = "late"
# By helm's arguments: in the whole cluster, and in one namespace.
MODES: dict[str, tuple[str, ...]] = {"cluster": (), "namespace": (f"--set=watchNamespaces={{{TEAM}}}",)}
WALKED = list(MODES) if is_whole() else ["cluster"]
timed = pytest.mark.timeout(seconds(GOAL))


@timed
@pytest.mark.parametrize("mode", MODES)
def test_no_role_can_do_what_nobody_of_ours_needs(mode: str) -> None:
    roles = [one for one in documents(*MODES[mode]) if one["kind"] in ROLES]
    assert {one["metadata"]["name"] for one in roles} > {"plumbline-operator", "plumbline-leader"}
    assert [line for one in roles for line in too_much(one)] == []
    wide = [one for one in roles if one["kind"] == "ClusterRole" and one["metadata"]["name"] == "plumbline-operator"]
    assert len(wide) == (1 if mode == "cluster" else 0)


def test_what_must_not_be_granted_is_seen() -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}
    role = {"kind": "Role", "metadata": {"name": "x"}, "rules": [rule]}
    assert too_much(role) == ["Role x: list secrets"]
    assert too_much(role | {"rules": [rule | {"resources": ["pods"], "verbs": ["*"]}]}) == ["Role x: * pods"]


def test_what_is_unused_or_uncovered_is_seen() -> None:
    rights = {Right("get", "", "pods"), Right("get", "", "configmaps", "one")}
    used: dict[Right, list[Manifest]] = {Right("get", "", "configmaps", "two"): []}
    assert unused(rights, used) == ["get configmaps one", "get pods"]
    assert uncovered(rights, used) == ["get configmaps two"]


@timed
@pytest.mark.apiserver
@pytest.mark.parametrize("mode", WALKED)
async def test_every_right_is_used_and_nothing_else_is_asked(mode: str, tmp_path: Path) -> None:
    settings = {} if mode == "cluster" else {"PLUMBLINE_NAMESPACES": TEAM}
    with installed(f"rights-{mode}", *MODES[mode], namespaces=(TEAM, ELSEWHERE), guarded=True) as cluster:
        begun = now()
        with PodActor(cluster.kubeconfig, careful(cluster.kubeconfig)):
            async with caller(cluster.kubeconfig) as admin, operator(cluster, tmp_path, **settings) as one:
                await golden_path(admin, TEAM)
                taken_back = await repair(admin, TEAM)
                bad = await unguarded(admin, cluster) + await router_rights(admin, cluster, tmp_path)
                await resize_and_replace(admin, TEAM)
                await remove(admin, TEAM)
                bad += log_errors(one.logged())
        rights = operator_rights(mode)
        bad += differences(audit(cluster, ACCOUNT, begun), rights, taken_back)
    figure = f"{mode}: {len(rights)} rights of the operator and 2 of a router, 0 unused, 0 forbidden"
    record(GOAL, runs=1, bad=len(bad), figure=figure if not bad else "; ".join(bad[:3]))
    assert bad == []


def operator_rights(mode: str) -> set[Right]:
    """What the chart gives the operator."""
    names = ("plumbline-operator", "plumbline-leader")
    found = documents(*MODES[mode])
    return granted(one for one in found if one["kind"] in ROLES and one["metadata"]["name"] in names)


def differences(lines: Sequence[Manifest], rights: set[Right], taken_back: set[Right]) -> list[str]:
    """Rights that nothing needed, and requests without a right."""
    used = asked(lines)
    needed = {*used, *taken_back, *blocked_owners(lines)}
    return [
        *(f"unused: {one}" for one in unused(rights, needed)),
        *(f"not granted: {one}" for one in uncovered(rights, used)),
        *(f"forbidden: {one}" for one in forbidden(lines)),
        *(f"asked for: {one}" for one in undiscovered(lines)),
    ]


async def router_rights(admin: Caller, cluster: Cluster, folder: Path) -> list[str]:
    """The same for a router: its agent reads its routes and sees them change, with the rights it was made with."""
    name = router_name(DEPLOYED)
    begun = now()
    await follow_routes(admin, cluster, folder)
    role = await admin.look(refs.ROLES, TEAM, name)
    rights = granted([role | {"kind": "Role"}])
    lines = audit(cluster, f"system:serviceaccount:{TEAM}:{name}", begun)
    bad = [f"router: {line}" for line in differences(lines, rights, set())]
    bad += too_much({"kind": "Role", **role})
    return bad + await beyond(cluster, name)


async def follow_routes(admin: Caller, cluster: Cluster, folder: Path) -> None:
    """Run the agent's reader until it has told of the routes and of a change to them."""
    kubeconfig = await asyncio.to_thread(cluster.service_account_kubeconfig, TEAM, router_name(DEPLOYED))
    config = json.loads(await asyncio.to_thread(kubeconfig.read_text))
    token, authority = folder / "token", cluster.layout.pki / "ca.crt"
    await asyncio.to_thread(token.write_text, config["users"][0]["user"]["token"])
    settings = Settings(
        namespace=TEAM,
        name=routes_name(DEPLOYED),
        api=config["clusters"][0]["cluster"]["server"],
        token_file=token,
        ca_file=authority,
        folder=folder,
        pod="router",
    )
    documents = RoutesSource(settings).documents()
    async with asyncio.timeout(60):
        await anext(documents)
        change = {"data": {ROUTES_KEY: "{}"}}  # the operator puts it back, after the reader has told of it
        touched = asyncio.create_task(admin.patch(refs.CONFIG_MAPS, TEAM, settings.name, change))
        await anext(documents)
        assert (await touched).ok
        await documents.aclose()


async def beyond(cluster: Cluster, name: str) -> list[str]:
    """What a router must not reach with its token, and does."""
    kubeconfig = await asyncio.to_thread(cluster.service_account_kubeconfig, TEAM, name)
    paths = [
        path_of(refs.CONFIG_MAPS, TEAM),
        path_of(refs.CONFIG_MAPS, TEAM, "kube-root-ca.crt"),
        path_of(refs.CONFIG_MAPS, ELSEWHERE, routes_name(DEPLOYED)),
        path_of(SECRETS, TEAM, "keys"),
        path_of(refs.PODS, TEAM),
        path_of(refs.LEASES, SYSTEM, "plumbline-operator"),
    ]
    async with caller(kubeconfig) as router:
        answers = [(path, (await router.ask("GET", path)).code) for path in paths]
    return [f"router: GET {path} answered {code}" for path, code in answers if code != 403]


async def unguarded(admin: Caller, cluster: Cluster) -> list[str]:
    """What the walk rests on: without a right to finalizers nobody blocks an owner's deletion, and without a right to
    delete nobody strips an owner."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "patch"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "writer"}, "rules": [rule]}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "writer"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "writer"},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "writer"}],
    }
    await made(admin, TEAM, role, binding)
    owner = owner_reference(await admin.look(CONNECTION.ref, TEAM, "storage") | {"kind": "Connection"})
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": [owner]}}
    strip = {"metadata": {"ownerReferences": None}}
    async with person(cluster, "writer") as writer:
        blocked = await writer.create(TEAM, child)
        stripped = await writer.patch(refs.CONFIG_MAPS, TEAM, routes_name(DEPLOYED), strip)
    wanted = {"cannot set blockOwnerDeletion": blocked, "cannot set an ownerRef on a resource": stripped}
    return [f"owner references are not guarded: {a.text}" for words, a in wanted.items() if words not in a.text]
