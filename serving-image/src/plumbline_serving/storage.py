"""Bytes from and to the bucket."""

from secrets import token_bytes
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from plumbline_contract.base import digest_of
from plumbline_contract.layout import blob, hash_key
from plumbline_contract.routes import ServingSettings
from plumbline_serving.errors import StartFailure, StorageTrouble

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 3.0  # an endpoint in the same cluster answers in milliseconds
READ_SECONDS = 20.0  # between two packets, not for a whole object
KEY_BYTES = 32  # as long as the hash


class Storage:
    """The bucket that holds the model's blobs and takes the prediction log.

    Safe to use from two threads: a boto3 client is, and nothing else is kept.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.bucket, self.prefix, self.endpoint = settings.bucket, settings.prefix, settings.endpoint
        self._s3: S3Client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint or None,
            region_name=settings.region,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 2},
                s3={"addressing_style": "path" if settings.path_style else "virtual"},
                # Only what the protocol asks for: not every S3-compatible server knows the newer trailing checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def blob(self, digest: str, what: str) -> bytes:
        """The bytes with this digest, verified. Raises StartFailure, naming `what` was wanted."""
        key = blob(self.prefix, digest)
        try:
            data = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except (BotoCoreError, ClientError) as exc:
            raise StartFailure(
                f"cannot read the {what} {digest} from s3://{self.bucket}/{key} at {self.endpoint or 'AWS'}: {exc}; "
                "check the endpoint, the credentials and that the blob exists"
            ) from exc
        found = digest_of(data)
        if found != digest:
            raise StartFailure(
                f"the {what} at s3://{self.bucket}/{key} has digest {found}, expected {digest}; "
                "the object was changed after it was stored: restore it, or serve another version"
            )
        return data

    def hash_key(self) -> bytes:
        """The namespace's key for hashes of personal values; made here when nobody has made it. Raises StartFailure.

        The jobs that hash columns of snapshots use the same one, so that the log joins with the data.
        """
        key = hash_key(self.prefix)
        try:
            found = self._get_or_none(key)
            if found is None:
                self._create(key, token_bytes(KEY_BYTES))
                found = self._get_or_none(key)  # another process may have been faster; all use what lies there
        except (BotoCoreError, ClientError) as exc:
            raise StartFailure(f"cannot read or make the hash key s3://{self.bucket}/{key}: {exc}") from exc
        if not found:
            raise StartFailure(
                f"the hash key s3://{self.bucket}/{key} is empty; delete the object to have it made anew"
            )
        return found

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None

    def _create(self, key: str, data: bytes) -> None:
        """Store an object unless there is one."""
        try:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
                raise

    def put(self, key: str, data: bytes) -> None:
        """Store one object. Raises StorageTrouble when storage does not take it."""
        try:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        except (BotoCoreError, ClientError) as exc:
            raise StorageTrouble(f"cannot write s3://{self.bucket}/{key}: {exc}") from exc

    def has(self, key: str) -> bool:
        """Whether there is such an object. Raises StorageTrouble when storage does not say."""
        try:
            self._s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise StorageTrouble(f"cannot look for s3://{self.bucket}/{key}: {exc}") from exc
        except BotoCoreError as exc:
            raise StorageTrouble(f"cannot look for s3://{self.bucket}/{key}: {exc}") from exc
        return True
