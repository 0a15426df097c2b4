"""A bucket on loopback, with models stored in it as a training run's collect step stores them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

from plumbline_contract.base import digest_of
from plumbline_contract.layout import blob
from plumbline_contract.manifest import FileEntry, ModelManifest, RunRecord
from plumbline_contract.routes import ServingSettings
from plumbline_modelgate import check

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME, PREFIX = "plumbline", "estate/demo"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass(frozen=True)
class Bucket:
    """One bucket behind an S3 endpoint."""

    endpoint: str

    @property
    def s3(self) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def create(self) -> "Bucket":
        self.s3.create_bucket(Bucket=NAME)
        return self

    def put(self, data: bytes) -> str:
        """Store a blob; its digest."""
        digest = digest_of(data)
        self.s3.put_object(Bucket=NAME, Key=blob(PREFIX, digest), Body=data)
        return digest

    def put_model(self, file: bytes, **fields: Any) -> str:
        """Store a model file and its manifest; the manifest's digest."""
        digest = self.put(file)
        signature = check(file)
        manifest = ModelManifest(
            files=(FileEntry(path="model.onnx", digest=digest, size=len(file)),),
            model=fields.pop("model", digest),
            inputs=fields.pop("inputs", signature.inputs),
            outputs=fields.pop("outputs", signature.outputs),
            run=RunRecord(
                namespace="demo",
                name="run",
                uid="u",
                author="ada",
                attempt=1,
                image="trainer",
                image_digest="",
                command=("python", "train.py"),
            ),
        )
        return self.put(manifest.canonical())

    def settings(self, manifest: str, **fields: Any) -> ServingSettings:
        """Settings of a server of this manifest."""
        given = {"variant": "fraud-v-1", "deployment": "fraud", "namespace": "demo", "model_name": "fraud"} | fields
        return ServingSettings(manifest=manifest, endpoint=self.endpoint, bucket=NAME, prefix=PREFIX, **given)

    def predictions(self, variant: str = "") -> pa.Table:
        """All rows of the prediction log, of one variant when given; an empty table when there are none."""
        keys = self.segments(variant)
        tables = [
            pq.read_table(pa.BufferReader(self.s3.get_object(Bucket=NAME, Key=key)["Body"].read())) for key in keys
        ]
        return pa.concat_tables(tables) if tables else pa.table({})

    def segments(self, variant: str = "") -> list[str]:
        """The keys of the prediction log's segments."""
        prefix = f"{PREFIX}/predictions/demo/fraud/" + (f"{variant}/" if variant else "")
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
