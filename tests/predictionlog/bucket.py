"""A bucket whose storing of log segments can be slowed down, refused or held for a while."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.serving.bucket import Bucket

Start = Callable[..., Any]
HOLD_SECONDS = 60.0
BUSY = b"<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"


@dataclass
class Crash:
    """The end of the writer at one of its writes: before the bucket has it, or after that and before the answer."""

    kill: Callable[[], None]
    stored: bool
    spare: int  # writes before that one


@dataclass
class Trouble:
    """What happens to the storing of a segment; `refuse_until` is of the monotonic clock."""

    delay: float = 0.0
    refuse_until: float = 0.0
    refused: int = 0
    crash: Crash | None = None  # what is to come at one of the next segments
    flow: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.flow.set()

    def clear(self) -> None:
        """Storage works again, and at once."""
        self.delay, self.refuse_until = 0.0, 0.0
        self.flow.set()

    def around(self, application: Any) -> Any:
        """The application with this trouble before it."""

        def troubled(environment: dict[str, Any], start: Start) -> Iterable[bytes]:
            if environment["REQUEST_METHOD"] == "PUT" and environment["PATH_INFO"].endswith(".parquet"):
                assert self.flow.wait(HOLD_SECONDS)
                time.sleep(self.delay)  # the trouble itself: a bucket that takes its time
                if time.monotonic() < self.refuse_until:
                    self.refused += 1
                    environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"]))
                    start("503 Slow Down", [("Content-Length", str(len(BUSY)))])
                    return [BUSY]
                if self.crash is not None:
                    self.crash.spare -= 1
                    if self.crash.spare < 0:
                        self._end(self.crash, lambda: application(environment, start))
            answer: Iterable[bytes] = application(environment, start)
            return answer

        return troubled

    def _end(self, crash: Crash, store: Callable[[], Iterable[bytes]]) -> None:
        self.crash = None
        if crash.stored:
            list(store())
        crash.kill()
        raise ConnectionAbortedError("the writer is dead")


@dataclass(frozen=True)
class Troubled(Bucket):
    """A bucket with its trouble."""

    trouble: Trouble


@contextmanager
def troubled_bucket() -> Iterator[Troubled]:
    """An S3 server on loopback with one bucket."""
    trouble = Trouble()
    application = trouble.around(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        bucket = Troubled(f"http://127.0.0.1:{server.server_port}", trouble)
        bucket.create()
        yield bucket
    finally:
        trouble.clear()
        server.shutdown()
        thread.join()
        server.server_close()
