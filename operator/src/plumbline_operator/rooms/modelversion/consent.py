"""Counts approvals. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from plumbline_operator.model.conditions import Conditions, State, stamp
from plumbline_operator.rooms.approval.api import Approval, refusal
from plumbline_operator.rooms.approval.api import Reason as Refusal
from plumbline_operator.rooms.modelversion.api import CountedApproval, ModelVersionSpec, Reason
from plumbline_operator.rooms.registeredmodel.api import RegisteredModelSpec

STATUS_LIMIT = 50  # approvals in the status, about 150 bytes each; a status stays far below 64 KiB
SHOWN = 5  # approvals that a message names before it says how many more there are


@dataclass(frozen=True, slots=True)
class Tally:
    """What the approvals of one version add up to.

    counted: those that count now. refused: (name, why) of the others. lapsed: approvers whose consent has expired and
    who have given no other.
    """

    required: int
    counted: tuple[CountedApproval, ...]
    refused: tuple[tuple[str, Refusal], ...]
    lapsed: tuple[str, ...]
    again: timedelta | None

    @property
    def shown(self) -> tuple[CountedApproval, ...]:
        """The counted ones for the status: denials first, and no more than a status should hold."""
        return tuple(sorted(self.counted, key=lambda one: (one.decision != "Deny", one.name)))[:STATUS_LIMIT]

    @property
    def denial(self) -> CountedApproval | None:
        """The first decision against the version, by name; one outweighs any number of approvals."""
        return next((one for one in self.counted if one.decision == "Deny"), None)

    @property
    def approvers(self) -> tuple[str, ...]:
        """Different people who approve; a person who approves twice is one."""
        return tuple(sorted({one.approver for one in self.counted if one.decision == "Approve"}))

    @property
    def reason(self) -> Reason:
        """The Approved condition's reason: Approved, Denied, ApprovalExpired or AwaitingApproval."""
        if self.denial is not None:
            return Reason.DENIED
        if len(self.approvers) >= self.required:
            return Reason.APPROVED
        if len({*self.approvers, *self.lapsed}) >= self.required:
            return Reason.APPROVAL_EXPIRED
        return Reason.AWAITING_APPROVAL

    @property
    def message(self) -> str:
        """Who approved, how many are missing, whose decision does not count and why."""
        if self.denial is not None:
            return f"Denied by {self.denial.approver} in Approval {self.denial.name}."
        parts = [f"{len(self.approvers)} of {self.required} required approvals{_by(self.approvers)}."]
        if self.lapsed and self.reason is not Reason.APPROVED:
            parts.append(f"Expired: {_some(self.lapsed)}.")
        refused = [f"{name} ({why})" for name, why in self.refused if why is not Refusal.EXPIRED]
        if refused:
            parts.append(f"Not counted: {_some(refused)}.")
        return " ".join(parts)


def count(approvals: Sequence[Approval], version: ModelVersionSpec, model: RegisteredModelSpec, now: datetime) -> Tally:
    """What the Approvals that name this version add up to; `again` is when the next of them expires."""
    ordered = sorted(approvals, key=lambda one: one.metadata.name)
    judged = [(one, refusal(one.spec, version, model, now)) for one in ordered]
    valid = [one for one, why in judged if why is None]
    expired = {one.spec.approver for one, why in judged if why is Refusal.EXPIRED and one.spec.decision == "Approve"}
    ends = [one.spec.expires_at for one in valid if one.spec.expires_at is not None]
    return Tally(
        required=model.approvals.required,
        counted=tuple(_counted(one) for one in valid),
        refused=tuple((one.metadata.name, why) for one, why in judged if why is not None),
        lapsed=tuple(sorted(expired - {one.spec.approver for one in valid})),
        again=min(ends) - now if ends else None,
    )


def say(tally: Tally, conditions: Conditions) -> None:
    """Set the Approved condition."""
    conditions.set(
        "Approved", State.TRUE if tally.reason is Reason.APPROVED else State.FALSE, tally.reason, tally.message
    )


def _counted(one: Approval) -> CountedApproval:
    spec = one.spec
    return CountedApproval(
        approver=spec.approver, name=one.metadata.name, decision=spec.decision, expires_at=spec.expires_at
    )


def _by(names: Sequence[str]) -> str:
    return f", by {_some(names)}" if names else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def until(tally: Tally) -> str:
    """When the consent ends, for a message; empty when it lasts."""
    ends = [one.expires_at for one in tally.counted if one.decision == "Approve" and one.expires_at is not None]
    return f" The first of the approvals expires at {stamp(min(ends))}." if ends else ""


def approvals_of(version: str, raws: Iterable[Mapping[str, Any]]) -> tuple[Approval, ...]:
    """The Approvals (raw) that name this version and can be read; an unreadable one says so in its own status."""
    found = []
    for raw in raws:
        if raw.get("spec", {}).get("version", {}).get("name") != version or raw["metadata"].get("deletionTimestamp"):
            continue
        try:
            found.append(Approval.model_validate({"metadata": raw["metadata"], "spec": raw["spec"], "status": {}}))
        except ValidationError:
            continue
    return tuple(found)
