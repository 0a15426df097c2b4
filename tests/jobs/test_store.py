"""The bucket: what it keeps, what it proves, and how each of its failures is classified."""

from __future__ import annotations

import hashlib
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from plumbline_contract import layout, pace
from plumbline_contract.base import digest_of
from plumbline_contract.hashkey import is_hash_key
from plumbline_contract.report import Outcome
from plumbline_jobs.errors import JobError, Refused, Trouble
from plumbline_jobs.io import store as module
from plumbline_jobs.io.store import Corrupt, NotThere, Store
from plumbline_jobs.pii import key_of
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


def test_a_blob_that_is_there_is_read_and_not_sent_again() -> None:
    with scripted(Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).put_blob(DATA) == DIGEST
        assert [line.split()[0] for line in script.asked] == ["HEAD", "GET"]


def test_a_blob_that_another_job_wrote_meanwhile_counts_as_written() -> None:
    answers = (Answer(404, code="NotFound"), Answer(412, code="PreconditionFailed"), Answer(body=DATA))
    with scripted(*answers) as script:
        assert Store.connect(script.bucket).put_blob(DATA) == DIGEST
        assert [line.split()[0] for line in script.asked] == ["HEAD", "PUT", "GET"]


def test_a_write_that_the_server_does_not_vouch_for_is_read_back() -> None:
    wrong = Answer(body=b"something else")
    with scripted(Answer(404, code="NotFound"), Answer(200), Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).put_blob(DATA) == DIGEST
        assert [line.split()[0] for line in script.asked] == ["HEAD", "PUT", "GET"]
    with scripted(Answer(404, code="NotFound"), Answer(200), wrong) as script, pytest.raises(Trouble, match="written"):
        Store.connect(script.bucket).put_blob(DATA)


@pytest.mark.parametrize("damaged", [DATA[:-1], DATA[:-1] + b"!"])
def test_a_damaged_blob_is_repaired_by_writing_it_again(lake: Lake, damaged: bytes) -> None:
    lake.write(layout.blob(PREFIX, DIGEST), damaged)
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


def test_damage_on_the_way_is_read_again_and_only_damage_that_stays_is_called_so(tmp_path: Path) -> None:
    flipped = [Answer(body=bytes([one]) + DATA[1:]) for one in range(3)]
    with scripted(*flipped[:2], Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).get_blob(DIGEST, tmp_path / "target") == len(DATA)
    with scripted(*flipped) as script, pytest.raises(Trouble, match="damages what it sends") as caught:
        Store.connect(script.bucket).read_blob(DIGEST)
    assert caught.value.reason == "DataUnavailable"


def source(*answers: Answer) -> tuple[str, int]:
    with scripted(*answers) as script, tempfile.TemporaryDirectory() as folder:
        return Store.connect(script.bucket).download("table.csv", Path(folder) / "source")


def test_a_source_is_what_its_etag_says_or_what_two_readings_bring() -> None:
    md5 = hashlib.md5(DATA).hexdigest()
    plain, parts, nameless = Answer(body=DATA, etag=md5), Answer(body=DATA, etag="0123-2"), Answer(body=DATA)
    flipped = b"!" + DATA[1:]
    assert source(plain) == source(parts) == source(nameless) == (DIGEST, len(DATA))
    assert source(Answer(body=flipped, etag=md5), plain, plain) == (DIGEST, len(DATA))
    assert source(parts, parts, Answer(body=flipped, etag="0123-2"), parts) == (DIGEST, len(DATA))
    other = Answer(body=b"other", etag=hashlib.md5(b"other").hexdigest())
    assert source(other, plain, plain) == (DIGEST, len(DATA))


def test_a_source_that_is_not_what_its_etag_says_is_not_accepted() -> None:
    with pytest.raises(Corrupt, match="its ETag is 0000"):
        source(Answer(body=DATA, etag="0" * 32))
    with pytest.raises(Trouble, match="has 3 bytes and the ETag ''; 5 bytes"):
        source(*(Answer(body=body) for body in (b"three", b"one", b"four.", b"one", b"five!", b"one")))


def test_a_body_that_hardly_comes_is_given_up(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.connect(lake.storage)
    store.write("k", DATA)
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(pace, "SLOWEST", 1 << 40)
    with pytest.raises(Trouble, match=f"it gave {len(DATA)} bytes of an object in 0 s") as caught:
        store.read("k")
    assert caught.value.reason == "EndpointUnreachable"


@pytest.mark.parametrize("code", ["403", "RequestTimeTooSkewed"])
def test_a_clock_that_is_wrong_is_not_called_a_lack_of_rights(code: str) -> None:
    date = formatdate(time.time() + 1200, usegmt=True)
    for method in (lambda store: store.read("store/key"), lambda store: store.stated("store/key")):
        with scripted(Answer(403, code=code, date=date)) as script, pytest.raises(Trouble, match="set both by NTP"):
            method(Store.connect(script.bucket))


def test_a_listing_that_is_cut_short_is_trouble() -> None:
    cut = Answer(body=b"<?xml version='1.0'?><ListBucketResult><Name>lake</Na")
    with scripted(cut) as script, pytest.raises(Trouble) as caught:
        list(Store.connect(script.bucket).keys("store"))
    assert caught.value.reason == "EndpointUnreachable"


def test_a_hash_key_proves_itself(lake: Lake) -> None:
    made = key_of(lake.store)
    assert key_of(lake.store) == made
    assert is_hash_key(made)
    for wrong in (made[:-1], made[:32], b"", b"!" + made[1:], made + b"!"):
        lake.write(layout.hash_key(PREFIX), wrong)
        with pytest.raises(Corrupt):
            key_of(lake.store)


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


@pytest.mark.parametrize(("asked", "least"), [("3", 3.0), ("later", 0.0), ("", 0.0)])
def test_a_server_that_asks_for_patience_gets_it(monkeypatch: pytest.MonkeyPatch, asked: str, least: float) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with scripted(Answer(503, code="SlowDown", retry_after=asked), Answer(body=DATA)) as script:
        assert Store.connect(script.bucket).read("store/key") == DATA
    assert least <= slept[0] < least + 2


def test_a_full_disk_is_not_called_an_outage(lake: Lake) -> None:
    lake.put("table.csv", b"x" * 100_000)
    with pytest.raises(Trouble, match="own disk fails: No space left") as caught:
        Store.connect(lake.source).download("table.csv", Path("/dev/full"))
    assert caught.value.reason == "JobFailed"


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
    assert list(lake.store.keys(f"{PREFIX}/predictions/hour")) == [
        (key, 4, hashlib.md5(b"1234").hexdigest()) for key in keys
    ]
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
