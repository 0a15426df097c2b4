"""Manifests: immutable documents in the bucket that name other bytes by digest."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from plumbline_contract.base import Digest, Document
from plumbline_contract.report import TestVerdict

ColumnType = Literal["Int64", "Float64", "String", "Boolean", "Date", "Timestamp"]


class FileEntry(Document):
    """One file: its path inside the set, and the digest under which its bytes lie."""

    path: str
    digest: Digest
    size: int = Field(ge=0, description="bytes")
    rows: int | None = None


class SnapshotColumn(Document):
    """A column as stored in the snapshot's Parquet files."""

    name: str
    type: ColumnType
    nullable: bool = True
    pii: bool = False
    handling: Literal["Keep", "Hash"] = "Keep"  # dropped columns are not in the snapshot at all


class SourceEntry(Document):
    """An object the snapshot was read from, as it was then."""

    key: str
    digest: Digest
    size: int


class SnapshotManifest(Document):
    """An immutable data snapshot: Parquet files, their schema, their profile and where they came from."""

    kind: Literal["Snapshot"] = "Snapshot"
    dataset: str
    rows: int
    columns: tuple[SnapshotColumn, ...]
    files: tuple[FileEntry, ...]
    sources: tuple[SourceEntry, ...]
    event_time: str | None = None
    first_event: datetime | None = None
    last_event: datetime | None = None
    profile: Digest
    tests: tuple[TestVerdict, ...] = ()


class ColumnProfile(Document):
    """A column's distribution over bins that are fixed from now on.

    Numeric, Date and Timestamp columns: `edges` has n+1 ascending values for n bins, the first and last being the
    smallest and largest value seen; bin i holds edges[i] <= x < edges[i+1], the last also x == edges[-1]. Readers of
    other windows add two open bins, below and above. String and Boolean columns: `categories` are the most frequent
    values (at most 50), everything else is `other`. Times are seconds since the epoch.
    """

    name: str
    type: ColumnType
    rows: int
    nulls: int
    distinct: int | None = None
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    category_counts: tuple[int, ...] = ()
    other: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None


class Profile(Document):
    """The profiles of all columns of one snapshot, or of the predictions on it."""

    kind: Literal["Profile"] = "Profile"
    columns: tuple[ColumnProfile, ...]


class Tensor(Document):
    """One input or output of a model, in the words of the Open Inference Protocol v2."""

    name: str
    datatype: Literal[
        "BOOL",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "FP16",
        "FP32",
        "FP64",
        "BYTES",
    ]
    shape: tuple[int, ...] = Field(description="-1 stands for the number of rows")


class CodeRef(Document):
    """The code a run executed."""

    url: str
    commit: str = Field(pattern="^[0-9a-f]{40}$")
    path: str = ""


class SnapshotRef(Document):
    """A snapshot a run read, by name and manifest digest."""

    input: str
    dataset: str
    snapshot: str
    digest: Digest


class RunRecord(Document):
    """Everything needed to say how a model came to be, and to make it again."""

    namespace: str
    name: str
    uid: str
    author: str
    attempt: int
    code: CodeRef | None = None
    image: str
    image_digest: str = Field(description="the digest the kubelet resolved, or the digest in the image reference")
    command: tuple[str, ...]
    parameters: dict[str, str] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    snapshots: tuple[SnapshotRef, ...] = ()
    split: dict[str, str] = Field(default_factory=dict)
    lock_digest: Digest | None = None
    packages: dict[str, str] = Field(default_factory=dict, description="name → version found in the training image")
    hardware: dict[str, str] = Field(default_factory=dict, description="cpu, gpu, driver, memory as seen by the run")


class ModelManifest(Document):
    """A trained model: its files, its signature, and the run that made it."""

    kind: Literal["Model"] = "Model"
    files: tuple[FileEntry, ...]
    model: Digest | None = Field(default=None, description="digest of model.onnx; absent when the run made no model")
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict, description="what the training code claims")
    run: RunRecord


class SliceMetric(Document):
    """One metric on one slice of the golden set."""

    slice: str = Field(description="`overall`, `<column>=<value>` or `month=<yyyy-mm>`")
    rows: int
    metric: str
    value: float | None = None
    verdict: str = Field(default="Pass", pattern="^(Pass|Fail|Inconclusive)$")


class Evaluation(Document):
    """Our own judgement of a model on a golden set."""

    kind: Literal["Evaluation"] = "Evaluation"
    model: Digest
    golden: Digest
    champion: Digest | None = None
    rows: int
    metrics: tuple[SliceMetric, ...]
    champion_metrics: tuple[SliceMetric, ...] = ()
    verdicts: tuple[TestVerdict, ...]
    prediction_profile: Digest | None = Field(
        default=None,
        description="Profile of the model's predictions on the training rows: the baseline of prediction drift",
    )
