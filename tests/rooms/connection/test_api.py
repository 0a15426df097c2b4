"""Connection: which endpoints are refused, and what other rooms make of one."""

import re

import pytest
from pydantic import ValidationError

from plumbline_operator.rooms.connection.api import (
    METADATA_PATTERN,
    NUMERIC_PATTERN,
    PLAIN_ADDRESS_PATTERN,
    S3,
    bucket_of,
    credentials_of,
    read_spec,
    unusable,
)
from tests.rooms import data_objects as objects
from tests.support.worlds import not_ready

FINE = [
    "http://store:9000",
    "https://s3.eu-central-1.amazonaws.com",
    "http://10.0.0.8:7070/",
    "http://s3.storage.svc:7070",
    "https://[2001:db8::1]:9000",
    "https://[2002:808:808::]:9000",
    "http://192.0.0.19",
    "http://168.63.129.160",
    "https://minio1.example.com",
    "http://metadata-store.example.com",
]
REFUSED = [
    "http://169.254.169.254",
    "http://169.254.170.2/",
    "https://[fe80::1]",
    "http://[fd00:ec2::254]:80",
    "http://[::ffff:a9fe:a9fe]",
    "http://[2002:a9fe:a9fe::]",
    "http://[2002:A83F:8110::1]:80",
    "http://[2002:c000:c0::]",
    "http://192.0.0.192",
    "http://metadata.google.internal",
    "http://METADATA.google.internal:80",
    "http://2852039166",
    "http://0xa9fea9fe/",
    "http://169.16689662:80",
    "http://0251.0376.0251.0376",
    "http://168.63.129.16",
    "http://0.0.0.0:9000",
]


def allowed(url: str) -> bool:
    """What the two CEL rules of the CRD say."""
    plain = re.search(PLAIN_ADDRESS_PATTERN, url) is not None
    return re.search(METADATA_PATTERN, url) is None and (re.search(NUMERIC_PATTERN, url) is None or plain)


@pytest.mark.parametrize("url", FINE)
def test_an_ordinary_endpoint_is_fine(url: str) -> None:
    assert S3(endpoint=url, bucket="team", secret_ref={"name": "keys"}).endpoint == url
    assert allowed(url)


@pytest.mark.parametrize("url", REFUSED)
def test_where_clouds_keep_credentials_is_refused(url: str) -> None:
    assert not allowed(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://store",
        "http://user:secret@store",
        "http://store/path",
        "http://store?x=1",
        "store",
        "http://store:65536",
        "http://store:0",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        S3(endpoint=url, bucket="team", secret_ref={"name": "keys"})


def test_storage_lies_in_a_folder_of_the_namespace_and_sources_do_not() -> None:
    spec = read_spec(objects.connection())
    assert bucket_of(spec, "team-a").prefix == "lake/team-a"
    assert bucket_of(spec, env="SOURCE").prefix == "lake"
    assert credentials_of(spec, "SOURCE").prefix == "SOURCE"


def test_a_repository_is_no_bucket() -> None:
    with pytest.raises(ValueError, match="no bucket"):
        bucket_of(read_spec(objects.repository()))


def test_unusable_says_why_in_words() -> None:
    good = objects.verified(objects.connection())
    assert unusable("storage", good) == ""
    assert "does not exist" in unusable("storage", None)
    assert "no spec.git" in unusable("storage", good, "git")
    assert "not looked at yet" in unusable("storage", objects.connection())
    assert "AccessDenied" in unusable("storage", not_ready(objects.connection(), "AccessDenied"))
    assert unusable("storage", not_ready(objects.connection(), "AccessDenied"), ready=False) == ""


def test_a_ready_of_an_older_generation_does_not_count() -> None:
    edited = objects.verified(objects.connection())
    edited["metadata"]["generation"] = 2
    assert "not Ready" in unusable("storage", edited)
