"""What a request asks of an S3 server, read from its method and path (path style)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

WRITES = frozenset({"PUT", "POST", "DELETE"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `key` is empty for the bucket itself; `size` is that of the request's body in bytes."""

    method: str
    bucket: str
    key: str = ""
    listing: bool = False
    size: int = 0

    @property
    def writes(self) -> bool:
        """Whether it changes an object: a PUT, a part, the completion of an upload, a removal."""
        return self.method in WRITES and bool(self.key)

    @property
    def reads(self) -> bool:
        """Whether its answer is the bytes of an object."""
        return self.method == "GET" and bool(self.key)


def call_of(method: str, path: str, query: Mapping[str, str], size: int = 0) -> Call:
    """The call that a method, a still quoted path and a query mean."""
    bucket, _, key = path.removeprefix("/").partition("/")
    listing = method == "GET" and not key and ("list-type" in query or "prefix" in query)
    return Call(method, unquote(bucket), unquote(key), listing, size)
