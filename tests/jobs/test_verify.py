"""Which connections are verified, why others are not, and where no connection ever goes."""

from __future__ import annotations

import socket

import pytest
from botocore.exceptions import ClientError

from plumbline_contract.report import Outcome
from plumbline_contract.runspec import Bucket, Owner, VerifyConnection
from plumbline_jobs import verify
from plumbline_jobs.errors import JobError, Refused
from plumbline_jobs.io import hosts
from plumbline_jobs.io.store import Store
from tests.jobs.lake import Lake
from tests.jobs.repository import answering

OWNER = Owner(namespace="team", kind="Connection", name="lake", uid="uid-1", job="lake-verify-1")


def reason_of(bucket: Bucket) -> tuple[Outcome, str]:
    """How verifying this bucket fails."""
    with pytest.raises(JobError) as caught:
        verify.run(VerifyConnection(owner=OWNER, s3=bucket))
    return caught.value.outcome, caught.value.reason


def test_a_bucket_is_verified_by_writing_and_leaves_no_trace(lake: Lake) -> None:
    answer = verify.run(VerifyConnection(owner=OWNER, s3=lake.storage))
    assert answer.report.reason == "Verified"
    assert lake.name in answer.report.message
    assert lake.objects() == {}


def test_a_bucket_that_is_not_there_is_named(lake: Lake) -> None:
    absent = lake.storage.model_copy(update={"bucket": "not-there"})
    assert reason_of(absent) == (Outcome.REFUSED, "BucketNotFound")


def test_an_endpoint_that_does_not_answer_is_trouble(
    lake: Lake, unused_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reason_of(lake.storage.model_copy(update={"endpoint": unused_endpoint})) == (
        Outcome.TROUBLE,
        "EndpointUnreachable",
    )
    nameless = lake.storage.model_copy(update={"endpoint": "http://no-such-host.invalid"})
    assert reason_of(nameless) == (Outcome.TROUBLE, "EndpointUnreachable")


def test_a_server_that_denies_is_access_denied(lake: Lake) -> None:
    with answering(403) as (url, asked):
        assert reason_of(lake.storage.model_copy(update={"endpoint": url}))[1] == "AccessDenied"
        assert asked


def test_missing_keys_are_access_denied_and_are_looked_for_nowhere_else(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Refused, match=r"AWS_SECRET_ACCESS_KEY are not set; put both keys into the Secret") as caught:
        Store.connect(lake.storage)
    assert caught.value.reason == "AccessDenied"


def test_a_probe_that_cannot_be_read_back_is_removed_all_the_same(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Store, key: str) -> bytes:
        raise Refused("AccessDenied", f"access to {key} was denied")

    monkeypatch.setattr(Store, "read", denied)
    assert reason_of(lake.storage) == (Outcome.REFUSED, "AccessDenied")
    assert lake.objects() == {}


def test_a_connection_of_no_kind_is_refused() -> None:
    with pytest.raises(Refused, match="neither s3 nor git"):
        verify.run(VerifyConnection(owner=OWNER))


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",  # the same address as one number
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://[::ffff:169.254.169.254]:80/",
        "http://[fe80::1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://168.63.129.16/metadata/instance",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://METADATA.google.internal./",
    ],
)
def test_no_spelling_of_the_metadata_service_gets_through(url: str, lake: Lake) -> None:
    with pytest.raises(Refused, match="never made") as caught:
        hosts.guard(url)
    assert caught.value.reason == "EndpointUnreachable"
    assert reason_of(lake.storage.model_copy(update={"endpoint": url.rstrip("/")})) == (
        Outcome.REFUSED,
        "EndpointUnreachable",
    )


def test_a_name_that_changes_its_address_between_two_requests_is_caught(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = lake.store
    assert store.stated("anything") is None
    real = socket.getaddrinfo

    def rebound(host: str, port: int | None, *args: object, **options: object) -> object:
        return real("169.254.169.254" if host == "127.0.0.1" else host, port, *args, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with pytest.raises(Refused, match=r"resolves to 169\.254\.169\.254"):
        store.stated("anything")


def test_moto_really_is_asked(lake: Lake) -> None:
    with pytest.raises(ClientError):
        lake.s3.head_bucket(Bucket="not-there")
