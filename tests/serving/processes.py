"""Real processes on loopback, and a plain HTTP client to talk to them."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from plumbline_contract.routes import SERVING_VARIABLE, ServingSettings
from tests.serving.bucket import CREDENTIALS

START_SECONDS = 60.0  # two busy cores: importing ONNX Runtime alone can take seconds
POLL_SECONDS = 0.02
T = TypeVar("T")
Body = bytes | Iterable[bytes] | None  # pieces are sent chunked


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(fact: Callable[[], T], what: str, seconds: float = START_SECONDS) -> T:
    """The first true answer of `fact`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One keep-alive connection."""

    def __init__(self, port: int, timeout: float = 30.0, host: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def ask(self, method: str, path: str, body: Body = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request and its whole answer."""
        self._connection.request(method, path, body, dict(headers or {}))
        found = self._connection.getresponse()
        names = {name.lower(): value for name, value in found.getheaders()}
        return Answer(found.status, names, found.read())

    def infer(self, document: Any, model: str = "fraud", headers: Mapping[str, str] | None = None) -> Answer:
        """POST an inference request; bytes are sent as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        given = {"content-type": "application/json"} | dict(headers or {})
        return self.ask("POST", f"/v2/models/{model}/infer", body, given)

    def close(self) -> None:
        self._connection.close()


def ask(
    port: int,
    method: str,
    path: str,
    body: Body = None,
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Answer:
    """One request on a connection of its own."""
    caller = Caller(port, host=host)
    try:
        return caller.ask(method, path, body, headers)
    finally:
        caller.close()


def answers(port: int, path: str, status: int = 200, host: str = "127.0.0.1") -> bool:
    """Whether GET `path` gives this status just now; False while nobody listens."""
    try:
        return ask(port, "GET", path, host=host).status == status
    except (OSError, http.client.HTTPException):
        return False


def rows(*values: Sequence[float]) -> dict[str, Any]:
    """An inference request of the three-column test models."""
    return {
        "inputs": [
            {
                "name": "X",
                "datatype": "FP32",
                "shape": [len(values), 3],
                "data": [number for row in values for number in row],
            }
        ]
    }


class Process:
    """A started process whose output goes to a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self.output = output
        with output.open("ab") as sink:
            self._popen = subprocess.Popen(
                list(command), env={**os.environ, **environment}, stdout=sink, stderr=subprocess.STDOUT
            )
        self.pid = self._popen.pid

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        return self._popen.wait(seconds)

    def stop(self) -> None:
        """End it, orderly when possible."""
        if self.ended() is None:
            self.send(signal.SIGTERM)
            try:
                self.wait(25.0)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self.wait()


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: Process
    port: int
    host: str = "127.0.0.1"

    def caller(self) -> Caller:
        return Caller(self.port, host=self.host)


def start_serving(
    settings: ServingSettings,
    folder: Path,
    *options: str,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Served:
    """Start a server and return at once."""
    chosen = port or free_port()
    process = Process(
        [sys.executable, "-m", "plumbline_serving", "--host", "127.0.0.1", "--port", str(chosen), *options],
        {SERVING_VARIABLE: settings.canonical().decode(), **CREDENTIALS, **(environment or {})},
        folder / f"serving-{chosen}-{time.monotonic_ns()}.log",
    )
    return Served(process, chosen)


@contextlib.contextmanager
def serving(
    settings: ServingSettings, folder: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """A server that is ready; ended with SIGTERM afterwards."""
    served = start_serving(settings, folder, "--drain-seconds", "0.2", *options, environment=environment)
    try:
        until(lambda: ready(served), f"server ready; its output: {served.process.output}")
        yield served
    finally:
        served.process.stop()


def ready(served: Served) -> bool:
    """Whether the server is ready; fails when it has ended."""
    assert served.process.ended() is None, f"the server ended: {served.process.text()}"
    return answers(served.port, "/v2/health/ready", host=served.host)
