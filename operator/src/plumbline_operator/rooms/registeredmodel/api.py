"""RegisteredModel: what an owner demands of every version of a model before it may serve."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from plumbline_operator.model.kind import Column, Explained, Kind, Resource, Status
from plumbline_operator.model.meta import Manifest, Model, Moment, Name
from plumbline_operator.model.reasons import explained

Metric = Literal["auc", "logLoss", "brier", "accuracy", "f1", "rmse", "mae"]
RisingMetric = Literal["auc", "accuracy", "f1"]  # higher is better and 1 is perfect, so a minimum means something

_ONE_GATE = "[has(self.minimum), has(self.regression), has(self.slices)].exists_one(given, given)"
_ANY_SLICE = "(has(self.columns) && size(self.columns) > 0) || (has(self.perMonth) && self.perMonth)"
_WINDOW = "!has(self.since) || !has(self.until) || self.since < self.until"


def _checked(rule: str, message: str) -> ConfigDict:
    """Model settings that carry a CEL rule into the CRD."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": [{"rule": rule, "message": message}]})


class Golden(Model):
    """The rows every version is judged on."""

    model_config = _checked(_WINDOW, "since must be before until")

    dataset_ref: Name = Field(description="The Dataset with the golden rows.")
    snapshot_ref: Name | None = Field(
        default=None,
        description="The DatasetSnapshot to judge on. Absent: the Dataset's latest when a version's evaluation starts.",
    )
    since: Moment | None = Field(
        default=None, description="Judge only on rows whose event time is at or after this moment (RFC 3339)."
    )
    until: Moment | None = Field(
        default=None, description="Judge only on rows whose event time is before this moment (RFC 3339)."
    )
    label: str = Field(min_length=1, max_length=256, description="Column of the golden rows that holds the truth.")
    prediction_output: str = Field(
        default="probability",
        min_length=1,
        max_length=256,
        description="Output of the model that predicts the label.",
    )


class Minimum(Model):
    """The metric on all golden rows must reach a value."""

    metric: RisingMetric = Field(description="Metric of which more is better.")
    value: float = Field(ge=0, le=1, description="Smallest value that passes.")


class Regression(Model):
    """The metric may not be much worse than the champion's, on the same rows."""

    metric: Metric = Field(description="Metric that is compared; for logLoss, brier, rmse and mae, worse is higher.")
    max_percent: float = Field(
        ge=0, le=100, description="By how much of the champion's value the metric may be worse, in percent."
    )


class Slices(Model):
    """The metric must reach a value on every slice that has enough rows."""

    model_config = _checked(_ANY_SLICE, "name at least one column, or set perMonth")

    metric: RisingMetric = Field(description="Metric of which more is better.")
    columns: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        default=(), max_length=16, description="Columns whose values cut the golden rows into slices."
    )
    per_month: bool = Field(default=False, description="Whether every month of event time is a slice too.")
    minimum: float = Field(ge=0, le=1, description="Smallest value that passes on a slice.")
    min_samples: int = Field(
        ge=1, le=1_000_000_000, description="Slices with fewer rows than this are listed, but not judged."
    )


class Gate(Model):
    """One demand; exactly one of minimum, regression and slices."""

    model_config = _checked(_ONE_GATE, "give exactly one of minimum, regression and slices")

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$",
        description="Name of the gate, as verdicts and messages call it.",
    )
    minimum: Minimum | None = Field(default=None, description="A metric must reach a value on all golden rows.")
    regression: Regression | None = Field(
        default=None,
        description="A metric may not be much worse than the champion's. Passes while there is no champion.",
    )
    slices: Slices | None = Field(default=None, description="A metric must reach a value on every slice.")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Gate":
        given = [name for name in ("minimum", "regression", "slices") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"gate {self.name!r} has {given or 'none'} of minimum, regression, slices; give exactly one"
            )
        return self


class ApprovalRule(Model):
    """Whose consent a version needs besides the gates."""

    required: int = Field(default=1, ge=0, le=5, description="How many different people must approve.")
    groups: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = Field(
        default=(), max_length=32, description="Groups one of which an approver must decide for. Empty: any group."
    )


class RegisteredModelSpec(Model):
    """What an owner demands of every version."""

    owner: str = Field(min_length=1, max_length=253, description="Who answers for the model: a team or a person.")
    storage_ref: Name = Field(
        default=Name(name="storage"),
        description="The Connection to the bucket with the model's versions; the golden rows lie there too.",
    )
    description: str = Field(default="", max_length=4096, description="What the model predicts and what for.")
    golden: Golden = Field(description="The rows every version is judged on.")
    gates: tuple[Gate, ...] = Field(
        max_length=20,
        description="What a version must reach; all must pass. An explicit empty list lets every version pass.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    approvals: ApprovalRule = Field(
        default=ApprovalRule(), description="Whose consent a version needs besides the gates."
    )


