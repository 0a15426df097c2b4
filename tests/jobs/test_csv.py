"""What an ingest of delimited text accepts, what it refuses, and what it then says."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_contract.runspec import Bucket, ColumnRule, Ingest
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.delimited import BLOCK
from plumbline_jobs.io.source import open_source
from plumbline_jobs.io.text import LINE_LIMIT
from tests.jobs.lake import OWNER, Lake, column, manifest_of

A, B = column("a"), column("b", "String", nullable=True)
MANY = 40_000  # rows of about 130 bytes: more than one parser block


def refusal(lake: Lake, text: bytes | str, columns: list[ColumnRule] | None = None, **changes: Any) -> Refused:
    """The refusal of an ingest; nothing of the table may have reached the bucket."""
    with pytest.raises(Refused) as caught:
        lake.ingest(text, [A, B] if columns is None else columns, **changes)
    assert lake.objects() == {}
    return caught.value


def rows(lake: Lake, text: bytes | str, columns: list[ColumnRule] | None = None, **changes: Any) -> pl.DataFrame:
    """The rows that an ingest stored."""
    return lake.rows(manifest_of(lake.ingest(text, [A, B] if columns is None else columns, **changes)))


def test_a_table_is_stored_in_its_declared_types_and_order(lake: Lake) -> None:
    text = "s,t,d,b,f,i\nx,2013-01-02T03:04:05+02:00,2013-01-02,TRUE,-1.5e3,-9223372036854775808\n"
    columns = [
        column("i"),
        column("f", "Float64"),
        column("b", "Boolean"),
        column("d", "Date"),
        column("t", "Timestamp"),
        column("s", "String"),
    ]
    found = rows(lake, text, columns)
    assert found.columns == ["i", "f", "b", "d", "t", "s"]
    assert [str(cell) for cell in found.row(0)] == [
        "-9223372036854775808",
        "-1500.0",
        "True",
        "2013-01-02",
        "2013-01-02 01:04:05+00:00",
        "x",
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_name(lake: Lake) -> None:
    assert rows(lake, b"\xef\xbb\xbfa,b\n1,x\n").rows() == [(1, "x")]


def test_line_ends_may_be_mixed(lake: Lake) -> None:
    assert rows(lake, b"a,b\r\n1,x\n2,y\r3,z\r\n")["a"].to_list() == [1, 2, 3]


def test_a_quoted_cell_may_hold_line_ends_quotes_and_delimiters(lake: Lake) -> None:
    assert rows(lake, 'a,b\n1,"two\nlines, and ""quotes"""\n2,y\n').rows() == [
        (1, 'two\nlines, and "quotes"'),
        (2, "y"),
    ]


def test_another_delimiter_and_other_null_values_are_obeyed(lake: Lake) -> None:
    found = rows(lake, "a;b\n1;n/a\n2;NA\n", delimiter=";", null_values=("n/a",))
    assert found["b"].to_list() == [None, "NA"]


def test_a_table_without_rows_is_a_snapshot_without_rows(lake: Lake) -> None:
    answer = lake.ingest("a,b\n", [A, B])
    assert answer.report.numbers["rows"] == 0
    assert lake.rows(manifest_of(answer)).is_empty()


@pytest.mark.parametrize(("row", "cells"), [("3", 1), ("3,x,y", 3)])
def test_a_row_with_too_few_or_too_many_cells_is_named(lake: Lake, row: str, cells: int) -> None:
    error = refusal(lake, f"a,b\n1,x\n2,y\n{row}\n4,z\n")
    assert error.reason == "SourceUnreadable"
    assert f"row 3 (the header not counted) has {cells} cells, the header has 2" in error.message


def test_a_ragged_row_far_behind_the_first_block_is_named(lake: Lake) -> None:
    lines = [f"{number},{'x' * 120}" for number in range(MANY)]
    lines[MANY - 10] = "1,2,3"
    text = "\n".join(["a,b", *lines, ""])
    assert len(text) > BLOCK
    assert f"row {MANY - 9} " in refusal(lake, text).message


