"""The part of an API server that a router's agent talks to: one ConfigMap, read and watched."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from plumbline_contract.routes import ROUTES_KEY, Routes

NAMESPACE, NAME = "demo", "fraud-routes"
TOKEN = "agent-token"


class FakeApi:
    """An HTTP server on loopback with one ConfigMap. Every change goes to all open watches at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 100
        self._oldest = 0  # watches cannot begin before it
        self._object: dict[str, Any] | None = None
        self._watches: list[queue.Queue[bytes | None]] = []
        self.paths: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def watches(self) -> int:
        """How many watches are open."""
        with self._lock:
            return len(self._watches)

    def put(self, routes: Routes | str) -> None:
        """Store a routes document, or any text in its place."""
        text = routes if isinstance(routes, str) else routes.canonical().decode()
        with self._lock:
            kind = "ADDED" if self._object is None else "MODIFIED"
            self._version += 1
            self._object = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": NAMESPACE, "resourceVersion": str(self._version)},
                "data": {ROUTES_KEY: text},
            }
            self._send({"type": kind, "object": self._object})

    def say(self, event: dict[str, Any]) -> None:
        """Send any event to the open watches."""
        with self._lock:
            self._send(event)

    def say_raw(self, line: bytes) -> None:
        """Send any bytes to the open watches."""
        with self._lock:
            for watch in self._watches:
                watch.put(line)

    def hang_up(self) -> None:
        """End all open watches."""
        with self._lock:
            for watch in self._watches:
                watch.put(None)

    def restart(self) -> None:
        """As after a restart: all watches end, and none can begin at what was written before."""
        with self._lock:
            self._version += 1
            self._oldest = self._version
        self.hang_up()

    def close(self) -> None:
        self.hang_up()
        self._server.shutdown()
        self._server.server_close()

    def _send(self, event: dict[str, Any]) -> None:
        for watch in self._watches:
            watch.put(json.dumps(event).encode() + b"\n")

    def _handler(api: "FakeApi") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                api.paths.append(self.path)
                target = urlsplit(self.path)
                collection = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self._answer(401, {"message": "Unauthorized"})
                elif target.path == f"{collection}/{NAME}":
                    with api._lock:
                        found = api._object
                    self._answer(200, found) if found else self._answer(404, {"message": "not found"})
                elif target.path == collection and "watch" in parse_qs(target.query):
                    self._watch(parse_qs(target.query).get("resourceVersion"))
                else:
                    self._answer(403, {"message": f"forbidden: {self.path}"})

            def _is_newer(self, since: int) -> bool:
                return api._object is not None and int(api._object["metadata"]["resourceVersion"]) > since

            def _answer(self, status: int, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _watch(self, since: list[str] | None) -> None:
                """Without a version it begins with the object; one that this server has not seen is too old."""
                events: queue.Queue[bytes | None] = queue.Queue()
                with api._lock:
                    if since is not None and int(since[0]) < api._oldest:
                        status = {"kind": "Status", "code": 410, "message": "too old resource version"}
                        events.put(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                    elif api._object is not None and (since is None or self._is_newer(int(since[0]))):
                        events.put(json.dumps({"type": "ADDED", "object": api._object}).encode() + b"\n")
                    api._watches.append(events)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    while (line := events.get()) is not None:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True
                finally:
                    with api._lock:
                        api._watches.remove(events)

        return Handler
