"""The Jobs of the golden path that use storage, on one small estate: tables, snapshots, a model, a prediction log."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from plumbline_contract.layout import blob, hash_key
from plumbline_contract.manifest import SnapshotRef
from plumbline_contract.runspec import (
    Collect,
    Compare,
    Drift,
    DriftFeature,
    Evaluate,
    Fetch,
    ForeignKey,
    MetricGate,
    Owner,
    RunSpec,
    Split,
    VerifyConnection,
    Window,
)
from plumbline_jobs import evaluate
from tests.jobs import models
from tests.jobs.lake import PREFIX, Lake, column, manifest_of

ROWS = 1200
START = datetime(2013, 1, 1, tzinfo=UTC)
LOGGED = datetime(2024, 1, 1, tzinfo=UTC)
MODEL = models.sigmoid_of({"delay": 2.0, "wind": 0.5})
TRAINED = models.sigmoid_of({"delay": 1.75, "wind": 0.25})
COLUMNS = (
    column("time", "Timestamp"),
    column("late"),
    column("delay", "Float64"),
    column("wind", "Float64"),
    column("origin", "String"),
)
PERSON = column("name", "String", pii=True, handling="Hash")


@dataclass(frozen=True, slots=True)
class Estate:
    """What lies in the bucket before a Job begins: every object by full key, and the digests to name in orders."""

    objects: dict[str, bytes]
    airports: str
    flights: str
    profile: str
    model: str
    predictions: str
    evaluation: str


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of Job: the order of an attempt, and what its pod's own folder holds before."""

    name: str
    order: Callable[[Lake, Estate, int], RunSpec]
    prepare: Callable[[Path], None] = lambda root: None
    lacks: Callable[[Estate], tuple[str, ...]] = lambda estate: ()  # keys that are not in the bucket before
    makes_key: bool = False  # whether it makes the hash key, which is another each time


def table() -> pl.DataFrame:
    """The flights, always the same."""
    draw = np.random.default_rng(11)
    delay, wind = draw.normal(size=ROWS).round(6), draw.normal(size=ROWS).round(6)
    return pl.DataFrame(
        {
            "time": [(START + timedelta(hours=hour)).isoformat() for hour in range(ROWS)],
            "late": (draw.random(ROWS) < 1 / (1 + np.exp(-2 * delay))).astype(int),
            "delay": delay,
            "wind": wind,
            "origin": np.array(["EWR", "JFK", "LGA"])[np.arange(ROWS) % 3],
            "name": [f"person {place % 97}" for place in range(ROWS)],
        }
    )


def build(lake: Lake) -> Estate:
    """Makes the estate in a bucket that nothing disturbs, with the Jobs' own code."""
    frame = table()
    lake.put("flights.csv", frame.write_csv())
    sink = io.BytesIO()
    frame.with_columns(pl.col("time").str.to_datetime(time_zone="UTC")).write_parquet(sink)
    lake.put("flights.parquet", sink.getvalue())
    airports = manifest_of(lake.ingest("code\nEWR\nJFK\nLGA\n", [column("code", "String")]))
    person = {"name": [f"person {place % 97}" for place in range(3)]}
    lake.ingest(pl.DataFrame(person).write_csv(), [PERSON])  # makes the hash key
    taken = lake.ingest(frame.drop("name").write_csv(), COLUMNS, event_time="time")
    flights, profile = manifest_of(taken), taken.report.digests["profile"]
    model = models.register(lake, MODEL)
    estate = Estate({}, airports, flights, profile, model, "", "")
    judged = evaluate.run(_evaluate(lake, estate, 1)).report.digests
    _log_predictions(lake, frame)
    keys = [one["Key"] for one in lake.s3.list_objects_v2(Bucket=lake.name)["Contents"]]
    objects = {key: lake.s3.get_object(Bucket=lake.name, Key=key)["Body"].read() for key in keys}
    return replace(estate, objects=objects, predictions=judged["predictions"], evaluation=judged["evaluation"])


def _log_predictions(lake: Lake, frame: pl.DataFrame) -> None:
    moments = [LOGGED + timedelta(seconds=30 * row) for row in range(400)]
    values = {name: frame[name][:400].to_list() for name in ("delay", "wind")}
    answers = (1 / (1 + np.exp(-2 * frame["delay"][:400].to_numpy()))).tolist()
    for variant, role in (("late-v1", "primary"), ("late-v2", "shadow")):
        models.Log(lake, variant, {"delay": "FP32", "wind": "FP32"}).write(moments, values, answers, role=role)


def _owner(kind: str, name: str, attempt: int) -> Owner:
    return Owner(namespace="team", kind=kind, name=name, uid=f"uid-{name}", job=f"{name}-a{attempt}")


