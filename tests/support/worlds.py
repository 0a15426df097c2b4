"""Builders of worlds: objects as the API server would hold them, and the parts other actors play."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from plumbline_contract.report import Outcome, Report
from plumbline_contract.routes import Measured
from plumbline_operator.build.job import JOB_LABEL
from plumbline_operator.model.kind import Kind
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.runtime.events import Recorder
from plumbline_operator.runtime.loop import Loop
from plumbline_operator.runtime.room import Images, Room, Sight
from tests.support.fake_kube import FakeKube

NAMESPACE = "team"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
IMAGES = Images(jobs="plumbline/jobs:test", serving="plumbline/serving:test", router="plumbline/router:test")
DIGEST = "sha256:" + "1" * 64
EXIT_CODES = {Outcome.DONE: 0, Outcome.REFUSED: 2, Outcome.TROUBLE: 3}

Actor = Callable[[FakeKube], None]


@dataclass(slots=True)
class FakeSignals:
    """Measurements that a test sets: host → answer; a host that is not set does not answer."""

    answers: dict[str, tuple[Measured, ...]] = field(default_factory=dict)
    anywhere: tuple[Measured, ...] | None = None  # the answer of every host that has none of its own
    asked: list[str] = field(default_factory=list)

    async def measured(self, host: str) -> tuple[Measured, ...] | None:
        self.asked.append(host)
        return self.answers.get(host, self.anywhere)


@dataclass(frozen=True, slots=True)
class World:
    """An object of ours, everything around it, and what the rest of the cluster does between reconciles."""

    title: str
    subject: Manifest
    others: tuple[Manifest, ...] = ()
    signals: FakeSignals = field(default_factory=FakeSignals)
    actor: Actor | None = None
    now: datetime = NOW

    @property
    def key(self) -> Key:
        """The key of the subject."""
        meta = self.subject["metadata"]
        return Key(self.subject["kind"], meta["namespace"], meta["name"])

    def kube(self) -> FakeKube:
        """A fresh API server with everything of this world."""
        return FakeKube(*self.others, self.subject)


def raw(kind: Kind, name: str, spec: Mapping[str, Any], **metadata: Any) -> Manifest:
    """An object of one of our kinds as the API server holds it: camelCase spec, uid, generation 1, no status."""
    return thing(kind.ref.api_version, kind.kind, name, {"spec": dict(spec)}, **metadata)


def thing(api_version: str, kind: str, name: str, body: Mapping[str, Any] | None = None, **metadata: Any) -> Manifest:
    """Any object in the test namespace; `body` are its parts beside metadata."""
    meta = {"name": name, "namespace": NAMESPACE, "uid": f"{kind.lower()}-{name}", "generation": 1} | metadata
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **(body or {})}


def with_status(obj: Manifest, **status: Any) -> Manifest:
    """The object with these status fields set."""
    return obj | {"status": obj.get("status", {}) | status}


def condition(obj: Manifest, type_: str, status: str, reason: str, message: str = "As told by the test.") -> Manifest:
    """The object with one condition set for its present generation."""
    generation = obj["metadata"].get("generation", 1)
    new = {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    kept = [c for c in obj.get("status", {}).get("conditions", ()) if c["type"] != type_]
    return with_status(obj, conditions=[*kept, new], observedGeneration=generation)


def ready(obj: Manifest, reason: str = "Available", **status: Any) -> Manifest:
    """The object with Ready=True for its present generation, and these status fields."""
    return with_status(condition(obj, "Ready", "True", reason), **status)


def not_ready(obj: Manifest, reason: str, message: str = "Not yet.", **status: Any) -> Manifest:
    """The object with Ready=False."""
    return with_status(condition(obj, "Ready", "False", reason, message), **status)


def pod_of(job: Manifest, message: str, exit_code: int, *, container: str = "", reason: str = "") -> Manifest:
    """The pod of a Job after its containers ended; `container` (default: the last) said `message`."""
    spec = job["spec"]["template"]["spec"]
    inits, mains = ([c["name"] for c in spec.get(k, ())] for k in ("initContainers", "containers"))
    speaker = container or mains[-1]
    order = [*inits, *mains]
    ran = order[: order.index(speaker) + 1]
    ended = {name: _terminated("", 0, "Completed") for name in ran}
    ended[speaker] = _terminated(message, exit_code, reason or ("Completed" if exit_code == 0 else "Error"))
    images = {c["name"]: c["image"] for c in (*spec.get("initContainers", ()), *spec["containers"])}
    states = {
        name: {"name": name, "image": images[name], "imageID": f"{images[name]}@{DIGEST}", "state": ended[name]}
        for name in ran
    }
    status = {
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "initContainerStatuses": [states[n] for n in inits if n in states],
        "containerStatuses": [states[n] for n in mains if n in states],
    }
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    labels = {JOB_LABEL: job["metadata"]["name"]} | job["spec"]["template"]["metadata"].get("labels", {})
    name = f"{job['metadata']['name']}-pod"
    return thing(
        "v1",
        "Pod",
        name,
        {"spec": spec, "status": status},
        labels=labels,
        namespace=job["metadata"]["namespace"],
        ownerReferences=[owner | {"controller": True}],
    )


def answer(kube: FakeKube, job: Manifest, report: Report, *, container: str = "") -> None:
    """Let a stored Job end with this report, as the kubelet and the Job controller would."""
    code = EXIT_CODES[report.outcome]
    kube.put(pod_of(job, report.termination_message().decode(), code, container=container))
    kube.say(job, job_status(ok=code == 0))


def die(kube: FakeKube, job: Manifest, *, container: str = "", reason: str = "Error", log: str = "boom") -> None:
    """Let a stored Job end without a report: `reason` is the container's, OOMKilled for example."""
    kube.put(pod_of(job, log, 137 if reason == "OOMKilled" else 1, container=container, reason=reason))
    kube.say(job, job_status(ok=False))


