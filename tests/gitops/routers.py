"""Plays the routers of every deployment: serves the routes it is told at once, under steady traffic."""

from __future__ import annotations

import json
import os
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from plumbline_contract.routes import MEASURE_PORT, ROUTES_KEY, Measured, Routes
from plumbline_operator.build.router import ROUTER_LABEL, routes_name
from tests.support.pod_actor import made_up_address

REQUESTS = 10_000  # answered between two questions


class Routers:
    """A server on an address of loopback that is every router pod's; give `address` to the pod actor."""

    def __init__(self, kubeconfig: Path, namespace: str, deployment: str) -> None:
        self.host = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}.9"  # one for each test process
        self._api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        self._where = (routes_name(deployment), namespace)
        self._counted: dict[str, Counter[str]] = {"requests": Counter(), "mirrored": Counter()}
        self._lock = Lock()
        self._server = ThreadingHTTPServer((self.host, MEASURE_PORT), self._handler())
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
        self._api.api_client.close()

    def address(self, pod: dict[str, Any]) -> str:
        """Of a pod: this server's when it is a router."""
        return self.host if ROUTER_LABEL in pod["metadata"].get("labels", {}) else made_up_address(pod)

    def measured(self) -> Measured | None:
        """What a router pod would say now; None while there are no routes."""
        try:
            found = self._api.read_namespaced_config_map(*self._where)
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        routes = Routes.model_validate_json(found.data[ROUTES_KEY])
        with self._lock:
            for backend in routes.backends:
                self._counted["requests"][backend.variant] += REQUESTS * backend.weight // 100
            if routes.shadow is not None:
                self._counted["mirrored"][routes.shadow.variant] += REQUESTS * routes.shadow.weight // 100
            counted = {name: dict(counter) for name, counter in self._counted.items()}
        return Measured(pod="router", generation=routes.generation, **counted)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        routers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = routers.measured()
                body = (known.model_dump_json() if known else json.dumps({})).encode()
                self.send_response(200 if known else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: a line for each question would drown the test's own."""

        return Handler
