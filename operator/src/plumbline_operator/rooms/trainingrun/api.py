"""TrainingRun: what is trained on what, and what came out."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from plumbline_operator.model.amounts import ResourceAmounts
from plumbline_operator.model.attempts import WorkStatus
from plumbline_operator.model.kind import Column, Explained, Kind, Resource
from plumbline_operator.model.meta import Model, Moment, Name
from plumbline_operator.model.reasons import explained

MAX_INPUTS = 16
MAX_PARTS = 8
MAX_SETTINGS = 100

SettingName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)]
NO_NUL = r"^[^\x00]*$"  # a program's arguments and environment end at the first
SettingValue = Annotated[str, Field(max_length=4096, pattern=NO_NUL)]
# [registry/]path[:tag][@digest], as container runtimes read it
IMAGE_PATTERN = (
    r"^[A-Za-z0-9][-A-Za-z0-9._]*(:[0-9]{1,5})?(/[A-Za-z0-9][-A-Za-z0-9._]*)*"
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


def _rules(*rules: tuple[str, ...]) -> dict[str, JsonValue]:
    """CEL rules for a model's schema, as (rule, message), or with the path of the field that a refusal names."""
    words = ("rule", "message", "fieldPath")
    return {"x-kubernetes-validations": [dict(zip(words, one, strict=False)) for one in rules]}


class Code(Model):
    """Code at one commit."""

    connection_ref: Name = Field(description="The Connection to the git repository.")
    commit: str = Field(
        min_length=40, max_length=40, pattern="^[0-9a-f]{40}$", description="The commit, all 40 hex digits."
    )
    path: str = Field(
        default="",
        max_length=512,
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)?$",
        description="Folder in the repository in which the command starts; empty: its root.",
    )


class Input(Model):
    """Data the run reads, under /plumbline/in/<name>."""

    name: str = Field(
        min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$", description="Name of its folder."
    )
    dataset_ref: Name = Field(description="The Dataset; its present snapshot is frozen into the status at the start.")
    snapshot_ref: Name | None = Field(default=None, description="One DatasetSnapshot of it instead, by name.")


class Part(Model):
    """Rows that go into one folder, /plumbline/in/<input>/<name>."""

    name: str = Field(
        min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$", description="Name of the folder."
    )
    since: Moment | None = Field(default=None, description="First event time, inclusive; absent: no bound.")
    until: Moment | None = Field(default=None, description="Last event time, exclusive; absent: no bound.")
    share: float | None = Field(default=None, gt=0, le=1, description="Share of the rows, when shuffled.")


class SplitRule(Model):
    """How the rows of one input are divided."""

    model_config = ConfigDict(
        json_schema_extra=_rules(
            (
                "self.strategy != 'Time' || self.parts.all(p, (has(p.since) || has(p.until)) && !has(p.share))",
                "with strategy Time every part has since, until or both, and no share",
            ),
            (
                "self.strategy != 'Shuffled' || self.parts.all(p, has(p.share) && !has(p.since) && !has(p.until))",
                "with strategy Shuffled every part has a share, and neither since nor until",
            ),
            (
                "self.strategy != 'Shuffled' || !self.parts.all(p, has(p.share)) || "
                "self.parts.map(p, p.share).sum() <= 1.000001",
                "the shares of the parts must not exceed 1 in sum",
            ),
            (
                "self.parts.all(p, !has(p.since) || !has(p.until) || p.since < p.until)",
                "since must be before until in every part",
            ),
            (
                "self.strategy != 'Time' || self.parts.all(p, self.parts.all(q, p.name == q.name || "
                "(has(p.until) && has(q.since) && p.until <= q.since) || "
                "(has(q.until) && has(p.since) && q.until <= p.since)))",
                "the windows of the parts must not overlap, or rows would be trained and judged on at once",
            ),
        )
    )

    input: str = Field(min_length=1, max_length=63, description="Name of the input that is divided.")
    strategy: Literal["Time", "Shuffled"] = Field(description="By event time, or at random by share.")
    parts: tuple[Part, ...] = Field(
        min_length=1,
        max_length=MAX_PARTS,
        description="The parts; a row in none of them is left out.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Seed of the shuffle.")
    reason: str = Field(
        default="",
        max_length=1024,
        description="Why it is right to shuffle data that has an event time; without it such a run is refused.",
    )


class TrainingRunSpec(Model):
    """One run. Nothing of it can be changed: another run is another object."""

    model_config = ConfigDict(
        json_schema_extra=_rules(
            ("self == oldSelf", "a run is immutable; create another one"),
            (
                "has(self.code) || self.image.contains('@sha256:')",
                "give code with a commit, or an image by digest (…@sha256:…): a run must be repeatable",
                ".image",
            ),
            (
                "!has(self.split) || self.inputs.exists(i, i.name == self.split.input)",
                "split.input must be the name of one of the inputs",
                ".split.input",
            ),
        )
    )

    author: str = Field(
        min_length=1, max_length=253, description="Who starts the run: the user name the API server knows them by."
    )
    storage_ref: Name = Field(
        default=Name(name="storage"), description="The Connection to the bucket in which the model is kept."
    )
    model_ref: Name | None = Field(
        default=None, description="The RegisteredModel at which the result becomes a ModelVersion of the run's name."
    )
    code: Code | None = Field(default=None, description="Code that is put under /plumbline/code.")
    image: str = Field(
        min_length=1, max_length=512, pattern=IMAGE_PATTERN, description="The image that trains; it needs /bin/sh."
    )
    command: tuple[Annotated[str, Field(max_length=4096, pattern=NO_NUL)], ...] = Field(
        min_length=1, max_length=64, description="The command and its arguments."
    )
    parameters: Mapping[SettingName, SettingValue] = Field(
        default_factory=dict,
        max_length=MAX_SETTINGS,
        description="Settings, given as PLUMBLINE_PARAM_<NAME> and in /plumbline/in/parameters.json.",
    )
    seeds: Mapping[SettingName, Seed] = Field(
        default_factory=dict,
        max_length=MAX_SETTINGS,
        description="Seeds, given as PLUMBLINE_SEED_<NAME> and in /plumbline/in/seeds.json.",
    )
    inputs: tuple[Input, ...] = Field(
        default=(),
        max_length=MAX_INPUTS,
        description="The data it reads.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    split: SplitRule | None = Field(default=None, description="How one input is divided into parts.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(),
        description="What the training container needs; left empty: half a core, 1Gi, and at most 4Gi.",
    )
    deadline_seconds: int = Field(
        default=3600, ge=10, le=30 * 86400, description="How long one attempt may take, waiting for a node included."
    )
    max_attempts: int = Field(
        default=3, ge=1, le=10, description="How many attempts may be lost to infrastructure; code is never retried."
    )


