"""The bucket: blobs by digest, small objects by key, folders of log segments.

Every failure is classified once, here: what the user must mend is Refused, what may pass by itself is Trouble.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from plumbline_contract import layout
from plumbline_contract.base import digest_of
from plumbline_contract.runspec import Bucket
from plumbline_jobs.errors import Refused, Trouble
from plumbline_jobs.io.hosts import bare, guard

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 1 << 20  # bytes read at a time
SMALL = 64 << 20  # bytes; a document or log segment larger than this is not read into memory
ATTEMPTS = 3  # reads whose connection broke midway start over; botocore retries only up to the first byte
PUT_LIMIT = 5 << 30  # bytes; S3's limit of one PUT

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

T = TypeVar("T")


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


class Corrupt(Refused):
    """The bytes under a digest are not the bytes of that digest."""


class Store:
    """One bucket, below one prefix."""

    def __init__(self, client: "S3Client", bucket: Bucket) -> None:
        self._client = client
        self._bucket = bucket
        self.prefix = bucket.prefix

    @classmethod
    def connect(cls, bucket: Bucket) -> "Store":
        """A store for this bucket. Credentials come from the environment; nothing is sent yet.

        Raises Refused when they are missing: botocore would else look for some at the node's metadata service.
        """
        return cls(_client(bucket), bucket)

    def put_blob(self, content: bytes | Path) -> str:
        """Stores bytes, or a file, under their digest and returns it. Bytes already there are not sent again."""
        digest = digest_of(content) if isinstance(content, bytes) else digest_of_file(content)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > PUT_LIMIT:
            name = content.name if isinstance(content, Path) else "a document"
            raise Refused("UserCode", f"{name:.200} has {size} bytes; one object holds at most {PUT_LIMIT}")
        key = layout.blob(self.prefix, digest)
        present = self.size_of(key)
        if present != size:  # another size under a digest is damage, which writing again repairs
            self._put(key, content, only_if_absent=present is None)
        return digest

    def get_blob(self, digest: str, path: Path) -> int:
        """Writes the blob to `path` and returns its size, once its digest is proven.

        A file at `path` is complete and verified, or absent. Raises Corrupt when the bytes are not the digest's.
        """
        part = path.with_name(path.name + ".part")
        found, size = self._download(layout.blob(self.prefix, digest), part)
        if found != digest:
            part.unlink()
            raise Corrupt(
                "DataUnavailable",
                f"the object {layout.blob(self.prefix, digest)} in bucket {self._bucket.bucket} has the digest "
                f"{found}; it was changed after it was written. Restore it, or make the snapshot or run again",
            )
        part.rename(path)
        return size

    def read_blob(self, digest: str) -> bytes:
        """The bytes of a small blob such as a manifest, digest proven."""
        data = self.read(layout.blob(self.prefix, digest))
        if digest_of(data) != digest:
            raise Corrupt("DataUnavailable", f"the bytes stored under {digest} have the digest {digest_of(data)}")
        return data

    def download(self, key: str, path: Path) -> tuple[str, int]:
        """Copies the object at `key` (below the prefix) to `path`; returns its digest and its size in bytes."""
        return self._download(layout.join(self.prefix, key), path)

    def read(self, key: str) -> bytes:
        """The bytes of a small object. `key` is a full key. Raises NotThere, or Refused above 64 MiB."""

        def once() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket.bucket, Key=key)
            if answer["ContentLength"] > SMALL:
                raise Refused("DataUnavailable", f"the object {key} has more than {SMALL} bytes")
            return answer["Body"].read()

        return self._again(key, once)

    def write(self, key: str, data: bytes) -> None:
        """Writes or replaces the object at a full key."""
        self._put(key, data, only_if_absent=False)

    def create(self, key: str, data: bytes) -> bool:
        """Writes the object unless there is one already; whether this call wrote it."""
        return self._put(key, data, only_if_absent=True)

    def delete(self, key: str) -> None:
        """Removes the object at a full key, if there is one."""
        self._ask(key, lambda: self._client.delete_object(Bucket=self._bucket.bucket, Key=key))

    def keys(self, folder: str) -> Iterator[tuple[str, int]]:
        """(full key, bytes) of every object below a folder, in the order of their keys."""
        token = ""
        while True:
            found, token = self._ask(folder, partial(self._list, folder, token))
            yield from found
            if not token:
                return

    def size_of(self, key: str) -> int | None:
        """Bytes of the object at a full key; None when there is none."""
        try:
            answer = self._ask(key, lambda: self._client.head_object(Bucket=self._bucket.bucket, Key=key))
        except NotThere:
            return None
        return answer["ContentLength"]

    def head_bucket(self) -> None:
        """Raises Refused when the bucket does not exist or may not be looked at, Trouble when nothing answers."""
        name = self._bucket.bucket
        try:
            self._ask("", lambda: self._client.head_bucket(Bucket=name))
        except NotThere as error:
            raise NoBucket(name) from error

    def _list(self, folder: str, after: str) -> tuple[list[tuple[str, int]], str]:
        name, prefix = self._bucket.bucket, folder.rstrip("/") + "/"
        if after:
            page = self._client.list_objects_v2(Bucket=name, Prefix=prefix, ContinuationToken=after)
        else:
            page = self._client.list_objects_v2(Bucket=name, Prefix=prefix)
        if "IsTruncated" not in page and "Name" not in page:  # both are part of every listing, even of an empty one
            raise Trouble("EndpointUnreachable", f"{name}/{prefix}: the server answered something that is no listing")
        found = [(entry["Key"], entry["Size"]) for entry in page.get("Contents", [])]
        return found, page.get("NextContinuationToken", "") if page.get("IsTruncated") else ""

    def _put(self, key: str, content: bytes | Path, *, only_if_absent: bool) -> bool:
        def send() -> bool:
            with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as body:
                if only_if_absent:
                    self._client.put_object(Bucket=self._bucket.bucket, Key=key, Body=body, IfNoneMatch="*")
                else:
                    self._client.put_object(Bucket=self._bucket.bucket, Key=key, Body=body)
            return True

        try:
            return self._ask(key, send)
        except _AlreadyThere:
            return False

    def _download(self, key: str, path: Path) -> tuple[str, int]:
        def once() -> tuple[str, int]:
            hasher, size = hashlib.sha256(), 0
            answer = self._client.get_object(Bucket=self._bucket.bucket, Key=key)
            with path.open("wb") as file:
                for chunk in answer["Body"].iter_chunks(CHUNK):
                    hasher.update(chunk)
                    size += file.write(chunk)
            return "sha256:" + hasher.hexdigest(), size

        return self._again(key, once)

    def _again(self, key: str, work: Callable[[], T]) -> T:
        """The answer of a read that may break midway; three tries, one and two seconds apart."""
        for attempt in range(1, ATTEMPTS):
            try:
                return self._ask(key, work)
            except Trouble:
                time.sleep(attempt)
        return self._ask(key, work)

    def _ask(self, key: str, request: Callable[[], T]) -> T:
        try:
            return request()
        except ClientError as error:
            raise self._classified(error, key) from error
        except (BotoCoreError, HTTPClientError, OSError) as error:
            where = bare(self._bucket.endpoint) if self._bucket.endpoint else f"S3 in {self._bucket.region}"
            raise Trouble("EndpointUnreachable", f"{where} does not answer: {type(error).__name__}: {error}") from error

    def _classified(self, error: ClientError, key: str) -> Exception:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        name = self._bucket.bucket
        if code in _MISSING_BUCKET:
            return NoBucket(name)
        if code in _MISSING_KEY or status == 404:
            return NotThere(name, key)
        if code in _DENIED or status in (401, 403):
            return Denied(
                "AccessDenied", f"access to {name}/{key} was denied ({code}); check the Secret's keys and the policy"
            )
        if code in _PRESENT or status == 412:
            return _AlreadyThere(key)
        return Trouble("EndpointUnreachable", f"{name}/{key}: the server answered {status} {code}")


class _AlreadyThere(Exception):
    """An object has this key, and the request was to make a new one."""


def digest_of_file(path: Path) -> str:
    """The `sha256:` digest of a file's bytes, read in chunks."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _client(bucket: Bucket) -> "S3Client":
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
    return client


def _config(bucket: Bucket) -> Config:
    return Config(
        signature_version="s3v4",
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": "path" if bucket.path_style else "virtual"},
        # Newer checksums are sent as chunked trailers, which several S3 servers do not understand. Integrity is
        # ours anyway: every blob is named by its SHA-256 and verified when read.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _guarded(request: AWSRequest, **_: object) -> None:
    guard(str(request.url))
