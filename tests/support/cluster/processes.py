"""Long-lived processes that outlive whoever started them, and can be ended by their pid file alone.

A pid file holds the boot and the kernel's own line about the process. The process's start time in it
tells a process from a later one that got the same number, so that a stale file never kills a stranger.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.paths import ClusterError
from tests.support.cluster.progress import wait_until

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START_TIME_FIELD = 19  # of what follows the program's name; proc(5) counts it as field 22 of the line

# Writes the pid file before the program begins: whatever happens to the starter, no process is without
# one. The shell's pid and start time stay the same across exec.
LAUNCHER = 'cat "$1" "/proc/$$/stat" > "$2.part" && mv "$2.part" "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True)
class Identity:
    """One process on this boot: its number and its start time, in clock ticks since boot."""

    pid: int
    started: int
    boot: str


def identity_of(pid: int) -> Identity | None:
    """Who has this number now; None when nobody has, or only a zombie does."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _parsed(BOOT_ID.read_text(), line)


def _parsed(boot: str, stat_line: str) -> Identity | None:
    # The name stands in parentheses and may hold spaces and parentheses itself.
    number, _, rest = stat_line.partition(" (")
    fields = rest.rpartition(")")[2].split()
    if len(fields) <= START_TIME_FIELD or fields[0] in ("Z", "X"):
        return None
    return Identity(int(number), int(fields[START_TIME_FIELD]), boot.strip())


def recorded(pid_file: Path) -> Identity | None:
    """Who the pid file speaks of; None when there is no file or it is not whole."""
    try:
        boot, _, line = pid_file.read_text().partition("\n")
    except FileNotFoundError:
        return None
    return _parsed(boot, line)


def is_running(pid_file: Path) -> bool:
    """Whether the very process of the pid file lives."""
    known = recorded(pid_file)
    return known is not None and identity_of(known.pid) == known


def start(
    pid_file: Path,
    log: Path,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
) -> Identity:
    """Starts a program in its own session and returns who it is.

    Its output goes to ``log`` (appended); its environment is the caller's and ``env`` over it.
    """
    words = [str(word) for word in command]
    if not os.access(words[0], os.X_OK):
        raise ClusterError(f"cannot start {words[0]}: no such program")
    for folder in (pid_file.parent, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    pid_file.unlink(missing_ok=True)
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", LAUNCHER, "sh", str(BOOT_ID), str(pid_file), *words],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            check=True,
        )
    wait_until(f"the pid file {pid_file}", pid_file.exists, seconds=10, every=0.005)
    known = recorded(pid_file)
    if known is None:
        raise ClusterError(f"the pid file {pid_file} is not readable as one")
    return known


def send(known: Identity, number: signal.Signals) -> bool:
    """Signals exactly this process; False when it is gone."""
    try:
        handle = os.pidfd_open(known.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle is held before the look, so the number cannot change hands in between.
        if identity_of(known.pid) != known:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def end(known: Identity, *, grace_seconds: float = 10) -> None:
    """Asks the process to end, insists after the grace, and returns when it is gone."""
    if not send(known, signal.SIGTERM):
        return
    deadline = time.monotonic() + grace_seconds
    while identity_of(known.pid) == known and time.monotonic() < deadline:
        time.sleep(0.02)
    if send(known, signal.SIGKILL):
        wait_until(f"the end of process {known.pid}", lambda: identity_of(known.pid) != known, seconds=20)


def stop(pid_file: Path, *, grace_seconds: float = 10) -> None:
    """Ends the process of a pid file, if it is still that process, and removes the file."""
    known = recorded(pid_file)
    if known is not None:
        end(known, grace_seconds=grace_seconds)
    pid_file.unlink(missing_ok=True)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for error messages."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"
