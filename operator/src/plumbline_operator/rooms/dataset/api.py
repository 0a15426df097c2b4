"""Dataset: where data comes from, what it must look like, and what was cut from it."""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_snake

from plumbline_contract.manifest import ColumnType
from plumbline_operator.model.amounts import ResourceAmounts
from plumbline_operator.model.attempts import WorkStatus
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.kind import Column, Explained, Kind, Resource, Rule
from plumbline_operator.model.meta import Manifest, Model, Name
from plumbline_operator.model.reasons import explained
from plumbline_operator.rooms.datasetsnapshot.api import MAX_COLUMNS

MAX_TESTS = 100
MAX_VALUES = 1000
_TESTS = ("rowCount", "nullShare", "uniqueKey", "range", "allowedSet", "regex", "foreignKey")
_ORDERED: dict[str, JsonValue] = {
    "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
    "message": "min must not be larger than max",
}
_SOME_BOUND: list[JsonValue] = [
    {"rule": "has(self.min) || has(self.max)", "message": "set min, max or both"},
    _ORDERED,
]


class Source(Model):
    """One object in a bucket."""

    connection_ref: Name = Field(description="The Connection to the bucket that has the object.")
    key: str = Field(min_length=1, max_length=1024, description="Key of the object, under the connection's prefix.")
    format: Literal["CSV", "Parquet"] = Field(description="How the object is written.")
    compression: Literal["None", "Gzip", "Zip"] = Field(
        default="None", description="How the whole object is packed; a Zip must hold exactly one file."
    )
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="What separates the values of a CSV.")
    null_values: tuple[str, ...] = Field(
        default=("", "NA"), max_length=20, description="Texts of a CSV that mean that there is no value."
    )


class DeclaredColumn(Model):
    """A column the source must have."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.pii) || !self.pii || (has(self.handling) && self.handling != 'Keep')",
                    "message": "a column with pii: true needs handling Drop or Hash",
                },
                _ORDERED,
            ]
        }
    )

    name: str = Field(min_length=1, max_length=256, description="Name of the column, as in the source.")
    type: ColumnType = Field(description="Its type; a value that cannot be read as this fails the ingest.")
    nullable: bool = Field(default=False, description="Whether values may be missing.")
    unique: bool = Field(default=False, description="Whether every value must occur once.")
    minimum: float | None = Field(default=None, alias="min", description="Smallest value allowed.")
    maximum: float | None = Field(default=None, alias="max", description="Largest value allowed.")
    allowed: tuple[str, ...] = Field(
        default=(), max_length=MAX_VALUES, description="The only values allowed; empty: any."
    )
    pii: bool = Field(default=False, description="Whether it holds personal data.")
    handling: Literal["Keep", "Drop", "Hash"] = Field(
        default="Keep", description="What of it is stored: the value, nothing, or a hash."
    )
    description: str = Field(default="", max_length=1024, description="What the column means, for people.")


class EventTime(Model):
    """When a row happened."""

    column: str = Field(min_length=1, max_length=256, description="A Date or Timestamp column that is kept.")


class RowCountTest(Model):
    """How many rows there are."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": _SOME_BOUND})

    minimum: int | None = Field(default=None, alias="min", ge=0, description="Fewest rows allowed.")
    maximum: int | None = Field(default=None, alias="max", ge=0, description="Most rows allowed.")


class NullShareTest(Model):
    """How much of a column is missing."""

    column: str = Field(min_length=1, max_length=256, description="Name of the column.")
    maximum: float = Field(alias="max", ge=0, le=1, description="Largest share of missing values, 0 to 1.")


class UniqueKeyTest(Model):
    """Columns that together occur once."""

    columns: tuple[str, ...] = Field(min_length=1, max_length=16, description="Names of the columns.")


class RangeTest(Model):
    """Between which values a column lies."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": _SOME_BOUND})

    column: str = Field(min_length=1, max_length=256, description="Name of the column.")
    minimum: float | None = Field(default=None, alias="min", description="Smallest value allowed.")
    maximum: float | None = Field(default=None, alias="max", description="Largest value allowed.")


class AllowedSetTest(Model):
    """The only values a column may have."""

    column: str = Field(min_length=1, max_length=256, description="Name of the column.")
    values: tuple[str, ...] = Field(min_length=1, max_length=MAX_VALUES, description="The values allowed.")


class RegexTest(Model):
    """What every value of a column looks like."""

    column: str = Field(min_length=1, max_length=256, description="Name of a String column.")
    pattern: str = Field(
        min_length=1, max_length=512, description="Regular expression that the whole value must match."
    )


class ForeignKeyTest(Model):
    """Values that must occur in another Dataset's present snapshot."""

    column: str = Field(min_length=1, max_length=256, description="Name of the column; missing values are no orphans.")
    dataset: Name = Field(description="The Dataset with the referenced column.")
    referenced_column: str = Field(min_length=1, max_length=256, description="Name of the column there.")
    max_orphans: int = Field(default=0, ge=0, description="How many rows may refer to nothing.")


