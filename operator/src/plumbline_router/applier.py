"""Puts routes in force without a moment in which a request has nowhere to go.

```
clusters of old and new ──▶ Envoy has them, warm ──▶ route table ──▶ Envoy has it ──▶ (linger) clusters of new only
```
"""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from typing import Protocol

from pydantic import ValidationError

from plumbline_contract.routes import Routes
from plumbline_router.bootstrap import ROUTE_NAME, STAT_PREFIX, Document
from plumbline_router.errors import BadRoutes, NoEnvoy, NotApplied
from plumbline_router.files import write_json
from plumbline_router.measure import Meter
from plumbline_router.render import clusters_of, discovery, route_configuration
from plumbline_router.settings import Settings

logger = logging.getLogger(__name__)

CLUSTERS_STATS, ROUTES_STATS = "cluster_manager.cds", f"http.{STAT_PREFIX}.rds.{ROUTE_NAME}"
WARMING = "cluster_manager.warming_clusters"
TAKE_SECONDS = 5.0  # for Envoy to read a file
WARM_SECONDS = 5.0  # for a new cluster's first answer from DNS and first probe; then traffic goes there anyway
POLL_SECONDS = 0.02


class Stats(Protocol):
    """Envoy's counters."""

    async def stats(self, pattern: str) -> Mapping[str, object]:
        """Counters, gauges and texts whose names match."""


def read_routes(text: str) -> Routes:
    """A routes document. Raises BadRoutes saying which field is wrong."""
    try:
        return Routes.model_validate_json(text)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BadRoutes(f"{where}: {first['msg']}; the routes in force stay") from exc


class Applier:
    """Owns the files that Envoy watches, and the routes in force."""

    def __init__(self, settings: Settings, stats: Stats, meter: Meter) -> None:
        self._settings, self._stats, self._meter = settings, stats, meter
        self._clusters: dict[str, Document] = {}
        self._life, self._writes = time.time_ns(), 0
        self._later: asyncio.Task[None] | None = None
        self.in_force: Routes | None = None

    def prepare(self) -> None:
        """Know the routes that were in force when this pod last ran, and write the files that Envoy lacks.

        Files that are there stay: Envoy may be working with them, and they may be newer than what is remembered.
        """
        self.in_force = self._remembered()
        if self.in_force is not None:
            self._clusters = clusters_of(self.in_force, self._settings.resolver)
        if not self._settings.clusters.exists():
            self._write_clusters()
        if not self._settings.routes.exists():
            self._write_routes(self.in_force)

    def _remembered(self) -> Routes | None:
        try:
            return read_routes(self._settings.state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (BadRoutes, UnicodeDecodeError) as exc:
            logger.warning("%s is not usable (%s); waiting for the API server", self._settings.state, exc)
            return None

    async def apply(self, routes: Routes) -> bool:
        """Put routes in force; whether that was a change. Raises BadRoutes for older ones, NotApplied."""
        before = self.in_force
        if before is not None and routes.generation <= before.generation:
            if routes == before:
                return False
            raise BadRoutes(
                f"generation is {routes.generation} but {before.generation} is in force; "
                "routes never go backwards, and a change needs a new generation"
            )
        wanted = clusters_of(routes, self._settings.resolver)
        self._cancel_removal()
        await self._take_clusters(self._clusters | wanted)
        version = self._write_routes(routes)
        await self._taken(ROUTES_STATS, version)
        self.in_force = routes
        write_json(self._settings.state, routes.model_dump(mode="json", exclude_none=True))
        logger.info("routes %d in force: %s", routes.generation, describe(routes))
        if set(self._clusters) != set(wanted):
            self._later = asyncio.create_task(self._remove_unused(wanted))
        return True

    async def _take_clusters(self, clusters: dict[str, Document]) -> None:
        if clusters == self._clusters:
            return
        previous, self._clusters = self._clusters, clusters
        version = self._write_clusters()
        try:
            await self._taken(CLUSTERS_STATS, version)
        except NotApplied:
            self._clusters = previous
            raise
        await self._warm()

    async def _remove_unused(self, wanted: dict[str, Document]) -> None:
        """Forget clusters that no route names any more, once their last answers are given and counted."""
        await asyncio.sleep(self._settings.linger_seconds)
        try:
            await self._meter.read(self._stats)
            self._clusters = wanted
            await self._taken(CLUSTERS_STATS, self._write_clusters())
        except (NotApplied, NoEnvoy) as exc:
            logger.warning("clusters that no route names are still there: %s; the next routes try again", exc)

    def _cancel_removal(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _write_clusters(self) -> str:
        version = self._next_version()
        write_json(
            self._settings.clusters, discovery(version, [self._clusters[name] for name in sorted(self._clusters)])
        )
        return version

    def _write_routes(self, routes: Routes | None) -> str:
        version = self._next_version()
        write_json(self._settings.routes, discovery(version, [route_configuration(routes)]))
        return version

    def _next_version(self) -> str:
        """One that Envoy has never seen, also from an agent before this one."""
        self._writes += 1
        return f"{self._life}-{self._writes}"

    async def _taken(self, prefix: str, version: str) -> None:
        """Return when Envoy says that it works with this version. Raises NotApplied when it refuses or is too slow."""
        pattern = rf"^{re.escape(prefix)}\.(version_text|update_rejected)$"
        rejected: object = None
        for _ in range(round(TAKE_SECONDS / POLL_SECONDS)):
            stats = await self._stats.stats(pattern)
            if stats.get(f"{prefix}.version_text") == version:
                return
            found = stats.get(f"{prefix}.update_rejected", 0)
            if rejected not in (None, found):
                raise NotApplied(f"Envoy refused version {version} of {prefix}; its reason is in the log above")
            rejected = found
            await asyncio.sleep(POLL_SECONDS)
        raise NotApplied(f"Envoy has not taken version {version} of {prefix} within {TAKE_SECONDS} s")

    async def _warm(self) -> None:
        """Return when every cluster had its first answer from DNS and its first probes, or has had time for them."""
        for _ in range(round(WARM_SECONDS / POLL_SECONDS)):
            if (await self._stats.stats(f"^{re.escape(WARMING)}$")).get(WARMING, 0) == 0:
                return
            await asyncio.sleep(POLL_SECONDS)
        logger.warning("a cluster is still warming after %s s; its Service may have no pods", WARM_SECONDS)


def describe(routes: Routes) -> str:
    """Routes in a line for the log."""
    shares = ", ".join(f"{backend.variant} {backend.weight} %" for backend in routes.backends)
    return shares if routes.shadow is None else f"{shares}, shadow {routes.shadow.variant} {routes.shadow.weight} %"
