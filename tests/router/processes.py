"""Router processes with their real Envoy, on loopback."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plumbline_contract.routes import Backend, Measured, Routes
from tests.router.fake_api import NAME, NAMESPACE, TOKEN, FakeApi
from tests.serving.processes import Caller, Process, ask, free_port, until


@dataclass(frozen=True)
class Router:
    """A running router."""

    process: Process
    port: int
    measure_port: int
    folder: Path

    def caller(self) -> Caller:
        return Caller(self.port)

    def measured(self) -> Measured:
        """What it has counted."""
        answer = ask(self.measure_port, "GET", "/measured")
        assert answer.status == 200, answer.body
        return Measured.model_validate_json(answer.body)

    def in_force(self) -> int:
        """Generation of the routes in force, 0 while there are none or it does not answer."""
        try:
            answer = ask(self.measure_port, "GET", "/ready")
        except OSError:
            return 0
        return int(answer.body.split()[1]) if answer.status == 200 else 0

    def until(self, generation: int, seconds: float = 60.0) -> "Router":
        """Return when these routes are in force."""
        until(lambda: self._lives() and self.in_force() == generation, f"routes {generation} in force", seconds)
        return self

    def _lives(self) -> bool:
        assert self.process.ended() is None, f"the router ended: {self.process.text()}"
        return True


def start_router(api: str, folder: Path, **more: str) -> Router:
    """Start a router and return at once. `folder` keeps its files; a second start there finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / "token"
    token.write_text(TOKEN)
    port, measure_port = free_port(), free_port()
    environment = {
        "PLUMBLINE_ROUTES_NAMESPACE": NAMESPACE,
        "PLUMBLINE_ROUTES_NAME": NAME,
        "PLUMBLINE_API_SERVER": api,
        "PLUMBLINE_API_TOKEN": str(token),
        "PLUMBLINE_ROUTER_DIR": str(folder / "router"),
        "PLUMBLINE_ROUTER_HOST": "127.0.0.1",
        "PLUMBLINE_ROUTER_PORT": str(port),
        "PLUMBLINE_MEASURE_PORT": str(measure_port),
        "PLUMBLINE_DRAIN_SECONDS": "0.5",
        "HOSTNAME": "router-0",
    } | more
    process = Process([sys.executable, "-m", "plumbline_router"], environment, folder / "router.log")
    return Router(process, port, measure_port, folder / "router")


@contextlib.contextmanager
def routing(api: FakeApi, folder: Path, routes: Routes, **more: str) -> Iterator[Router]:
    """A router with these routes in force."""
    api.put(routes)
    router = start_router(api.url, folder, **more)
    try:
        yield router.until(routes.generation)
    finally:
        router.process.stop()


def backend(variant: str, port: int, weight: int, host: str = "127.0.0.1") -> Backend:
    """A variant on loopback."""
    return Backend(variant=variant, host=host, port=port, weight=weight)


def routes(generation: int, *backends: Backend, shadow: Backend | None = None) -> Routes:
    """A routes document of the test deployment."""
    return Routes(generation=generation, deployment="fraud", backends=backends, shadow=shadow)
