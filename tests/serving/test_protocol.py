"""The Open Inference Protocol v2 as callers meet it."""

import http.client
import json
import math
import socket
from typing import Any

import pytest

from plumbline_contract.prediction import parse_prediction_id
from tests.serving.models import WEIGHTS
from tests.serving.processes import Caller, Served, rows


def expected(row: tuple[float, float, float]) -> float:
    score = sum(weight * value for weight, value in zip(WEIGHTS, row, strict=True))
    return 1 / (1 + math.exp(-score))


def test_an_answer_is_what_the_model_computes_for_each_row(caller: Caller) -> None:
    asked = [(1.0, 2.0, 3.0), (0.0, 0.0, 0.0), (-4.0, 1.0, 0.25)]
    answer = caller.infer(rows(*asked) | {"id": "mine"})
    assert answer.status == 200
    document = answer.json
    assert document["model_name"] == "fraud"
    assert document["model_version"].startswith("sha256:")
    assert document["id"] == "mine"
    (output,) = document["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probability", "FP32", [3, 1])
    assert output["data"] == pytest.approx([expected(row) for row in asked], abs=1e-6)
    assert answer.headers["x-plumbline-variant"] == "fraud-v-shared"


def test_health_and_metadata_have_the_protocols_form(caller: Caller) -> None:
    assert caller.ask("GET", "/v2/health/live").json == {"live": True}
    assert caller.ask("GET", "/v2/health/ready").json["ready"] is True
    assert caller.ask("GET", "/v2/models/fraud/ready").json == {"name": "fraud", "ready": True}
    server = caller.ask("GET", "/v2").json
    assert set(server) == {"name", "version", "extensions"}
    model = caller.ask("GET", "/v2/models/fraud").json
    assert model["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}]
    assert model["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}]
    (version,) = model["versions"]
    assert caller.ask("GET", f"/v2/models/fraud/versions/{version}").json == model


def test_a_version_is_also_asked_by_its_digest_and_no_other(caller: Caller) -> None:
    (version,) = caller.ask("GET", "/v2/models/fraud").json["versions"]
    body = json.dumps(rows((0, 0, 0))).encode()
    headers = {"content-type": "application/json"}
    good = caller.ask("POST", f"/v2/models/fraud/versions/{version}/infer", body, headers)
    assert (good.status, good.json["model_version"]) == (200, version)
    other = caller.ask("POST", f"/v2/models/fraud/versions/sha256:{'0' * 64}/infer", body, headers)
    assert other.status == 404
    assert "sha256:000" in other.json["error"]


def test_what_is_not_served_is_404_and_a_wrong_method_is_405(caller: Caller) -> None:
    missing = caller.ask("GET", "/v2/models/other")
    assert missing.status == 404
    assert "/v2/models/fraud" in missing.json["error"]
    wrong = caller.ask("GET", "/v2/models/fraud/infer")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert caller.ask("POST", "/v2/health/live", b"").status == 405
    assert caller.ask("HEAD", "/v2/health/live").body == b""


def test_the_prediction_id_ends_in_the_routers_request_id(caller: Caller) -> None:
    answer = caller.infer(rows((1, 2, 3)), headers={"x-request-id": "0b9c-17"})
    when, request = parse_prediction_id(answer.headers["x-plumbline-prediction-id"])
    assert request == "0b9c-17"
    assert when.year >= 2024


@pytest.mark.parametrize("hostile", ["a b", "../../etc", "x" * 101, "é", ""])
def test_a_request_id_that_cannot_be_part_of_an_id_is_replaced(caller: Caller, hostile: str) -> None:
    answer = caller.infer(rows((1, 2, 3)), headers={"x-request-id": hostile.encode("latin-1").decode("latin-1")})
    _, request = parse_prediction_id(answer.headers["x-plumbline-prediction-id"])
    assert request != hostile
    assert len(request) == 32


def test_ids_of_requests_without_a_router_are_all_different(caller: Caller) -> None:
    found = {caller.infer(rows((1, 2, 3))).headers["x-plumbline-prediction-id"] for _ in range(200)}
    assert len(found) == 200


def test_nested_data_is_taken_when_it_has_the_declared_shape(caller: Caller) -> None:
    flat = caller.infer(rows((1, 2, 3), (4, 5, 6)))
    nested = rows((1, 2, 3), (4, 5, 6))
    nested["inputs"][0]["data"] = [[1, 2, 3], [4, 5, 6]]
    assert caller.infer(nested).json["outputs"] == flat.json["outputs"]


VALUES: dict[str, tuple[str, Any]] = {
    "price": ("FP32", 1.5),
    "ratio": ("FP64", 0.1),
    "count": ("INT64", -(2**63)),
    "tiny": ("INT8", -128),
    "flag": ("BOOL", True),
    "city": ("BYTES", "Zürich 東京 \U0001f600"),
}


def every_input(**changes: Any) -> dict[str, Any]:
    """A request of the model with one input of each kind."""
    tensors = []
    for name, (datatype, value) in VALUES.items():
        tensors.append({"name": name, "datatype": datatype, "shape": [1, 1], "data": [changes.get(name, value)]})
    return {"inputs": tensors}


def test_every_datatype_comes_back_as_it_was_sent(typed: Caller) -> None:
    answer = typed.infer(every_input())
    found = {output["name"].removesuffix("_out"): output for output in answer.json["outputs"]}
    assert {name: (output["datatype"], output["data"][0]) for name, output in found.items()} == VALUES


def test_only_the_outputs_asked_for_come_back_in_the_order_asked(typed: Caller) -> None:
    request = every_input() | {"outputs": [{"name": "city_out"}, {"name": "count_out"}]}
    answer = typed.infer(request)
    assert [output["name"] for output in answer.json["outputs"]] == ["city_out", "count_out"]


def test_a_chunked_body_is_read_whole(caller: Caller, logistic: Served) -> None:
    body = json.dumps(rows(*[(1, 2, 3)] * 500)).encode()
    connection = http.client.HTTPConnection("127.0.0.1", logistic.port, timeout=30)
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    connection.request(
        "POST", "/v2/models/fraud/infer", iter(pieces), {"content-type": "application/json"}, encode_chunked=True
    )
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["outputs"][0]["shape"] == [500, 1]
    connection.close()


def test_pipelined_requests_are_answered_in_order(logistic: Served) -> None:
    with socket.create_connection(("127.0.0.1", logistic.port), timeout=30) as raw:
        for number in range(5):
            body = json.dumps(rows((number, 0, 0)) | {"id": str(number)}).encode()
            raw.sendall(
                b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
        received = b""
        while received.count(b'"outputs"') < 5:
            piece = raw.recv(65536)
            assert piece, received
            received += piece
    order = [received.index(b'"id":"%d"' % number) for number in range(5)]
    assert order == sorted(order)


def test_metrics_count_answers_rows_and_the_log(caller: Caller) -> None:
    before = metrics(caller)
    caller.infer(rows((1, 2, 3), (1, 2, 3)))
    caller.infer(b"nonsense")
    after = metrics(caller)

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    assert grown('plumbline_serving_requests_total{code="200"}') == 1
    assert grown('plumbline_serving_requests_total{code="400"}') == 1
    assert grown("plumbline_serving_rows_total") == 2
    assert grown("plumbline_serving_log_rows_queued_total") == 2
    assert grown("plumbline_serving_request_seconds_count") == 2
    assert grown('plumbline_serving_request_seconds_bucket{le="+Inf"}') == 2


def metrics(caller: Caller) -> dict[str, float]:
    """All samples of the metrics page."""
    lines = caller.ask("GET", "/metrics").body.decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
