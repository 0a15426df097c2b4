"""What the proxy can do to a request or to its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.support.s3proxy.call import Call


@dataclass(frozen=True, slots=True)
class Fail:
    """The request is not forwarded; the answer is this status with an S3 error of this code.

    retry_after: seconds in a `Retry-After` header. clock: seconds by which the server's `Date` is ahead of ours.
    """

    status: int
    code: str
    retry_after: int | None = None
    clock: float = 0.0


@dataclass(frozen=True, slots=True)
class Slow:
    """The body comes with so many bytes a second, for at most so many seconds; then the connection is cut."""

    rate: int = 1024
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is reset after this share of the body."""

    share: float


@dataclass(frozen=True, slots=True)
class Short:
    """Only this share of the body is sent. `honest`: the header says the smaller number; else it promises all."""

    share: float
    honest: bool = False


@dataclass(frozen=True, slots=True)
class Flip:
    """One bit is another at this share of the body: of the answer to a read, of the request of a write."""

    share: float


@dataclass(frozen=True, slots=True)
class Other:
    """A read is answered with another object of the bucket: this share of the way through the sorted keys."""

    share: float


@dataclass(frozen=True, slots=True)
class Stale:
    """A listing is answered as it was answered first."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is cut: before the request is forwarded, or after, in place of the answer."""

    side: Literal["before", "after"]


Fault = Fail | Slow | Cut | Short | Flip | Other | Stale | Reset
Trouble = Callable[[Call], Fault | None]
"""What happens to a call; None lets it through."""


def no_trouble(call: Call) -> Fault | None:
    """Every call goes through."""
    del call
    return None


def flipped(body: bytes, share: float) -> bytes:
    """`body` with one bit turned; as it is when empty."""
    if not body:
        return body
    place = min(int(len(body) * share), len(body) - 1)
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
