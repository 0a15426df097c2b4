"""What a Job is asked to do: one JSON document in the environment variable PLUMBLINE_RUNSPEC."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from plumbline_contract.base import Digest, Document
from plumbline_contract.manifest import CodeRef, ColumnType, SnapshotRef

RUNSPEC_VARIABLE = "PLUMBLINE_RUNSPEC"
TERMINATION_LOG = "/dev/termination-log"


class Bucket(Document):
    """An S3 bucket. Credentials come in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, never in here.

    A second bucket (a data source beside the storage) has its credentials under `<env>_ACCESS_KEY_ID` and
    `<env>_SECRET_ACCESS_KEY`.
    """

    endpoint: str = ""
    region: str = "us-east-1"
    bucket: str
    prefix: str = ""
    path_style: bool = True
    env: str = Field(default="AWS", pattern="^[A-Z][A-Z0-9_]*$")


class Owner(Document):
    """The object on whose behalf the Job runs."""

    namespace: str
    kind: str
    name: str
    uid: str
    job: str = Field(description="the Job's own name, which names its full report")


class VerifyConnection(Document):
    """Check that an endpoint answers, the bucket exists and is writable, or the git repository can be listed."""

    verb: Literal["verify"] = "verify"
    owner: Owner
    s3: Bucket | None = None
    git_url: str | None = None


class ColumnRule(Document):
    """A declared column of a source table."""

    name: str
    type: ColumnType
    nullable: bool = False
    unique: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    pii: bool = False
    handling: Literal["Keep", "Drop", "Hash"] = "Keep"


class RowCount(Document):
    test: Literal["rowCount"] = "rowCount"
    name: str
    minimum: int | None = None
    maximum: int | None = None


class NullShare(Document):
    test: Literal["nullShare"] = "nullShare"
    name: str
    column: str
    maximum: float


class UniqueKey(Document):
    test: Literal["uniqueKey"] = "uniqueKey"
    name: str
    columns: tuple[str, ...]


class ValueRange(Document):
    test: Literal["range"] = "range"
    name: str
    column: str
    minimum: float | None = None
    maximum: float | None = None


class AllowedSet(Document):
    test: Literal["allowedSet"] = "allowedSet"
    name: str
    column: str
    values: tuple[str, ...]


class Regex(Document):
    test: Literal["regex"] = "regex"
    name: str
    column: str
    pattern: str


class ForeignKey(Document):
    """Rows whose (non-null) `column` is absent from the referenced snapshot's column are orphans."""

    test: Literal["foreignKey"] = "foreignKey"
    name: str
    column: str
    snapshot: Digest = Field(description="manifest digest of the referenced dataset's snapshot")
    dataset: str
    referenced_column: str
    maximum_orphans: int


DataTest = Annotated[
    RowCount | NullShare | UniqueKey | ValueRange | AllowedSet | Regex | ForeignKey,
    Field(discriminator="test"),
]


class Ingest(Document):
    """Read a source object, check it against its declaration and tests, and store an immutable snapshot.

    Report: digests manifest, profile; numbers rows, bytes; words firstEvent, lastEvent (RFC 3339 UTC); verdicts.
    """

    verb: Literal["ingest"] = "ingest"
    owner: Owner
    storage: Bucket
    source: Bucket
    key: str = Field(description="object key under the source bucket, without its prefix")
    format: Literal["CSV", "Parquet"]
    compression: Literal["None", "Gzip", "Zip"] = "None"
    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NA")
    unknown_columns: Literal["Refuse", "Drop"] = "Refuse"
    columns: tuple[ColumnRule, ...]
    tests: tuple[DataTest, ...] = ()
    event_time: str | None = None


class Window(Document):
    """A half-open interval of event time: since <= t < until. Both are UTC."""

    since: datetime | None = None
    until: datetime | None = None


class Split(Document):
    """Which rows of which input go into which part. A part is a folder `<input>/<part>/` of Parquet files."""

    input: str
    windows: dict[str, Window] = Field(default_factory=dict, description="part → window of event time")
    shares: dict[str, float] = Field(default_factory=dict, description="part → share of rows, when shuffled")
    seed: int = 0


