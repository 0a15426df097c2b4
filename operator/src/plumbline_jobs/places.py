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


@contextmanager
def scratch() -> Iterator[Path]:
    """An own folder under TMPDIR, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="plumbline-") as folder:
        yield Path(folder)
