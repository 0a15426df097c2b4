"""First step of a training run: puts code and data under the shared folder, every digest proven.

/plumbline/code/                         the repository at its commit
/plumbline/in/<input>/<part>/*.parquet   rows of each part of the split; `all` for inputs without one
/plumbline/in/parameters.json, seeds.json
/plumbline/in/.plumbline/launch          what becomes the training command after noting where it runs
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from plumbline_contract.manifest import SnapshotManifest, SnapshotRef
from plumbline_contract.report import Outcome, Report
from plumbline_contract.runspec import Fetch, Split
from plumbline_jobs import places
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from plumbline_jobs.git import checkout
from plumbline_jobs.io.parts import row_groups
from plumbline_jobs.io.store import Store
from plumbline_jobs.launch import LAUNCH
from plumbline_jobs.log import log
from plumbline_jobs.snapshot import snapshot_manifest, time_column, within
from plumbline_jobs.stats.draws import draws

ALL = "all"  # the part of an input that is not split

Counts = dict[str, float]


def run(spec: Fetch) -> Answer:
    """Fetch everything. Report: numbers `rows.<input>.<part>`. Raises Refused when a digest or a commit is missing."""
    _split_fits(spec)
    _stays_inside(spec)
    _settings(spec)
    if spec.code is not None:
        checkout(spec.code.url, spec.code.commit, places.code())
        _has_folder(spec.code.path)
        log("code fetched", commit=spec.code.commit)
    store = Store.connect(spec.storage)
    counts: Counts = {}
    for snapshot in spec.snapshots:
        split = spec.split if spec.split is not None and spec.split.input == snapshot.input else None
        counts |= _snapshot(store, snapshot, split)
    return Answer(Report(outcome=Outcome.DONE, numbers=counts))


def _settings(spec: Fetch) -> None:
    """Parameters, seeds and the launcher, readable by whatever user the training image has."""
    folder = places.inputs() / places.RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    launch = folder / "launch"
    launch.write_text(LAUNCH)
    launch.chmod(0o755)
    for name, values in (("parameters", spec.parameters), ("seeds", spec.seeds)):
        (places.inputs() / f"{name}.json").write_text(json.dumps(dict(values), indent=2, sort_keys=True))


def _split_fits(spec: Fetch) -> None:
    """A split that no input obeys would train on rows that were to be kept apart."""
    names = [snapshot.input for snapshot in spec.snapshots]
    if spec.split is not None and spec.split.input not in names:
        raise Refused(
            "DataUnavailable", f"spec.split.input is {spec.split.input!r}, which is none of the inputs {names}"
        )


def _stays_inside(spec: Fetch) -> None:
    """Inputs and parts become folders: a name that is a path would write anywhere."""
    parts = {*spec.split.windows, *spec.split.shares} if spec.split is not None else set()
    for name in (*(snapshot.input for snapshot in spec.snapshots), *parts):
        if not places.is_folder_name(name):
            raise Refused("DataUnavailable", f"{name!a:.200} is no name of a folder; correct spec.inputs or spec.split")


def _has_folder(path: str) -> None:
    """The folder is in the checkout, also after its links are followed."""
    folder, code = (places.code() / path).resolve(), places.code().resolve()
    if not folder.is_dir() or not folder.is_relative_to(code):
        raise Refused("DataUnavailable", f"the commit has no folder {path!r}; correct spec.code.path")


def _snapshot(store: Store, snapshot: SnapshotRef, split: Split | None) -> Counts:
    """One input's rows in their folders; returns rows by part."""
    manifest = snapshot_manifest(store, snapshot.digest)
    folder = places.inputs() / snapshot.input
    counts: Counts = {}
    for number, path in enumerate(_files(store, manifest, folder)):
        for part, rows in _divided(path, manifest, split, number).items():
            counts[part] = counts.get(part, 0) + _write(rows, folder / part / f"{number:05d}.parquet")
        path.unlink()
    for part, rows_of_part in counts.items():
        if rows_of_part == 0 and part != ALL:
            raise Refused(
                "DataUnavailable",
                f"part {part!r} of input {snapshot.input!r} has no rows; dataset {manifest.dataset} spans "
                f"{manifest.first_event} to {manifest.last_event}: correct spec.split.parts",
            )
    log("snapshot fetched", input=snapshot.input, digest=snapshot.digest, **{k: int(v) for k, v in counts.items()})
    return {f"rows.{snapshot.input}.{part}": rows for part, rows in counts.items()}


def _files(store: Store, manifest: SnapshotManifest, folder: Path) -> Iterator[Path]:
    """The snapshot's files, one at a time on disk, each proven."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in manifest.files:
        path = folder / f".{entry.digest.removeprefix('sha256:')}"
        store.get_blob(entry.digest, path)
        yield path


Frames = Iterable[pl.DataFrame]


def _divided(path: Path, manifest: SnapshotManifest, split: Split | None, number: int) -> Mapping[str, Frames]:
    """Part → its rows of one file, by row group, so that a file need not fit into memory."""
    columns = tuple(column.name for column in manifest.columns)
    if split is None:
        return {ALL: row_groups(path, columns)}
    if split.windows:
        return {part: _in_window(path, manifest, split, part, columns) for part in split.windows}
    return {part: _drawn(path, split, part, number, columns) for part in split.shares}


def _in_window(
    path: Path, manifest: SnapshotManifest, split: Split, part: str, columns: tuple[str, ...]
) -> Iterator[pl.DataFrame]:
    window = split.windows[part]
    time = time_column(manifest, window)
    for frame in row_groups(path, columns):
        yield frame.filter(within(frame, time, window))


def _drawn(path: Path, split: Split, part: str, number: int, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """A share of the rows. A row's draw depends on seed and place alone, so parts never overlap and repeat exactly."""
    names = list(split.shares)
    low = sum(split.shares[name] for name in names[: names.index(part)])
    high = low + split.shares[part]
    place = number << 40  # more rows than a file can have
    for frame in row_groups(path, columns):
        drawn = draws(split.seed, place, frame.height)
        place += frame.height
        yield frame.filter(pl.Series((drawn >= low) & (drawn < high)))


def _write(frames: Frames, path: Path) -> int:
    """Write rows as one Parquet file; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | None = None
    rows = 0
    for frame in frames:
        table = frame.to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        if table.num_rows:
            writer.write_table(table)
        rows += table.num_rows
    if writer is not None:
        writer.close()
    return rows
