"""The bucket: what it keeps, what it proves, and how each of its failures is classified."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from plumbline_contract import layout
from plumbline_contract.base import digest_of
from plumbline_contract.report import Outcome
from plumbline_jobs.errors import JobError, Refused, Trouble
from plumbline_jobs.io import store as module
from plumbline_jobs.io.store import Corrupt, NotThere, Store
from tests.jobs.faulty import Answer, scripted
from tests.jobs.lake import PREFIX, Lake

DATA = b"a blob" * 1000
DIGEST = digest_of(DATA)
BROKEN = Answer(body=DATA, missing=100)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as in a Job's pod, and no pauses between attempts."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_bytes_and_files_get_the_same_digest_and_come_back(lake: Lake, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    assert lake.store.put_blob(DATA) == lake.store.put_blob(source) == DIGEST
    assert lake.objects() == {layout.blob(PREFIX, DIGEST): DATA}
    assert lake.store.get_blob(DIGEST, target) == len(DATA)
    assert target.read_bytes() == lake.store.read_blob(DIGEST) == DATA


def test_an_empty_blob_is_a_blob(lake: Lake, tmp_path: Path) -> None:
    digest = lake.store.put_blob(b"")
    assert lake.store.put_blob(b"") == digest
    assert lake.store.get_blob(digest, tmp_path / "empty") == 0


def test_a_blob_that_is_there_is_not_sent_again() -> None:
    with scripted(Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).put_blob(DATA) == DIGEST
        assert [line.split()[0] for line in script.asked] == ["HEAD"]


def test_a_blob_that_another_job_wrote_meanwhile_counts_as_written() -> None:
    with scripted(Answer(404, code="NotFound"), Answer(412, code="PreconditionFailed")) as script:
        assert Store.connect(script.bucket).put_blob(DATA) == DIGEST
        assert [line.split()[0] for line in script.asked] == ["HEAD", "PUT"]


def test_a_blob_cut_short_is_repaired_by_writing_it_again(lake: Lake) -> None:
    lake.write(layout.blob(PREFIX, DIGEST), DATA[:-1])
    lake.store.put_blob(DATA)
    assert lake.blob(DIGEST) == DATA


def test_a_changed_blob_is_refused_and_leaves_no_file(lake: Lake, tmp_path: Path) -> None:
    lake.store.put_blob(DATA)
    lake.flip(DIGEST)
    with pytest.raises(Corrupt, match="was changed after it was written") as caught:
        lake.store.get_blob(DIGEST, tmp_path / "target")
    assert caught.value.reason == "DataUnavailable"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Corrupt):
        lake.store.read_blob(DIGEST)


def test_a_blob_that_is_not_there_is_named(lake: Lake, tmp_path: Path) -> None:
    for read in (lambda: lake.store.get_blob(DIGEST, tmp_path / "x"), lambda: lake.store.read_blob(DIGEST)):
        with pytest.raises(NotThere, match=layout.blob(PREFIX, DIGEST)) as caught:
            read()
        assert caught.value.reason == "DataUnavailable"


def test_a_download_that_breaks_midway_starts_over(tmp_path: Path) -> None:
    with scripted(BROKEN, BROKEN, Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).get_blob(DIGEST, tmp_path / "target") == len(DATA)
        assert len(script.asked) == 3
    assert (tmp_path / "target").read_bytes() == DATA


def test_a_download_that_always_breaks_is_trouble_and_leaves_no_finished_file(tmp_path: Path) -> None:
    with scripted(BROKEN) as script, pytest.raises(Trouble) as caught:
        Store.connect(script.bucket).get_blob(DIGEST, tmp_path / "target")
    assert caught.value.reason == "EndpointUnreachable"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (Answer(403, code="AccessDenied"), Outcome.REFUSED, "AccessDenied"),
        (Answer(403, code="SignatureDoesNotMatch"), Outcome.REFUSED, "AccessDenied"),
        (Answer(403, code="InvalidAccessKeyId"), Outcome.REFUSED, "AccessDenied"),
        (Answer(400, code="ExpiredToken"), Outcome.REFUSED, "AccessDenied"),
        (Answer(404, code="NoSuchBucket"), Outcome.REFUSED, "BucketNotFound"),
        (Answer(404, code="NoSuchKey"), Outcome.REFUSED, "DataUnavailable"),
        (Answer(500, code="InternalError"), Outcome.TROUBLE, "EndpointUnreachable"),
        (Answer(503, code="SlowDown"), Outcome.TROUBLE, "EndpointUnreachable"),
        (Answer(502, body=b"<html>bad gateway</html>"), Outcome.TROUBLE, "EndpointUnreachable"),
        (Answer(409, code="ConditionalRequestConflict"), Outcome.TROUBLE, "EndpointUnreachable"),
    ],
)
def test_an_answer_becomes_an_outcome_and_a_reason(answer: Answer, outcome: Outcome, reason: str) -> None:
    with scripted(answer) as script, pytest.raises(JobError) as caught:
        Store.connect(script.bucket).read("store/key")
    assert (caught.value.outcome, caught.value.reason) == (outcome, reason)
    assert script.asked


def test_an_overloaded_server_is_asked_again() -> None:
    with scripted(Answer(503, code="SlowDown"), Answer(500, code="InternalError"), Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).read("store/key") == DATA
        assert len(script.asked) == 3


def test_an_answer_that_is_no_s3_is_trouble_not_a_crash() -> None:
    with scripted(Answer(200, body=b"<html>a login page</html>")) as script, pytest.raises(JobError) as caught:
        list(Store.connect(script.bucket).keys("store/predictions"))
    assert caught.value.outcome is Outcome.TROUBLE


def test_an_object_too_large_to_read_into_memory_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 10)
    lake.store.put_blob(DATA)
    with pytest.raises(Refused, match="more than 10 bytes"):
        lake.store.read_blob(DIGEST)


def test_a_file_too_large_for_one_object_is_refused_by_its_name(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUT_LIMIT", 10)
    (tmp_path / "model.onnx").write_bytes(DATA)
    with pytest.raises(Refused, match=r"^model\.onnx has 6000 bytes"):
        lake.store.put_blob(tmp_path / "model.onnx")
    with pytest.raises(Refused, match=r"^a document has"):
        lake.store.put_blob(DATA)


def test_a_folder_is_listed_whole_page_by_page_and_no_neighbour_with_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    keys = [f"{PREFIX}/predictions/hour/{number:03d}.parquet" for number in range(10)]
    for key in (*keys, f"{PREFIX}/predictions/hours/x.parquet"):
        lake.write(key, b"1234")
    assert list(lake.store.keys(f"{PREFIX}/predictions/hour")) == [(key, 4) for key in keys]
    assert list(lake.store.keys(f"{PREFIX}/predictions/nowhere")) == []


def test_what_is_created_once_is_not_overwritten(lake: Lake) -> None:
    key = layout.hash_key(PREFIX)
    assert lake.store.create(key, b"first")
    assert not lake.store.create(key, b"second")
    assert lake.store.read(key) == b"first"
    lake.store.write(key, b"third")
    assert lake.store.read(key) == b"third"


def test_deleting_what_is_not_there_is_no_error(lake: Lake) -> None:
    lake.store.delete(f"{PREFIX}/nothing")
