"""What the proxy can do to a request, and where it kills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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


Fault = Answer | Delay | Reset
Trouble = Callable[[Call], Fault | None]
"""What happens to a call; None lets it through."""

Drop = Callable[[Call, dict[str, Any]], bool]
"""Whether an event of a watch is lost: the watch, and the event with `type` and `object`."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Where the client is killed: at the write with this number, before or after it takes effect."""

    number: int
    side: Side


def no_trouble(call: Call) -> Fault | None:
    """Every call goes through."""
    del call
    return None


def no_drop(call: Call, event: dict[str, Any]) -> bool:
    """Every event arrives."""
    del call, event
    return False
