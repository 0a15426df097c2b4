"""Takes the bytes of an object: hashed while they arrive, given up when they hardly do, held against what was said."""

import hashlib
import re
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from plumbline_contract.pace import CHUNK, paced
from plumbline_jobs.errors import Refused, Trouble

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_MD5 = re.compile("[0-9a-f]{32}")


class Damaged(Trouble):
    """What arrived is not what was asked for. `found` names what arrived instead, so that two readings compare."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__("DataUnavailable", f"{message}; storage, or the network before it, damages what it sends")
        self.told, self.found = message, found


class Corrupt(Refused):
    """What lies in storage is not what was stored: every reading brings the same wrong bytes."""


class Listed(NamedTuple):
    """What storage says of an object: its full key, bytes, and ETag (without quotes; empty when it has none)."""

    key: str
    size: int
    etag: str


class Told(NamedTuple):
    """The ETag that came with bytes, and whether it is their MD5."""

    etag: str
    md5: bool


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What bytes are known by."""

    digest: str
    md5: str
    size: int


class Hasher:
    """Fingerprints bytes as they pass."""

    def __init__(self) -> None:
        self._sha256, self._md5, self.size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0

    def update(self, chunk: bytes) -> None:
        """The next bytes."""
        self._sha256.update(chunk)
        self._md5.update(chunk)
        self.size += len(chunk)

    def result(self) -> Fingerprint:
        """The fingerprint of all bytes so far."""
        return Fingerprint("sha256:" + self._sha256.hexdigest(), self._md5.hexdigest(), self.size)


def fingerprint(content: bytes | Path) -> Fingerprint:
    """The fingerprint of bytes, or of a file, which is read in chunks."""
    hasher = Hasher()
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        while chunk := source.read(1 << 20):
            hasher.update(chunk)
    return hasher.result()


def receive(answer: "GetObjectOutputTypeDef", sink: BinaryIO) -> Fingerprint:
    """Writes the body into `sink`. Raises TooSlow when it hardly comes, and botocore's errors when it breaks off."""
    hasher = Hasher()
    with closing(answer["Body"]) as body:
        for chunk in paced(body.iter_chunks(CHUNK)):
            hasher.update(chunk)
            sink.write(chunk)
    return hasher.result()


def etag_of(answer: Any) -> str:
    """The ETag in an answer or an entry of a listing, without quotes; empty when there is none."""
    return str(answer.get("ETag", "")).strip('"')


def has_md5(answer: Any) -> bool:
    """Whether the ETag of an answer is the MD5 of the object's bytes.

    By the rules of S3 it is, but for uploads in parts (their ETag has a dash) and keys of KMS or of the client.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    keyed = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer
    return _MD5.fullmatch(etag_of(answer)) is not None and not keyed


def told_by(answer: Any) -> Told:
    """What an answer says of the bytes it brings."""
    return Told(etag_of(answer), has_md5(answer))
