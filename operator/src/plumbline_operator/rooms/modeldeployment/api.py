"""ModelDeployment: serves one version of a model, and brings in the next one in steps."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from plumbline_operator.model.amounts import ResourceAmounts
from plumbline_operator.model.attempts import WorkStatus
from plumbline_operator.model.kind import Column, Kind, Resource, Rule
from plumbline_operator.model.meta import Meta, Model, Name
from plumbline_operator.rooms.modeldeployment.reasons import REASONS, Reason
from plumbline_operator.traffic.measure import PodCounters

SETTLE = timedelta(seconds=5)  # beyond two flushes of a prediction log: an upload, and the clocks of two nodes

_CANARIES = "self.steps.filter(s, has(s.canary))"
_RISING = (
    f"{_CANARIES}.map(s, s.canary.weight).isSorted() && "
    f"{_CANARIES}.all(s, {_CANARIES}.exists_one(o, o.canary.weight == s.canary.weight))"
)
_SCALABLE = (
    "self.replicas.max <= self.replicas.min || (size(self.resources.requests) == 0 && size(self.resources.limits) == 0)"
    " || 'cpu' in self.resources.requests || 'cpu' in self.resources.limits"
)
_SHADOWS_FIRST = "self.steps.map(s, has(s.canary) ? 1 : 0).isSorted()"


def _checked(*rules: tuple[str, str]) -> ConfigDict:
    """Model settings that carry CEL rules, as (rule, message), into the CRD."""
    return ConfigDict(
        json_schema_extra={"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}
    )


class Replicas(Model):
    """How many pods serve a version; more than the minimum under load when `max` is larger."""

    model_config = _checked(("self.min <= self.max", "min must not be larger than max"))

    min: int = Field(default=1, ge=1, le=1000, description="Pods that always run, for every version kept running.")
    max: int = Field(default=1, ge=1, le=1000, description="Pods at most; equal to min: no autoscaling.")


class RealTime(Model):
    """Serving over HTTP, one answer per request."""

    model_config = _checked(
        (_SCALABLE, "autoscaling needs a CPU request to measure against: set resources.requests.cpu")
    )

    replicas: Replicas = Field(default=Replicas(), description="Pods per version.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(),
        description="Resources of each server's container. Absent: 250m CPU and 512Mi, 2Gi at most.",
    )
    target_cpu_percent: int = Field(
        default=70,
        ge=1,
        le=100,
        alias="targetCPUPercent",
        description="CPU use, in percent of the request, that autoscaling aims at.",
    )
    router_replicas: int = Field(
        default=2,
        ge=1,
        le=20,
        description="Router pods. With one, requests fail while it is moved to another node.",
    )


class ShadowStep(Model):
    """The target gets copies of requests; callers never see its answers."""

    percent: int = Field(ge=1, le=100, description="Percent of the requests that are copied.")


class CanaryStep(Model):
    """The target answers a part of the requests."""

    weight: int = Field(ge=1, le=99, description="Percent of the requests.")


class RolloutStep(Model):
    """One step; exactly one of shadow and canary."""

    model_config = _checked(
        ("has(self.shadow) != has(self.canary)", "give exactly one of shadow and canary"),
        ("!has(self.minAgreement) || has(self.shadow)", "minAgreement belongs to a shadow step"),
    )

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name of the step, as status and messages call it.",
    )
    shadow: ShadowStep | None = Field(default=None, description="Copy requests to the target.")
    canary: CanaryStep | None = Field(default=None, description="Send requests to the target.")
    hold_seconds: int = Field(
        default=60, ge=0, le=2_592_000, description="How long the step lasts at least, once every router serves it."
    )
    min_requests: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="How many requests must have been measured: copies in a shadow step, answers of both versions in "
        "a canary step. 0 lets a step pass without traffic.",
    )
    min_agreement: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the paired predictions of both versions that must agree. Absent: they are not compared.",
    )
    max_failure_percent: float = Field(
        default=1.0, ge=0, le=100, description="Percent of the target's answers that may fail in a canary step."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "RolloutStep":
        if (self.shadow is None) == (self.canary is None):
            raise ValueError(f"step {self.name!r} must have exactly one of shadow and canary")
        return self


class Strategy(Model):
    """How a new version takes over; after the last step it gets everything."""

    model_config = _checked(
        (_RISING, "the weights of canary steps must rise from step to step"),
        (_SHADOWS_FIRST, "shadow steps come before canary steps"),
    )

    steps: tuple[RolloutStep, ...] = Field(
        default=(),
        max_length=20,
        description="Steps in order. None: a new version takes over as soon as its pods are ready.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    @model_validator(mode="after")
    def _rising(self) -> "Strategy":
        weights = [step.canary.weight if step.canary else 0 for step in self.steps]
        canaries = [weight for weight in weights if weight]
        if weights != sorted(weights) or len(set(canaries)) != len(canaries):
            raise ValueError(f"weights are {weights} (0: shadow); shadows come first and canary weights must rise")
        return self


class AgreementRule(Model):
    """When two predictions count as the same."""

    output: str = Field(
        default="probability", min_length=1, max_length=256, description="Output of the model that is compared."
    )
    tolerance: float = Field(default=0.05, ge=0, description="Largest difference between two that agree.")


class Logging(Model):
    """The log of predictions in the bucket."""

    flush_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="How long predictions wait at most before they are written."
    )


class ModelDeploymentSpec(Model):
    """Which version serves, and how."""

    model_ref: Name = Field(description="The RegisteredModel that is served.")
    version_ref: Name = Field(description="The ModelVersion to serve. Change it to roll out, change it back to undo.")
    real_time: RealTime = Field(default=RealTime(), description="Serving over HTTP.")
    strategy: Strategy = Field(default=Strategy(), description="How a new version takes over.")
    agreement: AgreementRule = Field(default=AgreementRule(), description="When two predictions count as the same.")
    warm_versions: int = Field(
        default=1, ge=0, le=5, description="How many earlier versions keep running, so that going back takes no time."
    )
    logging: Logging = Field(default=Logging(), description="The log of predictions.")
    node_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port on every node; absent: reachable inside the cluster only."
    )


class Served(Model):
    """A version as it is served; everything that is needed to serve it again."""

    version: str = Field(description="Name of the ModelVersion.")
    manifest: str = Field(description="Digest of its manifest.")
    variant: str = Field(description="Name of its Deployment and Service.")
    image: str = Field(description="The serving image it was brought in with.")
    storage: str = Field(description="The Connection to the bucket in which it lies.")
    redact: Mapping[str, str] = Field(
        default_factory=dict, description="Inputs that are left out of the prediction log (Drop) or hashed (Hash)."
    )
    since: datetime | None = Field(default=None, description="When it last became the stable version (UTC).")
    by: Literal["", "First", "Rollout", "Rollback", "Pin"] = Field(default="", description="How it became so.")


class StepStatus(Model):
    """The step a rollout is in."""

    index: int = Field(description="Its place in spec.strategy.steps, from 0.")
    name: str = Field(description="Its name.")
    since: datetime | None = Field(
        default=None, description="When every router pod served its weights (UTC); the hold counts from here."
    )
    baseline: tuple[PodCounters, ...] = Field(default=(), description="What router pods had counted then.")
    compare_until: datetime | None = Field(
        default=None, description="End of the window of predictions that are compared (UTC)."
    )


class MeasuredStatus(Model):
    """What routers counted since the step began; renewed every ten seconds at most."""

    requests: dict[str, int] = Field(default_factory=dict, description="Answered requests by variant.")
    failures: dict[str, int] = Field(default_factory=dict, description="Failed ones by variant.")
    mirrored: dict[str, int] = Field(default_factory=dict, description="Copied requests by variant.")
    share_percent: float = Field(default=0.0, description="The target's part of the answered requests, in percent.")
    at: datetime = Field(description="When they were read (UTC).")


class ShadowResult(Model):
    """The last comparison of a target's predictions with the stable version's."""

    pairs: int = Field(description="Predictions of both on the same input.")
    agreement: float = Field(description="Share of them that agree, 0 to 1.")
    until: datetime = Field(description="End of the window that was compared (UTC).")


class PinStatus(Model):
    """The ReleasePin in force."""

    name: str = Field(description="Name of the ReleasePin.")
    version: str = Field(description="The version it pins.")


class Failure(Model):
    """Why a rollout was stopped for good."""

    generation: int = Field(description="The metadata.generation at that time; a newer one starts over.")
    version: str = Field(description="The version that was stopped.")
    reason: str = Field(description="Why, in one word.")
    message: str = Field(description="Why, with the numbers.")


class ModelDeploymentStatus(WorkStatus):
    """What serves, and how far a rollout is. The job fields speak about the comparison of a shadow step."""

    stable: Served | None = Field(default=None, description="The version that answers; absent before the first.")
    target: Served | None = Field(default=None, description="The version that is being brought in.")
    previous: tuple[Served, ...] = Field(
        default=(), description="Versions that were stable before, the last first; some are kept running."
    )
    step: StepStatus | None = Field(default=None, description="The step of the rollout.")
    rollout: str = Field(default="", description="Short hash of the target and the steps of the rollout under way.")
    failure: Failure | None = Field(default=None, description="Why the rollout was stopped.")
    weights: dict[str, int] = Field(default_factory=dict, description="Percent of the requests by variant.")
    shadow_percent: int = Field(default=0, description="Percent of the requests that are copied to the target.")
    routes_generation: int = Field(default=0, description="Generation of the routes that were last given to routers.")
    measured: MeasuredStatus | None = Field(default=None, description="Counted in this step; only while rolling out.")
    shadow: ShadowResult | None = Field(default=None, description="The last comparison of predictions.")
    pin: PinStatus | None = Field(default=None, description="The ReleasePin in force.")


class ModelDeployment(Resource[ModelDeploymentSpec, ModelDeploymentStatus]):
    """A model being served."""

    metadata: Meta
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus = ModelDeploymentStatus()


KIND = Kind(
    kind="ModelDeployment",
    plural="modeldeployments",
    short="mdep",
    description="Serves one version of a model, and brings in the next one in steps.",
    resource=ModelDeployment,
    spec=ModelDeploymentSpec,
    status=ModelDeploymentStatus,
    reasons=REASONS,
    columns=(
        Column("Stable", ".status.stable.version", description="The version that answers."),
        Column("Target", ".status.target.version", description="The version that is being brought in."),
        Column("Step", ".status.step.name", description="The step of the rollout."),
    ),
    rules=(
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,46}[a-z0-9])?$')",
            "the name becomes a Service's: lower-case letters, digits, dashes, a letter first, at most 48 characters",
            ".metadata.name",
        ),
        Rule(
            "self.spec.modelRef == oldSelf.spec.modelRef || !has(oldSelf.status) || !has(oldSelf.status.stable)",
            "modelRef cannot change once a version serves: callers ask for the model by this name; create another "
            "ModelDeployment",
            ".spec.modelRef",
        ),
    ),
    paused=(Reason.AWAITING_APPROVAL,),
    alarms=("GitDiverged",),
)


def served_versions(status: ModelDeploymentStatus) -> frozenset[str]:
    """Names of the versions that are or were stable."""
    stable = () if status.stable is None else (status.stable,)
    return frozenset(one.version for one in (*stable, *status.previous))


def written_after(spec: ModelDeploymentSpec) -> timedelta:
    """How long after a prediction its record lies in the bucket, as far as nothing is broken."""
    return timedelta(seconds=2 * spec.logging.flush_seconds) + SETTLE
