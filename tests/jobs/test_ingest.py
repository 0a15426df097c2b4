"""What an ingest stores, and what it never stores."""

from __future__ import annotations

import hmac
import io
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from plumbline_contract import layout
from plumbline_contract.base import digest_of
from plumbline_contract.hashkey import is_hash_key
from plumbline_contract.report import Outcome
from plumbline_contract.runspec import RowCount
from plumbline_jobs import ingest
from plumbline_jobs.answer import keep
from plumbline_jobs.errors import JobError, Refused
from plumbline_jobs.io import parts
from plumbline_jobs.io.store import Store
from tests.jobs.lake import OWNER, PREFIX, Lake, column, manifest_of, unresolved

COLUMNS = [column("at", "Timestamp", nullable=True), column("v", "Float64"), column("w", "String", nullable=True)]
TABLE = "at,v,w\n2013-03-01T00:00:00Z,1.5,x\n2013-01-01T12:30:00+01:00,2.5,\n,0.5,y\n2013-02-01T00:00:00Z,2.5,x\n"
NAME = "Grace Hopper"


def test_the_answer_names_the_snapshot_its_size_and_its_span(lake: Lake) -> None:
    answer = lake.ingest(TABLE, COLUMNS, event_time="at")
    report, manifest = answer.report, lake.snapshot(manifest_of(answer))
    assert (report.outcome, report.reason) == (Outcome.DONE, "Validated")
    assert report.numbers == {"rows": 4, "bytes": sum(file.size for file in manifest.files)}
    assert report.words == {"firstEvent": "2013-01-01T11:30:00Z", "lastEvent": "2013-03-01T00:00:00Z"}
    assert report.digests["profile"] == manifest.profile
    assert (manifest.dataset, manifest.rows, manifest.event_time) == ("flights", 4, "at")
    assert manifest.first_event == datetime(2013, 1, 1, 11, 30, tzinfo=UTC)
    assert manifest.sources[0].digest == digest_of(TABLE.encode())
    assert (manifest.sources[0].key, manifest.sources[0].size) == ("table.csv", len(TABLE))


