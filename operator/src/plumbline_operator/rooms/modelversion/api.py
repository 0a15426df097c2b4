"""ModelVersion: one immutable model, our judgement of it, and who approved it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from plumbline_contract.manifest import SnapshotRef
from plumbline_operator.model.attempts import WorkStatus
from plumbline_operator.model.kind import Column, Explained, Kind, Resource, Rule
from plumbline_operator.model.meta import (
    GROUP,
    MANAGED_BY,
    MANAGED_VALUE,
    NAME_PATTERN,
    OWNER_KIND,
    OWNER_NAME,
    VERSION,
    Manifest,
    Meta,
    Model,
    Moment,
    Name,
    plain,
)
from plumbline_operator.model.names import label_value
from plumbline_operator.model.reasons import explained

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class SnapshotUse(Model):
    """A snapshot the run trained on."""

    input: str = Field(min_length=1, max_length=63, description="Name of the run's input.")
    dataset: str = Field(min_length=1, max_length=253, pattern=NAME_PATTERN, description="Name of the Dataset.")
    snapshot: str = Field(
        min_length=1, max_length=253, pattern=NAME_PATTERN, description="Name of the DatasetSnapshot."
    )
    digest: Sha256 = Field(description="Digest of the snapshot's manifest.")


class TrainingWindow(Model):
    """The event times of the rows the run trained on: since <= t < until."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.since) || !has(self.until) || self.since < self.until",
                    "message": "since must be before until",
                }
            ]
        }
    )

    since: Moment | None = Field(default=None, description="First event time, inclusive; absent: no bound.")
    until: Moment | None = Field(default=None, description="Last event time, exclusive; absent: no bound.")


class ModelVersionSpec(Model):
    """What a run has made. Written by the operator, never changed."""

    model_ref: Name = Field(description="The RegisteredModel this is a version of.")
    run_ref: Name = Field(description="The TrainingRun that made it.")
    author: str = Field(min_length=1, max_length=253, description="Who started the run; may not approve this version.")
    storage_ref: Name = Field(description="The Connection to the bucket in which it lies.")
    manifest: Sha256 = Field(description="Digest of its manifest, which names every file and the whole run.")
    model: Sha256 = Field(description="Digest of its model.onnx.")
    image_digest: str = Field(
        default="", max_length=512, description="The training image as the kubelet resolved it, with its digest."
    )
    metrics: Mapping[str, float] = Field(
        default_factory=dict,
        max_length=100,
        description="What the training code claims; gates never look at these.",
    )
    snapshots: tuple[SnapshotUse, ...] = Field(
        default=(), max_length=32, description="The snapshots the run trained on."
    )
    training_window: TrainingWindow | None = Field(
        default=None, description="The event times the run trained on, when it split by time. Absent: all rows."
    )


class GoldenUse(Model):
    """The golden rows of one evaluation, frozen when it started."""

    snapshot: str = Field(description="Name of the DatasetSnapshot.")
    digest: str = Field(description="Digest of its manifest.")


class ChampionUse(Model):
    """The champion of one evaluation, frozen when it started."""

    version: str = Field(description="Name of the ModelVersion.")
    manifest: str = Field(description="Digest of its manifest.")


class Judgement(Model):
    """One evaluation: against what, and with which result."""

    policy: str = Field(description="Short hash of the golden rule and gates it was judged by.")
    golden: GoldenUse = Field(description="The golden rows.")
    champion: ChampionUse | None = Field(default=None, description="Who was champion; absent: nobody was.")
    digest: str = Field(default="", description="Digest of the full evaluation in the bucket; empty until it is done.")
    predictions: str = Field(
        default="", description="Digest of the profile of its predictions on the training rows, drift's baseline."
    )
    rows: int | None = Field(default=None, description="How many golden rows were scored.")
    metrics: Mapping[str, float] = Field(default_factory=dict, description="Our own measurements on all golden rows.")


class GateVerdict(Model):
    """What one gate says."""

    name: str = Field(description="Name of the gate in the RegisteredModel.")
    verdict: str = Field(description="Pass, Fail or Inconclusive; only Pass moves forward.")
    value: float | None = Field(default=None, description="What was measured; absent when nothing could be.")
    bound: str = Field(default="", description="What it had to reach.")
    message: str = Field(default="", description="Why, in a sentence.")


