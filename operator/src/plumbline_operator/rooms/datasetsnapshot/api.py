"""DatasetSnapshot: what a Dataset's data was at one time, under one digest."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from plumbline_contract.base import Digest
from plumbline_contract.manifest import ColumnType
from plumbline_operator.model.kind import Column, Explained, Kind, Resource, Status
from plumbline_operator.model.meta import Model, Name
from plumbline_operator.model.reasons import explained

MAX_COLUMNS = 2000


class StoredColumn(Model):
    """A column as the snapshot has it."""

    name: str = Field(min_length=1, max_length=256, description="Name of the column.")
    type: ColumnType = Field(description="Its type.")
    pii: bool = Field(default=False, description="Whether it held personal data at its source.")
    handling: Literal["Keep", "Hash"] = Field(
        default="Keep", description="Stored as it was, or hashed; dropped columns are not in the snapshot at all."
    )


class DatasetSnapshotSpec(Model):
    """Where the data lies and what it is. Written by the operator, never changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "a snapshot is immutable; ingest the dataset again instead"}
            ]
        }
    )

    dataset_ref: Name = Field(description="The Dataset it was cut from.")
    storage_ref: Name = Field(description="The Connection to the bucket in which it lies.")
    manifest: Digest = Field(
        max_length=71, description="Digest of its manifest, which names every file, column and test verdict."
    )
    profile: Digest = Field(max_length=71, description="Digest of the distributions of its columns.")
    rows: int = Field(ge=0, description="How many rows it has.")
    bytes: int = Field(ge=0, description="Size of its Parquet files.")
    event_time: str = Field(default="", max_length=256, description="The column that says when a row happened.")
    first_event: str = Field(default="", max_length=64, description="Earliest event time (RFC 3339, UTC).")
    last_event: str = Field(default="", max_length=64, description="Latest event time (RFC 3339, UTC).")
    columns: tuple[StoredColumn, ...] = Field(
        default=(),
        max_length=MAX_COLUMNS,
        description="Its columns, in order.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    dropped: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        default=(),
        max_length=MAX_COLUMNS,
        description="Columns of its source that are not in it. A model's inputs of these names are never logged.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class DatasetSnapshotStatus(Status):
    """Nothing but the conditions: a snapshot does not change."""


class Reason(StrEnum):
    """Why a DatasetSnapshot is Ready, or is not."""

    SEALED = "Sealed"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


REASONS: dict[StrEnum, Explained] = {
    Reason.SEALED: Explained("Its bytes are in the bucket under their digest and passed every test.", "Nothing."),
    **explained(Reason),
}


class DatasetSnapshotResource(Resource[DatasetSnapshotSpec, DatasetSnapshotStatus]):
    """A DatasetSnapshot as read."""


KIND = Kind(
    kind="DatasetSnapshot",
    plural="datasetsnapshots",
    short="dsnap",
    description="Immutable data under one digest, cut from a Dataset. Runs, golden sets and monitors name these.",
    resource=DatasetSnapshotResource,
    spec=DatasetSnapshotSpec,
    status=DatasetSnapshotStatus,
    reasons=REASONS,
    columns=(
        Column("Dataset", ".spec.datasetRef.name", description="What it was cut from."),
        Column("Rows", ".spec.rows", "integer", description="How many rows it has."),
    ),
)
