"""Stores generated files, and shows how what lies on disk differs from what the code says."""

import difflib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

DIFF_LINES = 60  # enough to see what it is about; `make generate` shows the rest


def store(root: Path, folders: Iterable[Path], wanted: Mapping[Path, str], pattern: str) -> int:
    """Write the files and remove generated ones that are wanted no more; returns 0."""
    for stale in _stale(root, folders, wanted, pattern):
        (root / stale).unlink()
        sys.stdout.write(f"removed {stale}\n")
    for path, text in wanted.items():
        target = root / path
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            sys.stdout.write(f"wrote {path}\n")
    return 0


def difference(root: Path, folders: Iterable[Path], wanted: Mapping[Path, str], pattern: str) -> int:
    """Print how the files on disk differ; returns 1 when they do, 0 when they do not."""
    lines: list[str] = [
        f"{stale} is generated from nothing any more" for stale in _stale(root, folders, wanted, pattern)
    ]
    for path, text in wanted.items():
        target = root / path
        found = target.read_text() if target.exists() else ""
        lines += difflib.unified_diff(
            found.splitlines(), text.splitlines(), f"{path} (on disk)", f"{path} (from the code)", lineterm="", n=1
        )
    if not lines:
        return 0
    shown = "\n".join(lines[:DIFF_LINES])
    sys.stderr.write(f"{shown}\nGenerated files are not what the code says. Run `make generate` and commit.\n")
    return 1


def _stale(root: Path, folders: Iterable[Path], wanted: Mapping[Path, str], pattern: str) -> list[Path]:
    return [
        found.relative_to(root)
        for folder in folders
        for found in sorted((root / folder).glob(pattern))
        if found.relative_to(root) not in wanted and "enerated from" in found.read_text()[:200]
    ]
