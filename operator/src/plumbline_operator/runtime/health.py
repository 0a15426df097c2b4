"""The operator's own port: /healthz, /readyz and /metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from plumbline_operator.runtime.metrics import Metrics

Trouble = Callable[[], str]
"""Why the process is not well, or nothing."""


@dataclass(slots=True)
class HealthServer:
    """Answers probes and scrapes. `sick` proves that the watches are alive; `unready` that work can be done."""

    metrics: Metrics
    sick: Trouble
    unready: Trouble
    port: int
    host: str = "0.0.0.0"
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to answer."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._readiness),
                web.get("/metrics", self._scrape),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()

    async def stop(self) -> None:
        """No longer answer."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return _probe(self.sick())

    async def _readiness(self, request: web.Request) -> web.Response:
        return _probe(self.unready())

    async def _scrape(self, request: web.Request) -> web.Response:
        """All metrics, or only the samples that `name[]` asks for: conditions of thousands of objects take a while."""
        names, registry = request.query.getall("name[]", []), self.metrics.registry
        text = generate_latest(registry.restricted_registry(names) if names else registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _probe(trouble: str) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=trouble or "ok")
