"""`python -m plumbline_jobs` as a pod runs it: what it reads, writes, says and ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plumbline_contract import layout
from plumbline_contract.base import Document
from plumbline_contract.report import MESSAGE_LIMIT, Outcome, Report
from plumbline_contract.runspec import RowCount, VerifyConnection
from plumbline_jobs import main, places
from plumbline_jobs.errors import Trouble
from plumbline_jobs.io.store import Store
from tests.jobs.lake import OWNER, PREFIX, Lake, column, unresolved

TABLE = "a,b\n1,SecretName\n2,y\n"
COLUMNS = [column("a"), column("b", "String")]
INDEX = layout.report(PREFIX, OWNER.namespace, OWNER.kind, OWNER.name, OWNER.job)


@dataclass(frozen=True)
class Ended:
    """What a Job's process left."""

    code: int
    report: Report
    lines: list[dict[str, Any]]
    output: str


def run(spec: Document | str, folder: Path) -> Ended:
    """Runs the Job's process with this RunSpec."""
    message = folder / "termination-log"
    document = spec if isinstance(spec, str) else spec.canonical().decode()
    done = subprocess.run(
        [sys.executable, "-m", "plumbline_jobs"],
        env={**os.environ, "PLUMBLINE_RUNSPEC": document, places.TERMINATION_VARIABLE: str(message)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    data = message.read_bytes()
    assert len(data) <= MESSAGE_LIMIT
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return Ended(done.returncode, Report.model_validate_json(data), lines, done.stdout + done.stderr)


def index(lake: Lake) -> dict[str, Any]:
    """The index of the Job's full result."""
    found: dict[str, Any] = json.loads(lake.objects()[INDEX])
    return found


def test_work_that_is_done_ends_with_0_and_a_result_that_can_be_found(lake: Lake, tmp_path: Path) -> None:
    lake.put("table.csv", TABLE)
    ended = run(lake.spec(COLUMNS, tests=(RowCount(name="rows", minimum=2),)), tmp_path)
    assert ended.code == 0
    assert ended.report.outcome is Outcome.DONE
    assert ended.lines[0]["event"] == "job started"
    assert ended.lines[-1] | {"time": "", "seconds": 0} == {
        "time": "",
        "event": "job ended",
        "outcome": "Done",
        "reason": "Validated",
        "seconds": 0,
    }
    assert "SecretName" not in ended.output
    found = index(lake)
    assert found["report"] == json.loads(ended.report.canonical())
    full = json.loads(lake.blob(found["result"]))
    assert full["details"]["manifest"] == json.loads(lake.blob(ended.report.digests["manifest"]))
    assert unresolved(lake.objects()) == []


def test_an_input_at_fault_ends_with_2_and_keeps_the_verdicts(lake: Lake, tmp_path: Path) -> None:
    lake.put("table.csv", TABLE)
    ended = run(lake.spec(COLUMNS, tests=(RowCount(name="rows", minimum=3),)), tmp_path)
    assert ended.code == 2
    assert (ended.report.outcome, ended.report.reason) == (Outcome.REFUSED, "TestFailed")
    assert [(v.name, v.verdict, v.value) for v in ended.report.verdicts] == [("rows", "Fail", 2)]
    assert index(lake)["report"]["reason"] == "TestFailed"


def test_surroundings_at_fault_end_with_3(lake: Lake, unused_endpoint: str, tmp_path: Path) -> None:
    spec = lake.spec(COLUMNS)
    silent = spec.storage.model_copy(update={"endpoint": unused_endpoint})
    ended = run(spec.model_copy(update={"storage": silent, "source": silent}), tmp_path)
    assert ended.code == 3
    assert (ended.report.outcome, ended.report.reason) == (Outcome.TROUBLE, "EndpointUnreachable")


def test_a_result_that_cannot_be_stored_is_not_called_done(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.put("table.csv", TABLE)
    written: list[str] = []

    def full(self: Store, key: str, data: bytes) -> None:
        written.append(key)
        raise Trouble("EndpointUnreachable", "the bucket is full")

    monkeypatch.setattr(Store, "write", full)
    code, report = within(lake, monkeypatch)
    assert (code, report.outcome, report.reason) == (3, Outcome.TROUBLE, "EndpointUnreachable")
    assert written == [INDEX]


def within(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Report]:
    """The exit code and report of an ingest in this process, so that its writes can be watched."""
    told: list[bytes] = []
    monkeypatch.setenv("PLUMBLINE_RUNSPEC", lake.spec(COLUMNS).canonical().decode())
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: told.append(data))
    before = os.umask(0o022)
    try:
        code = main.main()
    finally:
        os.umask(before)
    return code, Report.model_validate_json(told[-1])


def test_the_index_is_the_last_object_and_the_report_comes_after_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.put("table.csv", TABLE)
    order: list[str] = []
    put, tell = Store._put, main._tell

    def watched(self: Store, key: str, content: bytes | Path, *, only_if_absent: bool) -> bool:
        order.append(key)
        return put(self, key, content, only_if_absent=only_if_absent)

    monkeypatch.setattr(Store, "_put", watched)
    monkeypatch.setattr(main, "_tell", lambda report: (order.append("report"), tell(report)))
    code, report = within(lake, monkeypatch)
    assert code == 0
    assert order[-2:] == [INDEX, "report"]
    assert order[-4] == layout.blob(PREFIX, report.digests["manifest"])
    assert order[-3] == layout.blob(PREFIX, index(lake)["result"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the document: Invalid JSON"),
        ("{}", "verb"),
        ('{"verb": "dance"}', "dance"),
        ('{"verb": "verify", "owner": {"namespace": "team"}}', "verify.owner.kind: Field required"),
    ],
)
def test_a_document_that_is_no_order_is_refused_by_its_field(text: str, said: str, tmp_path: Path) -> None:
    ended = run(text, tmp_path)
    assert ended.code == 2
    assert ended.report.reason == "JobFailed"
    assert said in ended.report.message


def test_a_connection_under_test_keeps_nothing_of_ours(lake: Lake, tmp_path: Path) -> None:
    ended = run(VerifyConnection(owner=OWNER, s3=lake.storage), tmp_path)
    assert (ended.code, ended.report.reason) == (0, "Verified")
    assert lake.objects() == {}


def test_steps_of_one_job_have_an_index_each(lake: Lake) -> None:
    answer = main.Answer(Report(outcome=Outcome.DONE))
    for verb in ("fetch", "collect"):
        main.keep(lake.store, OWNER, verb, answer)
    keys = [key for key in lake.objects() if "/reports/" in key]
    assert keys == [INDEX.replace(".json", ".fetch.json"), INDEX]
