"""Folders and files on the Job's own disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plumbline_contract.runspec import TERMINATION_LOG

ROOT_VARIABLE = "PLUMBLINE_ROOT"
TERMINATION_VARIABLE = "PLUMBLINE_TERMINATION_LOG"
RECORDS = ".plumbline"  # our own folder inside in/ and out/, next to the user's files


def root() -> Path:
    """The folder that the steps of one run share."""
    return Path(os.environ.get(ROOT_VARIABLE, "/plumbline"))


def inputs() -> Path:
    """Data, parameters and seeds: written by fetch, read by train."""
    return root() / "in"


def code() -> Path:
    """The code at its commit."""
    return root() / "code"


def outputs() -> Path:
    """What train leaves."""
    return root() / "out"


def termination_log() -> Path:
    """Where the kubelet reads the Job's answer."""
    return Path(os.environ.get(TERMINATION_VARIABLE, TERMINATION_LOG))


def climbs(name: str) -> bool:
    """Whether a key or path leads out of the folder it is meant to be in, for whoever resolves it."""
    segments = name.replace("\\", "/").split("/")
    return ".." in segments or "." in segments or "\0" in name


def is_folder_name(name: str) -> bool:
    """Whether this is the name of one folder, and no path."""
    return bool(name) and not climbs(name) and "/" not in name and "\\" not in name


@contextmanager
def scratch() -> Iterator[Path]:
    """An own folder under TMPDIR, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="plumbline-") as folder:
        yield Path(folder)
