"""When things happened, as whole minutes since 1970-01-01T00:00Z.

The file gives local clock times: departures on New York's clock, arrivals on the destination's, dates only for the
scheduled departure. Integers in one clock make every later comparison exact.
"""

from __future__ import annotations

import polars as pl

MINUTES_PER_DAY = 1440
LATE_AFTER_MINUTES = 15  # the label: strictly more than this many minutes behind the scheduled arrival

# Destinations that airports.csv of the package leaves out; all four keep Atlantic Standard Time the whole year.
_ATLANTIC_AIRPORTS = ("BQN", "PSE", "SJU", "STT")
_ATLANTIC_ZONE = "America/Puerto_Rico"


class ClockError(Exception):
    """A time in the raw data cannot be placed on the clock."""


def instant(time_hour: str) -> pl.Expr:
    """Minutes since the epoch of a column such as "2013-01-01T10:00:00Z"."""
    return pl.col(time_hour).str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.epoch("s") // 60


def with_instants(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """The flights with a `row` number and their instants, in the given order.

    Adds, in minutes: `due` (scheduled departure), `sched_elapsed` (scheduled gate to gate), `left` (actual
    departure, null if it never left), `landed` (actual arrival at the gate, null if unknown); and `late` (1 if
    it arrived more than 15 minutes late, null if unknown).
    Raises ClockError if a destination has no time zone, or a flight landed before it was due to leave.
    """
    timed = flights.with_row_index("row").with_columns(due=instant("time_hour") + pl.col("minute"))
    timed = timed.with_columns(sched_elapsed=_scheduled_elapsed(timed, airports)).with_columns(
        left=pl.col("due") + pl.col("dep_delay"),
        landed=pl.col("due") + pl.col("sched_elapsed") + pl.col("arr_delay"),
        late=(pl.col("arr_delay") > LATE_AFTER_MINUTES).cast(pl.Int64),
    )
    impossible = timed.filter(pl.col("landed") <= pl.col("due"))
    if impossible.height:
        # A flight must not be able to inform its own features: see `features.arrivals_known`.
        raise ClockError(
            f"{impossible.height} flights landed before they were due to leave, first row {impossible.row(0)}"
        )
    return timed


def _scheduled_elapsed(timed: pl.DataFrame, airports: pl.DataFrame) -> pl.Series:
    """Scheduled minutes from gate to gate: arrival on the destination's clock less departure on the same clock."""
    zones = _zones(timed, airports)
    departs = pl.from_epoch(pl.col("due") * 60, time_unit="s").dt.replace_time_zone("UTC")
    local = [
        pl.when(pl.col("zone") == zone).then(departs.dt.convert_time_zone(zone).dt.replace_time_zone(None))
        for zone in sorted(zones["zone"].unique())
    ]
    arrives = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    return (
        timed.join(zones, on="dest", how="left", maintain_order="left")
        .with_columns(local=pl.coalesce(local))
        .select((arrives - _minute_of_day("local")) % MINUTES_PER_DAY)
        .to_series()
    )


def _minute_of_day(column: str) -> pl.Expr:
    time = pl.col(column).dt
    return time.hour().cast(pl.Int64) * 60 + time.minute().cast(pl.Int64)


def _zones(timed: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """One time zone for each destination."""
    known = airports.select(dest="faa", zone="tzone").filter(~pl.col("dest").is_in(_ATLANTIC_AIRPORTS))
    added = pl.DataFrame({"dest": _ATLANTIC_AIRPORTS, "zone": [_ATLANTIC_ZONE] * len(_ATLANTIC_AIRPORTS)})
    zones = timed.select("dest").unique().join(pl.concat([known, added]), on="dest", how="left").sort("dest")
    unknown = zones.filter(pl.col("zone").is_null())["dest"].to_list()
    if unknown:
        raise ClockError(f"destinations {unknown} have no time zone in airports.csv; add them there")
    return zones
