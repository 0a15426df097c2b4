"""The agent's own pages, on the measure port.

/healthz   this process and Envoy are alive
/ready     and routes are in force, and the pod is not draining
/measured  the contract's Measured document
/metrics   Envoy's and the agent's, for Prometheus
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from plumbline_router.applier import Applier
from plumbline_router.envoy import Admin
from plumbline_router.errors import NoEnvoy
from plumbline_router.measure import Meter
from plumbline_router.settings import Settings


class Counters:
    """The agent's own metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.applied = Counter(
            "plumbline_router_routes_applied", "Routes documents put in force.", registry=self.registry
        )
        self.refused = Counter(
            "plumbline_router_routes_refused", "Routes documents refused; the old ones stayed.", registry=self.registry
        )
        self.generation = Gauge(
            "plumbline_router_routes_generation", "Generation of the routes in force.", registry=self.registry
        )
        self.watching = Gauge(
            "plumbline_router_api_connected", "1 while the routes ConfigMap is watched.", registry=self.registry
        )


class Pages:
    """Answers the kubelet, the operator and Prometheus."""

    def __init__(self, settings: Settings, applier: Applier, admin: Admin, meter: Meter, counters: Counters) -> None:
        self._settings, self._applier, self._admin = settings, applier, admin
        self._meter, self.counters = meter, counters
        self.draining = False
        self.is_watching: Callable[[], bool] = lambda: False

    def application(self) -> web.Application:
        """The pages as an aiohttp application."""
        pages: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "/healthz": self._alive,
            "/ready": self._ready,
            "/measured": self._measured,
            "/metrics": self._metrics,
        }
        application = web.Application()
        application.add_routes([web.get(path, page) for path, page in pages.items()])
        return application

    async def _alive(self, _: web.Request) -> web.Response:
        live = await self._admin.live() or self.draining  # a draining Envoy is not LIVE, and is not ill
        return web.Response(text="ok\n") if live else web.Response(status=503, text="Envoy is not live\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self.draining:
            return web.Response(status=503, text="draining\n")
        if self._applier.in_force is None:
            return web.Response(status=503, text="no routes yet\n")
        if not await self._admin.live():
            return web.Response(status=503, text="Envoy is not live\n")
        return web.Response(text=f"routes {self._applier.in_force.generation}\n")

    async def _measured(self, _: web.Request) -> web.Response:
        try:
            await self._meter.read(self._admin)
        except NoEnvoy as exc:
            return web.Response(status=503, text=f"{exc}\n")
        document = self._meter.measured(self._settings.pod, self._applier.in_force)
        return web.Response(body=document.canonical(), content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        self.counters.watching.set(float(self.is_watching()))
        own = generate_latest(self.counters.registry)
        try:
            envoys = (await self._admin.text("/stats/prometheus", usedonly="")).encode()
        except NoEnvoy:
            envoys = b""  # our own metrics still say that the agent lives
        return web.Response(body=own + envoys, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})
