"""A real S3 server with the estate in a bucket, the proxy before it, and a bucket with a copy for every run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.jobs.lake import Lake
from tests.storage.oracle import verify
from tests.storage.server import CREDENTIALS, client, s3_server
from tests.storage.works import Estate, Work, build
from tests.support.s3proxy import Journal, S3Proxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(slots=True)
class Ground:
    """Where runs are made. `s3` goes to the real server, past the proxy."""

    folder: Path
    s3: S3Client
    proxy: S3Proxy
    estate: Estate
    numbers: Iterator[int]

    def lake(self, work: Work) -> Lake:
        """A new bucket with the estate in it, as this work finds it; its users come through the proxy."""
        lake = Lake(self.s3, self.proxy.endpoint, f"run-{next(self.numbers):04d}")
        lacks = work.lacks(self.estate)
        for key, data in self.estate.objects.items():
            if key not in lacks:
                lake.write(key, data)
        return lake

    def root(self, lake: Lake, work: Work, attempt: int) -> Path:
        """The folder that the pod of one attempt has to itself."""
        root = self.folder / lake.name / f"a{attempt}"
        root.mkdir(parents=True)
        work.prepare(root)
        return root

    def complaints(self, lake: Lake) -> tuple[str, ...]:
        """What is wrong in a bucket now."""
        return verify(self.s3, lake.name).complaints


@asynccontextmanager
async def ground(folder: Path) -> AsyncIterator[Ground]:
    """Starts the server and the proxy, and makes the estate."""
    with s3_server(folder / "s3") as endpoint, _credentials():
        s3 = client(endpoint)
        estate = build(Lake(s3, endpoint, "estate"))
        proxy = S3Proxy(endpoint, client(endpoint), Journal(folder / "journal.jsonl"))
        await proxy.start()
        try:
            yield Ground(folder, s3, proxy, estate, count(1))
        finally:
            await proxy.stop()


@contextmanager
def _credentials() -> Iterator[None]:
    """The variables that a Job's pod has, for the making of the estate in this process."""
    before = {name: os.environ.get(name) for name in CREDENTIALS}
    os.environ.update(CREDENTIALS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def tree(folder: Path) -> str:
    """One digest of every file below a folder, by name and bytes."""
    sha = hashlib.sha256()
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        sha.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return sha.hexdigest()
