"""The base of every document, canonical JSON, and digests."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", description="`sha256:` and 64 hex digits.")]


class Document(BaseModel):
    """A frozen JSON document with camelCase-free, explicit names; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def canonical(self) -> bytes:
        """The document as canonical JSON bytes: sorted keys, no spaces, no nulls, UTF-8.

        Two equal documents have equal bytes, so the digest of the bytes names the document.
        """
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def canonical_json(value: Any) -> bytes:
    """`value` as JSON bytes with sorted keys and no spaces; NaN and infinities raise ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(data: bytes) -> str:
    """The `sha256:` digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def short_hash(value: Any) -> str:
    """Eight hex digits of the SHA-256 of the canonical JSON of `value`, for computed names."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:8]
