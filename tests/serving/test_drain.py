"""The end of a server: it says that it leaves, keeps answering, and goes."""

import signal
import threading
from pathlib import Path

from tests.serving import models
from tests.serving.bucket import Bucket
from tests.serving.processes import Caller, answers, rows, serving, until


def test_a_draining_server_is_not_ready_and_still_answers(bucket: Bucket, tmp_path: Path) -> None:
    settings = bucket.settings(bucket.put_model(models.logistic()), variant="fraud-v-drain")
    with serving(settings, tmp_path, "--drain-seconds", "2") as served:
        caller = served.caller()
        assert "connection" not in caller.infer(rows((1, 2, 3))).headers
        served.process.send(signal.SIGTERM)
        until(lambda: answers(served.port, "/v2/health/ready", 503), "readiness off", 5)
        assert answers(served.port, "/v2/health/live")
        last = caller.infer(rows((1, 2, 3)))
        assert (last.status, last.headers["connection"]) == (200, "close")
        assert served.process.ended() is None
        assert served.process.wait() == 0


def test_no_request_is_lost_while_a_server_drains(bucket: Bucket, tmp_path: Path) -> None:
    settings = bucket.settings(bucket.put_model(models.logistic()), variant="fraud-v-lossless")
    failures: list[str] = []
    answered = 0
    with serving(settings, tmp_path, "--drain-seconds", "1") as served:
        stop = threading.Event()

        def call() -> None:
            nonlocal answered
            while not stop.is_set():
                caller = Caller(served.port)
                try:
                    if caller.infer(rows((1, 2, 3))).status != 200:
                        failures.append("status")
                except OSError as exc:
                    failures.append(repr(exc))
                finally:
                    caller.close()
                answered += 1

        thread = threading.Thread(target=call)
        thread.start()
        until(lambda: answered > 20, "calls are answered", 20)
        served.process.send(signal.SIGTERM)
        until(lambda: answers(served.port, "/v2/health/ready", 503), "readiness off", 5)
        seen = answered
        until(lambda: answered > seen + 20, "calls are answered while draining", 5)
        stop.set()
        thread.join(10)
        assert served.process.wait() == 0
    assert not failures
    assert len(bucket.predictions("fraud-v-lossless")) == answered
