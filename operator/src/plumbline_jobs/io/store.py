"""The bucket: blobs by digest, small objects by key, folders of log segments.

Nothing that arrives is believed before it is proven, and nothing counts as written before the server has said what
it holds. A proof that fails is tried again, as wires and proxies damage now and then; what stays wrong is an error.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from botocore.exceptions import ClientError

from plumbline_contract import layout
from plumbline_contract.hosts import bare
from plumbline_contract.runspec import Bucket
from plumbline_jobs.errors import JobError, Refused, Trouble
from plumbline_jobs.io.client import UNANSWERED, AlreadyThere, Denied, NoBucket, NotThere, classified, client_of
from plumbline_jobs.io.receive import (
    Corrupt,
    Damaged,
    Fingerprint,
    Listed,
    Told,
    etag_of,
    fingerprint,
    has_md5,
    receive,
    told_by,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Corrupt", "Damaged", "Denied", "Listed", "NoBucket", "NotThere", "Store"]

SMALL = 64 << 20  # bytes; a document or log segment larger than this is not read into memory
ATTEMPTS = 3  # botocore tries again until the first byte of an answer; these are for what fails later
PUT_LIMIT = 5 << 30  # bytes; S3's limit of one PUT

OWN_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Errors of the disk that an object is copied to or sent from, which say nothing about the server."""

T = TypeVar("T")


