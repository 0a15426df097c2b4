"""What the proxy can do to a request, and where it kills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.support.faultproxy.call import Call

Side = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The request is not forwarded; this status code is the answer. `retry_after` in seconds."""

    code: int
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """The request is forwarded after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is cut: before the request is forwarded, or after, in place of the answer."""

    side: Side = "before"


@dataclass(frozen=True, slots=True)
class Truncate:
    """The request is forwarded, and half of the answer's body comes back.

    length: the header tells the whole length, and the connection ends early; chunked: it ends within a chunked body;
    json: a well-formed answer whose JSON ends early. A watch is cut within its first event, whatever `how`.
    """

    how: Literal["length", "chunked", "json"] = "length"


@dataclass(frozen=True, slots=True)
class Expired:
    """A watch gets one event, the error 410, and ends; any other request gets 410."""


Fault = Answer | Delay | Reset | Truncate | Expired
Trouble = Callable[[Call], Fault | None]
"""What happens to a call; None lets it through."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Where the client is killed: at the write with this number, before or after it takes effect."""

    number: int
    side: Side


def no_trouble(call: Call) -> Fault | None:
    """Every call goes through."""
    del call
    return None
