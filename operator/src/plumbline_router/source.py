"""The routes ConfigMap, watched through the API: every document it holds, as soon as it holds it.

A mounted ConfigMap would arrive a minute late, and an incident does not wait a minute.
"""

import asyncio
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from plumbline_contract.routes import ROUTES_KEY
from plumbline_router.settings import Settings

logger = logging.getLogger(__name__)

WATCH_SECONDS = 240  # the server ends a watch after this; the API server's own limit is five minutes or more
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = WATCH_SECONDS + 30.0  # a watch that says nothing for longer is dead
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.2, 10.0
LINE_LIMIT = 4 * 1024 * 1024  # a watch event is one line; an object is at most 1.5 MiB in etcd


class WatchBroken(Exception):
    """The watch ended with trouble; begin again."""


class RoutesSource:
    """Reads one ConfigMap: GET, then watch, and again from GET after anything unusual."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._collection = f"{settings.api}/api/v1/namespaces/{settings.namespace}/configmaps"
        self.connected = False

    async def documents(self) -> AsyncIterator[str]:
        """Every routes document that the ConfigMap holds, forever. Trouble is waited out with growing pauses."""
        pause = BACKOFF_SECONDS
        async with self._session() as session:
            while True:
                try:
                    async for text in self._once(session):
                        pause = BACKOFF_SECONDS
                        yield text
                except (aiohttp.ClientError, TimeoutError, OSError, WatchBroken) as exc:
                    self.connected = False
                    logger.warning("routes ConfigMap %s: %s; again in %.1f s", self._named, _told(exc), pause)
                    await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                    pause = min(pause * 2, MAX_BACKOFF_SECONDS)

    @property
    def _named(self) -> str:
        return f"{self._settings.namespace}/{self._settings.name}"

    def _session(self) -> aiohttp.ClientSession:
        context: ssl.SSLContext | bool = True
        if self._settings.ca_file is not None:
            context = ssl.create_default_context(cafile=str(self._settings.ca_file))
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS),
            read_bufsize=LINE_LIMIT,
        )

    def _headers(self) -> dict[str, str]:
        """The pod's token, read each time because the kubelet renews the file."""
        try:
            token = self._settings.token_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return {}
        return {"Authorization": f"Bearer {token}"}

    async def _once(self, session: aiohttp.ClientSession) -> AsyncIterator[str]:
        """One GET, and a watch that begins with the object as it is then, until the watch ends."""
        last = routes_in(await self._get(session))
        self.connected = True
        if last is not None:
            yield last
        async for event in self._watch(session):
            if event["type"] in ("ADDED", "MODIFIED") and (text := routes_in(event["object"])) not in (None, last):
                last = text
                yield text

    async def _get(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        url = f"{self._collection}/{self._settings.name}"
        timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS * 2)
        async with session.get(url, headers=self._headers(), timeout=timeout) as answer:
            if answer.status != 200:
                raise WatchBroken(f"GET answered {answer.status}: {(await answer.text())[:200]}")
            found: dict[str, Any] = await answer.json(content_type=None)
            return found

    async def _watch(self, session: aiohttp.ClientSession) -> AsyncIterator[dict[str, Any]]:
        # From no resourceVersion: an object that was last written before the API server started has one that is too
        # old to watch from, again and again until somebody writes it.
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._settings.name}",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with session.get(self._collection, params=query, headers=self._headers()) as answer:
            if answer.status != 200:
                raise WatchBroken(f"watch answered {answer.status}: {(await answer.text())[:200]}")
            async for line in answer.content:
                event = _event(line)
                if event["type"] == "ERROR":
                    raise WatchBroken(f"watch says {event['object'].get('message', event['object'])}")
                yield event


def _event(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as exc:
        raise WatchBroken(f"a watch event of {len(line)} bytes is not JSON") from exc
    return event


def routes_in(config_map: dict[str, Any]) -> str | None:
    """The routes document in a ConfigMap; None, with a line in the log, when it has none."""
    text: str | None = (config_map.get("data") or {}).get(ROUTES_KEY)
    if text is None:
        logger.warning("the routes ConfigMap has no data[%r]; the routes in force stay", ROUTES_KEY)
    return text


def _told(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
