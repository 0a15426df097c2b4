"""`python -m plumbline_router.agent`: follows the routes ConfigMap, answers its pages, drains Envoy at the end.

It may be killed at any moment and begun again: Envoy goes on with the routes it has.

```
SIGTERM ──▶ /ready off, callers told to reconnect elsewhere ── drain seconds ──▶ stop listening ──▶ this ends
```
"""

import asyncio
import logging
import os
import re
import signal
import sys

from aiohttp import web

from plumbline_router.applier import Applier, read_routes
from plumbline_router.bootstrap import STAT_PREFIX, bootstrap
from plumbline_router.envoy import Admin, orders
from plumbline_router.errors import BadRoutes, NoEnvoy, NotApplied, RouterError
from plumbline_router.files import write_json
from plumbline_router.measure import Meter
from plumbline_router.pages import Counters, Pages
from plumbline_router.settings import Settings, settings_from
from plumbline_router.source import RoutesSource

RETRY_SECONDS = (0.5, 1.0, 2.0)
IDLE_POLL_SECONDS = 0.05

logger = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Follow the routes until SIGTERM or SIGINT. Raises NoEnvoy when Envoy does not come up."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Admin(settings) as admin:
        meter = Meter()
        applier = Applier(settings, admin, meter)
        applier.prepare()
        write_json(settings.bootstrap, bootstrap(settings))
        write_json(settings.orders, orders(settings))  # the last of the files: now Envoy may start
        await admin.until_live()
        await _serve(settings, applier, admin, Pages(settings, applier, admin, meter, Counters()), stop)


async def _serve(settings: Settings, applier: Applier, admin: Admin, pages: Pages, stop: asyncio.Event) -> None:
    runner = web.AppRunner(pages.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.measure_port).start()
    source = RoutesSource(settings)
    pages.is_watching = lambda: source.connected
    following = asyncio.create_task(follow(source, applier, pages.counters))
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if following in done:
            following.result()
        await drain(settings, admin, pages)
    finally:
        for task in (following, stopping):
            task.cancel()
        await runner.cleanup()


async def follow(source: RoutesSource, applier: Applier, counters: Counters) -> None:
    """Put every good routes document in force; refuse the others and keep the old routes. Runs forever."""
    async for text in source.documents():
        try:
            if await _apply(applier, text):
                counters.applied.inc()
        except (BadRoutes, NotApplied, NoEnvoy) as exc:
            counters.refused.inc()
            logger.error("routes refused: %s", exc)
        if applier.in_force is not None:
            counters.generation.set(applier.in_force.generation)


async def _apply(applier: Applier, text: str) -> bool:
    """Whether these routes were a change. An Envoy that is slow just now is asked again a few times."""
    routes = read_routes(text)
    for pause in RETRY_SECONDS:
        try:
            return await applier.apply(routes)
        except (NotApplied, NoEnvoy) as exc:
            logger.warning("routes %d not in force yet: %s", routes.generation, exc)
            await asyncio.sleep(pause)
    return await applier.apply(routes)


async def drain(settings: Settings, admin: Admin, pages: Pages) -> None:
    """Let callers leave: not ready, `connection: close` on answers, then no new connections."""
    pages.draining = True
    logger.info("draining for %.1f s", settings.drain_seconds)
    try:
        await admin.post("/healthcheck/fail")
        await asyncio.sleep(settings.drain_seconds)  # kube-proxy needs this long to stop sending new connections
        await admin.post("/drain_listeners", graceful="", skip_exit="")
        await _until_idle(admin, settings.drain_seconds)
    except NoEnvoy as exc:
        logger.warning("cannot drain: %s", exc)


async def _until_idle(admin: Admin, seconds: float) -> None:
    """Return when no request is under way, at the latest after about this long."""
    name = f"http.{STAT_PREFIX}.downstream_rq_active"
    for _ in range(round(seconds / IDLE_POLL_SECONDS)):
        if (await admin.stats(f"^{re.escape(name)}$")).get(name, 0) == 0:
            return
        await asyncio.sleep(IDLE_POLL_SECONDS)


def main() -> int:
    """Exit code 0 after an orderly end, 1 when the agent cannot run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(settings_from(os.environ)))
    except RouterError as exc:
        print(f"plumbline-router: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
