"""Callers that never stop asking, and the requests they send."""

import json
import threading
import time
from collections.abc import Callable

from plumbline_contract.routes import Routes
from tests.router.processes import backend, routes
from tests.serving.processes import Caller, Served, rows, until

BODY = json.dumps(rows((1, 2, 3))).encode()
JSON = {"content-type": "application/json"}
INFER = "/v2/models/fraud/infer"


def split(generation: int, stable: Served, canary: Served, weight: int) -> Routes:
    """The canary gets `weight` percent; the stable variant comes first, always."""
    return routes(generation, backend("stable", stable.port, 100 - weight), backend("canary", canary.port, weight))


class Load:
    """Callers that never stop asking; every answer is kept as its status and variant."""

    def __init__(self, port: int, callers: int = 4, headers: Callable[[int], dict[str, str]] | None = None) -> None:
        self._port, self._headers = port, headers or (lambda _: {})
        self._stop = threading.Event()
        self.answers: list[tuple[float, int, str]] = []
        self.seconds: list[float] = []
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _call(self, number: int) -> None:
        caller = Caller(self._port)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                answer = caller.ask("POST", INFER, BODY, JSON | self._headers(number))
                self.answers.append((started, answer.status, answer.headers.get("x-plumbline-variant", "")))
                self.seconds.append(time.monotonic() - started)
                if answer.headers.get("connection") == "close":
                    caller.close()
            except OSError as exc:
                self.answers.append((started, 0, repr(exc)))
                caller.close()
        caller.close()

    def more(self, count: int) -> "Load":
        """Return after this many further answers."""
        seen = len(self.answers)
        until(lambda: len(self.answers) >= seen + count, f"{count} further answers", 60)
        return self

    def failed(self) -> list[tuple[float, int, str]]:
        return [entry for entry in self.answers if entry[1] != 200]
