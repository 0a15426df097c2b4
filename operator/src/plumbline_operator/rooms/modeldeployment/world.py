"""What a ModelDeployment's reconcile has seen, and the facts it reads from that. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plumbline_contract.routes import Measured, Routes
from plumbline_operator.model.attempts import SeenJob
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.names import child_name
from plumbline_operator.rooms.approval.api import Approval, ApprovalSpec, refusal
from plumbline_operator.rooms.connection.api import unusable
from plumbline_operator.rooms.modeldeployment.api import ModelDeployment, Served
from plumbline_operator.rooms.modeldeployment.reasons import Reason
from plumbline_operator.rooms.modelversion.api import AWAITS_CONSENT, ModelVersionSpec
from plumbline_operator.rooms.modelversion.api import Reason as Consent
from plumbline_operator.rooms.modelversion.api import read_spec as read_version
from plumbline_operator.rooms.modelversion.consent import count
from plumbline_operator.rooms.registeredmodel.api import RegisteredModelSpec
from plumbline_operator.rooms.registeredmodel.api import read_spec as read_model
from plumbline_operator.rooms.releasepin.api import ReleasePin
from plumbline_operator.runtime.room import Images
from plumbline_operator.traffic.measure import generation_taken


@dataclass(frozen=True, slots=True)
class Observed:
    """A ModelDeployment and everything around it, as read.

    model: its RegisteredModel. versions, snapshots, connections: by name, those that exist of the ones it names.
    parts: everything of its variants that exists: Deployments, Services, autoscalers, disruption budgets.
    router: the router's Deployment. routes: those that routers have been given, None when there are none or somebody
    broke them; routes_version: of the object they stand in, empty when there is none. measured: None when a router
    pod does not answer, or when nothing is moving and nobody asked. pods: of the target. jobs: comparisons.
    approvals: of the versions named, but for the stable one.
    """

    deployment: ModelDeployment
    images: Images
    model: Manifest | None = None
    versions: Mapping[str, Manifest] = field(default_factory=dict)
    snapshots: Mapping[str, Manifest] = field(default_factory=dict)
    connections: Mapping[str, Manifest] = field(default_factory=dict)
    pins: tuple[ReleasePin, ...] = ()
    parts: tuple[Manifest, ...] = ()
    router: Manifest | None = None
    routes: Routes | None = None
    routes_version: str = ""
    measured: tuple[Measured, ...] | None = None
    pods: tuple[Manifest, ...] = ()
    jobs: tuple[SeenJob, ...] = ()
    approvals: tuple[Approval, ...] = ()

    def ready_pods(self, variant: str) -> int:
        """How many pods of a variant can take requests: none without a Service of ours.

        The routes name that Service; one that is somebody else's would send requests to other pods.
        """
        return available_replicas(self.pods_of(variant)) if self._part("Service", variant) else 0

    def wanted_pods(self, variant: str) -> int:
        """How many pods a variant's Deployment asks for now; 0 when it does not exist."""
        return int((self.pods_of(variant) or {}).get("spec", {}).get("replicas", 0))

    def pods_of(self, variant: str) -> Manifest | None:
        """The Deployment of a variant."""
        return self._part("Deployment", variant)

    def _part(self, kind: str, name: str) -> Manifest | None:
        return next((one for one in self.parts if (one["kind"], one["metadata"]["name"]) == (kind, name)), None)

    def routers_follow(self) -> bool:
        """Whether every router pod serves the routes that were last written."""
        return generation_taken(self.measured, self.deployment.status.routes_generation)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a version cannot be served now. `lasting`: only a human can help. `passing`: another look will tell more."""

    reason: Reason
    message: str
    lasting: bool = False
    passing: bool = False


def available_replicas(deployment: Manifest | None) -> int:
    """How many pods of an apps/v1 Deployment are available."""
    return 0 if deployment is None else int(deployment.get("status", {}).get("availableReplicas", 0))


def candidate(seen: Observed, name: str, now: datetime) -> Served | Obstacle:
    """A version that may be brought in, or what stands against it.

    Its status alone does not open the door: it is a moment old, and so might miss a denial. What people decided is
    counted once more, as it lies there now.

    A version that is the target already is not asked for its Connection again: a Secret that cannot be verified for
    a minute is no reason to take traffic away from pods that answer.
    """
    model = seen.deployment.spec.model_ref.name
    if seen.model is None:
        return Obstacle(Reason.MODEL_NOT_FOUND, f"RegisteredModel {model} does not exist. Waiting for it.")
    raw = seen.versions.get(name)
    version = read_version(raw)
    if raw is None or version is None:
        return Obstacle(Reason.VERSION_NOT_FOUND, f"ModelVersion {name} does not exist. Waiting for it.")
    if version.model_ref.name != model:
        text = f"ModelVersion {name} is one of RegisteredModel {version.model_ref.name}, but spec.modelRef is {model}."
        return Obstacle(Reason.VERSION_OF_OTHER_MODEL, f"{text} Name a version of that model.", lasting=True)
    if not is_true(raw):
        stuck = is_true(raw, "Stalled")  # gates failed, or somebody said no: waiting alone does not help
        advice = "Name another version, or resolve that." if stuck else "Waiting for it."
        return Obstacle(unconsented(raw), f"ModelVersion {name} is not Ready ({said(raw)}). {advice}", lasting=stuck)
    withheld = _withheld(seen, name, version, now)
    if withheld is not None:
        return withheld
    target = seen.deployment.status.target
    if target is not None and (target.version, target.manifest) == (name, version.manifest):
        return target
    return _new(seen, name, version)


def _withheld(seen: Observed, name: str, version: ModelVersionSpec, now: datetime) -> Obstacle | None:
    """What people's decisions lack for this version at this moment; None when nothing."""
    model = read_model(seen.model)
    if model is None:
        text = f"RegisteredModel {version.model_ref.name} cannot be used, so nobody says whose approvals count."
        return Obstacle(Reason.MODEL_NOT_READY, f"{text} Look at its own message.")
    own = [one for one in seen.approvals if one.spec.version.name == name]
    tally = count(own, version, model, now)
    if tally.reason is Consent.APPROVED:
        return None
    reason = Reason.AWAITING_APPROVAL if tally.reason in AWAITS_CONSENT else Reason.VERSION_NOT_APPROVED
    text = f"ModelVersion {name} is Ready, but not by the approvals there are now: {tally.message} Looking again."
    return Obstacle(reason, text, passing=True)


