"""A bucket on a real S3 protocol server, and the tables, specifications and questions that job tests need."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from plumbline_contract import layout
from plumbline_contract.base import digest_of
from plumbline_contract.manifest import (
    ColumnType,
    FileEntry,
    ModelManifest,
    Profile,
    SnapshotColumn,
    SnapshotManifest,
)
from plumbline_contract.runspec import Bucket, ColumnRule, Ingest, Owner
from plumbline_jobs import ingest
from plumbline_jobs.answer import Answer
from plumbline_jobs.io.store import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "store/team"
OWNER = Owner(namespace="team", kind="Dataset", name="flights", uid="uid-1", job="flights-ingest-1")


class Lake:
    """One fresh bucket: tenants' files lie under `raw/`, Plumbline's own under `store/team/`."""

    def __init__(self, s3: S3Client, endpoint: str, name: str) -> None:
        self.s3 = s3
        self.name = name
        s3.create_bucket(Bucket=name)
        self.storage = Bucket(endpoint=endpoint, bucket=name, prefix=PREFIX)
        self.source = Bucket(endpoint=endpoint, bucket=name, prefix="raw")

    @cached_property
    def store(self) -> Store:
        """Plumbline's own view of the bucket."""
        return Store.connect(self.storage)

    def put(self, key: str, data: bytes | str) -> None:
        """A tenant's file."""
        body = data.encode() if isinstance(data, str) else data
        self.s3.put_object(Bucket=self.name, Key=f"raw/{key}", Body=body)

    def write(self, key: str, data: bytes) -> None:
        """Any object, by its full key."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=data)

    def objects(self) -> dict[str, bytes]:
        """Every object that Plumbline wrote, by full key."""
        found = self.s3.list_objects_v2(Bucket=self.name, Prefix=PREFIX).get("Contents", [])
        keys = [one["Key"] for one in found]
        return {key: self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}

    def clear(self) -> None:
        """Removes everything that Plumbline wrote."""
        for key in self.objects():
            self.s3.delete_object(Bucket=self.name, Key=key)

    def blob(self, digest: str) -> bytes:
        """The bytes stored under a digest."""
        return self.objects()[layout.blob(PREFIX, digest)]

    def flip(self, digest: str) -> None:
        """Changes one bit of a blob where it lies."""
        data = self.blob(digest)
        self.write(layout.blob(PREFIX, digest), data[:-1] + bytes([data[-1] ^ 1]))

    def snapshot(self, digest: str) -> SnapshotManifest:
        """The snapshot manifest under a digest."""
        return SnapshotManifest.model_validate_json(self.blob(digest))

    def model(self, digest: str) -> ModelManifest:
        """The model manifest under a digest."""
        return ModelManifest.model_validate_json(self.blob(digest))

    def profile(self, digest: str) -> Profile:
        """The profile under a digest."""
        return Profile.model_validate_json(self.blob(digest))

    def rows(self, digest: str) -> pl.DataFrame:
        """All rows of a snapshot, in order."""
        files = [io.BytesIO(self.blob(file.digest)) for file in self.snapshot(digest).files]
        return pl.concat([pl.read_parquet(file) for file in files])

    def spec(self, columns: Sequence[ColumnRule], **changes: Any) -> Ingest:
        """The order to ingest `table.csv` with these columns."""
        given: dict[str, Any] = {"owner": OWNER, "key": "table.csv", "format": "CSV"} | changes
        return Ingest(storage=self.storage, source=self.source, columns=tuple(columns), **given)

    def ingest(self, text: bytes | str, columns: Sequence[ColumnRule], **changes: Any) -> Answer:
        """The answer of an ingest of this file."""
        spec = self.spec(columns, **changes)
        self.put(spec.key, text)
        return ingest.run(spec)


def column(name: str, type_: ColumnType = "Int64", **changes: Any) -> ColumnRule:
    """A declared column."""
    return ColumnRule(name=name, type=type_, **changes)


def manifest_of(answer: Answer) -> str:
    """The digest of the manifest that a Job's answer names."""
    return answer.report.digests["manifest"]


def unresolved(objects: Mapping[str, bytes]) -> list[str]:
    """Every digest that some document in the bucket names and that no bytes in the bucket have."""
    present = {digest_of(data) for data in objects.values()}
    named: list[str] = []
    for data in objects.values():
        if data[:1] == b"{":
            named += _digests(json.loads(data))
    return [digest for digest in named if digest not in present]


def _digests(value: object) -> list[str]:
    """Every digest in a document but those of sources, which lie where the tenant keeps them."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() if key != "sources" for found in _digests(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _digests(inner)]
    return [value] if isinstance(value, str) and value.startswith("sha256:") and len(value) == 71 else []


def publish(lake: Lake, frames: Sequence[pl.DataFrame], columns: Sequence[SnapshotColumn], event_time: str = "") -> str:
    """Stores a snapshot with one file per frame; returns its manifest's digest."""
    files = []
    for number, frame in enumerate(frames):
        sink = io.BytesIO()
        frame.write_parquet(sink, row_group_size=7)  # rows of one file come in several groups, as real ones do
        digest = lake.store.put_blob(sink.getvalue())
        files.append(FileEntry(path=f"part-{number:05d}.parquet", digest=digest, size=len(sink.getvalue())))
    manifest = SnapshotManifest(
        dataset="flights",
        rows=sum(frame.height for frame in frames),
        columns=tuple(columns),
        files=tuple(files),
        sources=(),
        event_time=event_time or None,
        profile=lake.store.put_blob(Profile(columns=()).canonical()),
    )
    return lake.store.put_blob(manifest.canonical())
