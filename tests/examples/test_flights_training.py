"""The flights example's training code, run as a pod runs it: folders in, files out, the image's locked libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
import pytest
from departures.features import FEATURES, TRAFFIC, departures
from departures.raw import read_tables
from sklearn.metrics import roc_auc_score

from tests.examples import flights_oracle as oracle
from tests.support.cluster.paths import REPOSITORY, cache_root, digest_of, locked, replaced

TRAINING = REPOSITORY / "examples" / "flights" / "training"
TEXTS = ("carrier", "origin", "dest")


@dataclass(frozen=True)
class Pod:
    """The folders of one training pod."""

    python: Path
    root: Path

    def give(self, parameters: Mapping[str, object], seeds: Mapping[str, object], **splits: list[pl.DataFrame]) -> Pod:
        """Put parameters, seeds and the files of each split in."""
        for split, parts in splits.items():
            folder = self.root / "in" / "departures" / split
            folder.mkdir(parents=True)
            for number, part in enumerate(parts):
                part.write_parquet(folder / f"part-{number}.parquet")
        (self.root / "in" / "parameters.json").write_text(json.dumps(parameters))
        (self.root / "in" / "seeds.json").write_text(json.dumps(seeds))
        return self

    def run(self, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
        """Train; what it printed and how it ended."""
        places = {"PLUMBLINE_IN": str(self.root / "in"), "PLUMBLINE_OUT": str(self.root / "out")}
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
        environment = {"PATH": os.defpath, "PYTHONHASHSEED": str(hash_seed), **quiet, **places}
        command = [str(self.python), "train.py"]
        return subprocess.run(command, cwd=TRAINING, env=environment, capture_output=True, text=True, timeout=100)

    def trained(self, hash_seed: int = 0) -> bytes:
        """The model's bytes; the training must have ended well."""
        done = self.run(hash_seed)
        assert done.returncode == 0, done.stderr
        return (self.root / "out" / "model.onnx").read_bytes()

    def written(self, name: str) -> Any:
        """One of the JSON files that came out."""
        return json.loads((self.root / "out" / name).read_text())


