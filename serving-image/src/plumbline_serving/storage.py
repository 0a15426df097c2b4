"""Bytes from and to the bucket. What arrives is believed once it is proven; a proof that fails is tried again."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar, cast

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from plumbline_contract.base import digest_of
from plumbline_contract.hashkey import is_hash_key, new_hash_key
from plumbline_contract.hosts import guard
from plumbline_contract.layout import blob, hash_key
from plumbline_contract.pace import CHUNK, paced
from plumbline_contract.routes import ServingSettings
from plumbline_serving.errors import ServingError, StartFailure, StorageTrouble

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 3.0  # an endpoint in the same cluster answers in milliseconds
READ_SECONDS = 20.0  # between two packets, not for a whole object
ATTEMPTS = 3  # at reading an object whole; the client's own are for what fails before the first byte
PAUSE_SECONDS = 1.0  # before the second attempt, twice that before the third

UNANSWERED = (BotoCoreError, ResponseParserError, OSError)
"""What botocore raises when a server does not answer, breaks off, or answers something that is no S3."""

T = TypeVar("T")


class Damaged(ServingError):
    """What arrived is not what was asked for."""


class Storage:
    """The bucket that holds the model's blobs and takes the prediction log.

    Safe to use from two threads: a client of botocore is, and nothing else is kept.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.bucket, self.prefix, self.endpoint = settings.bucket, settings.prefix, settings.endpoint
        # botocore alone: what boto3 adds for transfers of many parts costs a tenth of the start, and is not used here.
        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=settings.endpoint or None,
            region_name=settings.region,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 2},
                s3={
                    "addressing_style": "path" if settings.path_style else "virtual",
                    "payload_signing_enabled": True,  # the server refuses a body that changed on its way
                },
                # Only what the protocol asks for: not every S3-compatible server knows the newer trailing checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        client.meta.events.register("before-send.s3", _guarded)
        self._s3 = cast("S3Client", client)

    def blob(self, digest: str, what: str) -> bytes:
        """The bytes with this digest, verified. Raises StartFailure, naming `what` was wanted."""
        key = blob(self.prefix, digest)

        def once() -> bytes:
            data = self._get(key)
            found = digest_of(data)
            if found != digest:
                raise Damaged(
                    f"the {what} at s3://{self.bucket}/{key} has digest {found}, expected {digest}; "
                    "the object was changed after it was stored: restore it, or serve another version"
                )
            return data

        return self._again(f"read the {what} {digest} from", key, once)

    def hash_key(self) -> bytes:
        """The namespace's key for hashes of personal values; made here when nobody has made it. Raises StartFailure.

        The jobs that hash columns of snapshots use the same one, so that the log joins with the data.
        """
        key = hash_key(self.prefix)
        return self._again("read or make the hash key", key, lambda: self._hash_key(key))

    def _hash_key(self, key: str) -> bytes:
        found = self._get_or_none(key)
        if found is None:
            self._create(key, new_hash_key())
            found = self._get(key)  # another process may have been faster; all use what lies there
        if not is_hash_key(found):
            raise Damaged(
                f"the hash key s3://{self.bucket}/{key} is not a whole key ({len(found)} bytes); restore it. Deleting "
                "the object has a new one made, whose hashes do not join with those made before"
            )
        return found

    def _again(self, doing: str, key: str, work: Callable[[], T]) -> T:
        """The answer of a read that may break off or bring damage, after a few tries. Raises StartFailure."""
        attempt = 1
        while True:
            try:
                return work()
            except Damaged as exc:
                if attempt == ATTEMPTS:
                    raise StartFailure(str(exc)) from exc
            except (ClientError, *UNANSWERED) as exc:
                if attempt == ATTEMPTS or _status(exc) == 404:
                    raise StartFailure(
                        f"cannot {doing} s3://{self.bucket}/{key} at {self.endpoint or 'AWS'}: {exc}; "
                        "check the endpoint, the credentials, the clock and that the object exists"
                    ) from exc
            time.sleep(PAUSE_SECONDS * attempt)
            attempt += 1

    def _get(self, key: str) -> bytes:
        """The bytes of an object, which may not come too slowly."""
        with closing(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"]) as body:
            return b"".join(paced(body.iter_chunks(CHUNK)))

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self._get(key)
        except self._s3.exceptions.NoSuchKey:
            return None

    def _create(self, key: str, data: bytes) -> None:
        """Store an object unless there is one."""
        try:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as exc:
            if _status(exc) not in (409, 412):
                raise

    def put(self, key: str, data: bytes) -> None:
        """Store one object. Raises StorageTrouble when storage does not take it."""
        try:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        except (ClientError, *UNANSWERED) as exc:
            raise StorageTrouble(f"cannot write s3://{self.bucket}/{key}: {exc}") from exc

    def has(self, key: str) -> bool:
        """Whether there is such an object. Raises StorageTrouble when storage does not say."""
        try:
            self._s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as exc:
            if _status(exc) == 404:
                return False
            raise StorageTrouble(f"cannot look for s3://{self.bucket}/{key}: {exc}") from exc
        except UNANSWERED as exc:
            raise StorageTrouble(f"cannot look for s3://{self.bucket}/{key}: {exc}") from exc
        return True


def _guarded(request: AWSRequest, **_: object) -> None:
    guard(str(request.url))


def _status(error: Exception) -> int:
    """The HTTP status of an S3 error, 0 of any other."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(error, ClientError) else 0
