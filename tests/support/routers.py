"""Plays the routers of every deployment: each serves the routes it is told at once, under steady traffic."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
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

_numbers = count(1)


class Routers:
    """Servers on addresses of loopback, one for each deployment's router pods; give `address` to the pod actor."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        self._known: dict[tuple[str, str], _Router] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._known.values():
            one.close()
        self._api.api_client.close()

    def address(self, pod: dict[str, Any]) -> str:
        """Of a pod: that of a server here when it is a router."""
        deployment = pod["metadata"].get("labels", {}).get(ROUTER_LABEL)
        if deployment is None:
            return made_up_address(pod)
        place = (pod["metadata"]["namespace"], deployment)
        if place not in self._known:
            self._known[place] = _Router(self._api, *place)
        return self._known[place].host


@dataclass(slots=True)
class _Router:
    """All router pods of a deployment, which count together."""

    api: client.CoreV1Api
    namespace: str
    deployment: str
    counted: dict[str, Counter[str]] = field(default_factory=lambda: {"requests": Counter(), "mirrored": Counter()})
    lock: Lock = field(default_factory=Lock)
    host: str = field(init=False)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        number = next(_numbers)  # an address for each process and router: several tests run side by side
        self.host = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}.{number % 250 + 1}"
        self.server = ThreadingHTTPServer((self.host, MEASURE_PORT), _handler(self))
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def measured(self) -> Measured | None:
        """What a router pod would say now; None while there are no routes."""
        try:
            found = self.api.read_namespaced_config_map(routes_name(self.deployment), self.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        routes = Routes.model_validate_json(found.data[ROUTES_KEY])
        with self.lock:
            for backend in routes.backends:
                self.counted["requests"][backend.variant] += REQUESTS * backend.weight // 100
            if routes.shadow is not None:
                self.counted["mirrored"][routes.shadow.variant] += REQUESTS * routes.shadow.weight // 100
            counted = {name: dict(counter) for name, counter in self.counted.items()}
        return Measured(pod="router", generation=routes.generation, **counted)


def _handler(router: _Router) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                known = router.measured()
            except (ApiException, OSError):  # the API server is in trouble: no router can say what it serves
                known = None
            body = (known.model_dump_json() if known else json.dumps({})).encode()
            self.send_response(200 if known else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a line for each question would drown the test's own."""

    return Handler