class CountedApproval(Model):
    """An Approval that counts now."""

    approver: str = Field(description="Who decided.")
    name: str = Field(description="Name of the Approval.")
    decision: str = Field(description="Approve or Deny.")
    expires_at: datetime | None = Field(default=None, description="When it stops counting; absent: never.")


class ModelVersionStatus(WorkStatus):
    """Our judgement of it, and who approved it."""

    evaluation: Judgement | None = Field(default=None, description="Our own evaluation, under way or done.")
    gates: tuple[GateVerdict, ...] = Field(default=(), description="What each gate says.")
    approvals: tuple[CountedApproval, ...] = Field(default=(), description="The Approvals that count now.")


class Reason(StrEnum):
    """Why a ModelVersion may serve or not."""

    APPROVED = "Approved"
    EVALUATING = "Evaluating"
    GATES_PASSED = "GatesPassed"
    GATE_FAILED = "GateFailed"
    GATE_INCONCLUSIVE = "GateInconclusive"
    AWAITING_APPROVAL = "AwaitingApproval"
    APPROVAL_EXPIRED = "ApprovalExpired"
    DENIED = "Denied"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_NOT_READY = "ModelNotReady"
    CONNECTION_NOT_READY = "ConnectionNotReady"
    DATASET_NOT_READY = "DatasetNotReady"
    STORAGE_MISMATCH = "StorageMismatch"
    MODEL_FILE_REFUSED = "ModelFileRefused"
    EVALUATION_REFUSED = "EvaluationRefused"
    DATA_UNAVAILABLE = "DataUnavailable"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    OOM_KILLED = "OOMKilled"
    IMAGE_NOT_FOUND = "ImageNotFound"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_NOT_FOUND = "SecretNotFound"
    DEADLINE = "Deadline"
    POD_LOST = "PodLost"
    JOB_FAILED = "JobFailed"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


REASONS: Mapping[StrEnum, Explained] = {
    Reason.APPROVED: Explained(
        "Every gate passed and enough people approved.",
        "Nothing; name it in a ModelDeployment's versionRef to serve it.",
    ),
    Reason.EVALUATING: Explained(
        "A Job scores the model on the golden rows.",
        "Nothing; it goes on by itself. The condition's message names the Job whose log can be read.",
    ),
    Reason.GATES_PASSED: Explained("Every gate of the RegisteredModel passed.", "Nothing."),
    Reason.GATE_FAILED: Explained(
        "At least one gate measured a value beyond its bound; the message says which, what and how far.",
        "Train a better version. When the gate itself is wrong, change it in the RegisteredModel: it is judged again.",
    ),
    Reason.GATE_INCONCLUSIVE: Explained(
        "At least one gate could not be measured, for example because a slice has no rows; that is never a pass.",
        "The message says what is missing. Complete the golden rows or change the gate, then set the annotation "
        "plumbline.dev/requested-at to any new value to have it judged again.",
    ),
    Reason.AWAITING_APPROVAL: Explained(
        "Fewer people approved than the RegisteredModel requires.",
        "Someone other than the author creates an Approval that names this version, its manifest and its author: "
        "kubectl plumbline approve.",
    ),
    Reason.APPROVAL_EXPIRED: Explained(
        "Enough people had approved, but an Approval has passed its expiresAt.",
        "Approve again if the decision still holds.",
    ),
    Reason.DENIED: Explained(
        "Somebody who may decide said no; one Deny outweighs any number of approvals.",
        "Talk to the person the message names. Only they, or a delegate, can delete that Approval, which lifts it.",
    ),
    Reason.MODEL_NOT_FOUND: Explained(
        "The RegisteredModel of this version does not exist.", "Create it; it goes on by itself."
    ),
    Reason.MODEL_NOT_READY: Explained(
        "The RegisteredModel is not Ready, so there is nothing to judge by.",
        "Look at the RegisteredModel's own message; it goes on by itself.",
    ),
    Reason.CONNECTION_NOT_READY: Explained(
        "The Connection to the bucket is not Ready.",
        "Look at that Connection's own message; it goes on by itself.",
    ),
    Reason.DATASET_NOT_READY: Explained(
        "The golden Dataset is not Ready or has no snapshot yet.",
        "Look at that Dataset's own message; it goes on by itself.",
    ),
    Reason.STORAGE_MISMATCH: Explained(
        "The version lies in another Connection than its RegisteredModel names; one Job reads model and golden rows.",
        "Give the RegisteredModel the storageRef of the version, or train again.",
    ),
    Reason.MODEL_FILE_REFUSED: Explained(
        "The model file is not one we load: it is no plain ONNX, is too large, or has operators that are not allowed.",
        "The message says what was found. Export the model again without it.",
    ),
    Reason.EVALUATION_REFUSED: Explained(
        "The model cannot be scored on the golden rows, for example because a column it needs is not there.",
        "The message says what does not fit. Correct the golden Dataset, the label or the model's signature.",
    ),
    **explained(Reason),
}