class Store:
    """One bucket, below one prefix."""

    def __init__(self, client: "S3Client", bucket: Bucket) -> None:
        self._client = client
        self._bucket = bucket
        self.prefix = bucket.prefix

    @classmethod
    def connect(cls, bucket: Bucket) -> "Store":
        """A store for this bucket. Credentials come from the environment; nothing is sent yet.

        Raises Refused when they are missing.
        """
        return cls(client_of(bucket), bucket)

    def put_blob(self, content: bytes | Path) -> str:
        """Stores bytes, or a file, under their digest and returns it. Bytes already there are not sent again.

        What is there already is read: a blob that was damaged since would else be named by one more manifest.
        """
        wanted = fingerprint(content)
        if wanted.size > PUT_LIMIT:
            name = content.name if isinstance(content, Path) else "a document"
            raise Refused("UserCode", f"{name:.200} has {wanted.size} bytes; one object holds at most {PUT_LIMIT}")
        key = layout.blob(self.prefix, wanted.digest)
        there = self.stated(key)
        if there is None and self._put(key, content, only_if_absent=True):
            return wanted.digest
        # Another Job may have written it meanwhile, or this one, and only the answer was lost.
        if (there is None or there.size == wanted.size) and self._holds(key, wanted.digest):
            return wanted.digest
        self._put(key, content, only_if_absent=False)  # other bytes under a digest are damage, which this repairs
        return wanted.digest

    def get_blob(self, digest: str, path: Path) -> int:
        """Writes the blob to `path` and returns its size, once its digest is proven.

        A file at `path` is complete and verified, or absent. Raises Corrupt when the bytes are not the digest's.
        """
        part = path.with_name(path.name + ".part")
        try:
            size = self._again(layout.blob(self.prefix, digest), partial(self._blob_into, digest, part))
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return size

    def read_blob(self, digest: str) -> bytes:
        """The bytes of a small blob such as a manifest, digest proven."""
        key = layout.blob(self.prefix, digest)

        def once() -> bytes:
            data = self._read(key)
            self._proven(key, fingerprint(data), digest)
            return data

        return self._again(key, once)

    def download(self, key: str, path: Path) -> tuple[str, int]:
        """Copies the object at `key` (below the prefix) to `path`; returns its digest and its size in bytes.

        No digest of ours names it, so two words of the server must agree: see `copy`.
        """
        full = layout.join(self.prefix, key)
        return self._again(full, lambda: self._copy(full, path))

    def copy(self, there: Listed, path: Path) -> tuple[str, int]:
        """Copies a listed object to `path`; returns its digest and its size in bytes.

        The bytes are those that were listed when their size, ETag and, where the ETag is one, MD5 are the listed ones;
        where it is none, two readings must bring the same bytes. Raises Corrupt or Trouble.
        """
        return self._again(there.key, lambda: self._copy(there.key, path, there))

    def read(self, key: str, is_whole: Callable[[bytes], bool] = lambda data: True) -> bytes:
        """The bytes of a small object at a full key, once `is_whole` knows them. Raises NotThere, Corrupt, Refused."""

        def once() -> bytes:
            data = self._read(key)
            if not is_whole(data):
                where = f"the object {key} in bucket {self._bucket.bucket}"
                found = fingerprint(data).digest
                raise Damaged(f"{where} arrives changed, with the digest {found}", found)
            return data

        return self._again(key, once)

    def write(self, key: str, data: bytes) -> None:
        """Writes or replaces the object at a full key."""
        self._put(key, data, only_if_absent=False)

    def create(self, key: str, data: bytes) -> bool:
        """Writes the object unless there is one already; whether this call is known to have written it."""
        return self._put(key, data, only_if_absent=True)

    def delete(self, key: str) -> None:
        """Removes the object at a full key, if there is one."""
        self._ask(key, lambda: self._client.delete_object(Bucket=self._bucket.bucket, Key=key))

    def keys(self, folder: str) -> Iterator[Listed]:
        """Every object below a folder, in the order of their keys."""
        token = ""
        while True:
            found, token = self._again(folder, partial(self._list, folder, token))
            yield from found
            if not token:
                return

    def stated(self, key: str) -> Listed | None:
        """What storage says of the object at a full key; None when there is none."""
        try:
            return self._again(key, lambda: self._head(key))
        except NotThere:
            return None

    def head_bucket(self) -> None:
        """Raises Refused when the bucket does not exist or may not be looked at, Trouble when nothing answers."""
        name = self._bucket.bucket
        try:
            self._ask("", lambda: self._client.head_bucket(Bucket=name))
        except NotThere as error:
            raise NoBucket(name) from error

    def _list(self, folder: str, after: str) -> tuple[list[Listed], str]:
        name, prefix = self._bucket.bucket, folder.rstrip("/") + "/"
        if after:
            page = self._client.list_objects_v2(Bucket=name, Prefix=prefix, ContinuationToken=after)
        else:
            page = self._client.list_objects_v2(Bucket=name, Prefix=prefix)
        if "IsTruncated" not in page and "Name" not in page:  # both are part of every listing, even of an empty one
            raise Trouble("EndpointUnreachable", f"{name}/{prefix}: the server answered something that is no listing")
        found = [Listed(entry["Key"], entry["Size"], etag_of(entry)) for entry in page.get("Contents", [])]
        return found, page.get("NextContinuationToken", "") if page.get("IsTruncated") else ""

    def _head(self, key: str) -> Listed:
        answer = self._client.head_object(Bucket=self._bucket.bucket, Key=key)
        return Listed(key, answer.get("ContentLength", 0), etag_of(answer))

    def _put(self, key: str, content: bytes | Path, *, only_if_absent: bool) -> bool:
        """Whether the object was written, and holds these bytes by the server's own word or by reading it back."""
        wanted = fingerprint(content)

        def send() -> bool:
            with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as body:
                if only_if_absent:
                    answer = self._client.put_object(Bucket=self._bucket.bucket, Key=key, Body=body, IfNoneMatch="*")
                else:
                    answer = self._client.put_object(Bucket=self._bucket.bucket, Key=key, Body=body)
            return has_md5(answer) and etag_of(answer) == wanted.md5

        try:
            stated = self._again(key, send)
        except AlreadyThere:
            return False
        if not stated and not self._holds(key, wanted.digest):
            raise Trouble("DataUnavailable", f"{self._bucket.bucket}/{key} does not hold what was just written to it")
        return True

    def _holds(self, key: str, digest: str) -> bool:
        """Whether the bytes at a key have this digest, by reading them."""

        def once() -> None:
            with Path(os.devnull).open("wb") as nowhere:
                self._proven(key, self._received(key, nowhere)[0], digest)

        try:
            self._again(key, once)
        except (Corrupt, Damaged, NotThere):
            return False
        return True

    def _blob_into(self, digest: str, path: Path) -> int:
        key = layout.blob(self.prefix, digest)
        with path.open("wb") as file:
            found, _ = self._received(key, file)
        self._proven(key, found, digest)
        return found.size

    def _proven(self, key: str, found: Fingerprint, digest: str) -> None:
        if found.digest != digest:
            where = f"the object {key} in bucket {self._bucket.bucket}"
            raise Damaged(f"{where} arrives with the digest {found.digest} in place of {digest}", found.digest)

    def _copy(self, key: str, path: Path, there: Listed | None = None) -> tuple[str, int]:
        where = f"the object {key} in bucket {self._bucket.bucket}"
        with path.open("wb") as file:
            found, told = self._received(key, file)
        there = there or self._head(key)  # asked for last: an error's code is in the answer to a GET alone
        if (found.size, told.etag) != (there.size, there.etag):
            said = f"{there.size} bytes and the ETag {there.etag!r}"
            raise Damaged(f"{where} has {said}; {found.size} bytes with the ETag {told.etag!r} arrive", found.digest)
        if not told.md5:
            with path.open("wb") as file:
                again, _ = self._received(key, file)
            if again.digest != found.digest:
                raise Damaged(f"{where} arrives with other bytes when it is read again", again.digest)
        elif found.md5 != told.etag:
            raise Damaged(f"{where} arrives with the MD5 {found.md5}, its ETag is {told.etag}", found.digest)
        return found.digest, found.size

    def _received(self, key: str, sink: BinaryIO) -> tuple[Fingerprint, Told]:
        answer = self._client.get_object(Bucket=self._bucket.bucket, Key=key)
        return receive(answer, sink), told_by(answer)

    def _read(self, key: str) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket.bucket, Key=key)
        if answer["ContentLength"] > SMALL:
            raise Refused("DataUnavailable", f"the object {key} has more than {SMALL} bytes")
        sink = BytesIO()
        receive(answer, sink)
        return sink.getvalue()

    def _again(self, key: str, work: Callable[[], T]) -> T:
        """The answer of a request that may fail midway or bring damage: three tries, one and two seconds apart.

        Raises Corrupt when each of them brought the same wrong bytes.
        """
        failures: list[Trouble] = []
        while True:
            try:
                return self._ask(key, work)
            except Trouble as error:
                failures.append(error)
            if len(failures) == ATTEMPTS:
                raise _verdict(failures)
            time.sleep(len(failures))

    def _ask(self, key: str, request: Callable[[], T]) -> T:
        try:
            return request()
        except ClientError as error:
            raise classified(error, self._bucket.bucket, key) from error
        except UNANSWERED as error:
            if isinstance(error, OSError) and error.errno in OWN_DISK:
                raise Trouble("JobFailed", f"the Job's own disk fails: {error.strerror}; its files are lost") from error
            where = bare(self._bucket.endpoint) if self._bucket.endpoint else f"S3 in {self._bucket.region}"
            raise Trouble("EndpointUnreachable", f"{where} does not answer: {type(error).__name__}: {error}") from error


def _verdict(failures: Sequence[Trouble]) -> JobError:
    """What repeated failures mean: damage that is the same each time lies in storage."""
    damage = [one for one in failures if isinstance(one, Damaged)]
    if len(damage) == len(failures) and len({one.found for one in damage}) == 1:
        return Corrupt(
            "DataUnavailable", f"{damage[-1].told}; it was changed after it was written: restore it, or make it anew"
        )
    return failures[-1]
