"""Values that must be found nowhere, and every place a caller can put one into a request."""

import json
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.serving.processes import Answer, ask

INFER = "/v2/models/fraud/infer"
JSON = {"content-type": "application/json"}
REDACT = {"name": "Hash", "note": "Drop", "salary": "Drop"}
VISIBLE = "Visibleton"  # a value that nobody asked to hide: the search must find it
ROWS = 20  # canaries of each place in a good request

Send = Callable[[int, str], Answer]
"""Sends one request with a canary to a port."""


def words(seed: int) -> Iterator[str]:
    """Texts that occur nowhere by chance."""
    draw = random.Random(seed)
    while True:
        yield f"canary-{draw.getrandbits(64):016x}"


def numbers(seed: int) -> Iterator[int]:
    """Numbers of 15 digits: exact in every kind of number, and in no log by chance."""
    draw = random.Random(seed)
    while True:
        yield draw.randrange(10**14, 10**15)


def request(name: str = "ada", note: str = "none", salary: int = 1, place: int = 1) -> dict[str, Any]:
    """A request of the model of personal data."""
    values = {
        "name": ("BYTES", name),
        "note": ("BYTES", note),
        "salary": ("INT64", salary),
        "city": ("BYTES", VISIBLE),
        "place": ("INT64", place),
    }
    return {
        "inputs": [
            {"name": key, "datatype": datatype, "shape": [1, 1], "data": [value]}
            for key, (datatype, value) in values.items()
        ]
    }


def post(port: int, document: Any, headers: dict[str, str] | None = None, path: str = INFER) -> Answer:
    """One inference request."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return ask(port, "POST", path, body, JSON | (headers or {}))


@dataclass(frozen=True)
class Way:
    """One place for a canary. `statuses`: what the answer may be; 0 is a connection closed without one."""

    name: str
    send: Send
    statuses: frozenset[int]


def raw(data: bytes) -> Send:
    """Bytes that are no HTTP request."""

    def send(port: int, canary: str) -> Answer:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(data.replace(b"CANARY", canary.encode()))
            line = connection.makefile("rb").readline()
        return Answer(int(line.split()[1]) if line.startswith(b"HTTP/") else 0, {}, line)

    return send


def header(name: str, value: str = "{}") -> Send:
    """A good request with a header."""
    return lambda port, canary: post(port, request(), {name: value.format(canary)})


def changed(index: int, **fields: Any) -> Send:
    """A request whose tensor `index` has other fields; "CANARY" in them becomes the canary."""

    def send(port: int, canary: str) -> Answer:
        document = request()
        document["inputs"][index] |= json.loads(json.dumps(fields).replace("CANARY", canary))
        return post(port, document)

    return send


GOOD, BAD, GONE = frozenset({200}), frozenset({400, 404, 405, 415}), frozenset({0, 400, 404})

WAYS: tuple[Way, ...] = (
    Way("a field to hash", lambda port, canary: post(port, request(name=canary)), GOOD),
    Way("a field to drop", lambda port, canary: post(port, request(note=canary)), GOOD),
    Way("the request's id", lambda port, canary: post(port, request() | {"id": canary}), GOOD),
    Way("x-request-id", header("x-request-id"), GOOD),
    Way("x-plumbline-unit", header("x-plumbline-unit"), GOOD),
    Way("x-plumbline-role", header("x-plumbline-role"), GOOD),
    Way("authorization", header("authorization", "Bearer {}"), GOOD),
    Way("cookie", header("cookie", "session={}"), GOOD),
    Way("user-agent", header("user-agent"), GOOD),
    Way("referer", header("referer", "http://bank/{}"), GOOD),
    Way("x-forwarded-for", header("x-forwarded-for"), GOOD),
    Way("traceparent", header("traceparent"), GOOD),
    Way("a header's name", lambda port, canary: post(port, request(), {canary: "1"}), GOOD),
    Way("query", lambda port, canary: post(port, request(), path=f"{INFER}?token={canary}"), GOOD | BAD),
    Way("path", lambda port, canary: ask(port, "GET", f"/v2/models/{canary}"), BAD),
    Way("path elsewhere", lambda port, canary: ask(port, "GET", f"/{canary}"), BAD),
    Way("method", lambda port, canary: ask(port, canary.replace("-", ""), INFER), BAD | GONE),
    Way("content-type", header("content-type", "text/{}"), BAD),
    Way("content-encoding", header("content-encoding"), BAD),
    Way("unknown field", lambda port, canary: post(port, request() | {canary: 1}), BAD),
    Way("unknown field's value", lambda port, canary: post(port, request() | {"who": canary}), BAD),
    Way("no JSON", lambda port, canary: post(port, f'{{"inputs": {canary}'.encode()), BAD),
    Way("no object", lambda port, canary: post(port, [canary]), BAD),
    Way("output", lambda port, canary: post(port, request() | {"outputs": [{"name": canary}]}), BAD),
    Way("unknown input", changed(0, name="CANARY"), BAD),
    Way("unknown tensor field", changed(0, CANARY=1), BAD),
    Way("wrong type", changed(2, data=["CANARY"]), BAD),
    Way("wrong datatype", changed(0, datatype="CANARY"), BAD),
    Way("wrong shape", changed(0, shape="CANARY"), BAD),
    Way("too many values", changed(0, data=["CANARY", "CANARY"]), BAD),
    Way("parameters", changed(0, parameters={"CANARY": 1}), BAD),
    Way("half a character", changed(0, data=["\ud800CANARY"]), BAD),
    Way("no HTTP", raw(b"CANARY\r\n\r\n"), GONE),
    Way("a bad header", raw(b"POST /v2 HTTP/1.1\r\nhost: h\r\nCANARY\r\n\r\n"), GONE),
    Way("a bad length", raw(b"POST /v2 HTTP/1.1\r\nhost: h\r\ncontent-length: CANARY\r\n\r\n"), GONE),
)