def denial(seen: Observed, known: Served, now: datetime) -> Approval | None:
    """A denial, as it lies there now, of a version that served before; its status may not have heard of it yet."""
    version, model = read_version(seen.versions.get(known.version)), read_model(seen.model)
    denials = [one for one in seen.approvals if one.spec.decision == "Deny" and one.spec.version.name == known.version]
    about = [one for one in denials if one.spec.version.manifest == known.manifest]
    return next((one for one in about if _counts(one.spec, version, model, now)), None)


def _counts(
    denial: ApprovalSpec, version: ModelVersionSpec | None, model: RegisteredModelSpec | None, now: datetime
) -> bool:
    """Whether a denial counts.

    The version says whose decision does not, and the model whose does. Where one of them cannot be asked, it counts.
    """
    if version is None or model is None or version.manifest != denial.version.manifest:
        return denial.expires_at is None or now < denial.expires_at
    return refusal(denial, version, model, now) is None


def _new(seen: Observed, name: str, version: ModelVersionSpec) -> Served | Obstacle:
    trouble = unusable(version.storage_ref.name, seen.connections.get(version.storage_ref.name))
    if trouble:
        return Obstacle(Reason.CONNECTION_NOT_READY, trouble)
    missing = [one.snapshot for one in version.snapshots if one.snapshot not in seen.snapshots]
    if missing:
        text = f"DatasetSnapshot {missing[0]}, on which ModelVersion {name} was trained, does not exist"
        return Obstacle(Reason.SNAPSHOT_NOT_FOUND, f"{text}, so it is unknown which inputs are personal. Restore it.")
    image = seen.images.serving
    return Served(
        version=name,
        manifest=version.manifest,
        variant=variant_name(seen.deployment.metadata.name, version.manifest, image),
        image=image,
        storage=version.storage_ref.name,
        redact=redactions(seen.snapshots[one.snapshot] for one in version.snapshots),
    )


def variant_name(deployment: str, manifest: str, image: str) -> str:
    """The name of a variant: the same model in the same server is the same variant."""
    return child_name(deployment, "v", inputs={"manifest": manifest, "image": image})


def redactions(snapshots: Iterable[Manifest]) -> dict[str, str]:
    """Which inputs must not be logged as they are: those named like a column that any snapshot (raw) hides.

    Where snapshots differ, the strictest counts.
    """
    specs = [one["spec"] for one in snapshots]
    columns = [column for spec in specs for column in spec.get("columns", ())]
    hashed = [column["name"] for column in columns if column.get("handling") == "Hash"]
    personal = [column["name"] for column in columns if column.get("pii") and column.get("handling") != "Hash"]
    dropped = [name for spec in specs for name in spec.get("dropped", ())]
    return dict.fromkeys(hashed, "Hash") | dict.fromkeys([*personal, *dropped], "Drop")


def unconsented(raw: Mapping[str, Any]) -> Reason:
    """Why a version may not serve: only people's consent is missing, or something else is."""
    ready = find(raw.get("status", {}).get("conditions", ()), "Ready") or {}
    return Reason.AWAITING_APPROVAL if ready.get("reason") in AWAITS_CONSENT else Reason.VERSION_NOT_APPROVED


def said(raw: Mapping[str, Any]) -> str:
    """What another object says of itself: reason and message of its Ready condition."""
    ready = find(raw.get("status", {}).get("conditions", ()), "Ready")
    return "not looked at yet" if ready is None else f"{ready['reason']}: {ready['message']}"


def complaint(seen: Observed, variant: str) -> str:
    """What the pods of a variant that is not ready say, newest pod first; empty when they say nothing."""
    pods = sorted(seen.pods, key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]))
    for pod in reversed(pods):
        text = _pod_complaint(pod.get("status", {}))
        if text:
            return text
    conditions = (seen.pods_of(variant) or {}).get("status", {}).get("conditions", ())
    failed = find(conditions, "ReplicaFailure") or {}
    return str(failed.get("message", ""))


def _pod_complaint(status: Mapping[str, Any]) -> str:
    scheduled = find(status.get("conditions", ()), "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return str(scheduled.get("message", ""))
    for one in status.get("containerStatuses", ()):
        ended = one.get("lastState", {}).get("terminated") or one.get("state", {}).get("terminated")
        if ended:
            tail = "\n".join(str(ended.get("message", "")).strip().splitlines()[-5:])
            return f"The server ended with {ended.get('exitCode')} ({ended.get('reason', 'Error')}): {tail}"
        waiting = one.get("state", {}).get("waiting", {})
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"The server waits ({waiting['reason']}): {waiting.get('message', '')}"
    return ""
