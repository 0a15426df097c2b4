"""One row per departure that arrived: its label, and only what was known at its scheduled departure.

    ------- 3 h -------------------- 1 h -------------- due            landed
       |     flights that left: their delay               |               |
       |     flights due that have not left: their wait   |               late? (label, known from here on)
       |  flights that landed at the same destination     |
       |  weather of the last completed hour ..]          |

The recorded aircraft is left out on purpose: it is the one that flew in the end, and a swap after the scheduled
departure would tell about a delay. So is everything about the flight's own departure, even if it left early.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from . import asof
from .clock import instant, with_instants
from .raw import RawTables

HOUR = 60  # minutes
IMPLAUSIBLE_WIND_MPH = 150.0  # one observation says 1048 mph; the strongest plausible one of the year is below 50

SCHEDULE = ("carrier", "origin", "dest", "sched_minute", "day_of_week", "distance", "sched_elapsed")
WEATHER = ("temp", "humid", "wind_speed", "precip_3h", "visib")
TRAFFIC = (
    "origin_delay_1h", "origin_waiting_1h", "origin_carrier_delay_3h", "origin_carrier_wait_3h", "dest_delay_3h",
    "all_delay_3h", "dest_arr_delay_4h", "dest_enroute_4h", "all_enroute_4h",
)  # fmt: skip
FEATURES = (*SCHEDULE, *WEATHER, *TRAFFIC)
IDENTITY = ("departure_id", "event_time", "label_time", "late")
DESCRIPTION = ("year", "month", "day", "sched_dep_time", "flight", "tailnum", "weather_age_hours")

_MEASURED = ("temp", "humid", "wind_speed", "visib")


def departures(tables: RawTables) -> pl.DataFrame:
    """The feature table, ordered by event time, carrier, flight, origin; no column has a null.

    Flights without a recorded arrival delay (cancelled, diverted, or not recorded) have no label and are no rows
    here, but they are part of the traffic that the others see: nobody knows at noon that a waiting flight will
    be cancelled at one.
    """
    flights = with_instants(tables.flights, tables.airports)
    columns = [
        schedule_features(flights),
        weather_features(flights, tables.weather),
        traffic_features(flights),
    ]
    return (
        pl.concat([flights, *columns], how="horizontal")
        .filter(pl.col("late").is_not_null())
        .with_columns(
            departure_id=_departure_id(),
            event_time=_timestamp("due"),
            label_time=_timestamp("landed"),
        )
        .sort("event_time", "carrier", "flight", "origin")
        .select(*IDENTITY, *DESCRIPTION, *FEATURES)
    )


def schedule_features(flights: pl.DataFrame) -> pl.DataFrame:
    """Known months ahead: `sched_minute` of New York's day, `day_of_week` (1 is Monday) of the date there."""
    return flights.select(
        sched_minute=pl.col("hour") * 60 + pl.col("minute"),
        day_of_week=pl.date("year", "month", "day").dt.weekday().cast(pl.Int64),
    )


