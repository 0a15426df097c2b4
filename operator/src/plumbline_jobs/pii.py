"""Personal columns: dropped, or replaced by a keyed hash that joins but cannot be reversed without the key."""

import hmac
import os
from collections.abc import Sequence

import polars as pl

from plumbline_contract import layout
from plumbline_contract.hashkey import is_hash_key, new_hash_key
from plumbline_contract.manifest import SnapshotColumn
from plumbline_contract.runspec import ColumnRule
from plumbline_jobs.io.store import NotThere, Store

KEY_VARIABLE = "PLUMBLINE_HASH_KEY"


def key_of(store: Store) -> bytes:
    """The key of this namespace's hashes: from PLUMBLINE_HASH_KEY, or made once and kept in the bucket.

    One key per namespace makes hashes of two datasets join; whoever can read the bucket's key can test guesses,
    so a namespace with stronger needs keeps the key in a Secret instead. Raises Corrupt for a key that was changed.
    """
    given = os.environ.get(KEY_VARIABLE, "")
    if given:
        return given.encode()
    key = layout.hash_key(store.prefix)
    try:
        return store.read(key, is_hash_key)
    except NotThere:
        store.create(key, new_hash_key())
    return store.read(key, is_hash_key)  # another Job may have been faster; both then use what lies there


def hashed(values: pl.Series, key: bytes) -> pl.Series:
    """HMAC-SHA256 of each value's text, as 64 hex digits; nulls stay null."""
    texts = values.cast(pl.String)
    distinct = texts.drop_nulls().unique()
    digests = [hmac.digest(key, text.encode(), "sha256").hex() for text in distinct]
    return texts.replace_strict(distinct, pl.Series(digests, dtype=pl.String), default=None, return_dtype=pl.String())


def kept_columns(rules: Sequence[ColumnRule]) -> tuple[SnapshotColumn, ...]:
    """The snapshot's columns: dropped ones are gone, hashed ones are text."""
    return tuple(
        SnapshotColumn(
            name=rule.name,
            type="String" if rule.handling == "Hash" else rule.type,
            nullable=rule.nullable,
            pii=rule.pii,
            handling="Hash" if rule.handling == "Hash" else "Keep",
        )
        for rule in rules
        if rule.handling != "Drop"
    )


def redacted(frame: pl.DataFrame, columns: Sequence[SnapshotColumn], key: bytes) -> pl.DataFrame:
    """Only the snapshot's columns, hashed where they are to be."""
    return pl.DataFrame(
        [hashed(frame[c.name], key).alias(c.name) if c.handling == "Hash" else frame[c.name] for c in columns]
    )
