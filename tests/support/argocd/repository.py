"""A Git repository on loopback, served by Git's own daemon, and its one branch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from plumbline_operator.model.meta import Manifest
from tests.support.cluster import Cluster, processes
from tests.support.cluster.addons import LOOPBACK, listens
from tests.support.cluster.progress import run, wait_until

DAEMON = Path("/usr/lib/git-core/git-daemon")
PERSON = {"NAME": "Carol", "EMAIL": "carol@example.com"}
SECONDS = 20


class Repository:
    """Files under version control: name → manifests. Every change is one commit, at once to be had by others."""

    def __init__(self, cluster: Cluster, name: str = "platform") -> None:
        self.cluster = cluster
        self.place = cluster.layout.data / "git" / name
        self.url = f"git://{LOOPBACK}:{cluster.record.port('git')}/{name}"
        self.place.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def serve(self) -> None:
        """Start the daemon and wait for it."""
        layout, port = self.cluster.layout, self.cluster.record.port("git")
        command: list[str | Path] = [DAEMON, "--export-all", "--reuseaddr", f"--listen={LOOPBACK}", f"--port={port}"]
        command += [f"--base-path={self.place.parent}", self.place]
        processes.start(layout.pid_file("git"), layout.log("git"), command)
        wait_until("the git daemon listens", lambda: listens(port), seconds=SECONDS)

    def commit(self, message: str, files: Mapping[str, str | list[Manifest]]) -> str:
        """Write these files, as text or manifests, and commit; the commit's digest."""
        for name, content in files.items():
            text = content if isinstance(content, str) else yaml.safe_dump_all(content, sort_keys=False)
            (self.place / name).write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        return self.head()

    def revert(self) -> str:
        """Undo the last commit by another one; the digest of that."""
        self._git("revert", "--no-edit", "HEAD")
        return self.head()

    def head(self) -> str:
        """The digest of the last commit."""
        return self._git("rev-parse", "HEAD").strip()

    def objects(self) -> list[Manifest]:
        """Every manifest of the last commit."""
        names = self._git("ls-tree", "--name-only", "HEAD").split()
        texts = (self._git("show", f"HEAD:{name}") for name in names)
        return [one for text in texts for one in yaml.safe_load_all(text) if one]

    def _git(self, *arguments: str) -> str:
        people = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in PERSON.items()}
        # Nothing of the machine's own settings: hooks, signing, default branches.
        env = {**os.environ, **people, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return run(["git", "-C", self.place, *arguments], env=env)