def test_a_day_as_event_time_is_its_first_moment(lake: Lake) -> None:
    answer = lake.ingest("d\n2013-01-02\n2013-01-01\n", [column("d", "Date")], event_time="d")
    assert answer.report.words == {"firstEvent": "2013-01-01T00:00:00Z", "lastEvent": "2013-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"event_time": "v"}, "is declared Float64; it must be Timestamp or Date"), ({"event_time": "z"}, "not declared")],
)
def test_an_event_time_that_is_no_time_is_refused(lake: Lake, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        lake.ingest(TABLE, COLUMNS, **changes)


def test_the_same_bytes_give_the_same_snapshot_and_store_nothing_twice(lake: Lake) -> None:
    first = lake.ingest(TABLE, COLUMNS, event_time="at")
    before = lake.objects()
    versions = {key: lake.s3.head_object(Bucket=lake.name, Key=key)["LastModified"] for key in before}
    second = lake.ingest(TABLE, COLUMNS, event_time="at")
    assert second == first
    assert lake.objects() == before
    assert versions == {key: lake.s3.head_object(Bucket=lake.name, Key=key)["LastModified"] for key in before}


def test_what_is_stored_is_every_named_thing_and_nothing_else(lake: Lake) -> None:
    answer = lake.ingest(TABLE, COLUMNS)
    manifest = lake.snapshot(manifest_of(answer))
    named = {manifest_of(answer), manifest.profile, *(file.digest for file in manifest.files)}
    assert set(lake.objects()) == {layout.blob(PREFIX, digest) for digest in named}
    assert unresolved(lake.objects()) == []


def test_a_part_ends_after_its_rows_whatever_the_blocks_of_the_source(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    frame = pl.DataFrame({"v": range(1000)})
    digests = []
    for cuts in ([1000], [1, 499, 500], [333] * 3 + [1]):
        folder = tmp_path / str(len(cuts)) / str(cuts[0])
        folder.mkdir(parents=True)
        writer = parts.PartWriter(folder, parts.schema_of([("v", "Int64", False)]), part_rows=300)
        start = 0
        for cut in cuts:
            writer.write(frame.slice(start, cut))
            start += cut
        written = writer.close()
        assert [part.rows for part in written] == [300, 300, 300, 100]
        digests.append([digest_of(part.path.read_bytes()) for part in written])
    assert digests[0] == digests[1] == digests[2]


PERSON = [column("id"), column("name", "String", nullable=True, pii=True, handling="Hash")]


def test_a_dropped_personal_value_is_nowhere_in_the_bucket(lake: Lake) -> None:
    rules = [column("id"), column("name", "String", pii=True, handling="Drop")]
    answer = lake.ingest(f"id,name\n1,{NAME}\n", rules)
    keep(lake.store, OWNER, "ingest", answer)
    assert lake.rows(manifest_of(answer)).columns == ["id"]
    assert [one.name for one in lake.profile(answer.report.digests["profile"]).columns] == ["id"]
    assert not any(NAME.encode() in data for data in lake.objects().values())


def test_a_hashed_personal_value_joins_but_is_nowhere_in_the_bucket(lake: Lake) -> None:
    answer = lake.ingest(f"id,name\n1,{NAME}\n2,Ada\n3,{NAME}\n4,\n", PERSON)
    keep(lake.store, OWNER, "ingest", answer)
    objects = lake.objects()
    key = objects.pop(layout.hash_key(PREFIX))
    assert is_hash_key(key)
    expected = hmac.digest(key, NAME.encode(), "sha256").hex()
    frame = lake.rows(manifest_of(answer))
    assert frame["name"].to_list() == [expected, hmac.digest(key, b"Ada", "sha256").hex(), expected, None]
    assert not any(NAME.encode() in data or digest_of(NAME.encode())[7:].encode() in data for data in objects.values())
    described = lake.snapshot(manifest_of(answer)).columns[1]
    assert (described.type, described.pii, described.handling) == ("String", True, "Hash")


def test_two_ingests_hash_with_the_same_key(lake: Lake) -> None:
    first = lake.rows(manifest_of(lake.ingest(f"id,name\n1,{NAME}\n", PERSON)))
    second = lake.rows(manifest_of(lake.ingest(f"id,name\n2,{NAME}\n", PERSON)))
    assert first["name"].to_list() == second["name"].to_list()


def test_a_key_from_a_secret_is_used_and_never_stored(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_HASH_KEY", "from-a-secret")
    answer = lake.ingest(f"id,name\n1,{NAME}\n", PERSON)
    assert lake.rows(manifest_of(answer))["name"][0] == hmac.digest(b"from-a-secret", NAME.encode(), "sha256").hex()
    assert not any(b"from-a-secret" in data for data in lake.objects().values())
    assert layout.hash_key(PREFIX) not in lake.objects()


@pytest.mark.parametrize("type_", ["Int64", "Date", "Boolean"])
def test_every_type_can_be_hashed(lake: Lake, type_: Any) -> None:
    cell = {"Int64": "7", "Date": "2013-01-02", "Boolean": "true"}[type_]
    answer = lake.ingest(f"p\n{cell}\n", [column("p", type_, pii=True, handling="Hash")])
    assert len(lake.rows(manifest_of(answer))["p"][0]) == 64


def test_no_personal_value_is_logged(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    lake.ingest(f"id,name\n1,{NAME}\n", PERSON)
    assert NAME not in capsys.readouterr().out


def test_a_missing_object_is_named_with_the_bucket(lake: Lake) -> None:
    with pytest.raises(Refused) as caught:
        ingest.run(lake.spec(COLUMNS, key="nowhere.csv"))
    assert caught.value.reason == "SourceNotFound"
    assert f"the bucket {lake.name} has no object raw/nowhere.csv" in caught.value.message


def test_a_missing_bucket_is_a_source_that_is_not_there(lake: Lake) -> None:
    gone = lake.source.model_copy(update={"bucket": "nowhere"})
    with pytest.raises(Refused) as caught:
        ingest.run(lake.spec(COLUMNS).model_copy(update={"source": gone}))
    assert caught.value.reason == "SourceNotFound"
    assert "no bucket nowhere" in caught.value.message


def test_a_source_has_its_own_credentials(lake: Lake) -> None:
    other = lake.source.model_copy(update={"env": "SOURCE"})
    lake.put("table.csv", TABLE)
    with pytest.raises(Refused) as caught:
        ingest.run(lake.spec(COLUMNS).model_copy(update={"source": other}))
    assert "SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY are not set" in caught.value.message


def test_an_unreadable_parquet_file_is_refused(lake: Lake) -> None:
    good = parquet(pl.DataFrame({"v": [1.0]}))
    for data in (b"", b"PAR1", good[:-9], good[: len(good) // 2] + good[len(good) // 2 + 1 :]):
        with pytest.raises(Refused) as caught:
            lake.ingest(data, [column("v", "Float64")], format="Parquet")
        assert caught.value.reason == "SourceUnreadable"


def parquet(frame: pl.DataFrame) -> bytes:
    """The frame as a Parquet file."""
    sink = io.BytesIO()
    frame.write_parquet(sink)
    return sink.getvalue()


def test_a_failing_test_leaves_nothing_in_the_bucket(lake: Lake) -> None:
    with pytest.raises(Refused) as caught:
        lake.ingest(TABLE, COLUMNS, tests=(RowCount(name="enough", minimum=5),))
    assert caught.value.reason == "TestFailed"
    assert lake.objects() == {}


class Crash(BaseException):
    """The node's end: nothing in a Job may catch it."""


def test_a_crash_at_any_write_leaves_nothing_that_names_something_missing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.put("table.csv", TABLE.replace("x", NAME))
    rules = [*COLUMNS[:2], column("w", "String", nullable=True, pii=True, handling="Hash")]
    really = Store._put
    done = crashes = 0
    while not done:
        writes = 0

        def put(self: Store, *given: Any, **named: Any) -> bool:
            nonlocal writes
            writes += 1
            if writes > 1:  # every attempt gets one write further than the one before
                raise Crash
            return really(self, *given, **named)

        monkeypatch.setattr(Store, "_put", put)
        try:
            keep(lake.store, OWNER, "ingest", ingest.run(lake.spec(rules, event_time="at")))
            done = 1
        except Crash:
            crashes += 1
        assert unresolved(lake.objects()) == []
        assert crashes < 20
    assert crashes >= 4  # key, part, profile, manifest, result, index
    report = layout.report(PREFIX, "team", "Dataset", "flights", OWNER.job)
    assert report in lake.objects()


def test_an_endpoint_that_does_not_answer_is_trouble(lake: Lake, unused_endpoint: str) -> None:
    gone = lake.source.model_copy(update={"endpoint": unused_endpoint})
    with pytest.raises(JobError) as caught:
        ingest.run(lake.spec(COLUMNS).model_copy(update={"source": gone}))
    assert (caught.value.outcome, caught.value.reason) == (Outcome.TROUBLE, "EndpointUnreachable")


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (pl.Series([1, 2], dtype=pl.Int32), "Int64"),
        (pl.Series([1, 2], dtype=pl.Int16), "Float64"),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "String"),
        (pl.Series([date(2013, 1, 1), date(2013, 1, 2)]), "Date"),
        (pl.Series([datetime(2013, 1, 1), datetime(2013, 1, 2)], dtype=pl.Datetime("ns")), "Timestamp"),
        (pl.Series([datetime(2013, 1, 1), datetime(2013, 1, 2)], dtype=pl.Datetime("ms", "Asia/Tokyo")), "Timestamp"),
    ],
)
def test_parquet_columns_that_fit_without_loss_are_taken(lake: Lake, values: pl.Series, type_: Any) -> None:
    answer = lake.ingest(parquet(pl.DataFrame({"v": values})), [column("v", type_)], format="Parquet")
    found = lake.rows(manifest_of(answer))["v"]
    assert len(found) == 2
    assert answer.report.numbers["rows"] == 2
    assert str(lake.snapshot(manifest_of(answer)).columns[0].type) == type_


def test_a_parquet_time_with_a_zone_is_kept_as_the_same_moment_in_utc(lake: Lake) -> None:
    values = pl.Series([datetime(2013, 1, 1, 9)]).dt.replace_time_zone("Asia/Tokyo")
    answer = lake.ingest(parquet(pl.DataFrame({"v": values})), [column("v", "Timestamp")], format="Parquet")
    assert lake.rows(manifest_of(answer))["v"][0] == datetime(2013, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "type_", "said"),
    [
        (pl.Series([1.5]), "Int64", "column `v` is Float64 in the file"),
        (pl.Series([2**63], dtype=pl.UInt64), "Int64", "column `v` is UInt64 in the file"),
        (pl.Series(["1"]), "Int64", "column `v` is String in the file"),
        (pl.Series([1.0, float("nan")]), "Float64", "row 2, column `v` is NaN or infinite"),
        (pl.Series([1, None]), "Int64", "row 2, column `v` is null"),
        (pl.Series([[1]]), "String", "does not fit the declared String"),
    ],
)
def test_parquet_columns_that_do_not_fit_are_refused(lake: Lake, values: pl.Series, type_: Any, said: str) -> None:
    with pytest.raises(Refused) as caught:
        lake.ingest(parquet(pl.DataFrame({"v": values})), [column("v", type_)], format="Parquet")
    assert caught.value.reason == "SchemaMismatch"
    assert said in caught.value.message


def test_a_nan_is_null_where_nan_is_declared_a_null_value(lake: Lake) -> None:
    data = parquet(pl.DataFrame({"v": [1.0, float("nan")]}))
    rule = column("v", "Float64", nullable=True)
    answer = lake.ingest(data, [rule], format="Parquet", null_values=("NaN",))
    assert lake.rows(manifest_of(answer))["v"].to_list() == [1.0, None]
