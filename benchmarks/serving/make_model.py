"""Trains the benchmark's model and writes it as ONNX: `make_model.py OUT.onnx`. Runs in an environment of its own.

Boosted trees, 100 trees of depth 6 on 20 features: the usual size of a tabular model. It has one input X and gives a
label and two probabilities; all servers serve these same bytes.
"""

import sys
from pathlib import Path

import numpy as np
from onnx.helper import make_opsetid
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier

FEATURES, ROWS, TREES, DEPTH, SEED = 20, 20_000, 100, 6, 0
OPSET = 17


def main(target: Path) -> None:
    """Train on made-up rows whose label depends on four features and noise."""
    random = np.random.default_rng(SEED)
    rows = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    score = rows[:, 0] * rows[:, 1] + rows[:, 2] + 0.5 * np.sin(3 * rows[:, 3])
    label = (score + random.normal(scale=0.5, size=ROWS) > 0).astype(np.int64)
    model = HistGradientBoostingClassifier(max_iter=TREES, max_depth=DEPTH, early_stopping=False).fit(rows, label)
    # With zipmap the probabilities would be a sequence of maps, which the inference protocol cannot carry.
    converted = to_onnx(model, X=rows[:1], options={id(model): {"zipmap": False}}, target_opset=OPSET)
    versions = {used.domain: used.version for used in converted.opset_import}  # this converter may name one twice
    del converted.opset_import[:]
    converted.opset_import.extend(make_opsetid(domain, version) for domain, version in sorted(versions.items()))
    target.write_bytes(converted.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
