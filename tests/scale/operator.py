"""The operator's real process, and what can be read of it from outside: metrics, memory, processor time, audit log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from plumbline_operator.model.meta import GROUP
from tests.support.cluster import Cluster

USER = "scale-operator"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
STOP_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Operator:
    """A running operator that watches the whole cluster."""

    process: subprocess.Popen[bytes]
    port: int
    started: float

    def total(self, name: str) -> float:
        """The sum of all samples of this name; 0 while the process does not answer yet."""
        # No more than this one: a scrape of all, several times a second, would be a good part of what is measured.
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics?name[]={name}", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            self.assert_alive()
            return 0.0
        families = text_string_to_metric_families(text)
        return sum(one.value for family in families for one in family.samples if one.name == name)

    def peak_mib(self) -> float:
        """The largest resident size so far."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def core_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def assert_alive(self) -> None:
        """Raise AssertionError when the process has ended."""
        assert self.process.poll() is None, f"the operator has ended with {self.process.returncode}"

    def stop(self) -> None:
        """End it as the kubelet does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


@contextmanager
def running(cluster: Cluster, log: Path) -> Iterator[Operator]:
    """An operator until the block ends; its log is added to `log`."""
    port = _free_port()
    images = {f"PLUMBLINE_{one}_IMAGE": f"plumbline/{one.lower()}:test" for one in ("JOBS", "SERVING", "ROUTER")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLUMBLINE_", "KUBERNETES_"))}
    settings = {
        "KUBECONFIG": str(cluster.user_kubeconfig(USER, ["system:masters"])),
        "PLUMBLINE_HEALTH_HOST": "127.0.0.1",
        "PLUMBLINE_HEALTH_PORT": str(port),
        "PLUMBLINE_LEASE_NAMESPACE": "default",
        "HOME": str(log.parent),  # as in its container: no user's files, which the HTTP client would read each time
    }
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "plumbline_operator"],
            env=inherited | images | settings,
            stdout=output,
            stderr=output,
        )
    operator = Operator(process, port, started)
    try:
        yield operator
    finally:
        operator.stop()


@dataclass(slots=True)
class Audit:
    """The operator's own requests since this was made."""

    path: Path
    offset: int = 0

    def __post_init__(self) -> None:
        """Begin at the end of the log."""
        self.offset = self.path.stat().st_size

    def requests(self) -> list[str]:
        """`verb resource/name` of every request but watches and the Lease's renewal."""
        with self.path.open() as lines:
            lines.seek(self.offset)
            entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [_told(one) for one in entries if one["user"]["username"] == USER and not _is_background(one)]

    def writes(self) -> list[str]:
        """Those that change something of ours or of our children."""
        return [one for one in self.requests() if one.partition(" ")[0] in WRITES and "reviews" not in one]


def _told(entry: dict[str, object]) -> str:
    about = entry.get("objectRef") or {}
    assert isinstance(about, dict)
    return f"{entry['verb']} {about.get('resource', '')}/{about.get('namespace', '')}/{about.get('name', '')}"


def _is_background(entry: dict[str, object]) -> bool:
    about = entry.get("objectRef") or {}
    assert isinstance(about, dict)
    return entry["verb"] == "watch" or about.get("resource") in ("leases", f"leases.{GROUP}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
