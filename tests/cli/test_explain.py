"""`kubectl plumbline explain` against a real S3 protocol server and objects given by hand."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plumbline_cli.bucket import Tampered
from plumbline_cli.chain import Link, explain
from plumbline_cli.cluster import Missing
from plumbline_contract import layout
from plumbline_contract.base import Document, digest_of
from plumbline_contract.manifest import (
    CodeRef,
    FileEntry,
    ModelManifest,
    Profile,
    RunRecord,
    SnapshotManifest,
    SnapshotRef,
)
from plumbline_contract.prediction import prediction_id
from tests.support.moto import s3_server

NAMESPACE, BUCKET, PREFIX = "team", "lake", "store/team"
WHEN = datetime(2026, 1, 2, 3, 59, 59, tzinfo=UTC)
PREDICTION = prediction_id(int(WHEN.timestamp() * 1000), "request-1")
COMMIT = "c" * 40


class Objects:
    """The objects of one namespace, as the API server would give them."""

    namespace = NAMESPACE

    def __init__(self, endpoint: str, objects: dict[str, list[dict[str, Any]]]) -> None:
        self._objects = objects | {
            "Connection": [
                {
                    "metadata": {"name": "storage"},
                    "spec": {
                        "s3": {"endpoint": endpoint, "bucket": BUCKET, "prefix": "store", "secretRef": {"name": "s"}}
                    },
                }
            ]
        }

    def get(self, kind: str, name: str, api_version: str = "") -> dict[str, Any]:
        for one in self._objects.get(kind, []):
            if one["metadata"]["name"] == name:
                return one
        raise Missing(f"{kind} {name}")

    def list(self, kind: str) -> list[dict[str, Any]]:
        return self._objects.get(kind, [])

    def secret(self, name: str) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


class World:
    """A bucket with one model, one snapshot and one logged prediction."""

    def __init__(self, endpoint: str) -> None:
        self.s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        self.s3.create_bucket(Bucket=BUCKET)
        rows = self.put(b"rows")
        snapshot = self.document(
            SnapshotManifest(
                dataset="d",
                rows=4,
                columns=(),
                files=(FileEntry(path="0.parquet", digest=rows, size=4),),
                sources=(),
                profile=self.document(Profile(columns=())),
            )
        )
        self.model = self.put(b"model")
        run = RunRecord(
            namespace=NAMESPACE,
            name="run",
            uid="u",
            author="alice",
            attempt=1,
            code=CodeRef(url="git://x/y", commit=COMMIT),
            image="i",
            image_digest="",
            command=("train",),
            snapshots=(SnapshotRef(input="d", dataset="d", snapshot="d-1", digest=snapshot),),
        )
        files = (FileEntry(path="model.onnx", digest=self.model, size=5),)
        self.manifest = self.document(ModelManifest(files=files, model=self.model, run=run))
        self.log()
        self.objects = Objects(endpoint, self.listed())

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self.s3.put_object(Bucket=BUCKET, Key=layout.blob(PREFIX, digest), Body=data)
        return digest

    def document(self, document: Document) -> str:
        return self.put(document.canonical())

    def log(self) -> None:
        """The record lies in the hour after its own: the segment was flushed after the hour had ended."""
        table = pa.table(
            {
                "prediction_id": [PREDICTION],
                "request_id": ["request-1"],
                "time": [WHEN],
                "variant": ["v1"],
                "role": ["primary"],
                "manifest": [self.manifest],
                "in.temp": [71.0],
                "out.probability": [0.25],
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        folder = layout.prediction_hour(PREFIX, NAMESPACE, "late", "v1", WHEN.replace(hour=4))
        self.s3.put_object(Bucket=BUCKET, Key=f"{folder}/pod-1.parquet", Body=sink.getvalue())

    def version(self, name: str, manifest: str) -> dict[str, Any]:
        """A version with the same model file, by any run."""
        return {
            "metadata": {"name": name},
            "spec": {"manifest": manifest, "model": self.model, "modelRef": {"name": "m"}},
        }

    def listed(self) -> dict[str, list[dict[str, Any]]]:
        version = {"name": "run", "manifest": self.manifest, "author": "alice"}
        approval = {"version": version, "decision": "Approve", "approver": "bob"}
        return {
            "ModelDeployment": [{"metadata": {"name": "late"}, "spec": {"modelRef": {"name": "m"}}}],
            "RegisteredModel": [{"metadata": {"name": "m"}, "spec": {"storageRef": {"name": "storage"}}}],
            "ModelVersion": [
                self.version("twin", digest_of(b"another run's manifest")),
                self.version("run", self.manifest),
            ],
            "Approval": [{"metadata": {"name": "yes"}, "spec": approval}],
        }


@pytest.fixture
def world() -> Iterator[World]:
    with s3_server() as url:
        yield World(url)


def found(link: Link, title: str) -> Link:
    if link.title == title:
        return link
    return next(hit for below in link.below for hit in [_maybe(below, title)] if hit is not None)


def _maybe(link: Link, title: str) -> Link | None:
    hits = [link] if link.title == title else [hit for below in link.below if (hit := _maybe(below, title))]
    return hits[0] if hits else None


def test_a_prediction_leads_to_version_run_commit_data_and_approver(world: World) -> None:
    chain = explain(world.objects, PREDICTION, None)
    assert chain.facts["inputs"] == {"temp": 71.0}
    assert found(chain, "model version").facts["name"] == "run"  # not its twin, which trained the same bytes
    assert found(chain, "training run").facts["commit"] == COMMIT
    assert found(chain, "approval").facts["approver"] == "bob"
    assert found(chain, "data snapshot").facts["rows"] == 4
    assert chain.broken == ()
    assert chain.checked == 5  # manifest, model, snapshot manifest, profile, rows


def test_one_flipped_byte_is_found_and_named(world: World) -> None:
    key = layout.blob(PREFIX, world.model)
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"mudel")
    (broken,) = explain(world.objects, PREDICTION, None).broken
    assert broken.key == key
    assert broken.found == digest_of(b"mudel")


def test_bytes_that_are_gone_are_found_and_named(world: World) -> None:
    key = layout.blob(PREFIX, world.model)
    world.s3.delete_object(Bucket=BUCKET, Key=key)
    (broken,) = explain(world.objects, PREDICTION, None).broken
    assert (broken.key, broken.found) == (key, "nothing lies there")


def test_a_document_that_was_changed_is_named_before_anything_it_says_is_believed(world: World) -> None:
    key = layout.blob(PREFIX, world.manifest)
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    with pytest.raises(Tampered) as caught:
        explain(world.objects, PREDICTION, None)
    assert caught.value.proof.key == key


def test_a_prediction_nobody_logged_is_missing_with_possible_causes(world: World) -> None:
    with pytest.raises(Missing, match="newer than the last flush"):
        explain(world.objects, prediction_id(1, "other"), None)
