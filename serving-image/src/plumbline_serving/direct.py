"""uvicorn's HTTP protocol with a short way for the one request that matters.

An inference request waits for nothing but its turn between its last byte and its answer, so it needs no task, no scope
and no event. Every other request, and an inference request on a connection with another one under way or with a caller
who does not read, goes uvicorn's own way to the same application, where it meets the same limits and the same line:

    on_headers_complete ──▶ POST …/infer, nothing under way, caller reads ──▶ collect body ──▶ line ──▶ one write
                        └─▶ anything else ──▶ uvicorn: task, ASGI application
"""

import asyncio
import time
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from plumbline_serving.app import BODY_SECONDS, CLOSE, App, Reply, Turn, closing, too_slow
from plumbline_serving.errors import BadRequest
from plumbline_serving.line import in_steps

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
        self._line = self._direct.line
        self._pieces: list[bytes] | None = None  # of the body being collected; None: the request is uvicorn's
        self._turn: Turn | None = None  # of the request that waits for it
        self._keep = False  # the connection, after the answer to that one
        self._size = 0  # of the body held, whole or not
        self._patience: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._finished = 0  # answers, of which the timer above remembers how many there were
        self._given: dict[bytes, bytes] = {}
        self._started = 0.0
        self._leaving = False  # the server stops: close after the answer under way
        self._deaf = False  # answered and closed; what still comes on this connection is nobody's

    def data_received(self, data: bytes) -> None:
        """Read on; a body that does not come whole at once must come soon."""
        super().data_received(data)
        if self._pieces is not None and self._patience is None:
            self._patience = self.loop.call_later(BODY_SECONDS, self._lose_patience)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio lets it, uvicorn's own returns nothing
        """A caller who says no more still gets the answer for which it waits."""
        self._keep = False
        return self._turn is not None

    def on_message_begin(self) -> None:
        """A request begins; its scope is made only when uvicorn gets it."""
        if self._turn is not None:
            in_steps([self._turn])  # the caller did not wait for it; answers keep the order of the requests
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
        self._pieces = []
        declared = self._given.get(b"content-length")
        if declared is not None and int(declared) > self._direct.max_body_bytes:
            self._refuse(self._direct.refused(self._direct.too_large()))

    def on_body(self, body: bytes) -> None:
        """Collect, up to the limit."""
        if self._pieces is None:
            if not self._deaf:
                super().on_body(body)
            return
        self._pieces.append(body)
        self._size += len(body)
        self._line.bytes += len(body)
        if self._size > self._direct.max_body_bytes:
            self._refuse(self._direct.refused(self._direct.too_large()))
        elif self._line.heavy:
            self._refuse(self._direct.overloaded())

    def on_message_complete(self) -> None:
        """Wait for a turn, or be refused at once."""
        if self._pieces is None:
            if not self._deaf:
                super().on_message_complete()
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = None
        self._keep = self.parser.should_keep_alive()
        try:
            self._direct.check(self._given)
        except BadRequest as exc:
            self._finish(self._direct.refused(exc))
            return
        if self._line.full():
            self._finish(self._direct.overloaded())
            return
        self._turn = Turn(self._direct, self._given, body, self._finish)
        self._line.join(self._turn, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what this caller has sent."""
        self._pieces = None
        self._forget()
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def _finish(self, reply: Reply) -> None:
        self._forget()
        self._write(reply, self._keep and not self._leaving)
        self._finished += 1
        if self._idle is None and not self._deaf:
            self._watch()

    def _watch(self) -> None:
        """Look again after the time that a connection may be idle; a timer for each answer would cost too much."""
        self._idle = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle, self._finished)

    def _close_if_idle(self, finished: int) -> None:
        under_way = self._pieces is not None or self._turn is not None
        if under_way or finished != self._finished or not (self.cycle is None or self.cycle.response_complete):
            self._watch()
        else:
            self.timeout_keep_alive_handler()

    def _lose_patience(self) -> None:
        if self._pieces is not None:
            self._refuse(self._direct.refused(too_slow()))

    def _forget(self) -> None:
        """Let go of the body, and of the memory and the time it was given."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._turn is not None:
            self._turn.leave()
            self._turn = None
        self._line.bytes -= self._size
        self._size = 0

    def _refuse(self, reply: Reply) -> None:
        """Answer a request before its body is whole, and listen no longer."""
        self._pieces = None
        self._forget()
        self._write(reply, keep=False)

    def _write(self, reply: Reply, keep: bool) -> None:
        headers = (reply if keep else closing(reply)).headers
        lines = b"".join([b"%s: %s\r\n" % header for header in headers])
        self.transport.write(b"".join((STATUS_LINE[reply.status], _JSON % len(reply.body), lines, b"\r\n", reply.body)))
        if CLOSE in headers:
            self._deaf = True
            self.transport.close()
        self.server_state.total_requests += 1
        self._direct.metrics.answered(reply.status, time.perf_counter() - self._started)

    def shutdown(self) -> None:
        """The server stops: a request being read, or waiting for its turn, is still answered."""
        if self._pieces is None and self._turn is None:
            super().shutdown()
        else:
            self._leaving = True
