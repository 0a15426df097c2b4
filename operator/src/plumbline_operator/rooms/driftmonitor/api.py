"""DriftMonitor: watches whether what is asked of a model still looks like what it learnt from."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from plumbline_operator.model.amounts import ResourceAmounts
from plumbline_operator.model.attempts import WorkStatus
from plumbline_operator.model.kind import Column, Explained, Kind, Resource
from plumbline_operator.model.meta import Meta, Model, Name
from plumbline_operator.model.reasons import explained

FeatureName = Annotated[str, Field(min_length=1, max_length=256)]
MaxPSI = Annotated[float, Field(gt=0, le=100, alias="maxPSI")]
DEFAULT_PSI = 0.25  # the customary border of a major shift: Siddiqi, Credit Risk Scorecards (2006)

_KNOWN_OVERRIDES = "size(self.only) == 0 || self.overrides.all(o, self.only.exists(n, n == o.name))"
_RUNBOOK = "self.severity != 'Page' || (has(self.runbookURL) && size(self.runbookURL) > 0)"


def _checked(rule: str, message: str, field: str) -> ConfigDict:
    """Model settings that carry a CEL rule into the CRD. `field`: the path that a refusal names."""
    published: dict[str, JsonValue] = {"rule": rule, "message": message, "fieldPath": field}
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": [published]})


class FeatureOverride(Model):
    """A bound for one feature."""

    name: FeatureName = Field(description="Name of the model's input.")
    max_psi: MaxPSI = Field(description="Population stability index above which this feature has drifted.")


class Features(Model):
    """Which inputs of the model are watched, and how far each may shift."""

    model_config = _checked(_KNOWN_OVERRIDES, "overrides must name features in only, when only is given", ".overrides")

    max_psi: MaxPSI = Field(
        default=DEFAULT_PSI, description="Population stability index above which a feature has drifted."
    )
    overrides: tuple[FeatureOverride, ...] = Field(
        default=(),
        max_length=200,
        description="Features with a bound of their own.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    only: tuple[FeatureName, ...] = Field(
        default=(), max_length=200, description="Watch these alone. Empty: every input of the model."
    )


class Prediction(Model):
    """How far the predictions may shift from those on the training rows."""

    max_psi: MaxPSI = Field(
        default=DEFAULT_PSI, description="Population stability index above which the predictions have drifted."
    )


class DriftMonitorSpec(Model):
    """What is watched, how often, and how loud."""

    model_config = _checked(
        _RUNBOOK, "severity Page needs a runbookURL: whoever is woken must know what to do", ".runbookURL"
    )

    deployment_ref: Name = Field(description="The ModelDeployment whose predictions are watched.")
    window_seconds: int = Field(
        default=86_400, ge=60, le=31_536_000, description="How far back an evaluation looks, in seconds."
    )
    interval_seconds: int = Field(
        default=3600,
        ge=60,
        le=604_800,
        description="How often it is evaluated, in seconds; aligned to whole intervals.",
    )
    for_seconds: int = Field(
        default=0,
        ge=0,
        le=31_536_000,
        description="How long a shift must last, over consecutive evaluations, before Drifting becomes True.",
    )
    min_rows: int = Field(
        default=1000, ge=1, le=1_000_000_000, description="Rows below which an evaluation says nothing (Unknown)."
    )
    features: Features = Field(default=Features(), description="Which inputs are watched.")
    prediction: Prediction | None = Field(default=None, description="Watch the predictions, too.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(),
        description="Resources of the Job that evaluates. Absent: 200m CPU and 256Mi, 2Gi at most.",
    )
    severity: Literal["Page", "Ticket", "Info"] = Field(
        default="Ticket", description="How loud: wake somebody, open a ticket, or only say it."
    )
    runbook_url: str = Field(
        default="",
        max_length=2048,
        pattern=r"^(https?://[^\s]+)?$",
        alias="runbookURL",
        description="What to do about it; the alarm carries it.",
    )

    @model_validator(mode="after")
    def _has_runbook(self) -> "DriftMonitorSpec":
        if self.severity == "Page" and not self.runbook_url:
            raise ValueError("severity is Page but runbookURL is empty; say what whoever is woken should do")
        return self


class Evaluation(Model):
    """One evaluation: which predictions of which version."""

    since: datetime = Field(description="Start of the window (UTC).")
    until: datetime = Field(description="End of the window (UTC).")
    version: str = Field(description="The ModelVersion that made the predictions.")
    manifest: str = Field(description="Digest of its manifest.")
    variant: str = Field(description="The variant in the prediction log.")


class LastWindow(Model):
    """What the last evaluation looked at, and its verdict."""

    since: datetime = Field(description="Start of the window (UTC).")
    until: datetime = Field(description="End of the window (UTC).")
    rows: int = Field(default=0, description="Predictions in it.")
    variant: str = Field(default="", description="Whose predictions.")
    verdict: Literal["Pass", "Fail", "Inconclusive"] = Field(description="Fail: at least one value is above its bound.")


class ReportPlace(Model):
    """The full report."""

    digest: str = Field(description="Its digest.")
    key: str = Field(description="Its key in the bucket.")


class Value(Model):
    """How far one feature has shifted."""

    name: str = Field(description="Name of the input, or `prediction`.")
    psi: float | None = Field(default=None, description="Population stability index; absent: could not be computed.")
    max_psi: float = Field(alias="maxPSI", description="Its bound.")
    verdict: str = Field(description="Pass, Fail or Inconclusive.")


class DriftMonitorStatus(WorkStatus):
    """What the last evaluation found."""

    evaluation: Evaluation | None = Field(default=None, description="The evaluation under way, or done last.")
    last_window: LastWindow | None = Field(default=None, description="What the values below were computed on.")
    values: tuple[Value, ...] = Field(
        default=(), description="The twenty features that shifted most, those above their bound first."
    )
    report: ReportPlace | None = Field(default=None, description="The full report of the last evaluation.")
    drifting_since: datetime | None = Field(
        default=None, description="End of the first window of the present run of failing evaluations (UTC)."
    )


class Reason(StrEnum):
    """Why a DriftMonitor works or not, and what it found."""

    EVALUATED = "Evaluated"
    EVALUATING = "Evaluating"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    NO_VERSION_SERVING = "NoVersionServing"
    VERSION_NOT_FOUND = "VersionNotFound"
    VERSION_NOT_EVALUATED = "VersionNotEvaluated"
    TRAINING_DATA_UNKNOWN = "TrainingDataUnknown"
    MODEL_NOT_FOUND = "ModelNotFound"
    CONNECTION_NOT_READY = "ConnectionNotReady"
    UNKNOWN_FEATURE = "UnknownFeature"
    BASELINE_MISSING = "BaselineMissing"
    DRIFTED = "Drifted"
    DRIFT_PENDING = "DriftPending"
    NO_DRIFT = "NoDrift"
    INSUFFICIENT_ROWS = "InsufficientRows"
    INCONCLUSIVE = "Inconclusive"
    NOT_YET_EVALUATED = "NotYetEvaluated"
    DATA_UNAVAILABLE = "DataUnavailable"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"
    OOM_KILLED = "OOMKilled"
    IMAGE_NOT_FOUND = "ImageNotFound"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_NOT_FOUND = "SecretNotFound"
    DEADLINE = "Deadline"
    POD_LOST = "PodLost"
    JOB_FAILED = "JobFailed"


REASONS: Mapping[StrEnum, Explained] = {
    Reason.EVALUATED: Explained("The last evaluation is done; condition Drifting has its result.", "Nothing."),
    Reason.EVALUATING: Explained(
        "A Job compares the window with the training rows.",
        "Nothing; it goes on by itself. The message names the Job whose log can be read.",
    ),
    Reason.DEPLOYMENT_NOT_FOUND: Explained(
        "The ModelDeployment in spec.deploymentRef does not exist.", "Create it, or correct the name."
    ),
    Reason.NO_VERSION_SERVING: Explained(
        "The ModelDeployment has no stable version yet, so there are no predictions.",
        "Nothing; it goes on by itself.",
    ),
    Reason.VERSION_NOT_FOUND: Explained(
        "The ModelVersion that serves was deleted, and with it the knowledge of what it was trained on.",
        "Restore it, or serve another version.",
    ),
    Reason.VERSION_NOT_EVALUATED: Explained(
        "The ModelVersion that serves was made again, and no evaluation has left a profile of its predictions yet.",
        "Nothing; it goes on by itself once the version is evaluated.",
    ),
    Reason.TRAINING_DATA_UNKNOWN: Explained(
        "The ModelVersion that serves names no snapshot, so there is nothing to compare with.",
        "Train with spec.inputs in the TrainingRun.",
    ),
    Reason.MODEL_NOT_FOUND: Explained(
        "The RegisteredModel, which names the output that is watched, does not exist.", "Restore it."
    ),
    Reason.CONNECTION_NOT_READY: Explained(
        "The Connection to the bucket with the prediction log is not Ready.",
        "Look at that Connection's own message; it goes on by itself.",
    ),
    Reason.UNKNOWN_FEATURE: Explained(
        "spec.features names something that is no input of the model; the message lists those that are.",
        "Correct the name.",
    ),
    Reason.BASELINE_MISSING: Explained(
        "The training rows or the version's own predictions on them, with which the window is compared, are not there.",
        "The message says what is missing. Leave out spec.prediction, or have the version evaluated again.",
    ),
    Reason.DRIFTED: Explained(
        "At least one value has been above its bound for as long as spec.forSeconds asks (condition Drifting).",
        "Follow the runbook. The report shows both distributions.",
    ),
    Reason.DRIFT_PENDING: Explained(
        "At least one value is above its bound, but not for long enough yet (condition Drifting).", "Wait, or look."
    ),
    Reason.NO_DRIFT: Explained("Every value is within its bound (condition Drifting).", "Nothing."),
    Reason.INSUFFICIENT_ROWS: Explained(
        "The window has fewer predictions than spec.minRows, so it says nothing (condition Drifting).",
        "Wait for traffic, widen spec.windowSeconds, or lower spec.minRows.",
    ),
    Reason.INCONCLUSIVE: Explained(
        "A value could not be computed, because a feature is always missing or is personal (condition Drifting).",
        "Read the report; it says why. Name the features to watch in spec.features.only to leave it out.",
    ),
    Reason.NOT_YET_EVALUATED: Explained("No evaluation has ended yet (condition Drifting).", "Nothing."),
    **explained(Reason),
}


class DriftMonitor(Resource[DriftMonitorSpec, DriftMonitorStatus]):
    """A watch over a deployment's inputs."""

    metadata: Meta
    spec: DriftMonitorSpec
    status: DriftMonitorStatus = DriftMonitorStatus()


KIND = Kind(
    kind="DriftMonitor",
    plural="driftmonitors",
    short="dmon",
    description="Says when what is asked of a model no longer looks like what it learnt from.",
    resource=DriftMonitor,
    spec=DriftMonitorSpec,
    status=DriftMonitorStatus,
    reasons=REASONS,
    columns=(
        Column("Deployment", ".spec.deploymentRef.name", description="The ModelDeployment that is watched."),
        Column(
            "Drifting", '.status.conditions[?(@.type=="Drifting")].status', description="True: the inputs have shifted."
        ),
        Column("Rows", ".status.lastWindow.rows", "integer", description="Predictions in the last window."),
    ),
    paused=(Reason.NO_VERSION_SERVING,),
    alarms=("Drifting",),
)