def test_a_wrong_type_in_a_late_row_is_named_with_row_column_and_cell(lake: Lake) -> None:
    lines = [f"{number},{'x' * 120}" for number in range(MANY)]
    lines[MANY - 10] = f"many,{'x' * 120}"
    error = refusal(lake, "\n".join(["a,b", *lines, ""]))
    assert error.reason == "SchemaMismatch"
    assert f"row {MANY - 9}, column `a`: 'many' is not Int64" in error.message


@pytest.mark.parametrize(
    ("type_", "cell"),
    [
        ("Int64", "1.5"),
        ("Int64", "9223372036854775808"),
        ("Float64", "inf"),
        ("Float64", "1e999"),
        ("Float64", "1,5"),
        ("Boolean", "yes"),
        ("Date", "02.01.2013"),
        ("Date", "2013-02-30"),
        ("Timestamp", "2013-01-01"),
        ("Timestamp", "2013-01-01T25:00:00Z"),
    ],
)
def test_a_cell_of_another_type_is_refused_with_how_the_type_is_written(lake: Lake, type_: Any, cell: str) -> None:
    error = refusal(lake, f'v\n"{cell}"\n', [column("v", type_)])
    assert error.reason == "SchemaMismatch"
    assert f"row 1, column `v`: {cell!r} is not {type_}, which is " in error.message


def test_a_wrong_cell_of_a_personal_column_is_not_quoted(lake: Lake) -> None:
    error = refusal(lake, "a\nSecretName\n", [column("a", "Int64", pii=True, handling="Hash")])
    assert "row 1, column `a`: a cell is not Int64" in error.message
    assert "SecretName" not in error.message


def test_an_undeclared_column_is_refused_and_named(lake: Lake) -> None:
    error = refusal(lake, "a,b,extra\n1,x,2\n")
    assert error.reason == "SchemaMismatch"
    assert "column `extra`" in error.message
    assert "unknownColumns: Drop" in error.message


def test_an_undeclared_column_is_dropped_where_that_is_asked_for(lake: Lake) -> None:
    assert rows(lake, "extra,a,b\n2,1,x\n", unknown_columns="Drop").rows() == [(1, "x")]


def test_a_missing_column_is_refused_with_those_that_are_there(lake: Lake) -> None:
    assert "lacks the declared column `b`; it has column `a`" in refusal(lake, "a\n1\n").message


@pytest.mark.parametrize(("header", "said"), [("a,a", "two columns named `a`"), ("a,", "column 2 of the source")])
def test_a_header_with_a_double_or_empty_name_is_refused(lake: Lake, header: str, said: str) -> None:
    assert said in refusal(lake, f"{header}\n1,2\n").message


def test_a_null_where_none_is_allowed_is_named_with_its_row(lake: Lake) -> None:
    error = refusal(lake, "a,b\n1,x\nNA,y\n")
    assert error.reason == "SchemaMismatch"
    assert "row 2, column `a` is null; set nullable: true" in error.message


def test_a_repeated_value_of_a_unique_column_is_refused_and_nulls_repeat_nothing(lake: Lake) -> None:
    unique = column("b", "String", unique=True, nullable=True)
    error = refusal(lake, "a,b\n1,x\n2,x\n3,x\n4,\n5,\n", [A, unique])
    assert "column `b` must be unique: 2 rows repeat a value of an earlier row" in error.message
    assert rows(lake, "a,b\n1,x\n2,y\n4,\n5,\n", [A, unique]).height == 4


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (column("a", minimum=2), "must be at least 2: 1 rows are not, the first of them row 1"),
        (column("a", maximum=2), "must be at most 2: 2 rows are not, the first of them row 3"),
        (column("a", allowed=("1", "3", "4")), "must be one of its 3 allowed values: 1 rows are not"),
    ],
)
def test_a_value_outside_its_declared_bounds_is_counted_and_located(lake: Lake, rule: ColumnRule, said: str) -> None:
    error = refusal(lake, "a\n1\n2\n3\n4\n", [rule])
    assert error.reason == "SchemaMismatch"
    assert said in error.message


