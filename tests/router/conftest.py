"""Variants that many tests route to, and the API that a router follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.router.fake_api import FakeApi
from tests.serving import models
from tests.serving.bucket import Bucket
from tests.serving.processes import Served, serving
from tests.support.moto import s3_server


@pytest.fixture(scope="session")
def bucket() -> Iterator[Bucket]:
    """One bucket for the session."""
    with s3_server() as url:
        yield Bucket(url).create()


@pytest.fixture(scope="session")
def stable(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server of the stable variant, which says 0.25."""
    yield from _served(bucket, "stable", 0.25, tmp_path_factory)


@pytest.fixture(scope="session")
def canary(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server of the canary variant, which says 0.75."""
    yield from _served(bucket, "canary", 0.75, tmp_path_factory)


def _served(bucket: Bucket, variant: str, value: float, factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = bucket.settings(bucket.put_model(models.constant(value)), variant=variant, log_flush_seconds=1.0)
    with serving(settings, Path(factory.mktemp(variant))) as served:
        yield served


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API server with no ConfigMap yet."""
    server = FakeApi()
    yield server
    server.close()
