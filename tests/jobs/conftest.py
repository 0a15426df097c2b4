"""One S3 protocol server for all job tests; each test has a bucket of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest

from tests.jobs.lake import Lake
from tests.support.moto import s3_server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of an S3 protocol server on loopback."""
    with s3_server() as url:
        yield url


@pytest.fixture(scope="session")
def s3(s3_endpoint: str) -> S3Client:
    """A client of that server, as a tenant has one."""
    return boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="access",
        aws_secret_access_key="secret",
    )


@pytest.fixture
def lake(s3: S3Client, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A fresh bucket, with credentials in the environment as a Job's pod has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return Lake(s3, s3_endpoint, f"lake-{uuid4().hex}")


@pytest.fixture
def unused_endpoint() -> Iterator[str]:
    """The URL of a loopback port that is taken and on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
