"""The values a foreign key may have, read from the referenced dataset's snapshot."""

import polars as pl

from plumbline_contract.manifest import SnapshotColumn, SnapshotManifest
from plumbline_contract.runspec import ForeignKey
from plumbline_jobs import places
from plumbline_jobs.checks.tests import Staged
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.cells import TYPES
from plumbline_jobs.io.store import Store
from plumbline_jobs.pii import hashed, key_of
from plumbline_jobs.snapshot import Rows, snapshot_manifest


def permitted_values(test: ForeignKey, staged: Staged, store: Store) -> pl.Series:
    """Distinct values of our column's type that the referenced column has.

    When the referenced column is hashed, our own values are hashed with the same key to see which of them it has.
    """
    manifest = snapshot_manifest(store, test.snapshot)
    column = _referenced(test, manifest)
    ours = staged.rules[test.column]
    there = _distinct(store, manifest, column)
    if column.handling == "Hash":
        own = pl.scan_parquet(list(staged.files)).select(pl.col(test.column).drop_nulls().unique()).collect()
        values = own[test.column]
        return values.filter(hashed(values, key_of(store)).is_in(there.implode()))
    if column.type != ours.type:
        raise Refused(
            "TestFailed",
            f"test `{test.name}`: `{test.column}` is {ours.type}, but `{column.name}` of dataset {test.dataset} is "
            f"{column.type}; declare both alike",
        )
    return there


def _referenced(test: ForeignKey, manifest: SnapshotManifest) -> SnapshotColumn:
    for column in manifest.columns:
        if column.name == test.referenced_column:
            return column
    raise Refused(
        "TestFailed", f"test `{test.name}`: dataset {test.dataset} has no column `{test.referenced_column}` to refer to"
    )


def _distinct(store: Store, manifest: SnapshotManifest, column: SnapshotColumn) -> pl.Series:
    name = column.name
    with places.scratch() as folder:
        frames = Rows(store, manifest, folder).frames([name])
        seen = [frame[name].drop_nulls().unique() for frame in frames]
    return pl.concat(seen).unique() if seen else pl.Series(name, [], dtype=TYPES[column.type])
