"""Reads a source object, checks it against its declaration and tests, and stores an immutable snapshot.

    source ──download──► scratch ──typed, streamed──► staged Parquet ──rules, tests──► parts ──► blobs ──► manifest

Nothing reaches the bucket before every test has passed. Parts, then the profile, then the manifest that names them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from plumbline_contract.manifest import FileEntry, SnapshotColumn, SnapshotManifest, SourceEntry
from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_contract.runspec import ForeignKey, Ingest
from plumbline_jobs import pii, places
from plumbline_jobs.answer import Answer
from plumbline_jobs.checks.schema import declared, keep_to_rules
from plumbline_jobs.checks.tests import Staged, raise_first_failure, verdicts
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.parts import Part, PartWriter, row_groups, rows_of, schema_of
from plumbline_jobs.io.source import open_source
from plumbline_jobs.io.store import Denied, NoBucket, NotThere, Store
from plumbline_jobs.log import log
from plumbline_jobs.profile import profile
from plumbline_jobs.references import permitted_values
from plumbline_jobs.snapshot import utc, written


@dataclass(frozen=True, slots=True)
class Times:
    """The earliest and the latest event in a table; None without an event time column or without events."""

    first: datetime | None = None
    last: datetime | None = None


def run(spec: Ingest) -> Answer:
    """The new snapshot's manifest, profile, size and verdicts.

    Raises Refused with SourceNotFound, SourceUnreadable, SchemaMismatch or TestFailed.
    """
    _stays_below(spec.key)
    store = Store.connect(spec.storage)
    with places.scratch() as folder:
        path = folder / "source"
        source = _download(spec, path)
        staged = stage(spec, path, folder)
        path.unlink()
        found = _tested(spec, staged, store)
        columns = pii.kept_columns(spec.columns)
        parts = publishable(staged, columns, store, folder)
        manifest, digest = _published(spec, store, parts, columns, (source, found))
    return _answer(manifest, digest, found)


def stage(spec: Ingest, path: Path, folder: Path) -> Staged:
    """The source's declared columns as typed Parquet on the Job's own disk, personal values still in the clear."""
    scratch = folder / "staged"
    scratch.mkdir()
    source = open_source(spec, path, folder)
    declared(source.names, spec.columns, spec.unknown_columns, spec.event_time)
    writer = PartWriter(scratch, schema_of([(rule.name, rule.type, rule.nullable) for rule in spec.columns]))
    for batch in source.batches(spec.columns):
        writer.write(batch.frame)
    parts = writer.close()
    log("source staged", rows=sum(part.rows for part in parts), columns=len(spec.columns))
    return Staged(tuple(part.path for part in parts), {rule.name: rule for rule in spec.columns})


def publishable(staged: Staged, columns: Sequence[SnapshotColumn], store: Store, folder: Path) -> list[Part]:
    """The part files as they go into the snapshot: without dropped columns, hashed where declared."""
    if len(columns) == len(staged.rules) and all(column.handling == "Keep" for column in columns):
        return [Part(path, rows_of(path)) for path in staged.files]
    target = folder / "parts"
    target.mkdir()
    key = pii.key_of(store) if any(column.handling == "Hash" for column in columns) else b""
    writer = PartWriter(target, schema_of([(c.name, c.type, c.nullable) for c in columns]))
    for path in staged.files:
        for frame in row_groups(path, [column.name for column in columns]):
            writer.write(pii.redacted(frame, columns, key))
        path.unlink()  # the values in the clear are not needed any more
    return writer.close()


def _stays_below(key: str) -> None:
    """Most stores take any key as it is written; those that keep objects in folders would leave the prefix."""
    if places.climbs(key):
        text = f"the key {key!a:.200} climbs out of the connection's prefix; correct spec.source.key"
        raise Refused("SourceNotFound", text)


def _download(spec: Ingest, path: Path) -> SourceEntry:
    source = Store.connect(spec.source)
    try:
        digest, size = source.download(spec.key, path)
    except NotThere as error:
        raise Refused(
            "SourceNotFound", f"the bucket {spec.source.bucket} has no object {error.key}; correct spec.source.key"
        ) from error
    except NoBucket as error:
        raise Refused("SourceNotFound", error.message) from error
    except Denied as error:
        raise Refused("SourceUnreadable", error.message) from error
    log("source downloaded", digest=digest, bytes=size)
    return SourceEntry(key=spec.key, digest=digest, size=size)


def _tested(spec: Ingest, staged: Staged, store: Store) -> tuple[TestVerdict, ...]:
    keep_to_rules(staged.files, spec.columns)

    def references(test: ForeignKey) -> pl.Series:
        return permitted_values(test, staged, store)

    found = verdicts(staged, spec.tests, references)
    for verdict in found:
        log("test judged", test=verdict.name, verdict=verdict.verdict, value=verdict.value, bound=verdict.bound)
    raise_first_failure(found)
    return found


def _published(
    spec: Ingest,
    store: Store,
    parts: Sequence[Part],
    columns: Sequence[SnapshotColumn],
    known: tuple[SourceEntry, tuple[TestVerdict, ...]],
) -> tuple[SnapshotManifest, str]:
    times = event_times([part.path for part in parts], spec.event_time)
    files = tuple(_uploaded(store, part) for part in parts)
    described = profile([part.path for part in parts], columns)
    manifest = SnapshotManifest(
        dataset=spec.owner.name,
        rows=sum(part.rows for part in parts),
        columns=tuple(columns),
        files=files,
        sources=(known[0],),
        event_time=spec.event_time,
        first_event=times.first,
        last_event=times.last,
        profile=store.put_blob(described.canonical()),
        tests=known[1],
    )
    digest = store.put_blob(manifest.canonical())
    log("snapshot stored", manifest=digest, rows=manifest.rows, files=len(files))
    return manifest, digest


def _uploaded(store: Store, part: Part) -> FileEntry:
    digest = store.put_blob(part.path)
    return FileEntry(path=part.path.name, digest=digest, size=part.path.stat().st_size, rows=part.rows)


def event_times(files: Sequence[Path], column: str | None) -> Times:
    """The first and last event time in the files."""
    if column is None:
        return Times()
    ends = pl.scan_parquet(list(files)).select(pl.col(column).min().alias("first"), pl.col(column).max().alias("last"))
    found = ends.collect(engine="streaming")
    return Times(_moment(found["first"].item()), _moment(found["last"].item()))


def _moment(value: datetime | date | None) -> datetime | None:
    return None if value is None else utc(value)


def _answer(manifest: SnapshotManifest, digest: str, found: tuple[TestVerdict, ...]) -> Answer:
    size = sum(file.size for file in manifest.files)
    words = {}
    if manifest.first_event is not None and manifest.last_event is not None:
        words = {"firstEvent": written(manifest.first_event), "lastEvent": written(manifest.last_event)}
    report = Report(
        outcome=Outcome.DONE,
        reason="Validated",
        message=f"{manifest.rows} rows in {len(manifest.files)} files passed {len(found)} tests.",
        digests={"manifest": digest, "profile": manifest.profile},
        numbers={"rows": manifest.rows, "bytes": size},
        words=words,
        verdicts=found,
    )
    return Answer(report, {"manifest": manifest.model_dump(mode="json", exclude_none=True)})
