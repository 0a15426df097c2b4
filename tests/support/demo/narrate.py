"""What the demo prints: stages with their times, progress inside a stage, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_begun = time.monotonic()


def say(text: str) -> None:
    """One line, stamped with the seconds since the demo began."""
    print(f"[{time.monotonic() - _begun:6.1f}s] {text}", flush=True)


@contextmanager
def stage(title: str) -> Iterator[None]:
    """A named stage; its time is printed when it ends, and its name when it fails."""
    say(f"▶ {title}")
    started = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"✗ {title} failed after {time.monotonic() - started:.1f} s")
        raise
    say(f"✓ {title} ({time.monotonic() - started:.1f} s)")


def table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, aligned, as text."""
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value}" for name, value in rows]
    return "\n".join([title, "-" * len(title), *lines])
