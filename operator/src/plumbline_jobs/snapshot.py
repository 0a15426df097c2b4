"""Reads snapshots back: manifests and files by digest, every byte verified before it is used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import ValidationError

from plumbline_contract.base import Document
from plumbline_contract.manifest import ModelManifest, Profile, SnapshotManifest
from plumbline_contract.runspec import Window
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.parts import row_groups
from plumbline_jobs.io.store import Store

D = TypeVar("D", bound=Document)


def read_document(store: Store, digest: str, type_: type[D], what: str) -> D:
    """The document under a digest. Raises Refused, reason DataUnavailable, when it is absent or another document."""
    data = store.read_blob(digest)
    try:
        return type_.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(
            "DataUnavailable", f"{what} {digest} is not a {type_.__name__}: {where}: {first['msg']}"
        ) from error


def snapshot_manifest(store: Store, digest: str) -> SnapshotManifest:
    """A snapshot's manifest."""
    return read_document(store, digest, SnapshotManifest, "the snapshot manifest")


def model_manifest(store: Store, digest: str) -> ModelManifest:
    """A model's manifest."""
    return read_document(store, digest, ModelManifest, "the model manifest")


def profile_of(store: Store, digest: str) -> Profile:
    """A stored profile."""
    return read_document(store, digest, Profile, "the profile")


@dataclass(frozen=True, slots=True)
class Rows:
    """A snapshot's rows in a window of event time, one file on disk at a time."""

    store: Store
    manifest: SnapshotManifest
    folder: Path
    window: Window | None = None

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The named columns of the rows in the window, by row group, in the snapshot's order."""
        named = tuple(dict.fromkeys(columns))
        time = time_column(self.manifest, self.window)
        wanted = named if time is None or time in named else (*named, time)
        for path in self._files():
            for frame in row_groups(path, wanted):
                inside = frame if self.window is None else frame.filter(within(frame, time, self.window))
                yield inside.select(named)

    def _files(self) -> Iterator[Path]:
        for entry in self.manifest.files:
            path = self.folder / entry.digest.removeprefix("sha256:")
            self.store.get_blob(entry.digest, path)
            yield path
            path.unlink()


def time_column(manifest: SnapshotManifest, window: Window | None) -> str | None:
    """The event time column, when a window asks for one. Raises Refused when the snapshot has none."""
    if window is None or (window.since is None and window.until is None):
        return None
    if manifest.event_time is None:
        raise Refused(
            "DataUnavailable",
            f"dataset {manifest.dataset} declares no event time, so no window can be cut; set spec.eventTime.column",
        )
    return manifest.event_time


def within(frame: pl.DataFrame, time: str | None, window: Window) -> pl.Series:
    """Which rows lie in the window: since <= t < until. Rows without an event time never do."""
    if time is None:
        return pl.repeat(value=True, n=frame.height, eager=True, dtype=pl.Boolean)
    moments = frame[time].cast(pl.Datetime("us", "UTC"))
    inside = moments.is_not_null()
    if window.since is not None:
        inside &= moments >= utc(window.since)
    if window.until is not None:
        inside &= moments < utc(window.until)
    return inside.fill_null(value=False)


def utc(moment: datetime | date) -> datetime:
    """The moment in UTC; one without a zone is UTC already, and a day is its first moment."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def written(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, cut to seconds."""
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")
