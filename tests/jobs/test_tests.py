"""Every kind of data test passes and fails where it should, and its verdict carries value and bound."""

from __future__ import annotations

from typing import Any

import pytest

from plumbline_contract.report import TestVerdict
from plumbline_contract.runspec import (
    AllowedSet,
    ColumnRule,
    DataTest,
    ForeignKey,
    NullShare,
    Regex,
    RowCount,
    UniqueKey,
    ValueRange,
)
from plumbline_jobs.errors import Refused
from tests.jobs.lake import Lake, column, manifest_of

COLUMNS = [
    column("id"),
    column("v", "Float64", nullable=True),
    column("w", "String", nullable=True),
    column("t", "Timestamp", nullable=True),
    column("b", "Boolean", nullable=True),
]
TABLE = (
    "id,v,w,t,b\n"
    "1,1.0,aa,2013-01-01T00:00:00Z,true\n"
    "2,2.0,ab,2013-01-02T00:00:00Z,true\n"
    "2,,aa,,false\n"
    "3,9.0,,2013-01-04T00:00:00Z,\n"
)
JAN_2 = 1357084800.0  # 2013-01-02T00:00:00Z in seconds since the epoch


def judged(lake: Lake, *tests: DataTest) -> tuple[TestVerdict, ...]:
    """The verdicts, whether the ingest was refused for them or not."""
    try:
        return lake.ingest(TABLE, COLUMNS, tests=tests).report.verdicts
    except Refused as error:
        return error.verdicts


@pytest.mark.parametrize(
    ("test", "verdict", "value", "bound"),
    [
        (RowCount(name="t", minimum=4, maximum=4), "Pass", 4, ">= 4 and <= 4 rows"),
        (RowCount(name="t", minimum=5), "Fail", 4, ">= 5 rows"),
        (RowCount(name="t", maximum=3), "Fail", 4, "<= 3 rows"),
        (NullShare(name="t", column="v", maximum=0.25), "Pass", 0.25, "<= 0.25"),
        (NullShare(name="t", column="v", maximum=0.24), "Fail", 0.25, "<= 0.24"),
        (UniqueKey(name="t", columns=("id", "w")), "Pass", 0, "0 rows"),
        (UniqueKey(name="t", columns=("id",)), "Fail", 1, "0 rows"),
        (ValueRange(name="t", column="v", minimum=1, maximum=9), "Pass", 0, "0 rows"),
        (ValueRange(name="t", column="v", minimum=1.5), "Fail", 1, "0 rows"),
        (ValueRange(name="t", column="v", maximum=1.5), "Fail", 2, "0 rows"),
        (ValueRange(name="t", column="t", minimum=JAN_2), "Fail", 1, "0 rows"),
        (ValueRange(name="t", column="t", minimum=JAN_2 - 86400), "Pass", 0, "0 rows"),
        (AllowedSet(name="t", column="w", values=("aa", "ab")), "Pass", 0, "0 rows"),
        (AllowedSet(name="t", column="w", values=("aa",)), "Fail", 1, "0 rows"),
        (AllowedSet(name="t", column="id", values=("1", "2")), "Fail", 1, "0 rows"),
        (AllowedSet(name="t", column="b", values=("true",)), "Fail", 1, "0 rows"),
        (Regex(name="t", column="w", pattern="a[ab]"), "Pass", 0, "0 rows"),
        (Regex(name="t", column="w", pattern="a"), "Fail", 3, "0 rows"),
        (Regex(name="t", column="w", pattern="aa|x"), "Fail", 1, "0 rows"),
    ],
)
def test_a_test_is_judged_with_its_value_and_bound(
    lake: Lake, test: DataTest, verdict: str, value: float, bound: str
) -> None:
    (found,) = judged(lake, test)
    assert (found.name, found.verdict, found.value, found.bound) == ("t", verdict, value, bound)
    assert "`t`" in found.message
    assert bound in found.message


def test_every_verdict_comes_back_in_order_when_one_fails(lake: Lake) -> None:
    with pytest.raises(Refused) as caught:
        lake.ingest(
            TABLE,
            COLUMNS,
            tests=(
                RowCount(name="rows", minimum=1),
                AllowedSet(name="words", column="w", values=("aa",)),
                NullShare(name="nulls", column="v", maximum=0.1),
            ),
        )
    assert [(v.name, v.verdict) for v in caught.value.verdicts] == [
        ("rows", "Pass"),
        ("words", "Fail"),
        ("nulls", "Fail"),
    ]
    assert (
        "Test `words`: 1 rows have a `w` that is none of the 1 allowed values, the first of them row 2"
        in caught.value.message
    )
    assert "Test `nulls`: 1 of 4 rows are null" in caught.value.message
    assert "`rows`" not in caught.value.message


