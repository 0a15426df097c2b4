"""Decides whether an Approval counts, and says so.

created ── VersionNotFound ──(1 h)── UnknownVersion
                │ the version appears     │
                └──────── Accepted ───────┴──(expiresAt)── Expired
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_operator.model.attempts import conditions_for, written
from plumbline_operator.model.conditions import Conditions, find, stamp
from plumbline_operator.model.plan import Note, Plan
from plumbline_operator.rooms.approval.api import Approval, ApprovalSpec, Reason, refusal
from plumbline_operator.rooms.modelversion.api import ModelVersionSpec
from plumbline_operator.rooms.registeredmodel.api import RegisteredModelSpec

PATIENCE = timedelta(hours=1)  # a run that was approved beforehand usually ends within it


@dataclass(frozen=True, slots=True)
class Seen:
    """The Approval, and what it decides on as far as that exists."""

    approval: Approval
    version: ModelVersionSpec | None
    model: RegisteredModelSpec | None


def plan(seen: Seen, now: datetime) -> Plan:
    """The next status; an Approval has no children."""
    approval = seen.approval
    spec = approval.spec
    conditions = conditions_for(approval.metadata, approval.status, now)
    if seen.version is None:
        return _answer(seen, *_without_version(approval, conditions, now))
    if seen.model is None:
        name = seen.version.model_ref.name
        text = f"RegisteredModel {name} of ModelVersion {spec.version.name} does not exist. Waiting for it."
        return _answer(seen, conditions.waiting(Reason.MODEL_NOT_FOUND, text), None)
    refused = refusal(spec, seen.version, seen.model, now)
    if refused is not None:
        return _answer(seen, conditions.stalled(refused, _why(refused, spec, seen.version, seen.model)), None)
    until = "" if spec.expires_at is None else f" until {stamp(spec.expires_at)}"
    text = f"{spec.decision} by {spec.approver} on ModelVersion {spec.version.name} counts{until}."
    again = None if spec.expires_at is None else spec.expires_at - now
    return _answer(seen, conditions.ready(Reason.ACCEPTED, text), again)


def _without_version(approval: Approval, conditions: Conditions, now: datetime) -> tuple[Conditions, timedelta | None]:
    """Wait for the version, but not silently forever."""
    name = approval.spec.version.name
    deadline = (approval.metadata.creation_timestamp or now) + PATIENCE
    if now < deadline:
        text = f"ModelVersion {name} does not exist yet. Waiting for it until {stamp(deadline)}."
        return conditions.waiting(Reason.VERSION_NOT_FOUND, text), deadline - now
    text = f"ModelVersion {name} does not exist. Check spec.version.name; it counts once that version appears."
    return conditions.stalled(Reason.UNKNOWN_VERSION, text), None


def _why(reason: Reason, spec: ApprovalSpec, version: ModelVersionSpec, model: RegisteredModelSpec) -> str:
    """The refusal in a sentence, with field, value and what it should be."""
    name = spec.version.name
    match reason:
        case Reason.DIGEST_MISMATCH:
            text = f"spec.version.manifest is {spec.version.manifest}, but {name} has {version.manifest}"
        case Reason.AUTHOR_MISMATCH:
            text = f"spec.version.author is {spec.version.author}, but {name} is by {version.author}"
        case Reason.SELF_APPROVAL:
            text = f"spec.approver {spec.approver} is the author of {name}"
        case Reason.GROUP_NOT_ALLOWED:
            groups = ", ".join(model.approvals.groups)
            given = spec.group or "empty"
            text = f"spec.group is {given}, but RegisteredModel {version.model_ref.name} counts only {groups}"
        case _:
            expired = "" if spec.expires_at is None else f" at {stamp(spec.expires_at)}"
            return f"The decision expired{expired} and counts no longer. Decide again if it still holds."
    return f"{text}. A decision cannot be changed: create a new Approval and delete this one."


def _answer(seen: Seen, conditions: Conditions, again: timedelta | None) -> Plan:
    """The plan that stores these conditions, with an Event when the decision starts or stops counting."""
    approval = seen.approval
    listed = conditions.list()
    before = next((one for one in approval.status.conditions if one.type == "Ready"), None)
    after = find(listed, "Ready") or {}
    moved = before is None or before.reason != after["reason"]
    lasting = after["status"] == "True" or find(listed, "Stalled") is not None
    notes = (Note(after["reason"], after["message"], after["status"] != "True"),) if moved and lasting else ()
    status = approval.status.model_copy(update={"model": seen.version.model_ref.name if seen.version else ""})
    return Plan(status=written(status, conditions), notes=notes, again=again)
