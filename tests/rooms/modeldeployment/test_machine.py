"""Whatever happens in whatever order, some things are always true of who gets the requests."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_contract.routes import Routes
from plumbline_operator.rooms.modeldeployment.handlers import ROOM
from tests.rooms.release_objects import (
    CANARY,
    FIRST,
    HALF,
    SECOND,
    THIRD,
    Stage,
    approved,
    denied,
    deployment,
    pin,
    stage,
    surroundings,
)

DIGESTS = {"v1": FIRST, "v2": SECOND, "v3": THIRD}
VERSIONS = st.sampled_from(sorted(DIGESTS))
ACTIONS = st.one_of(
    st.tuples(st.just("go to"), VERSIONS),
    st.tuples(st.just("deny"), VERSIONS),
    st.tuples(st.just("approve"), VERSIONS),
    st.tuples(st.just("pin"), VERSIONS),
    st.tuples(st.just("unpin"), st.just("")),
    st.tuples(st.just("wait"), st.just("")),
    st.tuples(st.just("requests"), st.just("")),
    st.tuples(st.just("failures"), st.just("")),
    st.tuples(st.just("routers"), st.just("")),
    st.tuples(st.just("pods"), st.just("")),
    st.tuples(st.just("forget status"), st.just("")),
)


@dataclass
class Life:
    """A deployment to which things happen, and what must stay true."""

    cluster: Stage
    refused: set[str] = field(default_factory=set)
    served: set[str] = field(default_factory=set)
    generation: int = 0
    last: Routes | None = None

    def act(self, action: str, version: str) -> None:
        cluster = self.cluster
        match action:
            case "go to":
                cluster.go_to(version)
            case "deny" | "approve":
                self._decide(action, version)
            case "pin" | "unpin":
                self._pin(version if action == "pin" else "")
            case "wait":
                cluster.wait(61)
            case "requests" | "failures":
                self._count(action)
            case "routers":
                cluster.routers_work = not cluster.routers_work
            case "pods":
                cluster.pods_start = not cluster.pods_start
            case "forget status":
                status = cluster.status()
                cluster.kube.say(cluster.own(), {k: v for k, v in status.items() if k != "routesGeneration"})

    def _decide(self, action: str, version: str) -> None:
        make = approved if action == "approve" else denied
        self.cluster.kube.put(make(version, DIGESTS[version]))
        (self.refused.discard if action == "approve" else self.refused.add)(version)

    def _pin(self, version: str) -> None:
        live = self.cluster.kube.look("ReleasePin", "incident")
        if live is not None:
            self.cluster.kube.remove(live)
        if version:
            self.cluster.kube.put(pin(version_name=version))

    def _count(self, what: str) -> None:
        target = self.cluster.status().get("target")
        if target is not None:
            self.cluster.count("requests", target["version"], 60)
            if what == "failures":
                self.cluster.count("failures", target["version"], 60)

    async def check(self) -> None:
        """Reconcile once and hold the result against what must be true."""
        cluster, before, silent = self.cluster, self.last, not self.cluster.routers_work
        start = cluster.weights()
        await cluster.step()
        routes, status = cluster.routes(), cluster.status()
        stable = status.get("stable")
        if routes is None:
            assert stable is None
            return
        assert stable is not None
        self._generations_grow(routes, before)
        self.served.add(stable["version"])
        weights = cluster.weights()
        for version in weights:
            live = cluster.kube.look("Deployment", cluster.variant(version))
            assert live is not None, f"{version} gets requests and has no pods"
            assert version in self.served or version not in self.refused, f"{version} is denied and gets requests"
        if silent and len(start) == 2 and len(weights) == 2 and start.keys() == weights.keys():
            target = next(v for v in weights if v != stable["version"])
            assert weights[target] <= start[target], "a silent router let the target get more"
        self.last = routes

    def _generations_grow(self, routes: Routes, before: Routes | None) -> None:
        if before is None or routes == before:
            return
        assert routes.generation > before.generation, "other routes under a generation that routers have seen"


@settings(max_examples=150)
@given(st.lists(ACTIONS, max_size=25))
def test_whatever_happens(actions: list[tuple[str, str]]) -> None:
    async def live() -> None:
        cluster = stage(ROOM, *surroundings(), deployment("v1", CANARY, HALF))
        life = Life(cluster)
        await life.check()
        for action, version in actions:
            life.act(action, version)
            await life.check()
            await life.check()
        cluster.routers_work = cluster.pods_start = True
        for _ in range(20):
            before = len(cluster.kube.writes)
            await life.check()
            if before == len(cluster.kube.writes):
                return
        raise AssertionError(f"never settles: {cluster.kube.writes[-3:]}")

    asyncio.run(live())
