"""An S3 endpoint whose answers a test scripts, one by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from plumbline_contract.runspec import Bucket


@dataclass(frozen=True)
class Answer:
    """What is sent back. `missing` bytes of the promised body are never sent: the connection breaks there."""

    status: int = 200
    body: bytes = b""
    code: str = ""
    missing: int = 0
    etag: str = ""
    date: str = ""
    retry_after: str = ""

    @property
    def content(self) -> bytes:
        """The body; for an error the XML that S3 servers send."""
        if not self.code:
            return self.body
        return f"<Error><Code>{self.code}</Code><Message>scripted</Message></Error>".encode()


@dataclass
class Script:
    """The answers still to give, the last of which is given for ever, and the requests that came."""

    endpoint: str
    answers: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def bucket(self) -> Bucket:
        """The bucket behind this endpoint."""
        return Bucket(endpoint=self.endpoint, bucket="lake", prefix="store")

    def next(self) -> Answer:
        """The answer to the next request."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted(*answers: Answer) -> Iterator[Script]:
    """A server on loopback that gives these answers in order."""
    script = Script("", list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = script.next()
            content = answer.content
            self.send_response_only(answer.status)
            self.send_header("Date", answer.date or self.date_time_string())
            self.send_header("Content-Length", str(len(content)))
            if answer.retry_after:
                self.send_header("Retry-After", answer.retry_after)
            if answer.etag:
                self.send_header("ETag", f'"{answer.etag}"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) - answer.missing])
            self.close_connection = True

        do_HEAD = do_PUT = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
