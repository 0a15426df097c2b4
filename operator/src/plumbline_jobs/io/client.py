"""The connection to a bucket, and the classification of all that can go wrong on it.

Every failure is classified once, here: what the user must mend is Refused, what may pass by itself is Trouble.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from plumbline_contract.runspec import Bucket
from plumbline_jobs.errors import Refused, Trouble
from plumbline_jobs.io.hosts import guard

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CLOCK_SECONDS = 300.0  # S3 refuses requests that are 15 minutes off; a clock that is 5 off is worth a word

UNANSWERED = (BotoCoreError, ResponseParserError, OSError)
"""What botocore raises when a server does not answer, breaks off, or answers something that is no S3."""

_MISSING_KEY = frozenset({"NoSuchKey", "404", "NotFound"})
_MISSING_BUCKET = frozenset({"NoSuchBucket"})
_DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "Forbidden",
        "UnauthorizedAccess",
    }
)
_PRESENT = frozenset({"PreconditionFailed", "412"})
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})


class NotThere(Refused):
    """No object has this key."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__("DataUnavailable", f"the bucket {bucket} has no object {key}")
        self.key = key


class NoBucket(Refused):
    """The endpoint answers, but has no such bucket."""

    def __init__(self, bucket: str) -> None:
        super().__init__("BucketNotFound", f"the endpoint answers but has no bucket {bucket}; create it")


class Denied(Refused):
    """The credentials do not allow it."""


class AlreadyThere(Exception):
    """An object has this key, and the request was to make a new one."""


def classified(error: ClientError, bucket: str, key: str) -> Exception:
    """What an S3 error means to a Job."""
    code = error.response.get("Error", {}).get("Code", "")
    about: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    if code in _MISSING_BUCKET:
        return NoBucket(bucket)
    if code in _MISSING_KEY or status == 404:
        return NotThere(bucket, key)
    if code in _CLOCK or (status == 403 and _clocks_differ(about)):
        return Trouble(
            "EndpointUnreachable",
            f"{bucket}/{key}: the server's clock and this node's differ too much ({code}); set both by NTP",
        )
    if code in _DENIED or status in (401, 403):
        return Denied(
            "AccessDenied", f"access to {bucket}/{key} was denied ({code}); check the Secret's keys and the policy"
        )
    if code in _PRESENT or status == 412:
        return AlreadyThere(key)
    return Trouble("EndpointUnreachable", f"{bucket}/{key}: the server answered {status} {code}")


def _clocks_differ(about: Mapping[str, Any]) -> bool:
    """Whether the server's `Date` is far from our time: the answer to a HEAD has no body that could name the error."""
    try:
        there = parsedate_to_datetime(about.get("HTTPHeaders", {}).get("date", ""))
    except ValueError:
        return False
    return abs((there - datetime.now(UTC)).total_seconds()) > CLOCK_SECONDS if there.tzinfo else False


def client_of(bucket: Bucket) -> "S3Client":
    """A client for this bucket. Credentials come from the environment; nothing is sent yet.

    Raises Refused when they are missing: botocore would else look for some at the node's metadata service.
    """
    access, secret = (os.environ.get(f"{bucket.env}_{part}") for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    if not access or not secret:
        raise Denied(
            "AccessDenied",
            f"the variables {bucket.env}_ACCESS_KEY_ID and {bucket.env}_SECRET_ACCESS_KEY are not set; "
            "put both keys into the Secret that the Connection names",
        )
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=bucket.endpoint or None,
        region_name=bucket.region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=_config(bucket),
    )
    client.meta.events.register("before-send.s3", _guarded)
    client.meta.events.register("before-parse.s3", _patient)
    return client


def _config(bucket: Bucket) -> Config:
    return Config(
        signature_version="s3v4",
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={
            "addressing_style": "path" if bucket.path_style else "virtual",
            "payload_signing_enabled": True,  # the server refuses a body that changed on its way, behind TLS too
        },
        # Newer checksums are sent as chunked trailers, which several S3 servers do not understand. Integrity is
        # ours anyway: every blob is named by its SHA-256 and verified when read.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _guarded(request: AWSRequest, **_: object) -> None:
    guard(str(request.url))


def _patient(response_dict: dict[str, Any], **_: object) -> None:
    """Has botocore wait as long as a server, or a proxy before it, asks in `Retry-After`.

    It knows AWS's own header alone, in milliseconds, and waits for at most five seconds longer than it would have.
    """
    headers = response_dict["headers"]
    seconds = headers.get("Retry-After", "")
    if seconds.isdecimal():
        headers["x-amz-retry-after"] = str(min(int(seconds), 60) * 1000)
