"""The git repository with the example's training code, made the same way every time so that its commit is known."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path("examples/flights/training")
WHEN = "2014-01-01T00:00:00+00:00"
WHO = {"NAME": "flights", "EMAIL": "flights@example.com"}


def make(folder: Path) -> str:
    """Fill `folder` with a bare repository `training.git`; returns its one commit (40 hex digits)."""
    work, bare = folder / "work", folder / "training.git"
    shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    for path in sorted(p for p in SOURCE.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        target = work / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o644)
    _git(work, "init", "--quiet", "--initial-branch=main")
    _git(work, "add", "--all")
    _git(work, "commit", "--quiet", "--no-gpg-sign", "--message=Train a model of late arrivals")
    _git(folder, "clone", "--quiet", "--bare", str(work), str(bare))
    commit = _git(work, "rev-parse", "HEAD").strip()
    shutil.rmtree(work)
    return commit


def _git(folder: Path, *arguments: str) -> str:
    """A git command with a fixed author and time, blind to the machine's own configuration."""
    stamps = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in WHO.items()}
    dates = {"GIT_AUTHOR_DATE": WHEN, "GIT_COMMITTER_DATE": WHEN}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-c", "core.autocrlf=false", "-c", "core.fileMode=false", *arguments]
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, env=os.environ | stamps | dates | quiet
    )
    return done.stdout
