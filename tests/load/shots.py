"""One request as it went, the lines in which a generator writes it down, and what is read off many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

OK = 200


class Shot(NamedTuple):
    """A request: when it was due (`time.monotonic()` of this machine) and the seconds from then to its whole answer.

    status: 0 when no whole answer came in time; `error` says why. variant: who answered, as the router names it.
    closed: the answer asked to close the connection. number: its place among all requests of the load, from 0.
    """

    due: float
    seconds: float
    status: int
    variant: str
    error: str
    closed: bool
    number: int

    @property
    def failed(self) -> bool:
        """Whether this was anything but a 200."""
        return self.status != OK

    def line(self) -> str:
        """As JSON, on one line."""
        return json.dumps([round(self.due, 6), round(self.seconds, 6), *self[2:]], separators=(",", ":"))


def read_line(line: str) -> Shot:
    """The shot that `line()` gave."""
    return Shot(*json.loads(line))


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST of JSON as it goes over the wire. Headers replace ours of the same lower-case name."""
    named = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (named | dict(headers or {})).items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


def quantile(shots: Iterable[Shot], part: float) -> float:
    """Seconds that this part (0..1) of the shots did not exceed. Raises ValueError without shots."""
    seconds = sorted(shot.seconds for shot in shots)
    if not seconds:
        raise ValueError("no request was sent, so there is no quantile")
    return seconds[min(len(seconds) - 1, int(part * len(seconds)))]


def failures(shots: Iterable[Shot]) -> list[str]:
    """A line for each shot that failed: when, after how long, and how."""
    return [
        f"#{shot.number} due {shot.due:.3f} after {shot.seconds:.3f} s: {shot.status or 'no answer'} "
        f"{shot.variant or '-'} {shot.error}"
        for shot in shots
        if shot.failed
    ]
