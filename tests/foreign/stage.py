"""A golden path that halts where it is told to, with every kind of child there is.

verify ─ ingest ─ collect ─ evaluate ─ drift ─ settled ─ canary
a phase of this name lets the Jobs of its verb hang; settled: nothing moves; canary: a second version gets a tenth
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from plumbline_operator.kube.refs import DEPLOYMENTS, JOBS, PODS, ref_of
from plumbline_operator.model.attempts import VERB_LABEL
from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.runtime.owned import APPLIED
from tests.faults.lane import Lane, lane, soon
from tests.faults.objects import RUN, SECOND, manifests, second_run
from tests.faults.state import masked, objects_of
from tests.faults.users import consent
from tests.foreign.fields import is_made
from tests.foreign.ground import Ground, types_of
from tests.foreign.stranger import Stranger
from tests.rooms import release_objects as release
from tests.support.faultproxy import upstream

HELD = {"verify": 3, "ingest": 2, "collect": 1, "evaluate": 1, "drift": 1}  # verb → Jobs that hang, in order
PHASES = (*HELD, "settled", "canary")
TRAIN = "train"  # what the Job is labelled with whose last step is `collect`
REACH_SECONDS = 120.0
QUIET_SECONDS = 1.5
RANGE: dict[str, Any] = {
    "replicas": {"min": 2, "max": 3},
    "routerReplicas": 2,
}  # so that there are autoscalers and budgets
MADE_BY_OTHERS = frozenset({"events", "pods", "replicasets", "endpointslices", "endpoints"})


@dataclass(slots=True)
class Stage:
    """One golden path, the ground it stands on, and a stranger beside it."""

    ground: Ground
    lane: Lane
    stranger: Stranger
    types: list[Ref]

    async def children(self) -> list[tuple[Ref, Manifest]]:
        """Every object in the namespace that the operator has made, whatever its type."""
        found = []
        for ref in self.types:
            if ref.plural not in MADE_BY_OTHERS:
                found += [(ref, one) for one in await self.stranger.list(ref) if is_made(one)]
        return found

    async def own(self) -> list[tuple[Ref, Manifest]]:
        """What users have written, as it is now."""
        found = []
        for one in self.lane.written:
            ref = ref_of(one)
            live = await self.stranger.look(ref, one["metadata"]["name"])
            assert live is not None, f"{one['kind']} {one['metadata']['name']} is gone"
            found.append((ref, live))
        return found

    async def reach(self, phase: str) -> None:
        """Go on until the path has come to this phase, and is quiet there."""
        for earlier in PHASES[: PHASES.index(phase)]:
            self.ground.holds.release(self.lane.namespace, earlier)
        if phase == "canary":
            await self.reach("settled")
            await self._second()
        await soon(f"phase {phase}", lambda: self.is_at(phase), REACH_SECONDS)

    async def is_at(self, phase: str) -> bool:
        """Whether the path stands still in this phase."""
        if self.lane.proxy.journal.quiet_seconds() < QUIET_SECONDS:
            return False
        if phase in HELD:
            return await self._hanging(phase) == HELD[phase]
        if phase == "settled":
            return await self.lane.has_ended()
        live = await self.stranger.look(DEPLOYMENT.ref, release.NAME)
        return bool(live and live.get("status", {}).get("weights", {}).values() and len(live["status"]["weights"]) > 1)

    async def _hanging(self, verb: str) -> int:
        jobs = await self.stranger.list(JOBS)
        pods = await self.stranger.list(PODS)
        running = {one["metadata"]["labels"].get("batch.kubernetes.io/job-name") for one in pods if _runs(one)}
        label = TRAIN if verb == "collect" else verb
        return sum(
            one["metadata"].get("labels", {}).get(VERB_LABEL) == label and one["metadata"]["name"] in running
            for one in jobs
        )

    async def _second(self) -> None:
        """A user trains once more, has it approved, and asks for it by steps."""
        await self.lane.write(second_run())
        await consent(self.lane, SECOND, "consent-2")
        change = {"versionRef": {"name": SECOND}, "strategy": {"steps": [release.CANARY]}}
        await self.lane.change(DEPLOYMENT.ref, release.NAME, change)


async def settled_state(one: Stage) -> dict[str, Any]:
    """The masked state of the namespace, but for what counts how often it was put right.

    Those are the generation of routes, the hash of what was applied, how many pods an autoscaler chose, and against
    whom a version was judged: one that was made again is judged against the champion of that day.
    """
    state = masked(await objects_of(one.lane.kube, one.lane.namespace), one.lane.namespace)
    for name, obj in state.items():
        obj["metadata"].get("annotations", {}).pop(APPLIED, None)
        if "routes.json" in obj.get("data", {}):
            obj["data"]["routes.json"] = json.loads(obj["data"]["routes.json"]) | {"generation": 0}
        if name.startswith(f"{DEPLOYMENTS.kind}/"):
            obj["spec"].pop("replicas")
        obj.get("status", {}).pop("routesGeneration", None)
        obj.get("status", {}).get("evaluation", {}).pop("champion", None)
    return state


@asynccontextmanager
async def stage(ground: Ground, title: str, types: list[Ref]) -> AsyncIterator[Stage]:
    """A path that hangs at the first phase; the operator runs."""
    namespace, folder = ground.place(title)
    ground.holds.hold(namespace, *HELD)
    async with (
        lane(ground.cluster, namespace, folder, _users) as one,
        upstream(ground.cluster.kubeconfig).session() as session,
    ):
        await one.start_operator()
        yield Stage(ground, one, Stranger(session, namespace), types)


def namespaced_types(ground: Ground) -> list[Ref]:
    """What the stage looks through for children."""
    return types_of(ground.cluster, namespaced=True)


async def _users(one: Lane) -> None:
    wide = [_wide(obj) if obj["kind"] == DEPLOYMENT.kind else obj for obj in manifests()]
    await one.write(*wide)
    await consent(one, RUN, "consent")


def _wide(obj: Manifest) -> Manifest:
    return obj | {"spec": obj["spec"] | {"realTime": obj["spec"].get("realTime", {}) | RANGE}}


def _runs(pod: Manifest) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"])