def job_status(*, ok: bool) -> Manifest:
    """The status of a finished Job."""
    type_ = "Complete" if ok else "Failed"
    return {"conditions": [{"type": type_, "status": "True", "reason": "BackoffLimitExceeded" if not ok else ""}]}


def open_jobs(kube: FakeKube) -> list[Manifest]:
    """The Jobs that have not ended yet."""
    return [job for job in kube.all("Job") if not job.get("status", {}).get("conditions")]


def answering(*reports: Report) -> Actor:
    """An actor that answers open Jobs with these reports in turn, the last one for ever."""
    left = list(reports)

    def act(kube: FakeKube) -> None:
        for job in open_jobs(kube):
            answer(kube, job, left.pop(0) if len(left) > 1 else left[0])

    return act


def available(kube: FakeKube) -> None:
    """An actor that lets every Deployment have all the replicas it wants."""
    for deployment in kube.all("Deployment"):
        wanted = deployment["spec"].get("replicas", 1)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted,
            "readyReplicas": wanted,
            "availableReplicas": wanted,
            "updatedReplicas": wanted,
            "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}],
        }
        if deployment.get("status") != status:
            kube.say(deployment, status)


def together(*actors: Actor) -> Actor:
    """Several actors as one."""

    def act(kube: FakeKube) -> None:
        for actor in actors:
            actor(kube)

    return act


def loop_on(kube: FakeKube, signals: FakeSignals | None = None) -> Loop:
    """The operator's loop on a fake API server."""
    return Loop(kube, Sight(kube, signals or FakeSignals(), IMAGES), Recorder(kube))


async def settle(room: Room, world: World, kube: FakeKube, *, rounds: int = 20) -> Manifest:
    """Reconcile the subject, actors between, until nothing changes any more; its final state.

    Raises AssertionError when it is still changing after `rounds`.
    """
    loop = loop_on(kube, world.signals)
    for _ in range(rounds):
        before = kube.version, len(kube.writes)
        await loop.reconcile(room, world.key, world.now)
        if world.actor is not None:
            world.actor(kube)
        if (kube.version, len(kube.writes)) == before:
            found = kube.look(world.key.kind, world.key.name, world.key.namespace)
            assert found is not None, f"{world.title}: the subject vanished"
            return found
    last = [f"{w.verb} {w.kind} {w.name}" for w in kube.writes[-6:]]
    raise AssertionError(f"{world.title}: not settled after {rounds} rounds; last writes: {last}")


def ready_of(obj: Manifest) -> tuple[str, str]:
    """Status and reason of Ready, for one-line assertions."""
    found = next((c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), None)
    return (found["status"], found["reason"]) if found else ("", "")


def types_of(objects: Iterable[Manifest]) -> list[str]:
    """`Kind name` of each object, for assertions."""
    return [f"{o['kind']} {o['metadata']['name']}" for o in objects]


def _terminated(message: str, code: int, reason: str) -> Manifest:
    return {"terminated": {"message": message, "exitCode": code, "reason": reason}}
