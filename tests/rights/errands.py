"""Everything the operator is there for, in one namespace: golden path, second version, scaling, repair, removal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from plumbline_operator.build.router import router_name, routes_name
from plumbline_operator.kube import refs
from plumbline_operator.model.meta import Ref
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from tests.faults import objects as golden
from tests.rights.caller import Caller
from tests.rights.ground import made, soon
from tests.rights.neighbours import secret, walk
from tests.rights.rules import Right
from tests.rooms import release_objects as release

COLD = "cold"
SECONDS = 90.0
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-more-pods"},
    "spec": {"hard": {"pods": "0"}},
}
QUOTAS = Ref("", "v1", "resourcequotas", "ResourceQuota")


async def golden_path(admin: Caller, namespace: str) -> None:
    """The golden path, and a second approved version of the same model."""
    await made(admin, namespace, secret("keys", "ours"))
    await walk(admin, namespace, golden.manifests(), golden.RUN)
    await walk(admin, namespace, [golden.second_run()], golden.SECOND)


async def resize_and_replace(admin: Caller, namespace: str) -> None:
    """A deployment that gets no pods: its autoscaler and budget come and go, then its whole first version."""
    answer = await admin.ask("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", QUOTA)
    assert answer.ok, answer.text
    serving = {"modelRef": {"name": golden.MODEL}, "versionRef": {"name": golden.RUN}}
    replicas = {"replicas": {"min": 2, "max": 3}}
    cold = release.deployment(golden.RUN, **serving, realTime=replicas)
    await made(admin, namespace, cold | {"metadata": {"name": COLD}})
    scaled = (refs.AUTOSCALERS, refs.DISRUPTION_BUDGETS)
    for ref in scaled:
        await soon(f"{COLD} has its {ref.kind}", _has(admin, ref, namespace), SECONDS)
    await _change(admin, namespace, {"realTime": {"replicas": {"min": 1, "max": 1}}})
    for ref in scaled:
        await soon(f"{COLD} has no {ref.kind} any more", _has(admin, ref, namespace, wanted=0), SECONDS)
    before = await _variants(admin, namespace)
    await _change(admin, namespace, {"versionRef": {"name": golden.SECOND}})

    async def replaced() -> bool:
        names = await _variants(admin, namespace)
        return bool(names) and not names & before

    await soon(f"the first version of {COLD} is gone", replaced, SECONDS)
    await made(admin, namespace, release.pin("unserved", golden.RUN))


async def repair(admin: Caller, namespace: str) -> set[Right]:
    """Strip what belongs to a router of its owner. The rights by which the operator takes each back.

    Where an API server guards owner references, only who may delete an object may change them.
    """
    router, routes = router_name("late"), routes_name("late")
    children = [(refs.CONFIG_MAPS, routes), *((ref, router) for ref in (refs.SERVICE_ACCOUNTS, refs.ROLES))]
    children.append((refs.ROLE_BINDINGS, router))
    used = set()
    for ref, name in children:
        answer = await admin.patch(ref, namespace, name, {"metadata": {"ownerReferences": None}})
        assert answer.ok, answer.text
        await soon(f"{ref.kind} {name} has its owner again", _owned(admin, ref, namespace, name), SECONDS)
        used.add(Right("delete", ref.group, ref.plural))
    return used


async def remove(admin: Caller, namespace: str) -> None:
    """Delete the deployments, and wait until their children are gone."""
    for name in (COLD, "late"):
        answer = await admin.delete(DEPLOYMENT.ref, namespace, name)
        assert answer.ok, answer.text

    async def gone() -> bool:
        return not await admin.all(refs.DEPLOYMENTS, namespace)

    await soon("the children of both deployments are gone", gone, SECONDS)


def _has(admin: Caller, ref: Ref, namespace: str, wanted: int = 1) -> Callable[[], Awaitable[bool]]:
    async def fact() -> bool:
        found = [one for one in await admin.all(ref, namespace) if one["metadata"]["name"].startswith(f"{COLD}-v-")]
        return len(found) == wanted

    return fact


def _owned(admin: Caller, ref: Ref, namespace: str, name: str) -> Callable[[], Awaitable[bool]]:
    async def fact() -> bool:
        live = await admin.look(ref, namespace, name)
        return bool(live.get("metadata", {}).get("ownerReferences"))

    return fact


async def _variants(admin: Caller, namespace: str) -> set[str]:
    found = await admin.all(refs.DEPLOYMENTS, namespace)
    return {one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith(f"{COLD}-v-")}


async def _change(admin: Caller, namespace: str, spec: Any) -> None:
    answer = await admin.patch(DEPLOYMENT.ref, namespace, COLD, {"spec": spec})
    assert answer.ok, answer.text
