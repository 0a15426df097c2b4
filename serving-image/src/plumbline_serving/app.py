"""The Open Inference Protocol v2 over HTTP: an ASGI application without a framework.

GET  /v2/health/live   /v2/health/ready   /v2   /metrics
GET  /v2/models/<name>   /v2/models/<name>/ready          also below /v2/models/<name>/versions/<digest>
POST /v2/models/<name>/infer
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import orjson

from plumbline_contract.routes import VARIANT_HEADER, ServingSettings
from plumbline_serving.errors import BadRequest
from plumbline_serving.infer import Inference, Prediction
from plumbline_serving.line import Line
from plumbline_serving.metrics import Metrics

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES = 16 * 1024 * 1024  # some 20,000 rows of 40 features as JSON; the router's limit is the same
BODY_SECONDS = 30.0  # for a caller to send its body; 16 MiB in that time is 4 Mbit/s
JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
PLATFORM = "onnx_onnxv1"  # the protocol's name for ONNX models


_PLAIN = frozenset({b"inference-header-content-length", b"content-encoding"})  # headers that make a body not plain


class Reply(NamedTuple):
    """An answer: status, JSON body, and headers beside content type and length."""

    status: int
    body: bytes
    headers: Headers


class CallerLeft(Exception):
    """The caller disconnected before its body was complete; there is nobody to answer."""


class Overloaded(Exception):
    """There is no memory for what is still to come of this body."""


class Turn:
    """An inference request whose headers passed `check`, in the line. `tell` is called once, with its answer."""

    __slots__ = ("_app", "_prediction", "_reply", "_tell", "size")

    def __init__(self, app: "App", headers: dict[bytes, bytes], body: bytes, tell: Callable[[Reply], None]) -> None:
        self._app, self._prediction, self.size = app, Prediction(headers, body), len(body)
        self._tell: Callable[[Reply], None] | None = tell
        self._reply: Reply | None = None

    def leave(self) -> None:
        """Nobody waits for the answer any more, so there will be none."""
        self._tell = None

    def read(self) -> None:
        """The line's first step."""
        self._step(self._app.inference.read)

    def compute(self) -> None:
        """The second."""
        self._step(self._app.inference.compute)

    def answer(self) -> None:
        """The third."""
        self._step(self._app.answer)

    def send(self) -> bool:
        """The last."""
        reply, tell = self._reply, self._tell
        if tell is None or reply is None:
            return False
        self._tell = None
        tell(reply)
        return reply.status == 200

    def _step(self, step: Callable[[Prediction], Reply | None]) -> None:
        """One step, unless an earlier one has ended in a refusal, or the caller has left."""
        if self._tell is None or self._reply is not None:
            return
        try:
            self._reply = step(self._prediction)
        except BadRequest as exc:
            self._reply = self._app.refused(exc)
        # The boundary of one request: whatever a defect of ours raises must not end other callers' connections.
        except Exception:
            logger.exception("a defect of the server")
            self._reply = Reply(500, error("the server has a defect; its log says more"), [CLOSE])