class Fetch(Document):
    """Put code and data under the shared folder for the training step, digests verified.

    Inputs without a split land in `<input>/all/`.
    """

    verb: Literal["fetch"] = "fetch"
    owner: Owner
    storage: Bucket
    code: CodeRef | None = None
    snapshots: tuple[SnapshotRef, ...]
    split: Split | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)


class Collect(Document):
    """Hash and upload what the training step left, check the model file, write the manifest.

    Report: digests manifest, model; numbers: the metrics the code claims; words: image facts it could see.
    """

    verb: Literal["collect"] = "collect"
    owner: Owner
    storage: Bucket
    author: str
    attempt: int
    code: CodeRef | None = None
    image: str
    command: tuple[str, ...]
    parameters: dict[str, str] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    snapshots: tuple[SnapshotRef, ...] = ()
    split: dict[str, str] = Field(default_factory=dict)


class MetricGate(Document):
    """`metric` on the golden set must reach `minimum`."""

    gate: Literal["minimum"] = "minimum"
    name: str
    metric: str
    minimum: float


class RegressionGate(Document):
    """`metric` may not be worse than the champion's, on the same rows, by more than `maximum_percent` of it."""

    gate: Literal["regression"] = "regression"
    name: str
    metric: str
    maximum_percent: float


class SliceGate(Document):
    """`metric` must reach `minimum` on every slice with at least `minimum_samples` rows."""

    gate: Literal["slices"] = "slices"
    name: str
    metric: str
    columns: tuple[str, ...] = ()
    per_month: bool = False
    minimum: float
    minimum_samples: int


Gate = Annotated[MetricGate | RegressionGate | SliceGate, Field(discriminator="gate")]


class Evaluate(Document):
    """Score a model, and the champion, on the golden rows; judge the gates.

    Report: digests evaluation, predictions (Profile on the training rows); numbers overall metrics; verdicts gates.
    """

    verb: Literal["evaluate"] = "evaluate"
    owner: Owner
    storage: Bucket
    manifest: Digest = Field(description="the candidate's model manifest")
    champion: Digest | None = Field(default=None, description="the champion's model manifest")
    golden: Digest = Field(description="manifest digest of the golden snapshot")
    window: Window | None = None
    label: str
    prediction_output: str
    gates: tuple[Gate, ...]
    training: tuple[SnapshotRef, ...] = ()
    training_window: Window | None = None


class Compare(Document):
    """Join a primary's and a shadow's predictions by request id, and count how often they agree.

    Report: numbers pairs, agreement (share), meanDifference.
    """

    verb: Literal["compare"] = "compare"
    owner: Owner
    storage: Bucket
    deployment: str
    primary: str
    shadow: str
    since: datetime
    until: datetime
    output: str
    tolerance: float = Field(description="two predictions agree when they differ by at most this much")


class DriftFeature(Document):
    """One feature, with the PSI above which it has drifted."""

    name: str
    maximum_psi: float


class Drift(Document):
    """Compare a window of the prediction log with the training snapshot of the version now serving.

    Report: digests report (HTML); numbers `psi.<feature>` and rows; verdicts one per feature.
    """

    verb: Literal["drift"] = "drift"
    owner: Owner
    storage: Bucket
    deployment: str
    variant: str
    since: datetime
    until: datetime
    manifest: Digest = Field(description="model manifest of the version now serving")
    baseline: Digest | None = Field(default=None, description="profile of the training rows of that version's input")
    training: SnapshotRef
    training_window: Window | None = None
    predictions: Digest | None = Field(default=None, description="profile of its predictions on the training rows")
    features: tuple[DriftFeature, ...]
    prediction_output: str = ""
    maximum_prediction_psi: float | None = None
    minimum_rows: int


RunSpec = Annotated[
    VerifyConnection | Ingest | Fetch | Collect | Evaluate | Compare | Drift, Field(discriminator="verb")
]
