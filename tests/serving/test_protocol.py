"""The Open Inference Protocol v2 as callers meet it."""

import math

import pytest

from tests.serving.models import WEIGHTS
from tests.serving.processes import Caller, rows


def expected(row: tuple[float, float, float]) -> float:
    score = sum(weight * value for weight, value in zip(WEIGHTS, row, strict=True))
    return 1 / (1 + math.exp(-score))


def test_an_answer_is_what_the_model_computes_for_each_row(caller: Caller) -> None:
    asked = [(1.0, 2.0, 3.0), (0.0, 0.0, 0.0), (-4.0, 1.0, 0.25)]
    answer = caller.infer(rows(*asked) | {"id": "mine"})
    assert answer.status == 200
    document = answer.json
    assert document["model_name"] == "fraud"
    assert document["model_version"].startswith("sha256:")
    assert document["id"] == "mine"
    (output,) = document["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probability", "FP32", [3, 1])
    assert output["data"] == pytest.approx([expected(row) for row in asked], abs=1e-6)
    assert answer.headers["x-plumbline-variant"] == "fraud-v-shared"