class Champion(Model):
    """The version that serves."""

    version: str = Field(description="Name of the ModelVersion.")
    manifest: str = Field(description="Digest of its manifest.")
    deployment: str = Field(default="", description="Name of the ModelDeployment that serves it.")


class GoldenSnapshot(Model):
    """The golden rows, resolved."""

    name: str = Field(description="Name of the DatasetSnapshot.")
    digest: str = Field(description="Digest of its manifest.")


class RegisteredModelStatus(Status):
    """What is the case."""

    champion: Champion | None = Field(default=None, description="The version that serves now; absent before the first.")
    versions: int = Field(default=0, description="How many versions exist.")
    golden_snapshot: GoldenSnapshot | None = Field(
        default=None, description="What a version would be judged on if its evaluation started now."
    )


class Reason(StrEnum):
    """Why a RegisteredModel is ready or not."""

    AVAILABLE = "Available"
    CONNECTION_NOT_READY = "ConnectionNotReady"
    DATASET_NOT_READY = "DatasetNotReady"
    SNAPSHOT_NOT_FOUND = "SnapshotNotFound"
    LABEL_NOT_FOUND = "LabelNotFound"
    EVENT_TIME_MISSING = "EventTimeMissing"
    STORAGE_MISMATCH = "StorageMismatch"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


REASONS: Mapping[StrEnum, Explained] = {
    Reason.AVAILABLE: Explained(
        "The golden rows are there and versions can be judged.",
        "Nothing. TrainingRuns that name this model register their versions here.",
    ),
    Reason.CONNECTION_NOT_READY: Explained(
        "The Connection named by spec.storageRef does not exist or is not Ready.",
        "Look at that Connection's own message; it goes on by itself once the Connection is Ready.",
    ),
    Reason.DATASET_NOT_READY: Explained(
        "The golden Dataset does not exist, is not Ready, or has no snapshot yet.",
        "Look at that Dataset's own message; it goes on by itself once the Dataset is Ready.",
    ),
    Reason.SNAPSHOT_NOT_FOUND: Explained(
        "The DatasetSnapshot named by spec.golden.snapshotRef does not exist.",
        "Correct the name, or leave snapshotRef out to judge on the Dataset's latest snapshot.",
    ),
    Reason.LABEL_NOT_FOUND: Explained(
        "The golden snapshot has no column with the name in spec.golden.label; one with handling Drop is not kept.",
        "Correct the label, or keep that column in the Dataset.",
    ),
    Reason.EVENT_TIME_MISSING: Explained(
        "A time window or monthly slices are asked for, but the golden Dataset declares no event time.",
        "Set spec.eventTime in the Dataset, or remove since, until and perMonth here.",
    ),
    Reason.STORAGE_MISMATCH: Explained(
        "The golden snapshot lies in another Connection than the model's versions; one Job reads both.",
        "Give the golden Dataset and the RegisteredModel the same storageRef.",
    ),
    **explained(Reason),
}


class RegisteredModel(Resource[RegisteredModelSpec, RegisteredModelStatus]):
    """A model of which there are versions."""


KIND = Kind(
    kind="RegisteredModel",
    plural="registeredmodels",
    short="rmodel",
    description="What an owner demands of every version of a model before it may serve.",
    resource=RegisteredModel,
    spec=RegisteredModelSpec,
    status=RegisteredModelStatus,
    reasons=REASONS,
    columns=(
        Column("Champion", ".status.champion.version", description="The version that serves."),
        Column("Versions", ".status.versions", "integer", description="How many versions exist."),
    ),
)


def champion_of(model: str, deployments: Iterable[Mapping[str, Any]]) -> Champion | None:
    """The stable version of the ModelDeployments (raw) that serve this model, or None before the first.

    When several serve it, the oldest deployment decides, and the smaller name among equals, so that the answer does
    not depend on the order of a list.
    """
    serving = [
        one
        for one in deployments
        if one["spec"].get("modelRef", {}).get("name") == model and one.get("status", {}).get("stable")
    ]
    if not serving:
        return None
    first = min(serving, key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"]))
    stable = first["status"]["stable"]
    return Champion(version=stable["version"], manifest=stable["manifest"], deployment=first["metadata"]["name"])


def read_spec(raw: Manifest | None) -> RegisteredModelSpec | None:
    """The spec of a RegisteredModel as read, or None when there is none that can be used.

    An object whose spec is unusable although the API server took it says so in its own status.
    """
    try:
        return None if raw is None else RegisteredModelSpec.model_validate(raw.get("spec", {}))
    except ValidationError:
        return None
