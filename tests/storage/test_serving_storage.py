"""A server's own view of the bucket: what arrives damaged or breaks off is read again, what stays wrong is refused."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from plumbline_contract import pace
from plumbline_contract.base import digest_of
from plumbline_contract.hashkey import new_hash_key
from plumbline_contract.routes import ServingSettings
from plumbline_serving import storage as module
from plumbline_serving.errors import StartFailure, StorageTrouble
from plumbline_serving.storage import Storage
from tests.jobs.faulty import Answer, Script, scripted

DATA = b"a model" * 1000
DIGEST = digest_of(DATA)
WHOLE, FLIPPED, BROKEN = Answer(body=DATA), Answer(body=b"!" + DATA[1:]), Answer(body=DATA, missing=100)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as in a server's pod, and no pauses between attempts."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


def storage(script: Script) -> Storage:
    named = {"variant": "v", "deployment": "d", "namespace": "team", "model_name": "m", "manifest": DIGEST}
    return Storage(ServingSettings(endpoint=script.endpoint, bucket="lake", prefix="store", **named))


@pytest.mark.parametrize("answers", [(WHOLE,), (FLIPPED, WHOLE), (BROKEN, FLIPPED, WHOLE)])
def test_a_model_that_arrives_damaged_is_read_again(answers: Sequence[Answer]) -> None:
    with scripted(*answers) as script:
        assert storage(script).blob(DIGEST, "model file") == DATA
        assert len(script.asked) == len(answers)


@pytest.mark.parametrize(
    ("answer", "told", "asked"),
    [
        (FLIPPED, "was changed after it was stored", 3),
        (BROKEN, "cannot read the model file", 3),
        (Answer(403, code="RequestTimeTooSkewed"), "RequestTimeTooSkewed", 3),
        (Answer(404, code="NoSuchKey"), "NoSuchKey", 1),
    ],
)
def test_a_model_that_never_arrives_whole_is_refused(answer: Answer, told: str, asked: int) -> None:
    with scripted(answer) as script:
        with pytest.raises(StartFailure, match=told) as caught:
            storage(script).blob(DIGEST, "model file")
        assert "s3://lake/store/blobs/sha256/" in str(caught.value)
        assert len(script.asked) == asked


def test_a_body_that_hardly_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(pace, "SLOWEST", 1 << 40)
    with scripted(WHOLE) as script, pytest.raises(StartFailure, match="taken for an outage"):
        storage(script).blob(DIGEST, "model file")


def test_a_name_that_leads_to_the_nodes_metadata_service_is_never_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(WHOLE) as script:
        one, real = storage(script), socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, port, *given, **more: real("169.254.169.254", port, *given, **more)
        )
        with pytest.raises(StartFailure, match=r"resolves to 169\.254\.169\.254"):
            one.blob(DIGEST, "model file")
        with pytest.raises(StorageTrouble, match="link-local or metadata address"):
            one.put("log/segment", DATA)
        assert script.asked == []


def test_a_damaged_hash_key_is_never_used() -> None:
    key = new_hash_key()
    with scripted(Answer(body=key[:40]), Answer(body=key)) as script:
        assert storage(script).hash_key() == key
    damaged = key[:-1] + bytes([key[-1] ^ 1])
    with scripted(Answer(body=damaged)) as script, pytest.raises(StartFailure, match="not a whole key"):
        storage(script).hash_key()


def test_a_hash_key_is_made_once_and_the_one_that_lies_there_is_used() -> None:
    key = new_hash_key()
    refused = Answer(412, code="PreconditionFailed")
    with scripted(Answer(404, code="NoSuchKey"), refused, Answer(body=key)) as script:
        assert storage(script).hash_key() == key
        assert [line.split()[0] for line in script.asked] == ["GET", "PUT", "GET"]
