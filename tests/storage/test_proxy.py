"""Each fault is what it says, seen with a plain HTTP client's eyes, and what is not at fault goes through unchanged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.storage.server import client, s3_server
from tests.support.s3proxy import (
    Call,
    Crash,
    Cut,
    Fail,
    Fault,
    Flip,
    Journal,
    Other,
    Reset,
    S3Proxy,
    Short,
    Slow,
    Stale,
    Visitor,
)
from tests.support.s3proxy.call import call_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "lake"
DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture
async def proxy(server: str, tmp_path: Path) -> AsyncIterator[S3Proxy]:
    own = client(server)
    if BUCKET not in [one["Name"] for one in own.list_buckets()["Buckets"]]:
        own.create_bucket(Bucket=BUCKET)
    for one in own.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        own.delete_object(Bucket=BUCKET, Key=one["Key"])
    own.put_object(Bucket=BUCKET, Key="a", Body=DATA)
    started = S3Proxy(server, own, Journal(tmp_path / "journal"))
    await started.start()
    yield started
    await started.stop()


def always(fault: Fault) -> Visitor:
    return Visitor(trouble=lambda call: fault if call.key or call.listing else None)


async def ask(proxy: S3Proxy, work: Any) -> Any:
    """The answer of a request that is made once, without the client's own retries."""
    return await asyncio.to_thread(lambda: work(client(proxy.endpoint, attempts=1)))


def read(asking: S3Client) -> bytes:
    return asking.get_object(Bucket=BUCKET, Key="a")["Body"].read()


async def test_what_is_not_at_fault_goes_through_unchanged(proxy: S3Proxy) -> None:
    key = "folder with space/ü+%41?.bin"
    await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key=key, Body=DATA, Metadata={"x": "y"}))
    found = await ask(proxy, lambda s3: s3.get_object(Bucket=BUCKET, Key=key))
    assert (await asyncio.to_thread(found["Body"].read), found["Metadata"]) == (DATA, {"x": "y"})
    head = await ask(proxy, lambda s3: s3.head_object(Bucket=BUCKET, Key=key))
    assert head["ContentLength"] == len(DATA)
    listed = await ask(proxy, lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix="folder"))
    assert [one["Key"] for one in listed["Contents"]] == [key]
    await ask(proxy, lambda s3: s3.delete_object(Bucket=BUCKET, Key=key))
    assert [(one.number, one.call.method, one.call.key) for one in proxy.journal.writes(BUCKET)] == [
        (1, "PUT", key),
        (2, "DELETE", key),
    ]


async def test_a_condition_is_kept(proxy: S3Proxy) -> None:
    with pytest.raises(ClientError) as caught:
        await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key="a", Body=b"", IfNoneMatch="*"))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


@pytest.mark.parametrize(
    ("fault", "code"), [(Fail(503, "SlowDown", retry_after=1), "SlowDown"), (Fail(403, "RequestTimeTooSkewed"), "Requ")]
)
async def test_a_refusal_is_an_s3_error(proxy: S3Proxy, fault: Fail, code: str) -> None:
    proxy.visitors[BUCKET] = always(fault)
    with pytest.raises(ClientError, match=code) as caught:
        await ask(proxy, read)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == fault.status


@pytest.mark.parametrize("fault", [Cut(0.5), Short(0.5), Reset("before"), Reset("after"), Slow(1024, 1.0)])
async def test_a_body_that_does_not_arrive_is_an_error(proxy: S3Proxy, fault: Fault) -> None:
    proxy.visitors[BUCKET] = always(fault)
    began = time.monotonic()
    with pytest.raises((BotoCoreError, ConnectionError)):
        await ask(proxy, read)
    assert time.monotonic() - began < 20


async def test_what_lies_is_not_seen_by_the_protocol(proxy: S3Proxy) -> None:
    await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key="b", Body=b"another"))
    for fault, expected in (
        (Short(0.5, honest=True), DATA[: len(DATA) // 2]),
        (Other(0.0), b"another"),
        (Flip(0.0), b"\x01" + DATA[1:]),
    ):
        proxy.visitors[BUCKET] = always(fault)
        assert await ask(proxy, read) == expected


async def test_a_stale_listing_is_the_first_one(proxy: S3Proxy) -> None:
    async def listed() -> list[str]:
        page = await ask(proxy, lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=""))
        return [one["Key"] for one in page["Contents"]]

    assert await listed() == ["a"]
    await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key="b", Body=b""))
    assert await listed() == ["a", "b"]
    proxy.visitors[BUCKET].trouble = lambda call: Stale()
    assert await listed() == ["a"]


async def test_a_body_that_changes_on_its_way_in_is_refused_by_the_server(proxy: S3Proxy) -> None:
    proxy.visitors[BUCKET] = always(Flip(0.5))
    with pytest.raises(ClientError):
        await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key="c", Body=DATA))
    assert [one["Key"] for one in proxy.own.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a"]


@pytest.mark.parametrize(("side", "there"), [("before", False), ("after", True)])
async def test_a_crash_is_before_or_after_a_write_takes_effect(proxy: S3Proxy, side: Any, there: bool) -> None:
    killed: list[int] = []
    proxy.visitors[BUCKET] = Visitor(crash=Crash(2, side), kill=lambda: killed.append(1))
    await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key="first", Body=b""))
    with pytest.raises(BotoCoreError):
        await ask(proxy, lambda s3: s3.put_object(Bucket=BUCKET, Key="second", Body=b""))
    keys = [one["Key"] for one in proxy.own.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert (killed, "second" in keys) == ([1], there)


def test_a_call_is_read_from_its_path() -> None:
    assert call_of("GET", "/lake/", {"list-type": "2"}) == Call("GET", "lake", listing=True)
    assert call_of("POST", "/lake/a%20b", {"uploadId": "1"}).writes
    assert not call_of("PUT", "/lake", {}).writes
