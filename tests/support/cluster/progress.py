"""Progress lines and the running of commands with readable failures."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.support.cluster.paths import ClusterError

Value = TypeVar("Value")

SHOWN_OUTPUT_LINES = 30  # enough for a compiler's or apt's last words, short enough for a terminal


def say(text: str) -> None:
    """One progress line on standard error; standard output stays for what scripts read."""
    print(f"[cluster] {text}", file=sys.stderr, flush=True)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Says what begins, and how long it took."""
    say(f"{what} …")
    begun = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - begun:.1f} s")


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    seconds: float = 600,
    accepted: Sequence[int] = (0,),
) -> str:
    """The standard output of a command that succeeded: ended with one of ``accepted``.

    Raises ClusterError with the command and the end of its output when it fails, is absent, or takes
    longer than ``seconds``.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, input=stdin, timeout=seconds, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed or not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words)} did not end within {seconds:.0f} s") from error
    if done.returncode not in accepted:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-SHOWN_OUTPUT_LINES:])
        raise ClusterError(f"{' '.join(words)} ended with {done.returncode}:\n{tail}")
    return done.stdout


def wait_until(what: str, fact: Callable[[], Value], *, seconds: float, every: float = 0.05) -> Value:
    """The first truthy value of ``fact``, asked again and again until ``seconds`` have passed.

    Raises ClusterError that names what was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not so after {seconds:.0f} s")
        time.sleep(every)