def test_a_table_without_rows_has_no_share_of_nulls(lake: Lake) -> None:
    answer = lake.ingest("id\n", [column("id")], tests=(NullShare(name="t", column="id", maximum=0.0),))
    assert [(v.verdict, v.value) for v in answer.report.verdicts] == [("Pass", 0.0)]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (NullShare(name="t", column="z", maximum=0), "names the column `z`, which the schema lacks"),
        (UniqueKey(name="t", columns=("id", "z")), "names the column `z`, which the schema lacks"),
        (Regex(name="t", column="id", pattern="1"), "a regex needs a String column"),
        (Regex(name="t", column="w", pattern="(a"), "the pattern is not valid"),
        (Regex(name="t", column="w", pattern="a(?=b)"), "the pattern is not valid"),
        (ValueRange(name="t", column="w", minimum=1), "a range needs numbers or times"),
        (ValueRange(name="t", column="b", minimum=1), "a range needs numbers or times"),
    ],
)
def test_a_test_that_cannot_be_asked_is_refused_by_name(lake: Lake, test: DataTest, said: str) -> None:
    with pytest.raises(Refused) as caught:
        lake.ingest(TABLE, COLUMNS, tests=(test,))
    assert caught.value.reason == "TestFailed"
    assert "`t`" in caught.value.message
    assert said in caught.value.message


def test_a_pattern_made_to_backtrack_for_ever_is_judged_at_once(lake: Lake) -> None:
    slow = Regex(name="slow", column="w", pattern="(a+)+b")
    with pytest.raises(Refused, match="does not match the pattern"):
        lake.ingest("w\n" + "a" * 50_000 + "\n", [column("w", "String")], tests=(slow,))


def planes(lake: Lake, cells: str, rule: ColumnRule) -> str:
    """The manifest digest of a dataset to refer to."""
    return manifest_of(lake.ingest(f"tail\n{cells}", [rule], key="planes.csv"))


def refers(snapshot: str, **changes: Any) -> ForeignKey:
    """A foreign key from `plane` to `tail` of the planes."""
    given: dict[str, Any] = {"column": "plane", "referenced_column": "tail", "maximum_orphans": 0} | changes
    return ForeignKey(name="known", snapshot=snapshot, dataset="planes", **given)


FLIGHTS = "plane\nN1\nN2\nNA\nN9\nN9\n"
PLANE = column("plane", "String", nullable=True)


def test_orphans_are_counted_by_row_and_nulls_are_none(lake: Lake) -> None:
    known = planes(lake, "N1\nN2\n", column("tail", "String"))
    with pytest.raises(Refused) as caught:
        lake.ingest(FLIGHTS, [PLANE], tests=(refers(known, maximum_orphans=1),))
    (verdict,) = caught.value.verdicts
    assert (verdict.verdict, verdict.value, verdict.bound) == ("Fail", 2, "<= 1 rows")
    assert "not in `tail` of dataset planes, the first of them row 4" in caught.value.message
    passed = lake.ingest(FLIGHTS, [PLANE], tests=(refers(known, maximum_orphans=2),)).report.verdicts
    assert [(v.verdict, v.value) for v in passed] == [("Pass", 2)]


def test_a_null_in_the_referenced_column_is_nobodys_parent(lake: Lake) -> None:
    known = planes(lake, "N1\n\n", column("tail", "String", nullable=True))
    with pytest.raises(Refused, match="3 rows have a `plane`"):
        lake.ingest(FLIGHTS, [PLANE], tests=(refers(known),))


@pytest.mark.parametrize(("type_", "cell"), [("String", "N1"), ("Int64", "7"), ("Date", "2013-01-01")])
def test_a_referenced_dataset_without_rows_makes_every_row_an_orphan(lake: Lake, type_: Any, cell: str) -> None:
    nothing = planes(lake, "", column("tail", type_))
    with pytest.raises(Refused) as caught:
        lake.ingest(f"plane\n{cell}\n", [column("plane", type_)], tests=(refers(nothing),))
    assert caught.value.verdicts[0].value == 1


def test_a_foreign_key_between_two_hashed_columns_or_from_a_plain_one_still_joins(lake: Lake) -> None:
    known = planes(lake, "N1\nN2\n", column("tail", "String", pii=True, handling="Hash"))
    for handling in ("Keep", "Hash", "Drop"):
        rule = column("plane", "String", nullable=True, handling=handling)
        with pytest.raises(Refused, match="2 rows have a `plane`"):
            lake.ingest(FLIGHTS, [rule], tests=(refers(known),))
        passed = lake.ingest("id,plane\n1,N2\n", [column("id"), rule], tests=(refers(known),))
        assert passed.report.verdicts[0].value == 0


@pytest.mark.parametrize(
    ("rule", "changes", "said"),
    [
        (column("tail"), {}, "`plane` is String, but `tail` of dataset planes is Int64; declare both alike"),
        (column("tail", "String"), {"referenced_column": "wing"}, "dataset planes has no column `wing`"),
    ],
)
def test_a_foreign_key_that_cannot_join_is_refused(
    lake: Lake, rule: ColumnRule, changes: dict[str, Any], said: str
) -> None:
    known = planes(lake, "1\n", rule)
    with pytest.raises(Refused) as caught:
        lake.ingest(FLIGHTS, [PLANE], tests=(refers(known, **changes),))
    assert said in caught.value.message


def test_a_referenced_snapshot_that_was_changed_is_refused(lake: Lake) -> None:
    known = planes(lake, "N1\nN2\nN9\n", column("tail", "String"))
    lake.flip(lake.snapshot(known).files[0].digest)
    with pytest.raises(Refused) as caught:
        lake.ingest(FLIGHTS, [PLANE], tests=(refers(known),))
    assert caught.value.reason == "DataUnavailable"