AWAITS_CONSENT = (Reason.AWAITING_APPROVAL, Reason.APPROVAL_EXPIRED)  # gates have passed, people have not agreed


class ModelVersion(Resource[ModelVersionSpec, ModelVersionStatus]):
    """One immutable model. Others read it, too, maybe before it was looked at for the first time."""

    metadata: Meta
    spec: ModelVersionSpec
    status: ModelVersionStatus = ModelVersionStatus()


KIND = Kind(
    kind="ModelVersion",
    plural="modelversions",
    short="mver",
    description="One immutable model, our judgement of it, and who approved it. Written by the operator.",
    resource=ModelVersion,
    spec=ModelVersionSpec,
    status=ModelVersionStatus,
    reasons=REASONS,
    columns=(
        Column("Model", ".spec.modelRef.name", description="The RegisteredModel."),
        Column("Author", ".spec.author", description="Who started the run."),
        Column(
            "Gates", '.status.conditions[?(@.type=="GatesPassed")].status', description="Whether every gate passed."
        ),
    ),
    rules=(Rule("self.spec == oldSelf.spec", "a version never changes; train again to get another", ".spec"),),
    paused=AWAITS_CONSENT,
)


def read_spec(raw: Manifest | None) -> ModelVersionSpec | None:
    """The spec of a ModelVersion as read, or None when there is none that can be used."""
    try:
        return None if raw is None else ModelVersionSpec.model_validate(raw.get("spec", {}))
    except ValidationError:
        return None


def version_manifest(
    *,
    name: str,
    run: str,
    model: str,
    model_uid: str,
    author: str,
    storage: str,
    manifest: str,
    model_digest: str,
    image_digest: str = "",
    metrics: Mapping[str, float] | None = None,
    snapshots: Sequence[SnapshotRef] = (),
    training_window: TrainingWindow | None = None,
) -> Manifest:
    """The ModelVersion that a run registers at a RegisteredModel, which becomes its controller.

    name: of the version, the same as the run's. model, model_uid: name and uid of the RegisteredModel. manifest,
    model_digest: from the run's report. Raises pydantic.ValidationError when a digest is none.
    """
    spec = ModelVersionSpec(
        model_ref=Name(name=model),
        run_ref=Name(name=run),
        author=author,
        storage_ref=Name(name=storage),
        manifest=manifest,
        model=model_digest,
        image_digest=image_digest,
        metrics=dict(metrics or {}),
        snapshots=tuple(
            SnapshotUse(input=one.input, dataset=one.dataset, snapshot=one.snapshot, digest=one.digest)
            for one in snapshots
        ),
        training_window=training_window,
    )
    return {
        "apiVersion": KIND.ref.api_version,
        "kind": KIND.kind,
        "metadata": {
            "name": name,
            "labels": {MANAGED_BY: MANAGED_VALUE, OWNER_KIND: "RegisteredModel", OWNER_NAME: label_value(model)},
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": "RegisteredModel",
                    "name": model,
                    "uid": model_uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": plain(spec),
    }
