"""Reads a Job and its pods: is it waiting, working, done, or dead, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plumbline_contract.report import Outcome, Report
from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import Manifest

EXIT_OUT_OF_MEMORY = 137  # 128 + SIGKILL; the kubelet also sets reason OOMKilled
IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})

# What the kubelet and the node lifecycle write into status.reason of a pod they took away; its containers then show
# an exit code that is not their own fault. The eviction API and preemption set the condition DisruptionTarget.
LOST_REASONS = frozenset({"Evicted", "NodeLost", "NodeShutdown", "Terminated", "Shutdown", "Preempting"})


class Phase(StrEnum):
    """Where a Job stands."""

    ABSENT = "Absent"
    PENDING = "Pending"  # no pod runs yet; `reason` and `message` say why when the kubelet or scheduler said so
    RUNNING = "Running"  # `container` is the one at work, where the pod says so
    DONE = "Done"  # it answered Done: `report` is set
    REFUSED = "Refused"  # the input is at fault: `reason`, `message`, perhaps `report`
    TROUBLE = "Trouble"  # the surroundings are at fault; another attempt may help


class Fault(StrEnum):
    """Reasons every kind that runs Jobs shares. Rooms add them to their own enumeration by value."""

    OOM_KILLED = "OOMKilled"
    IMAGE_NOT_FOUND = "ImageNotFound"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_NOT_FOUND = "SecretNotFound"
    DEADLINE = "Deadline"
    POD_LOST = "PodLost"
    JOB_FAILED = "JobFailed"


@dataclass(frozen=True, slots=True)
class JobSight:
    """What the world shows of one Job."""

    phase: Phase
    reason: str = ""
    message: str = ""
    report: Report | None = None
    container: str = ""  # the container that decided
    uid: str = ""  # the Job's, for a delete


def look(job: Manifest | None, pods: Sequence[Manifest]) -> JobSight:
    """Where a Job stands, from the Job and the pods that carry its label. Absent, or being deleted, is ABSENT."""
    if job is None or job["metadata"].get("deletionTimestamp"):
        return JobSight(Phase.ABSENT)
    uid = job["metadata"].get("uid", "")
    conditions = job.get("status", {}).get("conditions", ())
    pod = newest(pods)
    if _holds(conditions, "Complete"):
        return _answered(pod, uid)
    failed = find(conditions, "Failed")
    if failed is not None and failed.get("status") == "True":
        return _dead(failed, pod, uid)
    return _under_way(pod, uid)


def newest(pods: Iterable[Manifest]) -> Manifest | None:
    """The pod created last, by time and then by name so that ties do not matter."""
    return max(pods, key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]), default=None)


def read_report(message: str) -> Report | None:
    """A termination message as a Report, or None when it is something else, such as the tail of a log."""
    try:
        return Report.model_validate_json(message)
    except ValueError:
        return None


def _holds(conditions: Iterable[Mapping[str, Any]], type_: str) -> bool:
    condition = find(conditions, type_)
    return condition is not None and condition.get("status") == "True"


def _answered(pod: Manifest | None, uid: str) -> JobSight:
    """A completed Job: its last container wrote the report."""
    for name, ended in reversed(_ended(pod)):
        report = read_report(ended.get("message", ""))
        if report is not None:
            return JobSight(Phase.DONE, report=report, container=name, uid=uid)
    return JobSight(Phase.TROUBLE, Fault.POD_LOST, "The Job completed but its pod is gone with the report.", uid=uid)


def _dead(failed: Mapping[str, Any], pod: Manifest | None, uid: str) -> JobSight:
    """A failed Job: the first container that ended badly decides."""
    if failed.get("reason") == "DeadlineExceeded":
        return JobSight(Phase.REFUSED, Fault.DEADLINE, failed.get("message", "The Job ran past its deadline."), uid=uid)
    if pod is None:
        return JobSight(Phase.TROUBLE, Fault.POD_LOST, "The Job failed and its pod is gone.", uid=uid)
    status = pod.get("status", {})
    taken = status.get("reason") in LOST_REASONS or _holds(status.get("conditions", ()), "DisruptionTarget")
    for name, ended in () if taken else _ended(pod):
        if ended.get("exitCode", 0) != 0:
            return _verdict(name, ended, uid)
    text = f"The pod ended as {status.get('reason', 'Failed')}: {status.get('message', failed.get('message', ''))}"
    return JobSight(Phase.TROUBLE, Fault.POD_LOST, text, uid=uid)


def _verdict(name: str, ended: Mapping[str, Any], uid: str) -> JobSight:
    message = ended.get("message", "")
    report = read_report(message)
    if report is not None:
        phase = Phase.TROUBLE if report.outcome is Outcome.TROUBLE else Phase.REFUSED
        return JobSight(phase, report.reason, report.message, report, name, uid)
    code = ended.get("exitCode", 0)
    if ended.get("reason") == "OOMKilled":
        text = f"Container {name} was killed for using more memory than its limit."
        return JobSight(Phase.REFUSED, Fault.OOM_KILLED, text, container=name, uid=uid)
    tail = "\n".join(message.strip().splitlines()[-12:])
    return JobSight(Phase.REFUSED, Fault.JOB_FAILED, f"Container {name} ended with {code}: {tail}", None, name, uid)


def _under_way(pod: Manifest | None, uid: str) -> JobSight:
    if pod is None:
        return JobSight(Phase.PENDING, uid=uid)
    status = pod.get("status", {})
    scheduled = find(status.get("conditions", ()), "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return JobSight(Phase.PENDING, Fault.UNSCHEDULABLE, scheduled.get("message", ""), uid=uid)
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = one.get("state", {}).get("waiting", {})
        if waiting.get("reason") in IMAGE_REASONS:
            text = f"Image {one.get('image')} of container {one['name']} cannot be had: {waiting.get('message', '')}"
            return JobSight(Phase.PENDING, Fault.IMAGE_NOT_FOUND, text, container=one["name"], uid=uid)
        if waiting.get("reason") == "CreateContainerConfigError":
            return JobSight(Phase.PENDING, Fault.SECRET_NOT_FOUND, waiting.get("message", ""), None, one["name"], uid)
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if one.get("state", {}).get("running") is not None:
            return JobSight(Phase.RUNNING, container=one["name"], uid=uid)
    return JobSight(Phase.RUNNING if status.get("phase") == "Running" else Phase.PENDING, uid=uid)


def _ended(pod: Manifest | None) -> list[tuple[str, Mapping[str, Any]]]:
    """(container, terminated state) in the order in which containers run."""
    if pod is None:
        return []
    status = pod.get("status", {})
    states = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return [(one["name"], one["state"]["terminated"]) for one in states if one.get("state", {}).get("terminated")]
