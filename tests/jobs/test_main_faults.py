"""Whatever happens inside a verb, the process answers: an exit code, and a report that fits and quotes no data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plumbline_contract import layout
from plumbline_contract.report import MESSAGE_LIMIT, Outcome, Report, TestVerdict
from plumbline_contract.runspec import Ingest
from plumbline_jobs import ingest, main
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import JobError, Refused, Trouble
from tests.jobs.lake import OWNER, PREFIX, Lake, column

SECRET = "Grace Hopper"


@pytest.fixture
def job(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of an ingest; the path of its termination message."""
    monkeypatch.setenv("PLUMBLINE_RUNSPEC", lake.spec([column("a")]).canonical().decode())
    monkeypatch.setenv("PLUMBLINE_TERMINATION_LOG", str(tmp_path / "told"))
    monkeypatch.setattr(os, "umask", lambda mask: mask)
    return tmp_path / "told"


def ended(told: Path, monkeypatch: pytest.MonkeyPatch, end: Answer | Exception) -> tuple[int, Report]:
    """The exit code and the report of a Job whose verb ends like this."""

    def verb(spec: Ingest) -> Answer:
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(ingest, "run", verb)
    code = main.main()
    data = told.read_bytes()
    assert len(data) <= MESSAGE_LIMIT
    return code, Report.model_validate_json(data)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (Answer(Report(outcome=Outcome.DONE)), 0),
        (Refused("SchemaMismatch", "no"), 2),
        (Trouble("EndpointUnreachable", "no"), 3),
        (ValueError("no"), 3),
        (MemoryError(), 3),
        (RecursionError("no"), 3),
    ],
)
def test_each_end_has_its_exit_code(
    job: Path, monkeypatch: pytest.MonkeyPatch, end: Answer | Exception, code: int
) -> None:
    assert ended(job, monkeypatch, end)[0] == code


def test_an_unexpected_error_says_its_type_and_place_but_not_its_words(
    job: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, report = ended(job, monkeypatch, KeyError(SECRET))
    printed = capfd.readouterr()
    assert (code, report.outcome, report.reason) == (3, Outcome.TROUBLE, "JobFailed")
    assert report.message.startswith("KeyError at test_main_faults.py:")
    assert "defect of Plumbline" in report.message
    assert SECRET not in report.message + printed.out + printed.err
    assert not any(SECRET.encode() in data for data in lake.objects().values())


def test_a_result_that_cannot_be_written_down_is_a_defect_and_not_done(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Answer(Report(outcome=Outcome.DONE), {"share": float("nan")})
    code, report = ended(job, monkeypatch, answer)
    assert (code, report.reason) == (3, "JobFailed")
    assert report.message.startswith("ValueError at ")


def test_a_refusal_stays_one_when_its_result_cannot_be_stored(
    job: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = lake.storage.model_copy(update={"bucket": "nowhere"})
    spec = lake.spec([column("a")]).model_copy(update={"storage": gone})
    monkeypatch.setenv("PLUMBLINE_RUNSPEC", spec.canonical().decode())
    assert ended(job, monkeypatch, Refused("SchemaMismatch", "row 3"))[1].message == "row 3"
    code, report = ended(job, monkeypatch, Answer(Report(outcome=Outcome.DONE)))
    assert (code, report.reason) == (2, "BucketNotFound")


@given(st.text(), st.sampled_from([Refused, Trouble]))
def test_every_message_fits_into_a_report(text: str, kind: type[JobError]) -> None:
    error = kind("JobFailed", text + "\udcff")
    report = Report(outcome=kind.outcome, reason=error.reason, message=error.message)
    assert len(report.termination_message()) <= MESSAGE_LIMIT
    assert error.message.endswith("?")


def test_a_thousand_failing_tests_fit_into_the_message_and_all_lie_in_the_bucket(
    job: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [
        TestVerdict(name=f"t{n}", verdict="Fail", value=n, bound="0 rows", message="ü" * 300) for n in range(1000)
    ]
    code, report = ended(job, monkeypatch, Refused("TestFailed", "ü" * 300_000, verdicts))
    assert (code, report.reason) == (2, "TestFailed")
    assert report.message.startswith("üüü")
    assert report.verdicts[0].name == "t0"
    full = lake.objects()[layout.report(PREFIX, "team", "Dataset", "flights", OWNER.job)]
    assert b'"t999"' in full
