"""The key of a namespace's hashes, as it lies in the bucket: bytes that prove themselves.

No digest names this object, so a damaged key would be used like any other, and its hashes would join with nothing.
Its second half is therefore the SHA-256 of its first; all of it is the key.
"""

import hashlib
from secrets import token_bytes

SECRET_BYTES = 32  # as long as the hash


def new_hash_key() -> bytes:
    """A new key, 64 bytes."""
    secret = token_bytes(SECRET_BYTES)
    return secret + hashlib.sha256(secret).digest()


def is_hash_key(data: bytes) -> bool:
    """Whether these bytes are a whole and unchanged key."""
    return hashlib.sha256(data[:SECRET_BYTES]).digest() == data[SECRET_BYTES:]
