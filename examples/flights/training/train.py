"""Train one model that says how likely a departure arrives more than 15 minutes late.

Runs in a training pod, or anywhere with PLUMBLINE_IN and PLUMBLINE_OUT set. The same rows, parameters and seed
give the same `model.onnx`, byte for byte, on the same image.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import polars as pl
from contract import InputError, read_inputs, write_outputs
from estimators import pipeline, to_graph
from settings import INPUTS, TEXTS, Settings, settings_from
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

LABEL = "late"
PARITY_TOLERANCE = 1e-5  # probability; float32 against float64 stays below 1e-6, a misplaced threshold does not
LIBRARIES = ("numpy", "onnx", "onnxruntime", "polars", "scikit-learn", "skl2onnx")


def main() -> int:
    """Exit status 0 with a model written; 1 with the reason on stderr, and nothing written."""
    started = time.monotonic()
    try:
        given = read_inputs()
        settings = settings_from(given.parameters)
        train, validation = features_of(given.train), features_of(given.validation)
        late, late_later = labels_of(given.train), labels_of(given.validation)
    except InputError as problem:
        print(f"train: {problem}", file=sys.stderr)
        return 1
    # One thread: sums over rows then have one order, and a pod with half a core does not fight itself.
    with threadpool_limits(limits=1):
        fitted = pipeline(settings, given.seed).fit(train.select(settings.columns), late)
        expected = fitted.predict_proba(validation.select(settings.columns))[:, 1]
        on_train = fitted.predict_proba(train.select(settings.columns))[:, 1]
    model = to_graph(fitted, settings.columns).SerializeToString(deterministic=True)
    served = answers(model, validation)
    distance = float(np.abs(served - expected).max())
    if distance > PARITY_TOLERANCE:
        print(
            f"train: the ONNX graph differs from the fitted model by {distance:.2e}; not writing it",
            file=sys.stderr,
        )
        return 1
    metrics = measure(late_later, served) | {
        "auc_train": float(roc_auc_score(late, on_train)),
        "onnx_max_difference": distance,
        "rows_train": float(train.height),
        "rows_validation": float(validation.height),
    }
    write_outputs(model, metrics, description(settings, given.seed, fitted))
    summary = f"{settings.model} on {len(settings.columns)} features: auc {metrics['auc']:.4f}"
    print(f"{summary} on {validation.height} rows, {len(model)} bytes, {time.monotonic() - started:.1f} s")
    return 0


def features_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The model's inputs as serving gets them: numbers as float32, texts as they are.

    Raises InputError if a column is missing or holds a null or NaN: a gap is the dataset's to explain, not to
    be filled here.
    """
    missing = sorted({*INPUTS, LABEL} - set(rows.columns))
    if missing:
        raise InputError(f"the dataset has no columns {missing}; train on features/departures.parquet of prepare.py")
    numbers = [name for name in INPUTS if name not in TEXTS]
    features = rows.select(INPUTS).with_columns(pl.col(numbers).cast(pl.Float32).fill_nan(None))
    gaps = [name for name in INPUTS if features[name].null_count()]
    if gaps or rows[LABEL].null_count():
        raise InputError(f"columns {gaps or [LABEL]} hold nulls or NaN; every feature and label must be known")
    return features


def labels_of(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Shape (N,), 1 where the departure arrived late. Raises InputError unless both 0 and 1 occur, and nothing else."""
    found = sorted(rows[LABEL].unique())
    if found != [0, 1]:
        raise InputError(f"column {LABEL} holds {found}; a part of the split needs rows of both 0 and 1")
    return rows[LABEL].to_numpy().astype(np.int64)


def answers(model: bytes, features: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Probabilities (N,) that ONNX Runtime gives for the rows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {name: column(features, name) for name in INPUTS}
    return np.asarray(session.run(["probability"], feeds)[0], dtype=np.float32).reshape(-1)


def column(features: pl.DataFrame, name: str) -> npt.NDArray[np.generic]:
    """One input of the graph, shape (N, 1): objects for a text, float32 for a number."""
    values = features[name].to_numpy()
    return (values.astype(object) if name in TEXTS else values).reshape(-1, 1)


def measure(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32]) -> dict[str, float]:
    """What the served graph is worth on the rows: AUC (higher is better), log loss and Brier score (lower is)."""
    return {
        "auc": float(roc_auc_score(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
        "late_share": float(labels.mean()),
        "log_loss": float(log_loss(labels, probabilities.astype(np.float64))),
        "mean_probability": float(probabilities.mean(dtype=np.float64)),
    }


def description(settings: Settings, seed: int, fitted: Pipeline) -> dict[str, object]:
    """How the model came to be, for a reader who has only the artifacts."""
    return {
        "columns": settings.columns,
        "estimator": type(fitted[-1]).__name__,
        "inputs": list(INPUTS),
        "libraries": {name: version(name) for name in LIBRARIES},
        "seed": seed,
        "settings": {name: getattr(settings, name) for name in _described(settings)},
    }


def _described(settings: Settings) -> Sequence[str]:
    of_boosting = ("learning_rate", "max_leaf_nodes") if settings.model == "boosted" else ()
    return ("features", "max_iter", "model", *of_boosting)


if __name__ == "__main__":
    raise SystemExit(main())
