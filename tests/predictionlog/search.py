"""Looks for values in everything that a server and a router leave behind."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.serving.bucket import NAME, Bucket

Places = Mapping[str, bytes]
"""Where something lies → what lies there."""


def files(folder: Path) -> dict[str, bytes]:
    """Every regular file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def objects(bucket: Bucket) -> dict[str, bytes]:
    """Every object's key, metadata and bytes, and of a Parquet file its values too."""
    found: dict[str, bytes] = {}
    for page in bucket.s3.get_paginator("list_objects_v2").paginate(Bucket=NAME):
        for entry in page.get("Contents", []):
            answer = bucket.s3.get_object(Bucket=NAME, Key=entry["Key"])
            body = answer["Body"].read()
            parts = (entry["Key"].encode(), str(answer["Metadata"]).encode(), *readable(entry["Key"], body))
            found[f"s3://{entry['Key']}"] = b"\n".join(parts)
    return found


def readable(key: str, body: bytes) -> tuple[bytes, bytes]:
    """An object's bytes, and of a Parquet file its values, which are packed in them."""
    values = str(pq.read_table(pa.BufferReader(body)).to_pydict()) if key.endswith(".parquet") else ""
    return body, values.encode()


def disguises(value: str) -> Iterable[bytes]:
    """A value as it is and as it is easily turned back: encoded, or hashed without a key."""
    data = value.encode()
    yield data
    yield data.upper()
    yield data.hex().encode()
    yield hashlib.sha256(data).hexdigest().encode()
    for skipped in range(3):  # base64 of a text that holds the value at any offset
        whole = base64.b64encode(b"x" * skipped + data)
        yield whole[4:-4]


def sightings(values: Iterable[str], places: Places) -> list[str]:
    """Which values lie where, in any disguise."""
    wanted = {form: value for value in values for form in disguises(value)}
    pattern = re.compile(b"|".join(map(re.escape, wanted)))
    return [f"{wanted[hit.group()]} in {place}" for place, held in places.items() for hit in pattern.finditer(held)]
