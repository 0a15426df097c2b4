"""Reading a Job and its pods: whose fault an end is."""

import pytest

from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.jobs import Fault, Phase, look
from plumbline_operator.model.meta import Manifest

REPORT = Report(outcome=Outcome.DONE, reason="Validated").termination_message().decode()
REFUSED = Report(outcome=Outcome.REFUSED, reason="SchemaMismatch", message="no").termination_message().decode()
TROUBLE = Report(outcome=Outcome.TROUBLE, reason="EndpointUnreachable").termination_message().decode()


def job(condition: str = "", reason: str = "", **metadata: str) -> Manifest:
    """A Job with at most one condition."""
    conditions = [{"type": condition, "status": "True", "reason": reason, "message": "As told."}] if condition else []
    return {"metadata": {"name": "one", "uid": "u1"} | metadata, "status": {"conditions": conditions}}


def pod(
    code: int | None = None, message: str = "", *, created: str = "1", reason: str = "", **status: object
) -> Manifest:
    """A pod with one container, ended when a code is given."""
    state = {} if code is None else {"terminated": {"exitCode": code, "message": message, "reason": reason}}
    return {
        "metadata": {"name": f"pod-{created}", "creationTimestamp": created},
        "status": {"containerStatuses": [{"name": "main", "state": state}]} | status,
    }


CASES = {
    "no job": (None, [], Phase.ABSENT, ""),
    "a job on its way out": (job(deletionTimestamp="now"), [], Phase.ABSENT, ""),
    "a job without a pod": (job(), [], Phase.PENDING, ""),
    "a running pod": (job(), [pod(phase="Running")], Phase.RUNNING, ""),
    "done": (job("Complete"), [pod(0, REPORT)], Phase.DONE, ""),
    "done, but the report is gone": (job("Complete"), [], Phase.TROUBLE, Fault.POD_LOST),
    "done, but that is no report": (job("Complete"), [pod(0, "bye")], Phase.TROUBLE, Fault.POD_LOST),
    "refused": (job("Failed"), [pod(2, REFUSED)], Phase.REFUSED, "SchemaMismatch"),
    "trouble": (job("Failed"), [pod(3, TROUBLE)], Phase.TROUBLE, "EndpointUnreachable"),
    "no word": (job("Failed"), [pod(1, "boom")], Phase.REFUSED, Fault.JOB_FAILED),
    "too much memory": (job("Failed"), [pod(137, reason="OOMKilled")], Phase.REFUSED, Fault.OOM_KILLED),
    "pod gone": (job("Failed"), [], Phase.TROUBLE, Fault.POD_LOST),
    "past the deadline": (job("Failed", "DeadlineExceeded"), [], Phase.REFUSED, Fault.DEADLINE),
}


@pytest.mark.parametrize("title", CASES)
def test_a_job_is_read_as(title: str) -> None:
    live, pods, phase, reason = CASES[title]
    sight = look(live, pods)
    assert (sight.phase, sight.reason) == (phase, reason)


@pytest.mark.parametrize("reason", ["Evicted", "NodeShutdown", "Terminated", "Preempting"])
def test_what_the_node_took_away_is_never_the_works_fault(reason: str) -> None:
    taken = pod(137, REFUSED)
    taken["status"]["reason"] = reason
    assert look(job("Failed"), [taken]).phase is Phase.TROUBLE


def test_a_disrupted_pod_is_trouble_even_when_its_container_looks_guilty() -> None:
    taken = pod(143, "terminated", conditions=[{"type": "DisruptionTarget", "status": "True"}])
    assert look(job("Failed"), [taken]).reason == Fault.POD_LOST


def test_the_newest_pod_decides() -> None:
    sight = look(job("Failed"), [pod(2, REFUSED, created="1"), pod(3, TROUBLE, created="2")])
    assert sight.phase is Phase.TROUBLE


def test_the_first_container_that_failed_decides() -> None:
    one = pod(1, "consequence")
    one["status"]["initContainerStatuses"] = [
        {"name": "fetch", "state": {"terminated": {"exitCode": 0}}},
        {"name": "train", "state": {"terminated": {"exitCode": 9, "message": "cause"}}},
    ]
    sight = look(job("Failed"), [one])
    assert (sight.container, sight.reason) == ("train", Fault.JOB_FAILED)
    assert "cause" in sight.message


def test_only_the_last_lines_of_a_log_are_told() -> None:
    log = "\n".join(f"line {n}" for n in range(40))
    message = look(job("Failed"), [pod(1, log)]).message
    assert "line 39" in message
    assert "line 20" not in message
