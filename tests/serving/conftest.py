"""A bucket, and servers that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import models
from tests.serving.bucket import Bucket
from tests.serving.processes import Caller, Served, serving
from tests.support.moto import s3_server


@pytest.fixture(scope="session")
def bucket() -> Iterator[Bucket]:
    """One bucket for the session; keys are content digests or pods' own, so tests do not meet."""
    with s3_server() as url:
        yield Bucket(url).create()


@pytest.fixture(scope="session")
def logistic(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the logistic model."""
    settings = bucket.settings(bucket.put_model(models.logistic()), variant="fraud-v-shared")
    with serving(settings, Path(tmp_path_factory.mktemp("logistic"))) as served:
        yield served


@pytest.fixture(scope="session")
def every_type(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the model with one input of each kind."""
    settings = bucket.settings(bucket.put_model(models.every_type()), variant="fraud-v-types")
    with serving(settings, Path(tmp_path_factory.mktemp("types"))) as served:
        yield served


@pytest.fixture
def caller(logistic: Served) -> Iterator[Caller]:
    """A connection to the logistic model's server."""
    connection = logistic.caller()
    yield connection
    connection.close()


@pytest.fixture
def typed(every_type: Served) -> Iterator[Caller]:
    """A connection to the server with one input of each kind."""
    connection = every_type.caller()
    yield connection
    connection.close()