class FrozenSnapshot(Model):
    """A snapshot this run reads in every attempt, whatever the Dataset cuts later."""

    input: str = Field(description="Name of the input.")
    dataset: str = Field(description="Name of the Dataset.")
    snapshot: str = Field(description="Name of the DatasetSnapshot.")
    digest: str = Field(description="Digest of its manifest.")


class TrainingRunStatus(WorkStatus):
    """What the run reads, where it is, and what came out."""

    snapshots: tuple[FrozenSnapshot, ...] = Field(default=(), description="What it reads, frozen before it starts.")
    image_digest: str = Field(default="", description="Digest of the training image, as the node resolved it.")
    manifest: str = Field(default="", description="Digest of the manifest of everything it left.")
    model: str = Field(default="", description="Digest of its model.onnx; empty when it left none.")
    metrics: Mapping[str, float] = Field(default_factory=dict, description="What the training code claims.")
    lock: str = Field(default="", description="Digest of the lock file found beside the code.")
    started_at: str = Field(default="", description="When the present attempt started (RFC 3339, UTC).")
    finished_at: str = Field(default="", description="When the last attempt ended (RFC 3339, UTC).")
    version: str = Field(default="", description="The ModelVersion made of it.")


class Reason(StrEnum):
    """Why a TrainingRun has succeeded, or has not."""

    SUCCEEDED = "Succeeded"
    RUNNING = "Running"
    RETRYING = "Retrying"
    DATASET_NOT_READY = "DatasetNotReady"
    CONNECTION_NOT_READY = "ConnectionNotReady"
    MODEL_NOT_FOUND = "ModelNotFound"
    SHUFFLED_SPLIT_REFUSED = "ShuffledSplitRefused"
    SNAPSHOT_MISMATCH = "SnapshotMismatch"
    DATA_UNAVAILABLE = "DataUnavailable"
    USER_CODE = "UserCode"
    MODEL_FILE_REFUSED = "ModelFileRefused"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    REPOSITORY_NOT_FOUND = "RepositoryNotFound"
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


REASONS: dict[StrEnum, Explained] = {
    Reason.SUCCEEDED: Explained(
        "The run ended well; its manifest is in the bucket and in status.manifest.", "Nothing."
    ),
    Reason.RUNNING: Explained("The run's pod is on its way: data is fetched, then trained on.", "Nothing."),
    Reason.RETRYING: Explained(
        "An attempt was lost to the infrastructure, not to the code; the message says to what.",
        "Nothing: another attempt, on the same snapshots, starts at the time in status.ended.retryAt.",
    ),
    Reason.DATASET_NOT_READY: Explained(
        "A Dataset or DatasetSnapshot of spec.inputs is missing or not Ready; the message has its reason.",
        "Look at that Dataset; the run starts by itself once it is Ready.",
    ),
    Reason.CONNECTION_NOT_READY: Explained(
        "The Connection to the storage or to the code is missing or not verified.",
        "Look at that Connection; the run goes on by itself once it is Ready.",
    ),
    Reason.MODEL_NOT_FOUND: Explained(
        "spec.modelRef names a RegisteredModel that does not exist in the namespace.",
        "Create it; the run goes on by itself.",
    ),
    Reason.SHUFFLED_SPLIT_REFUSED: Explained(
        "Rows that have an event time would be shuffled, so that the model is judged on times it has trained on.",
        "Create a run with split.strategy Time, or write into split.reason why shuffling is right here.",
    ),
    Reason.SNAPSHOT_MISMATCH: Explained(
        "The DatasetSnapshot in spec.inputs was cut from another Dataset than the input names. Neither ever changes.",
        "Create a run whose snapshotRef and datasetRef belong together.",
    ),
    Reason.USER_CODE: Explained(
        "The training command ended with an error, or left out what the run promises, such as model.onnx.",
        "The message has the last lines of its log. Correct the code, commit, and create another run.",
    ),
    Reason.MODEL_FILE_REFUSED: Explained(
        "The run left a model file that is not safe or not possible to serve.",
        "The message names the rule it breaks. Export it again, and create another run.",
    ),
    **explained(Reason),
}


class TrainingRunResource(Resource[TrainingRunSpec, TrainingRunStatus]):
    """A TrainingRun as read."""


KIND = Kind(
    kind="TrainingRun",
    plural="trainingruns",
    short="trun",
    description="One immutable training run: code or image, snapshots, parameters and seeds; leaves a model version.",
    resource=TrainingRunResource,
    spec=TrainingRunSpec,
    status=TrainingRunStatus,
    reasons=REASONS,
    columns=(
        Column("Version", ".status.version", description="The ModelVersion made of it."),
        Column("Attempt", ".status.attempt", "integer", description="The attempt under way or ended last."),
    ),
)
