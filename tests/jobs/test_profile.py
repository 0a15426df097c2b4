"""Profiles describe every row once, the same way each time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline_contract.manifest import ColumnProfile, SnapshotColumn
from plumbline_jobs.io import parts
from plumbline_jobs.profile import CATEGORIES, CATEGORY_LENGTH, profile, profile_values


def described(type_: Any, values: list[Any], files: int = 1) -> ColumnProfile:
    """The profile of one column whose rows lie in so many part files."""
    with TemporaryDirectory() as folder:
        schema = parts.schema_of([("v", type_, True)])
        writer = parts.PartWriter(Path(folder), schema, part_rows=max(1, -(-len(values) // files)))
        if values:
            writer.write(pl.from_arrow(pa.table({"v": pa.array(values, schema.field(0).type)})))
        written = [part.path for part in writer.close()]
        (found,) = profile(written, [SnapshotColumn(name="v", type=type_)]).columns
    return found


NUMBERS = st.lists(st.none() | st.floats(-1e9, 1e9), max_size=120)


@settings(max_examples=60)
@given(NUMBERS)
def test_bins_hold_every_number_once_and_nulls_are_apart(values: list[float | None]) -> None:
    found = described("Float64", values)
    held = [value for value in values if value is not None]
    assert (found.rows, found.nulls) == (len(values), len(values) - len(held))
    assert sum(found.counts) == len(held)
    assert list(found.edges) == sorted(found.edges)
    if held:
        assert (found.minimum, found.maximum) == (min(held), max(held))
        assert (found.edges[0], found.edges[-1]) == (min(held), max(held))
        assert len(found.edges) == len(found.counts) + 1
        assert found.distinct == len(set(held))
        last = len(found.counts) - 1
        for place, (low, high) in enumerate(pairwise(found.edges)):
            inside = [v for v in held if low <= v < high or (place == last and v == high)]
            assert found.counts[place] == len(inside)


@settings(max_examples=30)
@given(st.lists(st.none() | st.text("abcdé", max_size=3), max_size=80))
def test_categories_and_others_add_up_to_the_rows_that_are_not_null(values: list[str | None]) -> None:
    found = described("String", values)
    assert sum(found.category_counts) + found.other + found.nulls == found.rows == len(values)
    for category, count in zip(found.categories, found.category_counts, strict=True):
        assert values.count(category) == count


def test_only_the_most_frequent_categories_are_kept_in_a_fixed_order() -> None:
    values = [f"c{number:03d}" for number in range(100)] + ["often"] * 3
    found = described("String", values)
    assert found.categories == ("often", *(f"c{number:03d}" for number in range(CATEGORIES - 1)))
    assert found.other == 51
    assert found.distinct == 101


def test_a_long_text_is_counted_but_not_quoted() -> None:
    long = "x" * (CATEGORY_LENGTH + 1)
    found = described("String", [long, long, "y"])
    assert found.categories == ("y",)
    assert found.other == 2


def test_truth_values_are_categories() -> None:
    found = described("Boolean", [True, False, True, None])
    assert (found.categories, found.category_counts, found.nulls) == (("true", "false"), (2, 1), 1)


def test_times_are_seconds_since_the_epoch() -> None:
    moments = [datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 2, tzinfo=UTC)]
    found = described("Timestamp", moments)
    assert (found.minimum, found.maximum) == (1356998400.0, 1357084800.0)
    days = described("Date", [moment.date() for moment in moments])
    assert (days.minimum, days.maximum) == (1356998400.0, 1357084800.0)


def test_each_of_few_values_has_its_own_bin() -> None:
    found = described("Int64", [1, 1, 2, 12])
    assert found.counts == (2, 1, 1)


def test_many_values_fall_into_bins_of_about_a_tenth() -> None:
    found = described("Int64", list(range(1000)))
    assert len(found.counts) == 10
    assert all(abs(count - 100) <= 1 for count in found.counts)


def test_mean_and_deviation_are_those_of_numpy() -> None:
    values = np.random.default_rng(7).normal(10, 3, 5000)
    found = described("Float64", values.tolist())
    assert found.mean == pytest.approx(values.mean(), rel=1e-9)
    assert found.std == pytest.approx(values.std(), rel=1e-9)


def test_how_rows_are_cut_into_files_changes_no_count() -> None:
    values = [math.sin(number) for number in range(500)] + [None]
    one, five = described("Float64", values), described("Float64", values, files=5)
    assert (one.edges, one.counts, one.distinct) == (five.edges, five.counts, five.distinct)


@pytest.mark.parametrize("type_", ["Int64", "Float64", "Timestamp", "String"])
@pytest.mark.parametrize("values", [[], [None, None]])
def test_a_column_without_values_has_rows_nulls_and_nothing_else(type_: Any, values: list[None]) -> None:
    found = described(type_, values)
    assert (found.rows, found.nulls, found.distinct) == (len(values), len(values), 0)
    assert (found.edges, found.counts, found.categories, found.minimum) == ((), (), (), None)


def test_numbers_in_memory_are_described_like_a_column() -> None:
    values = [0.1, 0.5, 0.5, 0.9]
    assert profile_values("v", np.array(values)) == described("Float64", values)
