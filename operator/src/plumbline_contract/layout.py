"""Where things lie in the bucket. The only place that knows object keys.

Immutable things are *blobs*, named by their SHA-256, so a key proves its content. Everything else is an index
that points at blobs, or an append-only log segment.

    <prefix>/blobs/sha256/<first two hex>/<hex>                       any immutable bytes
    <prefix>/reports/<namespace>/<kind>/<name>/<job>.json             index: full result of one Job
    <prefix>/keys/hash                                                key of the namespace's hashes of personal values
    <prefix>/predictions/<namespace>/<deployment>/<variant>/<yyyy-mm-dd>/<hh>/<segment>.parquet
"""

from datetime import datetime

BLOBS = "blobs/sha256"


def join(prefix: str, *parts: str) -> str:
    """One object key from a connection's prefix and path parts, without leading or doubled slashes."""
    return "/".join(piece.strip("/") for piece in (prefix, *parts) if piece.strip("/"))


def blob(prefix: str, digest: str) -> str:
    """The key of the bytes with this `sha256:` digest."""
    algorithm, _, hexdigits = digest.partition(":")
    if algorithm != "sha256" or len(hexdigits) != 64:
        raise ValueError(f"not a sha256 digest: {digest!r}; expected 'sha256:' and 64 hex digits")
    return join(prefix, BLOBS, hexdigits[:2], hexdigits)


def report(prefix: str, namespace: str, kind: str, name: str, job: str) -> str:
    """The key of the full report of one Job."""
    return join(prefix, "reports", namespace, kind.lower(), name, f"{job}.json")


def hash_key(prefix: str) -> str:
    """The key of the secret that hashes of personal values are made with, where no Secret brings one."""
    return join(prefix, "keys", "hash")


def predictions(prefix: str, namespace: str, deployment: str) -> str:
    """The folder (no trailing slash) under which all prediction segments of a deployment lie."""
    return join(prefix, "predictions", namespace, deployment)


def prediction_hour(prefix: str, namespace: str, deployment: str, variant: str, hour: datetime) -> str:
    """The folder of one variant's segments of one UTC hour."""
    return join(predictions(prefix, namespace, deployment), variant, f"{hour:%Y-%m-%d}", f"{hour:%H}")
