"""Re-hashes a whole bucket: every blob is its digest, every document names only what is there.

    from tests.storage.oracle import verify
    found = verify(s3, "bucket")            # any boto3 client; all prefixes of the bucket, or one
    assert found.complaints == ()

Holds at every moment, also while Jobs run and after they were killed: what names something is written after it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from plumbline_contract.base import digest_of
from plumbline_contract.hashkey import is_hash_key
from plumbline_contract.layout import BLOBS, blob, hash_key, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UNSTORED = frozenset({"lock", "lock_digest", "image_digest", "sources"})
"""Fields whose digests are of bytes that lie elsewhere: a lock file in Git, an image, a tenant's own objects."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what is wrong; `named` counts digests that documents name."""

    blobs: int
    documents: int
    named: int
    complaints: tuple[str, ...]


def verify(s3: S3Client, bucket: str, prefix: str = "") -> Verified:
    """Reads and checks every object below a prefix."""
    return judge({key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in _keys(s3, bucket, prefix)})


def judge(objects: Mapping[str, bytes]) -> Verified:
    """Checks objects by full key."""
    complaints: list[str] = []
    blobs = documents = named = 0
    for key, data in sorted(objects.items()):
        root, kind = _place(key)
        blobs += kind == "blobs"
        complaints += _itself(key, root, kind, data)
        document = _document(kind, data)
        if document is None:
            continue
        documents += 1
        for digest, size in _named(document):
            named += 1
            complaints += _missing(key, objects.get(blob(root, digest)), digest, size)
    return Verified(blobs, documents, named, tuple(complaints))


def _keys(s3: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (one["Key"] for one in page.get("Contents", []))


def _place(key: str) -> tuple[str, str]:
    """The prefix of the store that an object belongs to, and the kind of object it is; neither for a stranger's."""
    for mark, kind in ((BLOBS, "blobs"), ("reports", "reports"), ("keys", "keys"), ("predictions", "predictions")):
        root, found, _ = f"/{key}".partition(f"/{mark}/")
        if found:
            return root.strip("/"), kind
    return "", ""


def _itself(key: str, root: str, kind: str, data: bytes) -> list[str]:
    """What is wrong with an object by its own bytes."""
    if kind == "blobs" and blob(root, digest_of(data)) != key:
        return [f"{key} holds {len(data)} bytes of another digest, {digest_of(data)}"]
    if kind == "keys" and key == hash_key(root) and not is_hash_key(data):
        return [f"{key} is no whole hash key"]
    if kind == "reports" and _document(kind, data) is None:
        return [f"{key} is no JSON document"]
    if kind == "predictions" and key.endswith(".parquet"):
        try:
            pq.read_table(io.BytesIO(data))
        except pa.ArrowException as error:
            return [f"{key} is no whole Parquet file: {error}"]
    return []


def _document(kind: str, data: bytes) -> Any:
    """The JSON object in the bytes of a blob or an index; None when it is none."""
    if kind not in ("blobs", "reports") or data[:1] != b"{":
        return None
    try:
        return json.loads(data)
    except ValueError:
        return None


def _named(value: Any) -> Iterator[tuple[str, int | None]]:
    """Every digest that a document names, with the number of bytes where it is told beside it."""
    if isinstance(value, Mapping):
        size = value.get("size")
        for name, inner in value.items():
            if name not in UNSTORED:
                yield from ((found, size if name == "digest" else told) for found, told in _named(inner))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _named(inner)
    elif isinstance(value, str) and value.startswith("sha256:") and len(value) == 71:
        yield value, None


def _missing(key: str, data: bytes | None, digest: str, size: int | None) -> list[str]:
    if data is None:
        return [f"{key} names {digest}, which is not there"]
    if digest_of(data) != digest:
        return [f"{key} names {digest}, where other bytes lie"]
    if size is not None and len(data) != size:
        return [f"{key} says that {digest} has {size} bytes; it has {len(data)}"]
    return []


def stored(s3: S3Client, bucket: str, *parts: str) -> dict[str, bytes]:
    """Every object below a prefix, by full key."""
    prefix = join("", *parts)
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in _keys(s3, bucket, prefix)}
