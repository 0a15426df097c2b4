"""Reads the RunSpec, does its verb, writes the answer.

Order of writing, so that a crash at any point leaves nothing that names something missing:
blobs → manifest → full result → index → report (termination log).
"""

import os
import traceback
from collections.abc import Callable
from importlib import import_module
from time import monotonic
from typing import Any

from pydantic import TypeAdapter, ValidationError

from plumbline_contract.report import Outcome, Report
from plumbline_contract.runspec import RUNSPEC_VARIABLE, RunSpec, VerifyConnection
from plumbline_jobs import places
from plumbline_jobs.answer import Answer, keep
from plumbline_jobs.errors import JobError, Refused
from plumbline_jobs.io.store import Store
from plumbline_jobs.log import log

EXIT = {Outcome.DONE: 0, Outcome.REFUSED: 2, Outcome.TROUBLE: 3}

Verb = Callable[[Any], Answer]


def main() -> int:
    """Carries out the RunSpec in the environment; returns the exit code: 0 done, 2 refused, 3 trouble."""
    os.umask(0o022)  # what fetch writes is read by the training image under another user
    started = monotonic()
    spec: RunSpec | None = None
    try:
        spec = read_spec(os.environ.get(RUNSPEC_VARIABLE, ""))
        log("job started", verb=spec.verb, owner=f"{spec.owner.kind}/{spec.owner.namespace}/{spec.owner.name}")
        answer = verb_of(spec)(spec)
    except JobError as error:
        answer = _failed(error)
    except Exception as error:  # noqa: BLE001 - the process' own boundary: else the operator would see no reason
        answer = _crashed(error)
    report = _kept(spec, answer)
    _tell(report)
    log("job ended", outcome=report.outcome, reason=report.reason, seconds=round(monotonic() - started, 3))
    return EXIT[report.outcome]


def read_spec(text: str) -> RunSpec:
    """The RunSpec in `text`. Raises Refused naming the field that is wrong."""
    adapter: TypeAdapter[RunSpec] = TypeAdapter(RunSpec)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise Refused("JobFailed", f"{RUNSPEC_VARIABLE} is not a run specification: {where}: {first['msg']}") from error


def verb_of(spec: RunSpec) -> Verb:
    """The function `run` of the module named like the verb. Imported late: no verb pays for another's libraries."""
    run: Verb = import_module(f"plumbline_jobs.{spec.verb}").run
    return run


def _failed(error: JobError) -> Answer:
    return Answer(
        Report(outcome=error.outcome, reason=error.reason, message=error.message, verdicts=error.verdicts),
    )


def _crashed(error: Exception) -> Answer:
    """An error that no code expected. Its text may quote data, so only its type and place are told."""
    frames = traceback.extract_tb(error.__traceback__)
    places_of = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    kind = type(error).__name__
    log("job crashed", error=kind, frames=" < ".join(reversed(places_of)))
    message = f"{kind} at {places_of[-1]}, which is a defect of Plumbline; the Job's log has the whole path."
    return Answer(Report(outcome=Outcome.TROUBLE, reason="JobFailed", message=message))


def _kept(spec: RunSpec | None, answer: Answer) -> Report:
    """Stores the full result, and returns the report to give. A connection under test has no place for results."""
    if spec is None or isinstance(spec, VerifyConnection):
        return answer.report
    try:
        digest = keep(Store.connect(spec.storage), spec.owner, spec.verb, answer)
    except JobError as error:
        return _not_kept(answer, _failed(error))
    except Exception as error:  # noqa: BLE001 - as in main: the answer must reach the operator
        return _not_kept(answer, _crashed(error))
    log("result stored", digest=digest)
    return answer.report


def _not_kept(answer: Answer, why: Answer) -> Report:
    """A success that could not be stored is none; a refusal stays what it is."""
    log("result not stored", reason=why.report.reason)
    return why.report if answer.report.outcome is Outcome.DONE else answer.report


def _tell(report: Report) -> None:
    places.termination_log().write_bytes(report.termination_message())
