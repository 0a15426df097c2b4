"""Wrong requests: always a 4xx whose message names the field, never a 5xx, and the next request is answered."""

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plumbline_serving.app import MAX_BODY_BYTES
from tests.proof.goals import seconds
from tests.proof.ledger import record
from tests.serving.processes import Answer, Caller, Served, ask, rows
from tests.serving.test_protocol import every_input

GOAL = "bad-input-inference"
pytestmark = pytest.mark.timeout(seconds(GOAL))


@pytest.fixture(scope="module", autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the last test here, keep how many wrong requests were tried, for the report."""
    runs = sum(item.path == Path(__file__) for item in request.session.items)
    before = request.session.testsfailed
    yield
    bad = request.session.testsfailed - before
    record(
        GOAL, runs=runs, bad=bad, figure=f"{runs - bad} of {runs} kinds of wrong requests refused in words, none a 5xx"
    )


def tensor(**changes: Any) -> dict[str, Any]:
    """A request whose only tensor differs from a good one."""
    good = rows((1, 2, 3))["inputs"][0] | changes
    return {"inputs": [{name: value for name, value in good.items() if value is not ...}]}


DEEP = "[" * 5000 + "]" * 5000
NO_NUMBER = "the body is not JSON: unexpected character, expected a JSON value"
LARGE = 100 << 20  # bytes of a body that nobody should read to its end
PIECE = b" " * 65536

TABLE: list[tuple[str, Any, str]] = [
    ("not JSON", b"{", "the body is not JSON: unexpected end of data: line 1 column 2"),
    ("empty", b"", "the body is not JSON: Input is a zero-length, empty document"),
    ("not UTF-8", b'{"inputs": "\xff"}', "the body is not JSON: str is not valid UTF-8"),
    ("NaN", b'{"inputs": [{"data": [NaN]}]}', f"{NO_NUMBER}: line 1 column 23"),
    ("Infinity", b'{"inputs": [{"data": [Infinity]}]}', f"{NO_NUMBER}: line 1 column 23"),
    ("too deep", f'{{"inputs": {DEEP}}}'.encode(), "the body is not JSON: depth limit exceeded: line 1 column 1036"),
    ("a list", b"[]", "the body must be a JSON object"),
    ("unknown field", {"inputs": [], "instances": []}, "'instances'"),
    ("no inputs", {}, "inputs must be a JSON array"),
    ("inputs null", {"inputs": None}, "inputs must be a JSON array of tensors, got null"),
    ("inputs empty", {"inputs": []}, "inputs lacks ['X']"),
    ("input no object", {"inputs": [3]}, "inputs[0] must be a JSON object, got an integer"),
    ("id no string", rows((1, 2, 3)) | {"id": 5}, "id must be a string"),
    ("id too long", rows((1, 2, 3)) | {"id": "x" * 300}, "id must be a string"),
    ("unknown name", tensor(name="Y"), "inputs[0].name is 'Y'; the model's inputs are ['X']"),
    ("name missing", tensor(name=...), "inputs[0].name is null"),
    ("name a list", tensor(name=["X"]), "inputs[0].name is ['X']"),
    ("twice", {"inputs": [rows((1, 2, 3))["inputs"][0]] * 2}, "inputs[1].name 'X' is given twice"),
    ("unknown tensor field", tensor(values=[1]), "inputs[0] has the unknown field 'values'"),
    ("binary data", tensor(parameters={"binary_data_size": 12}), "inputs[0].parameters.binary_data_size"),
    ("shared memory", tensor(parameters={"shared_memory_region": "r"}), "parameters.shared_memory_region"),
    ("parameters a list", tensor(parameters=[]), "inputs[0].parameters must be a JSON object"),
    ("datatype", tensor(datatype="FP64"), "inputs[0].datatype is 'FP64'; input 'X' has datatype FP32"),
    ("datatype missing", tensor(datatype=...), "inputs[0].datatype is null"),
    ("shape missing", tensor(shape=...), "inputs[0].shape is null"),
    ("shape rank", tensor(shape=[3]), "inputs[0].shape is [3]; input 'X' has shape [-1, 3]"),
    ("shape width", tensor(shape=[1, 4], data=[1, 2, 3, 4]), "inputs[0].shape is [1, 4]"),
    ("shape zero", tensor(shape=[0, 3], data=[]), "inputs[0].shape is [0, 3]"),
    ("shape negative", tensor(shape=[-1, 3]), "inputs[0].shape is [-1, 3]"),
    ("shape fraction", tensor(shape=[1.0, 3]), "inputs[0].shape is [1.0, 3]"),
    ("shape flag", tensor(shape=[True, 3]), "inputs[0].shape is [True, 3]"),
    ("shape huge", tensor(shape=[10**18, 3]), "inputs[0].data has 3 values"),
    ("data missing", tensor(data=...), "inputs[0].data must be a JSON array of 3 values, got null"),
    ("data text", tensor(data="1,2,3"), "inputs[0].data must be a JSON array of 3 values, got a string"),
    ("data short", tensor(data=[1, 2]), "inputs[0].data has 2 values but inputs[0].shape [1, 3] needs 3"),
    ("data long", tensor(data=[1, 2, 3, 4]), "inputs[0].data has 4 values"),
    ("data empty", tensor(data=[]), "inputs[0].data has 0 values"),
    ("data null", tensor(data=[1, None, 3]), "inputs[0].data[1] is null"),
    ("data string", tensor(data=[1, 2, "3"]), "inputs[0].data[2] is a string"),
    ("data flag", tensor(data=[True, 2, 3]), "inputs[0].data[0] is true or false"),
    ("data too large", tensor(data=[1, 1e39, 3]), "inputs[0].data[1] is 1e+39"),
    ("data ragged", tensor(data=[[1, 2], [3]]), "inputs[0].data"),
    ("data nested wrongly", tensor(data=[[1], [2], [3]]), "inputs[0].data is nested, but not as shape [1, 3]"),
    ("data half nested", tensor(data=[1, [2], 3]), "inputs[0].data[1] is an array"),
    ("outputs empty", rows((1, 2, 3)) | {"outputs": []}, "outputs must be a non-empty JSON array"),
    ("outputs unknown", rows((1, 2, 3)) | {"outputs": [{"name": "p"}]}, "outputs[0].name is 'p'"),
    ("outputs no object", rows((1, 2, 3)) | {"outputs": ["p"]}, "outputs[0] must be a JSON object"),
    (
        "binary output",
        rows((1, 2, 3)) | {"outputs": [{"name": "probability", "parameters": {"binary_data": True}}]},
        "outputs[0].parameters.binary_data",
    ),
    ("request parameters", rows((1, 2, 3)) | {"parameters": {"priority": 1}}, "the body.parameters.priority"),
]


@pytest.mark.parametrize(("request_", "told"), [pytest.param(body, told, id=name) for name, body, told in TABLE])
def test_a_wrong_request_is_400_and_names_the_field(caller: Caller, request_: Any, told: str) -> None:
    answer = caller.infer(request_)
    assert answer.status == 400, answer.body
    assert told in answer.json["error"]
    assert len(answer.body) < 2000  # a caller's own data must not come back by the megabyte
    assert caller.infer(rows((1, 2, 3))).status == 200


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("tiny", 128, "inputs[3].data[0] is 128; input 'tiny' has datatype INT8, which cannot hold it"),
        ("tiny", 1.0, "inputs[3].data[0] is a number; input 'tiny' has datatype INT8, which takes an integer"),
        ("count", 2**63, "inputs[2].data[0] is 9223372036854775808"),
        ("count", "7", "inputs[2].data[0] is a string"),
        ("flag", 1, "inputs[4].data[0] is an integer; input 'flag' has datatype BOOL, which takes true or false"),
        ("city", 5, "inputs[5].data[0] is an integer; input 'city' has datatype BYTES, which takes a string"),
        ("city", None, "inputs[5].data[0] is null"),
        ("price", "1.5", "inputs[0].data[0] is a string"),
    ],
)
def test_a_value_of_another_type_is_never_converted(typed: Caller, name: str, value: Any, told: str) -> None:
    answer = typed.infer(every_input(**{name: value}))
    assert answer.status == 400
    assert told in answer.json["error"]


def test_inputs_with_different_numbers_of_rows_are_refused(typed: Caller) -> None:
    request = every_input()
    request["inputs"][3] |= {"shape": [2, 1], "data": [1, 2]}
    answer = typed.infer(request)
    assert answer.status == 400
    assert "inputs[3].shape[0] is 2 but inputs[0].shape[0] is 1" in answer.json["error"]


def test_a_missing_input_is_named(typed: Caller) -> None:
    request = every_input()
    del request["inputs"][5]
    answer = typed.infer(request)
    assert "inputs lacks ['city']" in answer.json["error"]


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"content-type": "text/plain"}, 415, "content-type is text/plain"),
        ({"content-type": ""}, 400, "content-type is missing"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415, "content-encoding is gzip"),
        ({"content-type": "application/json", "inference-header-content-length": "5"}, 400, "binary tensors"),
    ],
)
def test_a_body_it_would_misread_is_refused_by_its_headers(
    caller: Caller, headers: dict[str, str], status: int, told: str
) -> None:
    answer = caller.infer(rows((1, 2, 3)), headers=headers)
    assert answer.status == status
    assert told in answer.json["error"]


def test_json_with_a_character_set_is_json(caller: Caller) -> None:
    assert caller.infer(rows((1, 2, 3)), headers={"content-type": "Application/JSON; charset=utf-8"}).status == 200


def poured(port: int, path: str, size: int, *, chunked: bool) -> Answer:
    """The answer to a body of this many spaces, which is sent until it comes; nobody has to read all of it."""
    length = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
    head = f"POST {path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(ConnectionError):  # it has answered and gone
            for _ in range(size // len(PIECE)):
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece)
        found = http.client.HTTPResponse(connection, method="POST")
        found.begin()
        return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + len(PIECE), LARGE], ids=["a little too large", "100 MiB"])
def test_a_body_over_the_limit_is_413_in_words(logistic: Served, size: int, *, chunked: bool) -> None:
    answer = poured(logistic.port, "/v2/models/fraud/infer", size, chunked=chunked)
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert answer.json["error"] == "the body is larger than 16777216 bytes; send fewer rows per request"
    assert ask(logistic.port, "GET", "/v2/health/ready").status == 200


def test_a_body_is_refused_by_its_declared_length_before_any_of_it_is_there(logistic: Served) -> None:
    headers = {"content-type": "application/json", "content-length": str(MAX_BODY_BYTES + 1)}
    assert ask(logistic.port, "POST", "/v2/models/fraud/infer", b"", headers).status == 413


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
TENSORS = st.fixed_dictionaries(
    {"name": st.just("X") | DOCUMENTS, "datatype": st.just("FP32") | DOCUMENTS},
    optional={"shape": st.lists(st.integers(-1, 4)) | DOCUMENTS, "data": st.lists(SCALARS) | DOCUMENTS},
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS | st.fixed_dictionaries({"inputs": st.lists(TENSORS) | DOCUMENTS}))
def test_no_document_makes_a_server_fail(caller: Caller, document: Any) -> None:
    answer = caller.infer(json.dumps(document).encode())
    assert answer.status in (200, 400), answer.body
    if answer.status == 400:
        assert answer.json["error"]
