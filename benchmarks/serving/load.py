"""Closed-loop load from wrk on the other core: bounded in time and connections, loopback only."""

import json
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.servers import LOAD_CORE, PATH

FEATURES = 20  # of the model that make_model.py trains
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Point:
    """One way to load a server."""

    rows: int
    connections: int

    def __str__(self) -> str:
        return f"{self.rows} row{'s' * (self.rows > 1)}, c={self.connections}"


@dataclass(frozen=True)
class Measured:
    """One round of one server at one point; latencies in microseconds."""

    per_second: float
    p50: float
    p99: float


def require_wrk() -> None:
    """End with advice when the load generator is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian: apt-get install wrk")


def body(rows: int) -> bytes:
    """An inference request with this many made-up rows, the same each time."""
    numbers = random.Random(rows)
    data = [round(numbers.gauss(0, 1), 6) for _ in range(rows * FEATURES)]
    tensor = {"name": "X", "shape": [rows, FEATURES], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def script(rows: int, folder: Path) -> Path:
    """A wrk script that posts `body(rows)`."""
    target = folder / f"rows-{rows}.lua"
    payload = folder / f"rows-{rows}.json"
    payload.write_bytes(body(rows))
    target.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'local file = io.open("{payload}", "rb")\nwrk.body = file:read("*a")\nfile:close()\n'
    )
    return target


def measure(port: int, point: Point, seconds: int, folder: Path) -> Measured:
    """One round. Ends the benchmark when an answer is not 200 or a connection fails."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{point.connections}", f"-d{seconds}s", "--latency"]
    url = f"http://127.0.0.1:{port}{PATH}"
    done = subprocess.run(
        [*command, "-s", str(script(point.rows, folder)), url], capture_output=True, text=True, check=True
    )
    said = done.stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"a server failed under load at {point}:\n{said}")
    return Measured(float(_found(r"Requests/sec:\s+([\d.]+)", said)[1]), _quantile(50, said), _quantile(99, said))


def _quantile(percent: int, said: str) -> float:
    found = _found(rf"(?m)^\s+{percent}%\s+([\d.]+)(us|ms|s)$", said)
    return float(found[1]) * UNITS[found[2]]


def _found(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    if found is None:
        raise SystemExit(f"wrk said something unexpected:\n{said}")
    return found
