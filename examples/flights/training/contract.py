"""What a training pod hands in and takes out: plain files, no library of the platform.

$PLUMBLINE_IN  (/plumbline/in)    <input>/train/*.parquet  <input>/validation/*.parquet
                                  parameters.json {"name": "value"}   seeds.json {"global": 7}
$PLUMBLINE_OUT (/plumbline/out)   model.onnx  metrics.json  training.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

SEED = "global"  # the one random choice: which features a boosting split may look at


class InputError(Exception):
    """What was handed in cannot be trained on; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows of both splits in one fixed order, the parameters as given, and the seed."""

    train: pl.DataFrame
    validation: pl.DataFrame
    parameters: Mapping[str, str]
    seed: int


def read_inputs() -> Inputs:
    """Everything handed in. Raises InputError if a split, the parameters or the seed is not usable."""
    root = Path(os.environ.get("PLUMBLINE_IN", "/plumbline/in"))
    dataset = _only_dataset(root)
    return Inputs(
        train=_read_split(dataset / "train"),
        validation=_read_split(dataset / "validation"),
        parameters=_read_parameters(root / "parameters.json"),
        seed=_read_seed(root / "seeds.json"),
    )


def write_outputs(model: bytes, metrics: Mapping[str, float], training: Mapping[str, object]) -> None:
    """The model first and the metrics last, so that metrics never stand beside a model of another run."""
    root = Path(os.environ.get("PLUMBLINE_OUT", "/plumbline/out"))
    root.mkdir(parents=True, exist_ok=True)
    (root / "model.onnx").write_bytes(model)
    (root / "training.json").write_text(_json(training))
    (root / "metrics.json").write_text(_json({"metrics": dict(metrics)}))


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _only_dataset(root: Path) -> Path:
    datasets = sorted(path.parent for path in root.glob("*/train") if path.is_dir())
    if len(datasets) != 1:
        names = [path.name for path in datasets]
        raise InputError(f"{root} holds inputs with a train folder {names}; give exactly one")
    return datasets[0]


def _read_split(folder: Path) -> pl.DataFrame:
    """All rows of the folder by departure, however many files they came in."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder} holds no *.parquet file; the input needs this split")
    return pl.concat([pl.read_parquet(path) for path in files]).sort("event_time", "departure_id")


def _read_parameters(path: Path) -> dict[str, str]:
    given = _read_object(path)
    wrong = sorted(name for name, value in given.items() if not isinstance(value, str))
    if wrong:
        raise InputError(f"{path}: the values of {wrong} are not strings; quote them")
    return {name: str(value) for name, value in given.items()}


def _read_seed(path: Path) -> int:
    given = _read_object(path)
    if set(given) != {SEED}:
        raise InputError(f"{path} names the seeds {sorted(given)}; this training needs exactly one, {SEED!r}")
    seed = given[SEED]
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"{path}: seed {SEED!r} is {seed!r}; give a whole number from 0 to 4294967295")
    return seed


def _read_object(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object")
    return content
