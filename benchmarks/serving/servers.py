"""The servers under test, each as a process on core 0 and a port of loopback."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.environments import python_of

RIVALS = Path(__file__).parent / "rivals"
SERVER_CORE, LOAD_CORE = 0, 1
START_SECONDS = 90.0
NAME = "gbdt"
PATH = f"/v2/models/{NAME}/infer"


@dataclass(frozen=True)
class Server:
    """How to start one server. `port` is where it answers."""

    name: str
    command: tuple[str, ...]
    port: int
    environment: Mapping[str, str]


def ours(settings: str, credentials: Mapping[str, str]) -> Server:
    """Our server with everything on: validation, metrics, prediction log."""
    port = free_port()
    command = (sys.executable, "-m", "plumbline_serving", "--host", "127.0.0.1", "--port", str(port))
    return Server("plumbline", (*command, "--drain-seconds", "0"), port, {"PLUMBLINE_SERVING": settings, **credentials})


def kserve(model: Path) -> Server:
    """KServe's Python server, one worker."""
    port = free_port()
    script = str(RIVALS / "kserve_server.py")
    return Server("kserve", (str(python_of("kserve")), script, str(model), str(port), str(free_port())), port, {})


def mlserver(model: Path, folder: Path) -> Server:
    """MLServer without worker processes, its fastest way on one core."""
    port = free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,
    }
    described = {"name": NAME, "implementation": "mlserver_runtime.OnnxModel", "parameters": {"uri": str(model)}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(described))
    command = (str(python_of("mlserver").parent / "mlserver"), "start", str(folder))
    return Server("mlserver", command, port, {"PYTHONPATH": str(RIVALS)})


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(server: Server, body: bytes, output: Path) -> Iterator[tuple[int, Any]]:
    """The server's process id and its first answer to `body`; the process and its children end afterwards."""
    with output.open("ab") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *server.command],
            env={**os.environ, "OMP_NUM_THREADS": "1", **server.environment},
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process.pid, _first_answer(server, process, body, output)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _first_answer(server: Server, process: "subprocess.Popen[bytes]", body: bytes, output: Path) -> Any:
    deadline = time.monotonic() + START_SECONDS
    said = "nothing"
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request("POST", PATH, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                return json.loads(text)
            said = f"{answer.status} {text[:200]!r}"
        except OSError as exc:
            said = repr(exc)
        finally:
            connection.close()
        time.sleep(0.02)
    raise SystemExit(f"{server.name} did not answer ({said}); its output is in {output}")
