"""Reads the bucket and proves what it reads: every blob is hashed again and held against its name."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from plumbline_cli.cluster import Cluster, Missing, Raw
from plumbline_contract import layout
from plumbline_contract.base import digest_of

CHUNK = 1 << 20  # bytes hashed at a time
LATE_SEGMENTS = timedelta(hours=1)  # a record may lie in the segment flushed after its own hour ended


@dataclass(frozen=True, slots=True)
class Proof:
    """What hashing a blob again showed."""

    digest: str
    key: str
    found: str  # the digest of the bytes that lie there now, or why there are none

    @property
    def holds(self) -> bool:
        """Whether the bytes are those the digest names."""
        return self.found == self.digest


class Tampered(Exception):
    """A document on the way is not the one its digest names, so nothing it says can be followed."""

    def __init__(self, proof: Proof) -> None:
        super().__init__(f"{proof.key} is not what it was")
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Bucket:
    """The storage of one Connection, under this namespace's prefix."""

    files: fs.S3FileSystem
    name: str
    prefix: str

    def prove(self, digest: str) -> Proof:
        """Hash a blob's bytes again."""
        key = layout.blob(self.prefix, digest)
        hasher = hashlib.sha256()
        try:
            with self.files.open_input_stream(f"{self.name}/{key}") as stream:
                while chunk := stream.read(CHUNK):
                    hasher.update(chunk)
        except FileNotFoundError:
            return Proof(digest, key, "nothing lies there")
        return Proof(digest, key, f"sha256:{hasher.hexdigest()}")

    def blob(self, digest: str) -> tuple[bytes, Proof]:
        """A document's bytes and their proof. Raises Missing when there are none, Tampered when they are others."""
        key = layout.blob(self.prefix, digest)
        try:
            with self.files.open_input_stream(f"{self.name}/{key}") as stream:
                data = bytes(stream.read())
        except FileNotFoundError as error:
            raise Missing(f"object {key} is not in bucket {self.name}") from error
        proof = Proof(digest, key, digest_of(data))
        if not proof.holds:
            raise Tampered(proof)
        return data, proof

    def predictions(self, namespace: str, deployment: str, when: datetime, request_id: str) -> list[Raw]:
        """The log records of one request, of all variants (primary and shadow)."""
        root = f"{self.name}/{layout.predictions(self.prefix, namespace, deployment)}"
        variants = [f.base_name for f in self._under(root) if f.type == fs.FileType.Directory]
        folders = {
            f"{self.name}/{layout.prediction_hour(self.prefix, namespace, deployment, variant, hour)}"
            for variant in variants
            for hour in (when, when + LATE_SEGMENTS)
        }
        return [row for folder in sorted(folders) for row in self._matching(folder, request_id)]

    def _matching(self, folder: str, request_id: str) -> list[Raw]:
        rows: list[Raw] = []
        for segment in self._under(folder):
            with self.files.open_input_file(segment.path) as source:
                table = pq.read_table(source)
            rows += table.filter(pc.equal(table["request_id"], request_id)).to_pylist()
        return rows

    def _under(self, folder: str) -> list[fs.FileInfo]:
        return list(self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True)))


def open_bucket(cluster: Cluster, connection: str, endpoint: str | None) -> Bucket:
    """The bucket behind an s3 Connection, with the credentials of its Secret.

    endpoint: replaces the Connection's own, for callers who reach the store by another address.
    """
    spec = cluster.get("Connection", connection)["spec"].get("s3")
    if spec is None:
        raise Missing(f"Connection {cluster.namespace}/{connection} is not an s3 connection (spec.s3 is absent)")
    secret = cluster.secret(spec["secretRef"]["name"])
    address = endpoint or spec.get("endpoint", "")
    scheme, _, host = address.rpartition("://")
    files = fs.S3FileSystem(
        access_key=secret["AWS_ACCESS_KEY_ID"],
        secret_key=secret["AWS_SECRET_ACCESS_KEY"],
        region=spec.get("region", "us-east-1"),
        endpoint_override=host or None,
        scheme=scheme or "https",
        connect_timeout=5,
        request_timeout=30,
    )
    return Bucket(files, spec["bucket"], layout.join(spec.get("prefix", ""), cluster.namespace))
