"""The faults that one run meets: drawn from a seed, so that the same run can be had again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.support.s3proxy import Call, Cut, Fail, Fault, Flip, Other, Reset, Short, Slow

SHARE = 0.3  # of the requests of a run
MOST_KINDS = 4
AHEAD = 1200.0  # seconds; S3 refuses requests that are 15 minutes off

Draw = Callable[[Random], Fault]

REQUESTS: dict[str, Draw] = {
    "5xx": lambda draw: Fail(draw.choice((500, 502, 503, 504)), "InternalError"),
    "SlowDown": lambda draw: Fail(503, "SlowDown", retry_after=1),
    "clock": lambda draw: Fail(403, "RequestTimeTooSkewed", clock=AHEAD),
    "reset": lambda draw: Reset(draw.choice(("before", "after"))),
}
"""What any request can meet."""

BODIES: dict[str, Draw] = {
    "slow": lambda draw: Slow(1024, draw.choice((1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 6.0, 120.0))),
    "cut": lambda draw: Cut(draw.random()),
    "truncated": lambda draw: Short(draw.random()),
    "shorter": lambda draw: Short(draw.random(), honest=True),
    "other object": lambda draw: Other(draw.random()),
}
"""What the body of an object can meet on its way to us."""

WRONG = "wrong bytes"  # in both directions
KINDS = (*REQUESTS, *BODIES, WRONG)


@dataclass(slots=True)
class Weather:
    """The faults of one run. `longest`: seconds that a slow body takes at most."""

    seed: int
    longest: float = float("inf")
    kinds: tuple[str, ...] = ()
    _draw: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self._draw.seed(self.seed)
        self.kinds = tuple(self._draw.sample(KINDS, self._draw.randint(1, MOST_KINDS)))

    def trouble(self, call: Call) -> Fault | None:
        """What happens to the next request."""
        if self._draw.random() >= SHARE:
            return None
        fitting = [kind for kind in self.kinds if _fits(kind, call)]
        return self._fault(self._draw.choice(fitting)) if fitting else None

    def _fault(self, kind: str) -> Fault:
        if kind == WRONG:
            return Flip(self._draw.random())
        found = (REQUESTS | BODIES)[kind](self._draw)
        return Slow(found.rate, min(found.seconds, self.longest)) if isinstance(found, Slow) else found


def _fits(kind: str, call: Call) -> bool:
    if kind == WRONG:
        return call.reads or (call.writes and call.size > 0)
    return call.reads if kind in BODIES else True
