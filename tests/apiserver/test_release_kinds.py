"""ModelDeployment, ReleasePin and DriftMonitor on a real API server: what it refuses, and a release from end to end."""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plumbline_contract.routes import Measured, Routes
from plumbline_operator.kube.refs import CONFIG_MAPS, DEPLOYMENTS, ROLES, SERVICES
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE, Manifest, Ref
from tests.apiserver.conftest import Bench
from tests.rooms import registry_objects as registry
from tests.rooms.release_objects import CANARY, FIRST, HALF, SECOND, SHADOW, deployment, monitor, pin, trained_on
from tests.support.cluster import ClusterError
from tests.support.pod_actor import PodActor
from tests.support.worlds import FakeSignals, ready_of

pytestmark = pytest.mark.apiserver

PAGE = {"severity": "Page", "runbookURL": "https://example.com/drift"}
REFUSED = {
    "a step that is both": (deployment("v1", SHADOW | {"canary": {"weight": 5}}), "exactly one of shadow and canary"),
    "a step that is nothing": (deployment("v1", {"name": "x"}), "exactly one of shadow and canary"),
    "falling weights": (deployment("v1", HALF, CANARY), "must rise"),
    "equal weights": (deployment("v1", CANARY, CANARY | {"name": "again"}), "must rise"),
    "a shadow after a canary": (deployment("v1", CANARY, SHADOW), "shadow steps come before"),
    "two steps of one name": (deployment("v1", CANARY, HALF | {"name": "canary"}), "Duplicate value"),
    "agreement in a canary step": (deployment("v1", CANARY | {"minAgreement": 0.5}), "belongs to a shadow step"),
    "a canary of everything": (deployment("v1", CANARY | {"canary": {"weight": 100}}), "less than or equal to 99"),
    "fewer pods at most than always": (
        deployment("v1", realTime={"replicas": {"min": 3, "max": 2}}),
        "min must not be larger than max",
    ),
    "autoscaling without a CPU request": (
        deployment("v1", realTime={"replicas": {"max": 2}, "resources": {"requests": {"memory": "1Gi"}}}),
        "autoscaling needs a CPU request",
    ),
    "a name no Service can have": (
        deployment("v1") | {"metadata": {"name": "late.arrivals"}},
        "the name becomes a Service's",
    ),
    "a pin without a reason": (pin(reason=""), "should be at least 1 chars long"),
    "a page without a runbook": (monitor(severity="Page"), "needs a runbookURL"),
    "a bound for what is not watched": (
        monitor(features={"only": ["a"], "overrides": [{"name": "b", "maxPSI": 1}]}),
        "overrides must name features in only",
    ),
    "a bound of zero": (monitor(features={"maxPSI": 0}), "greater than 0"),
}


def steps(count: int) -> list[Manifest]:
    """As many canary steps, one per cent each."""
    return [CANARY | {"name": f"c{n}", "canary": {"weight": n + 1}} for n in range(count)]


@pytest.mark.parametrize("title", REFUSED)
async def test_the_api_server_refuses(bench: Bench, title: str) -> None:
    obj, words = REFUSED[title]
    with pytest.raises(ClusterError) as refusal:
        bench.apply(obj)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "obj",
    [deployment("v1"), deployment("v1", SHADOW, *steps(19)), monitor(**PAGE), pin(expiresAt="2030-01-01T00:00:00Z")],
)
async def test_the_api_server_accepts(bench: Bench, obj: Manifest) -> None:
    bench.apply(obj)


# ------------------------------------------------------------------ a release


def signals(bench: Bench) -> FakeSignals:
    """What the operator on this bench hears from routers."""
    found = bench.loop.sight.signals
    assert isinstance(found, FakeSignals)
    return found


async def routes(bench: Bench) -> Routes:
    """What routers are told now."""
    live = await bench.kube.get(CONFIG_MAPS, bench.namespace, "late-routes")
    assert live is not None
    return Routes.model_validate_json(live["data"]["routes.json"])


async def heard(bench: Bench, **requests: int) -> None:
    """Let the router serve what it is told and have counted so much by version."""
    status = (await bench.look("ModelDeployment", "late"))["status"]
    names = {one["version"]: one["variant"] for one in (status["stable"], status.get("target")) if one}
    generation = (await routes(bench)).generation
    counted = {names[version]: number for version, number in requests.items()}
    signals(bench).anywhere = (Measured(pod="late-router", generation=generation, requests=counted),)


