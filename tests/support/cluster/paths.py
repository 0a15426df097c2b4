"""Where the cluster tool keeps things: what was built, what runs, and what is heavy."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]


class ClusterError(RuntimeError):
    """Something the person at the keyboard can mend; the message says what, where and how."""


def cache_root() -> Path:
    """The folder of built programs and images, which survives runs. ``PLUMBLINE_CACHE`` moves it."""
    return Path(os.environ.get("PLUMBLINE_CACHE") or "~/.cache/plumbline").expanduser()


def state_root() -> Path:
    """The folder of running clusters: pid files, certificates, logs. ``PLUMBLINE_STATE`` moves it."""
    own = "/run/plumbline" if os.geteuid() == 0 else f"/tmp/plumbline-{os.geteuid()}"
    return Path(os.environ.get("PLUMBLINE_STATE") or own)


def data_root() -> Path:
    """The folder of heavy data (etcd, volumes, objects). ``PLUMBLINE_DATA`` moves it.

    Apart from the state, because /run is memory on most machines.
    """
    own = "/var/lib/plumbline" if os.geteuid() == 0 else "~/.local/share/plumbline"
    return Path(os.environ.get("PLUMBLINE_DATA") or own).expanduser()


def digest_of(parts: Iterable[bytes | str | Path], *, length: int = 16) -> str:
    """The first ``length`` hex digits of a SHA-256 over texts and files (path and content)."""
    sha = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part
        raw = content.encode() if isinstance(content, str) else content
        # The length first, so that ("ab", "c") and ("a", "bc") differ.
        sha.update(len(raw).to_bytes(8, "big"))
        sha.update(raw)
    return sha.hexdigest()[:length]


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on the file; the kernel lets go of it when the process dies.

    wait: whether to wait for another holder, or to raise BlockingIOError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the target's place only when the block ends well."""
    work = target.with_name(f"{target.name}.part-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_private(path: Path, content: str) -> Path:
    """Writes a file that only its owner may read (keys, kubeconfigs)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(content)
    return path
