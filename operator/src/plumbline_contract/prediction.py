"""Prediction ids and the columns of a prediction-log segment.

A prediction id is `<milliseconds since the epoch, 12 hex digits>-<request id>`: it sorts by time, names the
hour folder in which its record lies, and ends in the request id that pairs a primary with its shadow.
"""

import re
from datetime import UTC, datetime

_ID = re.compile(r"^([0-9a-f]{12})-([A-Za-z0-9._-]{1,100})$")

FIXED_COLUMNS = {
    "prediction_id": "string",
    "request_id": "string",
    "time": "timestamp[ms, UTC]",
    "variant": "string",
    "role": "string",  # primary | shadow
    "unit": "string",  # the unit key that the router hashed, itself hashed; empty when the caller sent none
    "row": "int32",  # row inside the request, from 0
    "manifest": "string",  # digest of the model manifest, which names the run; equal files of two runs differ here
}
"""Name and Arrow type of the columns every segment has. Inputs follow as `in.<name>`, outputs as `out.<name>`."""

INPUT_PREFIX = "in."
OUTPUT_PREFIX = "out."


def prediction_id(milliseconds: int, request_id: str) -> str:
    """The id of a prediction made at this time for this request."""
    return f"{milliseconds:012x}-{request_id}"


REQUEST_AT = len(prediction_id(0, ""))  # where in a prediction id the request id begins


def parse_prediction_id(text: str) -> tuple[datetime, str]:
    """When a prediction was made (UTC) and its request id. Raises ValueError when `text` is no prediction id."""
    found = _ID.match(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a prediction id; expected 12 hex digits, '-', and the request id, "
            "as in the response header x-plumbline-prediction-id"
        )
    return datetime.fromtimestamp(int(found[1], 16) / 1000, tz=UTC), found[2]
