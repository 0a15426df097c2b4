"""The flights example computed a second time: plain Python, one departure at a time, every row looked at.

Slow on purpose, and with another way to each instant than the example's code: New York's clock through the time zone
database instead of the file's UTC hour, the arrival from its own clock time instead of its delay.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

SAMPLE = Path(__file__).parent / "flights_sample"
NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)

Row = dict[str, str]


@dataclass(frozen=True)
class Flight:
    """One line of flights.csv with its instants; None where the file says NA."""

    row: Row
    due: datetime
    left: datetime | None
    landed: datetime | None
    sched_elapsed: int

    @property
    def id(self) -> str:
        day = f"{self.row['year']}{int(self.row['month']):02}{int(self.row['day']):02}"
        return f"{day}-{self.row['carrier']}{self.row['flight']}-{self.row['origin']}"


def sample_files() -> dict[str, bytes]:
    """Four days of the real files, one with each change of the clocks, by name."""
    return {path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes()) for path in SAMPLE.glob("*.csv.gz")}


def rows_of(name: str) -> list[Row]:
    """The lines of one sample file."""
    return list(csv.DictReader(io.StringIO(sample_files()[name].decode())))


def flights() -> list[Flight]:
    """Every flight of the sample on one clock."""
    zones = {row["faa"]: ZoneInfo(row["tzone"]) for row in rows_of("airports.csv")}
    atlantic = ZoneInfo("America/Puerto_Rico")
    return [_flight(row, zones.get(row["dest"], atlantic)) for row in rows_of("flights.csv")]


def _flight(row: Row, zone: ZoneInfo) -> Flight:
    hour, minute = divmod(int(row["sched_dep_time"]), 100)
    date = [int(row[part]) for part in ("year", "month", "day")]
    due = datetime(*date, hour, minute, tzinfo=NEW_YORK).astimezone(ZoneInfo("UTC"))
    left = None if row["dep_delay"] == "NA" else due + int(row["dep_delay"]) * MINUTE
    landed = None if row["arr_delay"] == "NA" or left is None else _next(left, row["arr_time"], zone)
    return Flight(row, due, left, landed, round((_next(due, row["sched_arr_time"], zone) - due) / MINUTE))


def _next(after: datetime, clock: str, zone: ZoneInfo) -> datetime:
    """The first time after an instant at which a clock in the zone shows hhmm (2400 is midnight)."""
    hour, minute = divmod(int(clock) % 2400, 100)
    start = after.astimezone(zone)
    found = start.replace(hour=hour, minute=minute)
    if found <= start:
        # Wall-clock arithmetic within the zone: the next day at the same reading.
        found += timedelta(days=1)
    return found.astimezone(ZoneInfo("UTC"))


def features(flight: Flight, known: list[Flight], weather: list[Row]) -> dict[str, str | float]:
    """What the example must say about a flight, from every row of the sample that was known when it was due."""
    row, due = flight.row, flight.due
    others = [other for other in known if other is not flight]
    local = due.astimezone(NEW_YORK)
    at_origin = [other for other in others if other.row["origin"] == row["origin"]]
    same_carrier = [other for other in at_origin if other.row["carrier"] == row["carrier"]]
    to_dest = [other for other in others if other.row["dest"] == row["dest"]]
    origin, carrier = _delay(at_origin, due, 60), _delay(same_carrier, due, 180)
    return {
        **{name: row[name] for name in ("carrier", "origin", "dest")},
        "sched_minute": local.hour * 60 + local.minute,
        "day_of_week": local.isoweekday(),
        "distance": int(row["distance"]),
        "sched_elapsed": flight.sched_elapsed,
        **_weather(row["origin"], due, weather),
        "origin_delay_1h": origin[0],
        "origin_waiting_1h": origin[1],
        "origin_carrier_delay_3h": carrier[0],
        "origin_carrier_wait_3h": carrier[2],
        "dest_delay_3h": _delay(to_dest, due, 180)[0],
        "all_delay_3h": _delay(others, due, 180)[0],
        "dest_arr_delay_4h": _landed(to_dest, due, lambda o: int(o.row["arr_delay"])),
        "dest_enroute_4h": _landed(to_dest, due, lambda o: int(o.row["arr_delay"]) - int(o.row["dep_delay"])),
        "all_enroute_4h": _landed(others, due, lambda o: int(o.row["arr_delay"]) - int(o.row["dep_delay"])),
    }


def _delay(others: list[Flight], due: datetime, minutes: int) -> tuple[float, int, int]:
    """Mean delay so far, flights waiting, and minutes waited."""
    start = due - minutes * MINUTE
    delays = [int(o.row["dep_delay"]) for o in others if o.left is not None and start <= o.left < due]
    waits = [
        round((due - o.due) / MINUTE) for o in others if start <= o.due < due and (o.left is None or o.left >= due)
    ]
    return (sum(delays) + sum(waits)) / (len(delays) + len(waits) + 1), len(waits), sum(waits)


def _landed(others: list[Flight], due: datetime, value: Callable[[Flight], int]) -> float:
    start = due - 240 * MINUTE
    values = [value(o) for o in others if o.landed is not None and start <= o.landed < due]
    return sum(values) / (len(values) + 1)


def _weather(origin: str, due: datetime, weather: list[Row]) -> dict[str, float]:
    """The last hour that was over, with older values where it has none."""
    over = [(_end(row), row) for row in weather if row["origin"] == origin and _end(row) <= due]
    over.sort(key=lambda pair: pair[0])
    latest = over[-1][0]
    found = {
        name: next(float(row[name]) for _, row in reversed(over) if row[name] != "NA")
        for name in ("temp", "humid", "wind_speed", "visib")
    }
    rain = sum(float(row["precip"]) for end, row in over if end > latest - timedelta(hours=3))
    return found | {"precip_3h": rain, "weather_age_hours": (due - latest) // timedelta(hours=1)}


def _end(row: Row) -> datetime:
    return datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00")) + timedelta(hours=1)
