"""What the API server said first to each question, to be said again as a server would that lags behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.faultproxy.call import Call

Old = Callable[[Call], bool]
"""Whether a question is answered from memory."""


def never(call: Call) -> bool:
    """Every answer is fresh."""
    del call
    return False


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was given."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Memory:
    """The first good answer to each GET, by path and query; `old` may be set at any time."""

    old: Old = never
    kept: dict[str, Kept] = field(default_factory=dict)

    def keep(self, place: str, answer: Kept) -> None:
        """Remember the first answer."""
        if answer.status == 200:
            self.kept.setdefault(place, answer)

    def recall(self, call: Call, place: str) -> Kept | None:
        """The answer that was given first, if this question shall have it; None: ask the API server."""
        return self.kept.get(place) if self.old(call) else None
