"""The oracle sees what it must see: it is silent about a whole bucket, and names each kind of damage."""

from __future__ import annotations

import json

import pytest

from plumbline_contract.base import canonical_json, digest_of
from plumbline_contract.hashkey import new_hash_key
from plumbline_contract.layout import blob, hash_key, report
from tests.storage.oracle import judge

ROOT = "store/team"
FILE, OTHER = b"rows", b"more rows"
MANIFEST = canonical_json(
    {
        "kind": "Snapshot",
        "files": [{"path": "a", "digest": digest_of(FILE), "size": len(FILE)}],
        "sources": [{"key": "k", "digest": digest_of(b"elsewhere"), "size": 9}],
        "run": {"lock_digest": digest_of(b"lock")},
    }
)
INDEX = report(ROOT, "team", "Dataset", "flights", "job-1")


def whole() -> dict[str, bytes]:
    """A bucket in which nothing is wrong."""
    objects = {blob(ROOT, digest_of(data)): data for data in (FILE, OTHER, MANIFEST)}
    index = canonical_json({"kind": "Report", "result": digest_of(MANIFEST)})
    return objects | {INDEX: index, hash_key(ROOT): new_hash_key(), "raw/table.csv": b"{ not ours"}


def test_a_whole_bucket_has_nothing_to_complain_about() -> None:
    found = judge(whole())
    assert (found.blobs, found.documents, found.named, found.complaints) == (3, 2, 2, ())


@pytest.mark.parametrize(
    ("key", "data", "told"),
    [
        (blob(ROOT, digest_of(FILE)), None, "which is not there"),
        (blob(ROOT, digest_of(FILE)), b"rowz", "of another digest"),
        (blob(ROOT, digest_of(FILE)), b"rowz", "where other bytes lie"),
        (blob(ROOT, digest_of(MANIFEST)), None, "which is not there"),
        (blob(ROOT, digest_of(OTHER)), OTHER[:-1], "of another digest"),
        (blob("store/other", digest_of(MANIFEST)), MANIFEST, "which is not there"),
        (INDEX, b'{"result', "is no JSON document"),
        (hash_key(ROOT), b"short", "is no whole hash key"),
        (f"{ROOT}/predictions/team/late/v/2024-01-01/00/x.parquet", b"PAR1", "is no whole Parquet file"),
    ],
)
def test_damage_is_named(key: str, data: bytes | None, told: str) -> None:
    objects = whole()
    if data is None:
        del objects[key]
    else:
        objects[key] = data
    assert any(told in one for one in judge(objects).complaints), judge(objects)


def test_a_size_that_is_not_the_files_is_named() -> None:
    document = json.loads(MANIFEST)
    document["files"][0]["size"] += 1
    wrong = canonical_json(document)
    assert "says that" in judge(whole() | {blob(ROOT, digest_of(wrong)): wrong}).complaints[0]