class DataTest(Model):
    """One test, by a name that appears in the status."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"[{', '.join(f'has(self.{test})' for test in _TESTS)}].filter(set, set).size() == 1",
                    "message": f"set exactly one of {', '.join(_TESTS)}",
                }
            ]
        }
    )

    name: str = Field(
        min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$", description="Its name."
    )
    row_count: RowCountTest | None = Field(default=None, description="How many rows there are.")
    null_share: NullShareTest | None = Field(default=None, description="How much of a column is missing.")
    unique_key: UniqueKeyTest | None = Field(default=None, description="Columns that together occur once.")
    range: RangeTest | None = Field(default=None, description="Between which values a column lies.")
    allowed_set: AllowedSetTest | None = Field(default=None, description="The only values a column may have.")
    regex: RegexTest | None = Field(default=None, description="What every value of a column looks like.")
    foreign_key: ForeignKeyTest | None = Field(default=None, description="Values that must occur in another Dataset.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [word for word in _TESTS if getattr(self, to_snake(word)) is not None]
        if len(given) != 1:
            raise ValueError(f"test {self.name} sets {given or 'nothing'}; set exactly one of {', '.join(_TESTS)}")
        return self

    def columns(self) -> tuple[str, ...]:
        """The columns of this Dataset that it reads."""
        if self.unique_key is not None:
            return self.unique_key.columns
        one = self.null_share or self.range or self.allowed_set or self.regex or self.foreign_key
        return (one.column,) if one is not None else ()


class DatasetSpec(Model):
    """A source, its declaration and its tests."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.eventTime) || self.columns.exists(c, c.name == self.eventTime.column && "
                    "c.type in ['Date', 'Timestamp'] && (!has(c.handling) || c.handling == 'Keep'))",
                    "message": "eventTime.column must be a declared Date or Timestamp column with handling Keep",
                    "fieldPath": ".eventTime.column",
                },
            ]
        }
    )

    storage_ref: Name = Field(
        default=Name(name="storage"), description="The Connection to the bucket in which snapshots are kept."
    )
    source: Source = Field(description="Where the data comes from.")
    unknown_columns: Literal["Refuse", "Drop"] = Field(
        default="Refuse", description="What to do about columns of the source that are not declared."
    )
    columns: tuple[DeclaredColumn, ...] = Field(
        min_length=1,
        max_length=MAX_COLUMNS,
        description="The columns the source must have.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    event_time: EventTime | None = Field(default=None, description="When a row happened; needed to split by time.")
    tests: tuple[DataTest, ...] = Field(
        default=(),
        max_length=MAX_TESTS,
        description="What must hold before a snapshot is cut.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    resources: ResourceAmounts = Field(
        default=ResourceAmounts(),
        description="What the ingest needs; left empty: half a core, 1Gi, and at most 4Gi.",
    )

    @model_validator(mode="after")
    def _tests_read_declared_columns(self) -> Self:
        declared = {column.name for column in self.columns}
        for test in self.tests:
            missing = [name for name in test.columns() if name not in declared]
            if missing:
                raise ValueError(f"test {test.name} reads {missing}, which spec.columns does not declare")
        return self


class LatestSnapshot(Model):
    """The snapshot cut last."""

    name: str = Field(description="Name of the DatasetSnapshot.")
    digest: str = Field(description="Digest of its manifest.")
    profile: str = Field(default="", description="Digest of its profile.")
    rows: int = Field(default=0, description="How many rows it has.")
    bytes: int = Field(default=0, description="Size of its Parquet files.")
    first_event: str = Field(default="", description="Earliest event time (RFC 3339, UTC).")
    last_event: str = Field(default="", description="Latest event time (RFC 3339, UTC).")


class TestResult(Model):
    """What one test measured."""

    __test__ = False  # not a test class, whatever its name suggests to pytest

    name: str = Field(description="Name of the test.")
    verdict: str = Field(description="Pass, Fail or Inconclusive; only Pass lets a snapshot be cut.")
    value: float | None = Field(default=None, description="What was measured.")
    bound: str = Field(default="", description="What it had to keep to.")
    message: str = Field(default="", description="Why, in a sentence.")


class DatasetStatus(WorkStatus):
    """What was cut last, and what the tests said."""

    latest_snapshot: LatestSnapshot | None = Field(
        default=None,
        description="The last good snapshot. While the Dataset is not Ready, it is not the present data.",
    )
    tests: tuple[TestResult, ...] = Field(default=(), description="The verdicts of the last ingest that ended.")


class Reason(StrEnum):
    """Why a Dataset is Ready, or is not."""

    VALIDATED = "Validated"
    INGESTING = "Ingesting"
    TEST_FAILED = "TestFailed"
    SCHEMA_MISMATCH = "SchemaMismatch"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNREADABLE = "SourceUnreadable"
    CONNECTION_NOT_READY = "ConnectionNotReady"
    DATASET_NOT_READY = "DatasetNotReady"
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


_AGAIN = "then set the annotation plumbline.dev/requested-at to a new value"
REASONS: dict[StrEnum, Explained] = {
    Reason.VALIDATED: Explained("The source was read, every test passed, and a snapshot was cut.", "Nothing."),
    Reason.INGESTING: Explained("A Job reads the source, checks it and stores a snapshot.", "Nothing."),
    Reason.TEST_FAILED: Explained(
        "A test did not pass. No snapshot was cut, and whoever uses the Dataset waits.",
        f"status.tests has the measured value beside its bound. Correct the data or the test, {_AGAIN}.",
    ),
    Reason.SCHEMA_MISMATCH: Explained(
        "The source lacks a declared column, has one that is not declared, or a value of another type.",
        f"The message names the column. Correct the source or spec.columns, {_AGAIN}.",
    ),
    Reason.SOURCE_NOT_FOUND: Explained(
        "The bucket has no object with that key.", f"Upload it or correct spec.source.key, {_AGAIN}."
    ),
    Reason.SOURCE_UNREADABLE: Explained(
        "The object is not what spec.source says of its format and compression, or access to it was denied.",
        f"Correct spec.source, the object or the bucket's policy, {_AGAIN}.",
    ),
    Reason.CONNECTION_NOT_READY: Explained(
        "The Connection to the source or to the storage is missing or not verified.",
        "Look at that Connection; the Dataset goes on by itself once it is Ready.",
    ),
    Reason.DATASET_NOT_READY: Explained(
        "A foreignKey test refers to a Dataset that is not Ready.",
        "Look at that Dataset; this one goes on by itself once it is Ready.",
    ),
    **explained(Reason),
}


class DatasetResource(Resource[DatasetSpec, DatasetStatus]):
    """A Dataset as read."""


KIND = Kind(
    kind="Dataset",
    plural="datasets",
    short="dset",
    description="A source of data, its declared columns and tests. Cuts an immutable DatasetSnapshot when all pass.",
    resource=DatasetResource,
    spec=DatasetSpec,
    status=DatasetStatus,
    reasons=REASONS,
    columns=(Column("Rows", ".status.latestSnapshot.rows", "integer", description="Rows of the latest snapshot."),),
    rules=(
        Rule(
            "!has(self.spec.tests) || self.spec.tests.all(t, !has(t.foreignKey) || "
            "t.foreignKey.dataset.name != self.metadata.name)",
            "a foreignKey test must refer to another Dataset",
            ".spec.tests",
        ),
    ),
)


def unready(name: str, raw: Manifest | None, *, ready: bool = True) -> str:
    """Why this Dataset's present snapshot cannot be used now; empty when it can.

    ready: also insist that the Dataset is Ready, as whoever starts new work must.
    """
    if raw is None:
        return f"Dataset {name} does not exist in this namespace. Create it, or name another one."
    if latest(raw) is not None and (not ready or is_true(raw)):
        return ""
    condition: Any = find(raw.get("status", {}).get("conditions", ()), "Ready") or {}
    said = f"{condition['reason']}: {condition.get('message', '')}" if condition else "not looked at yet"
    return f"Dataset {name} is not Ready ({said}). Going on as soon as it is."


def latest(raw: Manifest) -> LatestSnapshot | None:
    """The last good snapshot of a Dataset as read from the API server; ask `unready` whether it is the present one."""
    found = raw.get("status", {}).get("latestSnapshot")
    return LatestSnapshot.model_validate(found) if found else None
