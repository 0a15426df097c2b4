"""Callers that ask one server until it is gone, and keep the name of every answer they got."""

import http.client
import json
import threading
import time

from plumbline_contract.prediction import parse_prediction_id
from plumbline_contract.routes import PREDICTION_HEADER
from tests.serving.processes import Caller, rows, until

CALLERS = 4
PAUSE = 0.002  # between the requests of one caller, so that two cores have time for storage, too
BODY = json.dumps(rows((1, 2, 3))).encode()


class Callers:
    """Some threads with a connection each. `answers`: (moment on the monotonic clock, request id)."""

    def __init__(self, port: int, count: int = CALLERS) -> None:
        self.answers: list[tuple[float, str]] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Return after so many further answers."""
        seen = len(self.answers)
        until(lambda: len(self.answers) >= seen + count, f"{count} further answers", 30)

    def _call(self) -> None:
        caller = Caller(self._port, timeout=10)
        while not self._stop.wait(PAUSE):
            try:
                answer = caller.infer(BODY)
            except (OSError, http.client.HTTPException):
                caller.close()  # the server is gone, or about to be; what was answered counts
                continue
            if answer.status == 200:
                self.answers.append((time.monotonic(), request_id(answer.headers[PREDICTION_HEADER])))
            if answer.headers.get("connection") == "close":
                caller.close()
        caller.close()


def request_id(prediction: str) -> str:
    """The request id inside of a prediction id."""
    return parse_prediction_id(prediction)[1]