class App:
    """Answers the protocol for one model. `draining` turns readiness off and closes connections after an answer."""

    def __init__(
        self,
        settings: ServingSettings,
        inference: Inference,
        metrics: Metrics,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.inference, self.metrics, self.max_body_bytes = inference, metrics, max_body_bytes
        self._variant = (VARIANT_HEADER.encode(), settings.variant.encode())
        self.line = Line()
        self.draining = False
        model = f"/v2/models/{settings.model_name}"
        version = f"{model}/versions/{inference.model.manifest}"
        self.infer_paths = frozenset({f"{model}/infer", f"{version}/infer"})
        self.infer_urls = frozenset(path.encode() for path in self.infer_paths)
        self._pages: dict[str, Callable[[], tuple[int, bytes]]] = {
            "/v2": self._server,
            "/v2/health/live": lambda: (200, b'{"live":true}'),
            "/v2/health/ready": self._ready,
            model: self._model,
            version: self._model,
            f"{model}/ready": self._ready,
            f"{version}/ready": self._ready,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        path = scope["path"]
        if path in self.infer_paths and scope["method"] == "POST":
            await self._infer(scope, receive, send)
        else:
            await self._page(path, scope["method"], send)

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        held: list[bytes] = []
        try:
            reply = await self._reply(dict(scope["headers"]), receive, held)
        except CallerLeft:
            return
        finally:
            self.line.bytes -= sum(map(len, held))
        await respond(send, reply.status, reply.body, JSON, reply.headers)
        self.metrics.answered(reply.status, time.perf_counter() - started)

    async def _reply(self, headers: dict[bytes, bytes], receive: Receive, held: list[bytes]) -> Reply:
        """The answer in its turn, or why there is none. `held`: what is in memory of the body. Raises CallerLeft."""
        try:
            self.check(headers)
        except BadRequest as exc:
            # Who asked whether to go on does not send this body; the next request would be taken for it.
            return closing(self.refused(exc))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(receive, held)
        except BadRequest as exc:
            return self.refused(exc)
        except TimeoutError:
            return self.refused(too_slow())
        except Overloaded:
            return self.overloaded(close=True)
        if self.line.full():
            return self.overloaded()
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def tell(answer: Reply) -> None:
            if not reply.done():  # it is when uvicorn has just ended this task
                reply.set_result(answer)

        turn = Turn(self, headers, body, tell)
        self.line.join(turn, asyncio.get_running_loop())
        try:
            return await reply
        finally:
            turn.leave()

    def answer(self, prediction: Prediction) -> Reply:
        """The answer of the model."""
        data, named = self.inference.answer(prediction)
        if self.draining:
            named.append(CLOSE)
        return Reply(200, data, named)

    def refused(self, exc: BadRequest) -> Reply:
        """The answer to a request that is wrong."""
        named = [self._variant]
        if exc.status in (408, 413) or self.draining:
            named.append(CLOSE)
        return Reply(exc.status, error(exc.message), named)

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Raise BadRequest for a body this server would misread, or that is too large by its own account."""
        if headers.get(b"content-type") != b"application/json" or not _PLAIN.isdisjoint(headers):
            check_content(headers)
        declared = headers.get(b"content-length", b"0")
        if len(declared) > 18 or int(declared) > self.max_body_bytes:
            raise self.too_large()

    async def _body(self, receive: Receive, held: list[bytes]) -> bytes:
        """The whole body, which then is what is held. Raises BadRequest (it is too large), Overloaded, CallerLeft."""
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise CallerLeft
            held.append(message["body"])
            size += len(held[-1])
            self.line.bytes += len(held[-1])
            if size > self.max_body_bytes:
                raise self.too_large()
            if self.line.heavy:
                raise Overloaded
            more = message["more_body"]
        held[:] = [b"".join(held)]
        return held[0]

    def overloaded(self, close: bool = False) -> Reply:
        """The answer to a request that would wait too long for its turn. `close`: its body is not whole."""
        named = [self._variant, (b"retry-after", b"1"), *([CLOSE] if close or self.draining else [])]
        return Reply(503, error("the server has more requests than it can answer in time; ask again later"), named)

    def too_large(self) -> BadRequest:
        """The refusal of a body over the limit."""
        return BadRequest(f"the body is larger than {self.max_body_bytes} bytes; send fewer rows per request", 413)

    async def _page(self, path: str, method: str, send: Send) -> None:
        if path in self.infer_paths:
            await respond(send, 405, error("infer takes POST"), JSON, [(b"allow", b"POST")])
        elif path == "/metrics":
            await respond(send, 200, self.metrics.text(), TEXT, [])
        elif path not in self._pages:
            await respond(send, 404, error(f"nothing is served at {path[:200]}; this server has {self._known()}"), JSON)
        elif method not in ("GET", "HEAD"):
            await respond(send, 405, error(f"{path} takes GET"), JSON, [(b"allow", b"GET, HEAD")])
        else:
            status, body = self._pages[path]()
            await respond(send, status, body, JSON, [CLOSE] if self.draining else [])

    def _known(self) -> str:
        return ", ".join(sorted({*self._pages, *self.infer_paths, "/metrics"}))

    def _ready(self) -> tuple[int, bytes]:
        name = self.inference.model.name
        return 503 if self.draining else 200, orjson.dumps({"name": name, "ready": not self.draining})

    def _server(self) -> tuple[int, bytes]:
        return 200, orjson.dumps({"name": "plumbline-serving", "version": "2", "extensions": []})

    def _model(self) -> tuple[int, bytes]:
        model = self.inference.model
        return 200, orjson.dumps(
            {
                "name": model.name,
                "versions": [model.manifest],
                "platform": PLATFORM,
                "inputs": [
                    {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
                    for spec in model.signature.inputs
                ],
                "outputs": [
                    {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
                    for spec in model.signature.outputs
                ],
            }
        )


def check_content(headers: dict[bytes, bytes]) -> None:
    """Raise BadRequest for a body this server would misread."""
    content = headers.get(b"content-type", b"")
    if content != b"application/json" and content.split(b";")[0].strip().lower() != b"application/json":
        named = content.decode("latin-1")[:80] or "missing"
        raise BadRequest(f"content-type is {named}; send application/json", 415 if content else 400)
    if b"inference-header-content-length" in headers:
        raise BadRequest("inference-header-content-length asks for binary tensors; send data as JSON")
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding != b"identity":
        raise BadRequest(f"content-encoding is {encoding.decode('latin-1')[:80]}; send the body uncompressed", 415)


def too_slow() -> BadRequest:
    """The refusal of a body that did not come whole."""
    return BadRequest(f"the body was not whole after {BODY_SECONDS:.0f} s; send it faster, or fewer rows", 408)


def closing(reply: Reply) -> Reply:
    """The same answer, as the last one on its connection."""
    return reply if CLOSE in reply.headers else reply._replace(headers=[*reply.headers, CLOSE])


async def respond(
    send: Send, status: int, body: bytes, content: tuple[bytes, bytes], extra: Headers | None = None
) -> None:
    """Send one complete answer."""
    headers = [content, (b"content-length", b"%d" % len(body)), *(extra or ())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error(message: str) -> bytes:
    """The protocol's error document."""
    return orjson.dumps({"error": message})
