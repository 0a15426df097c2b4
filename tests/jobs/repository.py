"""A real git repository, served by real git and by plain HTTP on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DEADLINE = 20  # seconds in which a server of a test must answer

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


class Repository:
    """A repository with a history; `served` is the folder that servers show."""

    def __init__(self, folder: Path) -> None:
        self.served = folder / "served"
        self.work = folder / "work"
        self.served.mkdir()
        self._git("init", "-q", "-b", "main", str(self.work), at=folder)

    def commit(self, files: dict[str, str], message: str = "change") -> str:
        """Adds files and commits them; the commit's hash."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._git("add", "-A", at=self.work)
        self._git("commit", "-q", "-m", message, at=self.work)
        return self._git("rev-parse", "HEAD", at=self.work).strip()

    def publish(self, name: str = "code.git") -> None:
        """Copies the repository to where servers see it."""
        target = self.served / name
        self._git("clone", "-q", "--bare", str(self.work), str(target), at=self.served)
        self._git("update-server-info", at=target)

    def _git(self, *arguments: str, at: Path) -> str:
        done = subprocess.run(("git", *arguments), cwd=at, env=_ENVIRONMENT, check=True, capture_output=True, text=True)
        return done.stdout


@contextmanager
def git_daemon(folder: Path) -> Iterator[str]:
    """The URL of a git server that shows every repository in a folder."""
    port = _free_port()
    command = ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all"]
    # Its own process group: the daemon that listens is a child of the command.
    with subprocess.Popen(
        [*command, "--informative-errors", f"--base-path={folder}", str(folder)],
        env=_ENVIRONMENT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            _wait_for(port)
            yield f"git://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)


@contextmanager
def plain_http(folder: Path) -> Iterator[str]:
    """The URL of a web server that shows files, and knows nothing of git."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with _serving(partial(Quiet, directory=str(folder))) as url:
        yield url


@contextmanager
def answering(status: int, location: str = "") -> Iterator[tuple[str, list[str]]]:
    """The URL of a web server that answers everything alike, and the paths it was asked for."""
    asked: list[str] = []

    class Alike(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="code"')
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_PUT = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with _serving(Alike) as url:
        yield url, asked


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler] | partial[SimpleHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