def test_bounds_say_nothing_about_nulls(lake: Lake) -> None:
    rule = column("a", nullable=True, minimum=0, maximum=9, allowed=("1",))
    assert rows(lake, "a,b\n1,x\n,y\n", [rule, B]).height == 2


@pytest.mark.parametrize("type_", ["String", "Boolean"])
def test_a_number_as_bound_of_words_is_refused_without_quoting_them(lake: Lake, type_: Any) -> None:
    cell = "true" if type_ == "Boolean" else "SecretName"
    error = refusal(lake, f"a\n{cell}\n", [column("a", type_, minimum=1, pii=True, handling="Drop")])
    assert error.reason == "SchemaMismatch"
    assert "`a`" in error.message
    assert "SecretName" not in error.message


def test_a_time_is_bounded_in_seconds_since_the_epoch(lake: Lake) -> None:
    rule = column("t", "Timestamp", minimum=1_000_000_000)
    assert rows(lake, "t\n2001-09-09T01:46:40Z\n", [rule]).height == 1
    assert (
        "at least 1000000000"
        in refusal(Lake(lake.s3, lake.storage.endpoint, f"{lake.name}-2"), "t\n2001-09-09T01:46:39Z\n", [rule]).message
    )


def test_a_line_without_end_is_refused_before_it_fills_the_memory(lake: Lake) -> None:
    error = refusal(lake, b"a,b\n1,x\n2," + b"y" * (LINE_LIMIT + 1) + b"\n")
    assert error.reason == "SourceUnreadable"
    assert f"line 3 is longer than {LINE_LIMIT} bytes" in error.message


def test_a_quoted_cell_that_never_ends_is_refused_with_its_line(lake: Lake) -> None:
    error = refusal(lake, 'a,b\n1,x\n2,"y\n3,z\n')
    assert "the number of quote characters is odd (the last is in line 3)" in error.message


def test_a_quoted_cell_longer_than_a_block_is_refused(lake: Lake) -> None:
    text = 'a,b\n1,"' + "short\n" * (BLOCK // 2) + '"\n'
    assert f"a row is longer than {BLOCK} bytes" in refusal(lake, text).message


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"a,b\n1,x\n2,\xff\n", "line 3 is not UTF-8"), (b"a,b\n1,x\n2,\0\n", "line 3 contains a NUL byte")],
)
def test_bytes_that_are_no_text_are_refused_with_their_line(lake: Lake, text: bytes, said: str) -> None:
    assert said in refusal(lake, text).message