def _ingest(key: str, form: str) -> Callable[[Lake, Estate, int], RunSpec]:
    def order(lake: Lake, estate: Estate, attempt: int) -> RunSpec:
        known = ForeignKey(
            name="known-airport",
            column="origin",
            snapshot=estate.airports,
            dataset="airports",
            referenced_column="code",
            maximum_orphans=0,
        )
        given = {"key": key, "format": form, "tests": (known,), "event_time": "time"}
        return lake.spec((*COLUMNS, PERSON), owner=_owner("Dataset", "flights", attempt), **given)

    return order


def _inputs(estate: Estate) -> tuple[SnapshotRef, ...]:
    return (SnapshotRef(input="flights", dataset="flights", snapshot="flights-1", digest=estate.flights),)


def _fetch(lake: Lake, estate: Estate, attempt: int) -> RunSpec:
    until = START + timedelta(hours=900)
    windows = {"train": Window(until=until), "test": Window(since=until)}
    return Fetch(
        owner=_owner("TrainingRun", "late", attempt),
        storage=lake.storage,
        snapshots=_inputs(estate),
        split=Split(input="flights", windows=windows),
        parameters={"depth": "6"},
        seeds={"python": 7},
    )


def _collect(lake: Lake, estate: Estate, attempt: int) -> RunSpec:
    return Collect(
        owner=_owner("TrainingRun", "late", attempt),
        storage=lake.storage,
        author="ada",
        attempt=attempt,
        image="registry.example/train@sha256:" + "1" * 64,
        command=("python", "train.py"),
        parameters={"depth": "6"},
        snapshots=_inputs(estate),
    )


def trained(root: Path) -> None:
    """What a training command leaves."""
    out = root / "out"
    (out / "plots").mkdir(parents=True)
    (out / "model.onnx").write_bytes(TRAINED)
    (out / "metrics.json").write_text('{"metrics": {"auc": 0.71, "brier": 0.19}}')
    (out / "plots" / "roc.svg").write_bytes(bytes(range(256)) * 150)


def _evaluate(lake: Lake, estate: Estate, attempt: int) -> Evaluate:
    return Evaluate(
        owner=_owner("ModelVersion", "late-1", attempt),
        storage=lake.storage,
        manifest=estate.model,
        golden=estate.flights,
        label="late",
        prediction_output="probability",
        gates=(MetricGate(name="ranks", metric="auc", minimum=0.6),),
        training=_inputs(estate),
    )


def _drift(lake: Lake, estate: Estate, attempt: int) -> RunSpec:
    return Drift(
        owner=_owner("DriftMonitor", "late", attempt),
        storage=lake.storage,
        deployment="late-arrival",
        variant="late-v1",
        since=LOGGED,
        until=LOGGED + timedelta(hours=4),
        manifest=estate.model,
        baseline=estate.profile,
        training=_inputs(estate)[0],
        predictions=estate.predictions,
        features=(DriftFeature(name="*", maximum_psi=0.5),),
        prediction_output="probability",
        maximum_prediction_psi=0.5,
        minimum_rows=100,
    )


def _compare(lake: Lake, estate: Estate, attempt: int) -> RunSpec:
    return Compare(
        owner=_owner("ModelDeployment", "late-arrival", attempt),
        storage=lake.storage,
        deployment="late-arrival",
        primary="late-v1",
        shadow="late-v2",
        since=LOGGED,
        until=LOGGED + timedelta(hours=4),
        output="probability",
        tolerance=0.01,
    )


def _verify(lake: Lake, estate: Estate, attempt: int) -> RunSpec:
    return VerifyConnection(owner=_owner("Connection", "lake", attempt), s3=lake.storage)


CSV = Work("ingest of CSV", _ingest("flights.csv", "CSV"))
PARQUET = Work("ingest of Parquet", _ingest("flights.parquet", "Parquet"))
FIRST = Work(
    "first ingest of personal data",
    _ingest("flights.csv", "CSV"),
    lacks=lambda estate: (hash_key(PREFIX),),
    makes_key=True,
)
FETCH = Work("fetch", _fetch)
COLLECT = Work("collect", _collect, trained)
EVALUATE = Work(
    "evaluate",
    _evaluate,
    lacks=lambda estate: (blob(PREFIX, estate.evaluation), blob(PREFIX, estate.predictions)),
)
DRIFT = Work("drift", _drift)
COMPARE = Work("compare", _compare)
VERIFY = Work("verify", _verify)
WRITING = (VERIFY, CSV, PARQUET, FIRST, FETCH, COLLECT, EVALUATE, DRIFT, COMPARE)
