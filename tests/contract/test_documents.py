"""The documents that cross image borders keep their promises."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from plumbline_contract import layout
from plumbline_contract.base import canonical_json, digest_of, short_hash
from plumbline_contract.prediction import parse_prediction_id, prediction_id
from plumbline_contract.report import MESSAGE_LIMIT, Outcome, Report, TestVerdict
from plumbline_contract.routes import Backend, Routes
from plumbline_contract.runspec import RunSpec

DIGEST = digest_of(b"x")


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=8))
def test_equal_values_have_equal_bytes_whatever_their_order(value: dict[str, object]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(backwards)
    assert short_hash(value) == short_hash(backwards)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"auc": bad})


def test_a_blob_lies_under_its_digest() -> None:
    key = layout.blob("store/", DIGEST)
    assert key == f"store/blobs/sha256/{DIGEST[7:9]}/{DIGEST[7:]}"
    with pytest.raises(ValueError, match="not a sha256 digest"):
        layout.blob("store", "md5:1234")


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1)), st.uuids())
def test_a_prediction_id_says_when_and_which_request(moment: datetime, request: object) -> None:
    milliseconds = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
    found, request_id = parse_prediction_id(prediction_id(milliseconds, str(request)))
    assert abs(found.timestamp() * 1000 - milliseconds) < 1
    assert request_id == str(request)


@pytest.mark.parametrize("bad", ["", "abc", "0123456789ab-", "0123456789AB-x", "0123456789ab-../x"])
def test_what_is_no_prediction_id_is_refused_with_the_place_to_find_one(bad: str) -> None:
    with pytest.raises(ValueError, match="x-plumbline-prediction-id"):
        parse_prediction_id(bad)


def test_prediction_ids_sort_by_time() -> None:
    assert prediction_id(1, "z") < prediction_id(2, "a") < prediction_id(2**40, "a")


@given(
    st.text(max_size=6000),
    st.lists(st.tuples(st.sampled_from(["Pass", "Fail", "Inconclusive"]), st.text(max_size=400)), max_size=120),
)
def test_a_report_always_fits_and_keeps_what_decides(message: str, verdicts: list[tuple[str, str]]) -> None:
    report = Report(
        outcome=Outcome.REFUSED,
        reason="TestFailed",
        message=message,
        digests={"manifest": DIGEST},
        numbers={f"n{i}": float(i) for i in range(len(verdicts))},
        verdicts=tuple(TestVerdict(name=f"test-{i}", verdict=v, message=m) for i, (v, m) in enumerate(verdicts)),
    )
    data = report.termination_message()
    assert len(data) <= MESSAGE_LIMIT
    read = Report.model_validate_json(data)
    assert (read.outcome, read.reason, read.digests) == (report.outcome, report.reason, report.digests)


def test_weights_that_do_not_sum_to_one_hundred_are_refused_with_the_sum() -> None:
    with pytest.raises(ValidationError, match="sum to 95, not 100"):
        Routes(generation=1, deployment="d", backends=(Backend(variant="a", host="a", weight=95),))


def test_a_runspec_is_read_by_its_verb_and_unknown_fields_are_refused() -> None:
    adapter: TypeAdapter[object] = TypeAdapter(RunSpec)
    owner = {"namespace": "n", "kind": "Connection", "name": "c", "uid": "u", "job": "j"}
    document = {"verb": "verify", "owner": owner, "git_url": "https://example.com/x.git"}
    assert type(adapter.validate_json(json.dumps(document))).__name__ == "VerifyConnection"
    with pytest.raises(ValidationError, match="Extra inputs"):
        adapter.validate_json(json.dumps(document | {"secret": "s"}))
