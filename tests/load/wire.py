"""A keep-alive HTTP/1.1 connection that carries one request at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

from plumbline_contract.routes import VARIANT_HEADER

VARIANT = VARIANT_HEADER.lower().encode()
KEPT_BYTES = 200  # of a refusal's body, for the report


class ConnectionLost(Exception):
    """The other side closed or reset the connection before its answer was whole."""


@dataclass(slots=True)
class Answer:
    """What came back; `text` is the beginning of the body of anything but a 200."""

    status: int = 0
    variant: str = ""
    text: bytes = b""
    closes: bool = False


class Connection(asyncio.Protocol):
    """One connection. `ask` must not be called again before its answer has come."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer = Answer()
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request; its whole answer later, or ConnectionLost."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._answer = Answer()
        if self._transport is None or self._transport.is_closing():
            self._waiting.set_exception(ConnectionLost("closed before the request was sent"))
        else:
            self._transport.write(request)
        return self._waiting

    def abort(self) -> None:
        """Drop the connection with whatever is on its way."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionLost(repr(exc) if exc else "closed in the middle"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(ConnectionLost(f"not HTTP: {exc}"))
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == VARIANT:
            self._answer.variant = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != 200 and len(self._answer.text) < KEPT_BYTES:
            self._answer.text += body[:KEPT_BYTES]

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._answer.closes = not self._parser.should_keep_alive()
        if self._answer.closes and self._transport is not None:
            self._transport.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)
