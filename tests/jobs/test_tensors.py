"""Columns become a model's inputs unchanged, or are refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from plumbline_contract.manifest import Tensor
from plumbline_jobs.errors import Refused
from plumbline_jobs.tensors import feed_of

EPOCH = datetime(1970, 1, 2, tzinfo=UTC)


def fed(values: list[Any], datatype: str, dtype: Any = None, shape: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    tensor = Tensor.model_validate({"name": "x", "datatype": datatype, "shape": shape})
    return feed_of(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), [tensor])["x"]


@pytest.mark.parametrize(
    ("values", "datatype", "expected"),
    [
        ([1, 2], "FP32", np.array([[1], [2]], np.float32)),
        ([1.5, None], "FP64", np.array([[1.5], [np.nan]])),
        ([2**53 + 1], "INT64", np.array([[2**53 + 1]], np.int64)),
        ([255], "UINT8", np.array([[255]], np.uint8)),
        ([3.0], "INT32", np.array([[3]], np.int32)),
        ([True, False], "BOOL", np.array([[True], [False]])),
        ([True], "INT8", np.array([[1]], np.int8)),
        ([True], "FP16", np.array([[1]], np.float16)),
        (["a", "ä"], "BYTES", np.array([["a"], ["ä"]], np.object_)),
        ([EPOCH], "FP64", np.array([[86400.0]])),
        ([EPOCH.date()], "INT64", np.array([[86400]], np.int64)),
    ],
)
def test_values_arrive_unchanged(values: list[Any], datatype: str, expected: np.ndarray) -> None:
    found = fed(values, datatype)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_an_input_of_one_dimension_stays_one() -> None:
    assert fed([1.0, 2.0], "FP32", shape=(-1,)).shape == (2,)


@pytest.mark.parametrize(
    ("values", "datatype", "said"),
    [
        ([1, None], "INT64", "1 of 2 rows are null"),
        (["a", None], "BYTES", "1 of 2 rows are null"),
        ([None, True], "BOOL", "1 of 2 rows are null"),
        ([256, 1], "UINT8", "1 values do not fit into UINT8"),
        ([-1], "UINT64", "1 values do not fit into UINT64"),
        ([1.5], "INT32", "1 values do not fit into INT32"),
        ([2], "BOOL", "1 values do not fit into BOOL"),
        ([1e300], "INT64", "1 values do not fit into INT64"),
        (["1"], "FP32", "the column is String"),
        ([1], "BYTES", "the input takes text"),
    ],
)
def test_what_would_change_is_refused(values: list[Any], datatype: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        fed(values, datatype)
    assert caught.value.reason == "EvaluationRefused"
    assert "input `x`" in caught.value.message
    assert said in caught.value.message