async def serving(bench: Bench, **changes: Any) -> Manifest:
    """The deployment once it serves v1; every other room plays its own part."""
    model = registry.model(approvals={"required": 0})
    versions = [registry.version(name, manifest=digest) for name, digest in (("v1", FIRST), ("v2", SECOND))]
    bench.apply(registry.connection(), registry.snapshot(), trained_on(), golden(), model)
    bench.apply(*versions, deployment("v1", **changes))
    return await bench.until("ModelDeployment", "late", is_ready("Promoted"), 60)


def golden() -> Manifest:
    """A Dataset of golden rows that can be ingested."""
    raw = registry.dataset()
    columns = [{"name": "late", "type": "Int64"}, {"name": "distance", "type": "Int64"}]
    return raw | {"spec": raw["spec"] | {"columns": columns}}


def is_ready(reason: str) -> Callable[[Manifest], bool]:
    return lambda one: ready_of(one) == ("True", reason)


def waits(reason: str) -> Callable[[Manifest], bool]:
    return lambda one: ready_of(one) == ("False", reason)


async def test_a_canary_is_promoted_and_a_pin_takes_it_back(bench: Bench, actor: PodActor) -> None:
    del actor
    await serving(bench)
    short = CANARY | {"holdSeconds": 0}
    change(bench, await bench.look("ModelDeployment", "late"), strategy={"steps": [short]}, versionRef={"name": "v2"})
    await bench.until("ModelDeployment", "late", lambda one: one["status"].get("step", {}).get("name") == "canary")
    assert sorted(one.weight for one in (await routes(bench)).backends) == [10, 90]

    await heard(bench, v1=0, v2=0)
    await bench.until("ModelDeployment", "late", waits("HoldingInsufficientRequests"))
    await heard(bench, v1=180, v2=20)
    own = await bench.until("ModelDeployment", "late", is_ready("Promoted"))
    assert own["status"]["stable"]["version"] == "v2"

    bench.apply(pin())
    own = await bench.until("ModelDeployment", "late", is_ready("Pinned"))
    assert own["status"]["weights"][own["status"]["stable"]["variant"]] == 100
    assert own["status"]["stable"]["version"] == "v1"
    await bench.until("ReleasePin", "incident", is_ready("InForce"))
    assert own["spec"]["versionRef"] == {"name": "v2"}


async def test_a_settled_deployment_sends_no_write_at_all(
    bench: Bench, actor: PodActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that would change nothing, which the API server answers without a new resourceVersion."""
    del actor
    await serving(bench, realTime={"replicas": {"min": 2, "max": 4}, "routerReplicas": 2})
    sent: list[str] = []

    def counted(verb: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(bench.kube, verb)

        async def send(ref: Ref, *rest: Any) -> Any:
            sent.append(f"{verb} {ref.kind}")
            return await call(ref, *rest)

        return send

    for verb in ("apply", "apply_status", "delete"):
        monkeypatch.setattr(bench.kube, verb, counted(verb))
    deadline = time.monotonic() + 60
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < deadline, f"still writing: {sorted(set(sent))}"
        sent.clear()
        await bench.step()
        quiet = 0 if sent else quiet + 1
        await asyncio.sleep(0.3)  # the controllers of the API server's own kinds have their turn


async def test_everything_goes_with_the_deployment(bench: Bench, actor: PodActor) -> None:
    del actor
    await serving(bench)
    bench.cluster.kubectl("delete", "modeldeployment", "late", "-n", bench.namespace)
    deadline = time.monotonic() + 60
    for ref in (DEPLOYMENTS, SERVICES, CONFIG_MAPS, ROLES):
        while await bench.kube.list(ref, bench.namespace, {MANAGED_BY: MANAGED_VALUE}):
            assert time.monotonic() < deadline, f"{ref.plural} are still there"
            await asyncio.sleep(0.2)


async def test_a_monitor_evaluates_what_serves(bench: Bench, actor: PodActor) -> None:
    del actor
    await serving(bench)
    bench.apply(monitor())
    own = await bench.until("DriftMonitor", "drift", is_ready("Evaluated"))
    drifting = next(one for one in own["status"]["conditions"] if one["type"] == "Drifting")
    assert (drifting["status"], drifting["reason"]) == ("False", "NoDrift")


def change(bench: Bench, own: Manifest, **spec: Any) -> None:
    """What a user's edit of the spec does."""
    wanted = copy.deepcopy(own)
    wanted["spec"] |= spec
    bench.apply(wanted)