def weather_features(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """The last observation hour at the origin that was complete at the scheduled departure.

    An observation labelled 09:00 belongs to the hour until 10:00, so it is known from 10:00 on.
    `weather_age_hours`: whole hours since that hour's end; 0 is fresh. `precip_3h`: inches in the three
    observation hours up to it. Other columns as in the file: °F, %, mph, miles.
    """
    found = (
        flights.select("row", "origin", "due")
        .sort("due", "row")
        .join_asof(
            _observations(weather),
            left_on="due",
            right_on="known",
            by="origin",
            strategy="backward",
            check_sortedness=False,
        )
        .sort("row")
    )
    return found.select(*WEATHER, weather_age_hours=(pl.col("due") - pl.col("known")) // HOUR)


def _observations(weather: pl.DataFrame) -> pl.DataFrame:
    """Observations by the minute they became known; a missing measure keeps the station's last known value."""
    known = weather.select(
        "origin",
        *_MEASURED[:2],
        pl.when(pl.col("wind_speed") < IMPLAUSIBLE_WIND_MPH).then("wind_speed"),
        "visib",
        known=instant("time_hour") + HOUR,
        hundredths=(pl.col("precip") * 100).round().cast(pl.Int64),
    ).sort("known", "origin")
    # The window ends with the observation itself, which is known "before" the minute after it.
    asked = known.select("origin", due=pl.col("known") + 1).with_row_index("row")
    rain = asof.totals_between(asked, known, ["origin"], ["hundredths"], 3 * HOUR)
    return known.with_columns(
        pl.col(_MEASURED).forward_fill().over("origin"), precip_3h=(rain["hundredths"] / 100).round(2)
    )


def traffic_features(flights: pl.DataFrame) -> pl.DataFrame:
    """How the other flights were doing, as seen at the scheduled departure (minutes, except counts)."""
    origin = delay_so_far(flights, ["origin"], 1 * HOUR)
    origin_carrier = delay_so_far(flights, ["origin", "carrier"], 3 * HOUR)
    at_destination = arrivals_known(flights, ["dest"], 4 * HOUR)
    everywhere = arrivals_known(flights, [], 4 * HOUR)
    return pl.DataFrame(
        {
            "origin_delay_1h": origin["delay"],
            "origin_waiting_1h": origin["waiting"],
            "origin_carrier_delay_3h": origin_carrier["delay"],
            "origin_carrier_wait_3h": origin_carrier["waited"],
            "dest_delay_3h": delay_so_far(flights, ["dest"], 3 * HOUR)["delay"],
            "all_delay_3h": delay_so_far(flights, [], 3 * HOUR)["delay"],
            "dest_arr_delay_4h": at_destination["arr_delay"],
            "dest_enroute_4h": at_destination["enroute"],
            "all_enroute_4h": everywhere["enroute"],
        }
    )


def delay_so_far(flights: pl.DataFrame, keys: Sequence[str], minutes: int) -> pl.DataFrame:
    """Delay of the flights with the same keys that left or were due within the last `minutes`, as known then.

    `waiting`: flights due in [due - minutes, due) that had not left. `waited`: their waiting time so far, summed.
    `delay`: (departure delays of those that left in the window + `waited`) / (their number + 1); the one is a
    flight on time, so that a single early riser does not speak for an airport.
    The flight itself never counts, even if it left before its time.
    """
    left = asof.totals_between(flights, _left(flights), keys, ["flights", "delay"], minutes)
    own = flights.select(
        flights=pl.col("left").is_between(pl.col("due") - minutes, pl.col("due"), closed="left").fill_null(False)
    ).select(pl.col("flights").cast(pl.Int64), delay=pl.col("flights") * flights["dep_delay"].fill_null(0))
    queue = asof.running_totals(_queue(flights, minutes), keys, ["waiting", "since"])
    waiting = asof.totals_before(flights, queue, keys, ["waiting", "since"])
    waited = flights["due"] * waiting["waiting"] - waiting["since"]
    others = left - own
    count = others["flights"] + waiting["waiting"]
    return pl.DataFrame(
        {"delay": (others["delay"] + waited) / (count + 1), "waiting": waiting["waiting"], "waited": waited}
    )


def _left(flights: pl.DataFrame) -> pl.DataFrame:
    """Departures that happened; each is known once the aircraft has left the gate."""
    return flights.filter(pl.col("left").is_not_null()).select(
        "carrier", "origin", "dest", known="left", flights=pl.lit(1, pl.Int64), delay="dep_delay"
    )


def _queue(flights: pl.DataFrame, minutes: int) -> pl.DataFrame:
    """+1 when a flight becomes due, -1 when it leaves or has been due for `minutes`, whichever comes first."""
    gone = pl.min_horizontal("left", pl.col("due") + minutes)
    queued = flights.with_columns(gone=gone).filter(pl.col("gone") > pl.col("due"))
    joins = queued.select("carrier", "origin", "dest", known="due", waiting=pl.lit(1, pl.Int64), since="due")
    leaves = queued.select(
        "carrier", "origin", "dest", known="gone", waiting=pl.lit(-1, pl.Int64), since=-pl.col("due")
    )
    return pl.concat([joins, leaves])


def arrivals_known(flights: pl.DataFrame, keys: Sequence[str], minutes: int) -> pl.DataFrame:
    """Flights with the same keys that landed in [due - minutes, due), as means with one flight on time added.

    `arr_delay`: delay at arrival. `enroute`: what was lost after leaving the gate (negative: made up).
    The flight itself cannot be among them: `with_instants` refuses one that landed before it was due to leave.
    """
    landed = flights.filter(pl.col("landed").is_not_null()).select(
        "carrier", "origin", "dest", known="landed", flights=pl.lit(1, pl.Int64), arr_delay="arr_delay",
        enroute=pl.col("arr_delay") - pl.col("dep_delay"),
    )  # fmt: skip
    values = ["flights", "arr_delay", "enroute"]
    totals = asof.totals_between(flights, landed, keys, values, minutes)
    return totals.select(pl.col("arr_delay", "enroute") / (pl.col("flights") + 1))


def _departure_id() -> pl.Expr:
    """Unique in the file, and fit for a header: `20130101-UA1545-EWR`, by New York's date."""
    date = pl.date("year", "month", "day").dt.strftime("%Y%m%d")
    return pl.format("{}-{}{}-{}", date, "carrier", "flight", "origin")


def _timestamp(minutes: str) -> pl.Expr:
    return pl.from_epoch(pl.col(minutes) * 60_000_000, time_unit="us").dt.replace_time_zone("UTC")
