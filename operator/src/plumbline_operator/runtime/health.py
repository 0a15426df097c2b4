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
                web.get("/healthz", lambda request: _probe(self.sick)),
                web.get("/readyz", lambda request: _probe(self.unready)),
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

    async def _scrape(self, request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )


async def _probe(trouble: Trouble) -> web.Response:
    text = trouble()
    return web.Response(status=503 if text else 200, text=text or "ok")
