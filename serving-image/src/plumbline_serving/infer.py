"""One inference: JSON in, JSON out, a record for the log."""

import logging
import os
import random
import re
import time
from typing import Any

import orjson

from plumbline_contract.prediction import prediction_id
from plumbline_contract.routes import (
    PREDICTION_HEADER,
    REQUEST_HEADER,
    ROLE_HEADER,
    SHADOW_ROLE,
    UNIT_HEADER,
    VARIANT_HEADER,
)
from plumbline_serving.errors import BadRequest
from plumbline_serving.log import PredictionLog
from plumbline_serving.metrics import Metrics
from plumbline_serving.model import REFUSALS, RUNTIME_ERRORS, Model
from plumbline_serving.record import PRIMARY_ROLE, Record
from plumbline_serving.redaction import Redaction
from plumbline_serving.tensors import Array, TensorSpec, check_fields

logger = logging.getLogger(__name__)

_REQUEST, _UNIT, _ROLE, _PREDICTION, _VARIANT = (
    name.encode() for name in (REQUEST_HEADER, UNIT_HEADER, ROLE_HEADER, PREDICTION_HEADER, VARIANT_HEADER)
)
_SHADOW = SHADOW_ROLE.encode()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,100}")  # what a prediction id may end in
_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_BODY_FIELDS = frozenset({"id", "inputs", "outputs", "parameters"})
_OUTPUT_FIELDS = frozenset({"name", "parameters"})
_random = random.Random(os.urandom(32))  # unique is enough: an id is no secret, and the kernel's source costs 5 µs
MAX_ID = 256  # characters of the caller's own id that are echoed


class Prediction:
    """One inference under way: what came, and what each step has made of it."""

    __slots__ = ("answers", "body", "caller_id", "feed", "headers", "rows", "wanted")

    caller_id: str | None
    wanted: list[int] | None  # places of the outputs the caller asks for, None for all
    feed: dict[str, Array]
    rows: int
    answers: list[Array]

    def __init__(self, headers: dict[bytes, bytes], body: bytes) -> None:
        self.headers, self.body = headers, body


class Inference:
    """Turns the body of an inference request into the body of its answer, in three steps. Each may raise BadRequest."""

    def __init__(self, model: Model, variant: str, redaction: Redaction, log: PredictionLog, metrics: Metrics) -> None:
        self.model, self._redaction, self._log, self._metrics = model, redaction, log, metrics
        self._variant_header = (_VARIANT, variant.encode())
        named = {"model_name": model.name, "model_version": model.manifest}
        self._start = orjson.dumps(named)[:-1]  # the part of every answer that never changes
        self._outputs = {spec.name: place for place, spec in enumerate(model.signature.outputs)}

    def read(self, prediction: Prediction) -> None:
        """Check what is asked against the model's signature."""
        document = parsed(prediction.body)
        prediction.caller_id = document.get("id")
        prediction.wanted = self._wanted(document.get("outputs"))
        prediction.feed, prediction.rows = self.model.signature.decode(document.get("inputs"))

    def compute(self, prediction: Prediction) -> None:
        """Run the model."""
        try:
            prediction.answers = self.model.run(prediction.feed)
        except REFUSALS as exc:
            raise BadRequest(f"the model cannot take these inputs: {str(exc)[:500]}") from exc
        except RUNTIME_ERRORS as exc:
            logger.error("the model failed: %s", without_values(str(exc)))
            raise BadRequest(f"the model failed on these inputs: {str(exc)[:500]}", 500) from exc

    def answer(self, prediction: Prediction) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The answer's body and the headers that name the prediction, which is in the log from now on."""
        milliseconds = time.time_ns() // 1_000_000
        named = prediction_id(milliseconds, request_id_of(prediction.headers))
        data = self._encoded(prediction)
        self._record(prediction, milliseconds, named, len(prediction.body) + len(data))
        return data, [(_PREDICTION, named.encode()), self._variant_header]

    def _wanted(self, outputs: Any) -> list[int] | None:
        """Places of the outputs the caller asks for, None for all."""
        if outputs is None:
            return None
        if type(outputs) is not list or not outputs:
            raise BadRequest("outputs must be a non-empty JSON array of {name}; leave it out to get all outputs")
        places = []
        for index, wanted in enumerate(outputs):
            if type(wanted) is not dict:
                raise BadRequest(f"outputs[{index}] must be a JSON object with a name")
            check_fields(wanted, _OUTPUT_FIELDS, f"outputs[{index}]")
            name = wanted.get("name")
            if type(name) is not str or name not in self._outputs:
                raise BadRequest(f"outputs[{index}].name is {str(name)[:60]!r}; the outputs are {list(self._outputs)}")
            places.append(self._outputs[name])
        return places

    def _encoded(self, prediction: Prediction) -> bytes:
        specs, answers = self.model.signature.outputs, prediction.answers
        if prediction.wanted is None:
            outputs = [encoded(spec, array) for spec, array in zip(specs, answers, strict=True)]
        else:
            outputs = [encoded(specs[place], answers[place]) for place in prediction.wanted]
        named = b"" if prediction.caller_id is None else b',"id":' + orjson.dumps(prediction.caller_id)
        return b"".join((self._start, named, b',"outputs":', orjson.dumps(outputs, option=_NUMPY), b"}"))

    def _record(self, prediction: Prediction, milliseconds: int, named: str, size: int) -> None:
        metrics, rows, answers = self._metrics, prediction.rows, prediction.answers
        metrics.rows += rows
        for array in answers:
            if not array.ndim or len(array) != rows:
                metrics.log_dropped["shape"] += rows
                return
        unit = prediction.headers.get(_UNIT)
        self._log.append(
            Record(
                milliseconds,
                named,
                SHADOW_ROLE if prediction.headers.get(_ROLE) == _SHADOW else PRIMARY_ROLE,
                self._redaction.hash(unit.decode("latin-1")) if unit else "",
                rows,
                self._redaction.asked(prediction.feed),
                self._redaction.answered(answers),
                size,
            )
        )


def without_values(message: str) -> str:
    """What ONNX Runtime says of a failure up to the part that may quote a caller's value; the caller gets it all."""
    return message.partition("Status Message:")[0][:300].rstrip()


def parsed(body: bytes) -> dict[str, Any]:
    """The request document. Raises BadRequest when it is not JSON, too deep, or not an inference request."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequest(f"the body is not JSON: {exc}") from exc
    if type(document) is not dict:
        raise BadRequest("the body must be a JSON object with inputs")
    if not _BODY_FIELDS.issuperset(document) or "parameters" in document:
        check_fields(document, _BODY_FIELDS, "the body")
    caller_id = document.get("id")
    if caller_id is not None and (type(caller_id) is not str or len(caller_id) > MAX_ID):
        raise BadRequest(f"id must be a string of at most {MAX_ID} characters")
    return document


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """The id the router stamped, or a new one for a caller that came without a router."""
    stamped = headers.get(_REQUEST)
    if stamped is not None and _REQUEST_ID.fullmatch(stamped):
        return stamped.decode("ascii")
    return f"{_random.getrandbits(128):032x}"


def encoded(spec: TensorSpec, array: Array) -> dict[str, Any]:
    """One output as the protocol writes it; NaN and infinities become null, which JSON can say."""
    data: Any = array.reshape(-1)
    if spec.datatype == "BYTES":
        data = data.tolist()
    elif spec.datatype == "FP16":
        data = data.astype("float32")
    return {"name": spec.name, "shape": array.shape, "datatype": spec.datatype, "data": data}
