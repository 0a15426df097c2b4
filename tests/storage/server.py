"""A real S3 server of its own for the tests of storage."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from tests.serving.processes import free_port, until
from tests.support.cluster import programs

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS, SECRET = "storage-tests", "storage-tests-secret"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}


def client(endpoint: str, attempts: int = 4) -> S3Client:
    """A client as a tenant has one, which makes so many attempts."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": attempts},
            s3={"addressing_style": "path"},
            # As in our own clients; what the protocol itself would notice is not what the tests are about.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The URL of a server that keeps its objects below `folder`; ended afterwards."""
    objects, notes = folder / "objects", folder / "notes"
    for one in (objects, notes):
        one.mkdir(parents=True)
    port = free_port()
    command = [programs.program(programs.S3, "versitygw"), "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive"]
    keys = {"ROOT_ACCESS_KEY_ID": ACCESS, "ROOT_SECRET_ACCESS_KEY": SECRET}
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [*command, "posix", "--sidecar", notes, objects], env=os.environ | keys, stdout=output, stderr=output
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(endpoint), f"the S3 server answers; its output is in {folder}")
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)


def _answers(endpoint: str) -> bool:
    try:
        client(endpoint).list_buckets()
    except BotoCoreError:
        return False
    return True
