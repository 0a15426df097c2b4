"""uvicorn's HTTP protocol with a short way for the one request that matters.

An inference request waits for nothing between its last byte and its answer, so it needs no task, no scope and no
event: it is answered from the parser's callback. Every other request, and an inference request that must wait for its
turn or its caller, goes uvicorn's own way to the same application:

    on_headers_complete ──▶ POST …/infer, nothing under way, caller reads ──▶ collect body ──▶ answer ──▶ one write
                        └─▶ anything else ──▶ uvicorn: task, ASGI application
"""

import asyncio
import time
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from plumbline_serving.app import CLOSE, App, Headers, Reply
from plumbline_serving.errors import BadRequest

_JSON = b"content-type: application/json\r\ncontent-length: %d\r\n"


class DirectProtocol(HttpToolsProtocol):
    """One connection to an `App`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._direct = cast(App, config.app)
        self._pieces: list[bytes] | None = None  # of the body being collected; None: the request is uvicorn's
        self._size = 0
        self._given: dict[bytes, bytes] = {}
        self._started = 0.0
        self._leaving = False  # the server stops: close after the answer under way
        self._deaf = False  # answered and closed; what still comes on this connection is nobody's

    def on_message_begin(self) -> None:
        """A request begins; its scope is made only when uvicorn gets it."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Decide who answers."""
        if self._deaf:
            return
        if (
            self.url in self._direct.infer_urls
            and self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade())
        ):
            self._begin()
            return
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope, and forgets what was read
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()

    def _begin(self) -> None:
        self._started = time.perf_counter()
        self._given = dict(self.headers)
        self._pieces, self._size = [], 0
        declared = self._given.get(b"content-length")
        if declared is not None and int(declared) > self._direct.max_body_bytes:
            self._refuse()

    def on_body(self, body: bytes) -> None:
        """Collect, up to the limit."""
        if self._pieces is None:
            if not self._deaf:
                super().on_body(body)
            return
        self._pieces.append(body)
        self._size += len(body)
        if self._size > self._direct.max_body_bytes:
            self._refuse()

    def on_message_complete(self) -> None:
        """Answer."""
        if self._pieces is None:
            if not self._deaf:
                super().on_message_complete()
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = None
        keep = self.parser.should_keep_alive() and not self._leaving
        self._write(self._reply(body), keep)
        if not self._deaf:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _reply(self, body: bytes) -> Reply:
        app = self._direct
        try:
            app.check(self._given)
            return app.infer(self._given, body)
        except BadRequest as exc:
            return app.refused(exc)

    def _refuse(self) -> None:
        """Answer a body that is too large before it is whole, and listen no longer."""
        self._pieces = None
        self._write(self._direct.refused(self._direct.too_large()), keep=False)

    def _write(self, reply: Reply, keep: bool) -> None:
        headers: Headers = reply.headers
        if not keep and CLOSE not in headers:
            headers = [*headers, CLOSE]
        lines = b"".join([b"%s: %s\r\n" % header for header in headers])
        self.transport.write(b"".join((STATUS_LINE[reply.status], _JSON % len(reply.body), lines, b"\r\n", reply.body)))
        if CLOSE in headers:
            self._deaf = True
            self.transport.close()
        self.server_state.total_requests += 1
        self._direct.metrics.answered(reply.status, time.perf_counter() - self._started)

    def shutdown(self) -> None:
        """The server stops: a request being read is still answered."""
        if self._pieces is None:
            super().shutdown()
        else:
            self._leaving = True