@pytest.fixture(scope="session")
def python() -> Path:
    """An interpreter with exactly the image's libraries; made once per version of the locked list."""
    lock = TRAINING / "requirements.txt"
    folder = cache_root() / "flights" / f"training-{digest_of([sys.version, lock.read_bytes()])}"
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            with replaced(folder) as work:
                subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, work], check=True)
                where = ["--python", work / "bin" / "python"]
                wanted = ["--compile-bytecode", "--requirement", lock]
                subprocess.run(["uv", "pip", "install", "--quiet", *where, *wanted], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def pod(python: Path, tmp_path: Path) -> Pod:
    return Pod(python, tmp_path)


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return _table().filter(pl.col("event_time").dt.strftime("%m-%d") < "07-19")


@pytest.fixture(scope="module")
def validation() -> pl.DataFrame:
    return _table().filter(pl.col("event_time").dt.strftime("%m-%d") >= "07-19")


def _table() -> pl.DataFrame:
    return departures(read_tables(oracle.sample_files()))


def answers(model: bytes, rows: pl.DataFrame) -> dict[str, Any]:
    """Both outputs of the graph for the rows, by name."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {name: _input(rows[name]) for name in FEATURES}
    return dict(zip(("probability", "label"), session.run(["probability", "label"], feeds), strict=True))


def _input(values: pl.Series) -> Any:
    return values.to_numpy().astype(object if values.dtype == pl.String else np.float32).reshape(-1, 1)


@pytest.mark.parametrize("model", ["logistic", "boosted"])
def test_the_claimed_metrics_are_those_of_the_written_graph(
    pod: Pod, train: pl.DataFrame, validation: pl.DataFrame, model: str
) -> None:
    graph = pod.give({"model": model}, {"global": 7}, train=[train], validation=[validation]).trained()
    metrics, found = pod.written("metrics.json")["metrics"], answers(graph, validation)
    assert metrics["auc"] == pytest.approx(roc_auc_score(validation["late"], found["probability"][:, 0]), abs=1e-9)
    assert metrics["onnx_max_difference"] < 1e-5
    assert (metrics["rows_train"], metrics["rows_validation"]) == (train.height, validation.height)
    assert pod.written("training.json")["seed"] == 7


def test_the_graph_takes_every_feature_by_name_and_answers_with_probability_and_label(
    pod: Pod, train: pl.DataFrame, validation: pl.DataFrame
) -> None:
    model = pod.give({}, {"global": 7}, train=[train], validation=[validation]).trained()
    graph = onnx.load_from_string(model).graph
    kinds = {True: onnx.TensorProto.STRING, False: onnx.TensorProto.FLOAT}
    expected = [(name, kinds[name in TEXTS], 1) for name in FEATURES]
    tensors = [(value.name, value.type.tensor_type) for value in graph.input]
    assert [(name, kind.elem_type, kind.shape.dim[1].dim_value) for name, kind in tensors] == expected
    domains = {used.domain for used in onnx.load_from_string(model).opset_import}
    assert domains <= {"", "ai.onnx.ml"}
    found = answers(model, validation)
    assert found["probability"].shape == (validation.height, 1)
    assert found["probability"].dtype == np.float32
    assert found["label"].shape == (validation.height,)
    assert ((found["probability"][:, 0] > 0.5) == (found["label"] == 1)).all()


def test_a_model_of_fewer_features_takes_the_same_request_and_ignores_the_rest(
    pod: Pod, train: pl.DataFrame, validation: pl.DataFrame
) -> None:
    asked = {"model": "logistic", "features": "schedule,weather"}
    model = pod.give(asked, {"global": 7}, train=[train], validation=[validation]).trained()
    other = validation.with_columns(pl.col(TRAFFIC) * 3 + 1)
    one, two = (answers(model, rows)["probability"] for rows in (validation, other))
    assert (one == two).all()
    warmer = answers(model, validation.with_columns(pl.col("temp") + 30))["probability"]
    assert not (one == warmer).all()


def test_an_airport_never_seen_still_gets_an_answer(pod: Pod, train: pl.DataFrame, validation: pl.DataFrame) -> None:
    model = pod.give({}, {"global": 7}, train=[train], validation=[validation]).trained()
    unseen = validation.with_columns(dest=pl.lit("XXX"), carrier=pl.lit("??"))
    probability = answers(model, unseen)["probability"]
    assert ((probability > 0) & (probability < 1)).all()


def test_the_same_rows_and_seed_give_the_same_bytes_however_the_rows_come(
    python: Path, tmp_path: Path, train: pl.DataFrame, validation: pl.DataFrame
) -> None:
    halves = [train[1000:].reverse(), train[:1000]]
    one = Pod(python, tmp_path / "1").give({}, {"global": 7}, train=[train], validation=[validation]).trained(1)
    two = Pod(python, tmp_path / "2").give({}, {"global": 7}, train=halves, validation=[validation]).trained(2)
    other = Pod(python, tmp_path / "3").give({}, {"global": 8}, train=[train], validation=[validation]).trained(1)
    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("parameters", "seeds", "message"),
    [
        ({"modle": "boosted"}, {"global": 7}, "unknown parameters ['modle']"),
        ({"model": "logistic", "learning_rate": "0.1"}, {"global": 7}, "mean nothing to model 'logistic'"),
        ({"max_iter": "many"}, {"global": 7}, "parameter max_iter is 'many'"),
        ({"features": "schedule,wind"}, {"global": 7}, "parameter features is 'schedule,wind'"),
        ({"max_iter": 100}, {"global": 7}, "the values of ['max_iter'] are not strings"),
        ({}, {}, "needs exactly one, 'global'"),
        ({}, {"global": "7"}, "seed 'global' is '7'"),
    ],
)
def test_what_would_not_be_honoured_is_refused_and_nothing_written(
    pod: Pod, train: pl.DataFrame, parameters: dict[str, object], seeds: dict[str, object], message: str
) -> None:
    done = pod.give(parameters, seeds, train=[train], validation=[train]).run()
    assert done.returncode == 1
    assert message in done.stderr
    assert not (pod.root / "out").exists()


def test_a_gap_in_a_feature_and_a_missing_split_are_refused(python: Path, tmp_path: Path, train: pl.DataFrame) -> None:
    gap = train.with_columns(temp=pl.when(pl.col("day") == 10).then(None).otherwise("temp"))
    done = Pod(python, tmp_path / "gap").give({}, {"global": 7}, train=[gap], validation=[train]).run()
    assert (done.returncode, "columns ['temp'] hold nulls" in done.stderr) == (1, True)
    done = Pod(python, tmp_path / "split").give({}, {"global": 7}, train=[train]).run()
    assert (done.returncode, "validation holds no *.parquet file" in done.stderr) == (1, True)
    on_time = train.with_columns(late=pl.lit(0, pl.Int64))
    done = Pod(python, tmp_path / "label").give({}, {"global": 7}, train=[on_time], validation=[train]).run()
    assert (done.returncode, "column late holds [0]" in done.stderr) == (1, True)