@pytest.mark.parametrize("text", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_an_empty_object_is_refused_as_empty(lake: Lake, text: bytes) -> None:
    error = refusal(lake, text)
    assert error.reason == "SourceUnreadable"
    assert "it is empty; its first line must name the columns" in error.message


@pytest.mark.parametrize("delimiter", ["é", '"', "\n"])
def test_a_delimiter_that_cannot_separate_is_refused(lake: Lake, delimiter: str) -> None:
    assert "is not one ASCII character" in refusal(lake, "a,b\n1,x\n", delimiter=delimiter).message


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", packing) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return sink.getvalue()


def test_packed_tables_are_read(lake: Lake) -> None:
    text = b"a,b\n1,x\n"
    assert rows(lake, gzip.compress(text), compression="Gzip").rows() == [(1, "x")]
    assert rows(lake, gzip.compress(text[:5]) + gzip.compress(text[5:]), compression="Gzip").rows() == [(1, "x")]
    assert rows(lake, zipped(("t.csv", text)), compression="Zip").rows() == [(1, "x")]


def test_a_truncated_gzip_is_refused_whatever_it_began_with(lake: Lake) -> None:
    packed = gzip.compress("\n".join(["a,b", *(f"{number},{number**5}" for number in range(MANY))]).encode())
    for size in (5, len(packed) // 2, len(packed) - 4):
        error = refusal(lake, packed[:size], compression="Gzip")
        assert error.reason == "SourceUnreadable"
        assert "is not a whole Gzip file" in error.message


@pytest.mark.parametrize("compression", ["Gzip", "Zip"])
def test_a_file_that_is_not_packed_as_declared_is_refused(lake: Lake, compression: str) -> None:
    assert f"is not a whole {compression} file" in refusal(lake, "a,b\n1,x\n", compression=compression).message


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_by_other_means_than_deflate_is_refused(lake: Lake, packing: int) -> None:
    error = refusal(lake, zipped(("t.csv", b"a,b\n1,x\n"), packing=packing), compression="Zip")
    assert "is not packed with deflate" in error.message


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_member_is_refused(lake: Lake, packing: int) -> None:
    text = "\n".join(["a,b", *(f"{number},{number**5}" for number in range(1_000))]).encode()
    packed = bytearray(zipped(("t.csv", text), packing=packing))
    for place in range(60, 160):
        packed[place] ^= 0x55
    error = refusal(lake, bytes(packed), compression="Zip")
    assert error.reason == "SourceUnreadable"
    assert "zip" in error.message.lower()


def link() -> zipfile.ZipInfo:
    """A member that is a symbolic link."""
    info = zipfile.ZipInfo("t.csv")
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "the zip has 0 members"),
        ([("a.csv", b"a,b\n"), ("b.csv", b"a,b\n")], "the zip has 2 members"),
        ([("../t.csv", b"a,b\n")], "climbs out"),
        ([("/etc/t.csv", b"a,b\n")], "climbs out"),
        ([("x\\..\\..\\t.csv", b"a,b\n")], "climbs out"),
        ([("C:t.csv", b"a,b\n")], "climbs out"),
        ([("folder/", b"")], "is a folder"),
        ([(link(), b"/etc/passwd")], "is a symbolic link"),
    ],
)
def test_a_zip_that_does_not_hold_one_ordinary_file_is_refused(
    lake: Lake, members: list[tuple[str | zipfile.ZipInfo, bytes]], said: str
) -> None:
    error = refusal(lake, zipped(*members), compression="Zip")
    assert error.reason == "SourceUnreadable"
    assert said in error.message


def test_an_encrypted_zip_is_refused(lake: Lake) -> None:
    packed = bytearray(zipped(("t.csv", b"a,b\n1,x\n")))
    packed[6] |= 1
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    assert "is encrypted" in refusal(lake, bytes(packed), compression="Zip").message


@pytest.mark.parametrize("compression", ["Gzip", "Zip"])
def test_a_decompression_bomb_is_refused(lake: Lake, compression: str) -> None:
    line = b"1," + b"x" * 4094 + b"\n"
    text = b"a,b\n" + line * (80 << 8)  # 80 MiB that pack into less than half a percent
    packed = gzip.compress(text) if compression == "Gzip" else zipped(("t.csv", text))
    error = refusal(lake, packed, compression=compression)
    assert error.reason == "SourceUnreadable"
    assert "decompression bomb" in error.message


CELLS = st.one_of(st.none(), st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1))


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), CELLS), max_size=30), st.sampled_from(["\n", "\r\n", "\r"]))
def test_whatever_is_written_by_the_rules_of_csv_is_read_back(table: list[tuple[int, str | None]], end: str) -> None:
    cells = [(number, "" if text is None else '"' + text.replace('"', '""') + '"') for number, text in table]
    text = end.join(["a,b", *(f"{number},{cell}" for number, cell in cells), ""])
    nowhere = Bucket(bucket="nowhere")
    rules = (A, B)
    spec = Ingest(owner=OWNER, storage=nowhere, source=nowhere, key="t", format="CSV", columns=rules, null_values=("",))
    with TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        path.write_bytes(text.encode())
        source = open_source(spec, path, Path(folder))
        assert [row for batch in source.batches(rules) for row in batch.frame.rows()] == table
