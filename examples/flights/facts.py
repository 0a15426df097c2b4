"""Print what is true of the raw tables, as JSON, computed from the files: the oracle for the demo's data checks.

    python facts.py --raw DIR/raw [--edges 30,50,70]

DIR is what prepare.py wrote. `--edges` adds the PSI of `temp` on those inner bin edges, computed here with numpy
alone, so that the platform's own figure has a second source.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from departures.raw import RawTables, read_tables

KEY = ("year", "month", "day", "sched_dep_time", "carrier", "flight", "origin")


def read_raw(folder: Path) -> RawTables:
    """The tables from the folder that prepare.py wrote; it has no airports, which no fact here needs."""
    packed = ("flights.csv", "weather.csv")
    files = {name: (folder / name).read_bytes() for name in ("planes.csv", "airlines.csv")}
    files |= {name: gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in packed}
    return read_tables(files | {"airports.csv": b"faa,tzone\n"})


def facts(tables: RawTables) -> dict[str, object]:
    """Counts of rows, unless the name says otherwise."""
    flights, weather = tables.flights, tables.weather
    named = flights.filter(pl.col("tailnum").is_not_null())
    unlisted = named.join(tables.planes, on="tailnum", how="anti")
    return {
        "flights": flights.height,
        "flights_unique_by_key": flights.select(KEY).n_unique(),
        "arr_delay_null": flights["arr_delay"].null_count(),
        "dep_time_null": flights["dep_time"].null_count(),
        "left_but_arr_delay_null": flights.filter(
            pl.col("dep_time").is_not_null() & pl.col("arr_delay").is_null()
        ).height,
        "tailnum_null": flights["tailnum"].null_count(),
        "tailnum_null_and_arrived": flights.filter(
            pl.col("tailnum").is_null() & pl.col("arr_delay").is_not_null()
        ).height,
        "tailnum_not_in_planes": unlisted.height,
        "distinct_tailnums_not_in_planes": unlisted["tailnum"].n_unique(),
        "tailnum_not_in_planes_by_carrier": dict(
            unlisted.group_by("carrier").len().sort("len", "carrier", descending=[True, False]).iter_rows()
        ),
        "carriers_not_in_airlines": flights.join(tables.airlines, on="carrier", how="anti").height,
        "weather": weather.height,
        "weather_unique_by_origin_and_hour": weather.select("origin", "time_hour").n_unique(),
        "weather_last_hour": weather["time_hour"].max(),
        "weather_nulls": {name: weather[name].null_count() for name in ("temp", "wind_speed", "pressure", "wind_gust")},
        "weather_wind_speed_max_mph": weather["wind_speed"].max(),
        "late_share_by_month": _late_share(flights),
    }


def _late_share(flights: pl.DataFrame) -> dict[int, float]:
    shares = flights.group_by("month").agg((pl.col("arr_delay") > 15).mean().alias("late")).sort("month")
    return {month: round(late, 4) for month, late in shares.iter_rows()}


def psi(
    reference: npt.NDArray[np.float64],
    current: npt.NDArray[np.float64],
    edges: Sequence[float],
    floor: float = 1e-4,
) -> float:
    """Population stability index of two samples, in nats; 0 means equal shares.

    reference, current: shapes (n,) and (m,), no NaN. edges: k ascending inner edges, which make k + 1 bins with
    open ends; a value on an edge belongs to the bin above. floor: smallest share inside the logarithm.
    Source: Siddiqi, Credit Risk Scorecards (2006).
    """
    inner = np.asarray(edges, dtype=np.float64)
    if inner.size == 0 or np.any(np.diff(inner) <= 0):
        raise ValueError(f"edges {list(edges)} are not ascending; give at least one, each above the one before")

    def shares(sample: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        bins = np.searchsorted(inner, sample, side="right")
        return np.maximum(np.bincount(bins, minlength=inner.size + 1) / sample.size, floor)

    before, now = shares(reference), shares(current)
    return float(np.sum((now - before) * np.log(now / before)))


def temp_psi(features: pl.DataFrame, edges: Sequence[float], floor: float = 1e-4) -> float:
    """PSI of `temp` over departures: January to June against July and August, cut at midnight UTC."""
    month = pl.col("event_time").dt.month()
    reference = features.filter(month <= 6)["temp"].to_numpy()
    current = features.filter(month.is_in([7, 8]))["temp"].to_numpy()
    return psi(reference, current, edges, floor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the facts; exit status 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--raw", type=Path, required=True, help="folder raw/ of prepare.py, features/ beside it")
    parser.add_argument("--edges", help="inner bin edges for the PSI of temp, in °F, ascending, with commas")
    parser.add_argument("--floor", type=float, default=1e-4, help="smallest share inside the logarithm")
    options = parser.parse_args(arguments)
    found = facts(read_raw(options.raw))
    if options.edges is not None:
        features = pl.read_parquet(options.raw.parent / "features" / "departures.parquet")
        edges = [float(edge) for edge in options.edges.split(",")]
        found["temp_psi"] = {
            "edges": edges, "floor": options.floor, "value": temp_psi(features, edges, options.floor),
        }  # fmt: skip
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
