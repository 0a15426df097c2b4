"""Approval: the decision of one person on one digest, and whether it counts."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from plumbline_operator.model.kind import Column, Explained, Kind, Resource, Rule, Status
from plumbline_operator.model.meta import NAME_PATTERN, Model, Moment
from plumbline_operator.model.reasons import explained
from plumbline_operator.rooms.modelversion.api import ModelVersionSpec
from plumbline_operator.rooms.registeredmodel.api import RegisteredModelSpec

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class Subject(Model):
    """What is decided on. Name, digest and author are said here so that nobody approves unseen."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
        description="Name of the ModelVersion, in the same namespace.",
    )
    manifest: Sha256 = Field(description="Digest of its manifest: the bytes that are decided on.")
    author: str = Field(min_length=1, max_length=253, description="Its author, who cannot be the approver.")


class ApprovalSpec(Model):
    """One person's decision; it cannot be changed, only deleted."""

    approver: str = Field(
        min_length=1, max_length=253, description="Who decides; the authenticated user, checked at admission."
    )
    group: str = Field(
        default="",
        max_length=253,
        description="The group on whose behalf; the approver must be a member, checked at admission.",
    )
    version: Subject = Field(description="What is decided on.")
    decision: Literal["Approve", "Deny"] = Field(description="One Deny outweighs any number of approvals.")
    comment: str = Field(default="", max_length=4096, description="Why, for whoever asks later.")
    expires_at: Moment | None = Field(
        default=None, description="When the decision stops counting (RFC 3339). Absent: never."
    )


class ApprovalStatus(Status):
    """Whether the decision counts."""

    model: str = Field(default="", description="The RegisteredModel that says whose decision counts.")


class Reason(StrEnum):
    """Why an Approval counts or not."""

    ACCEPTED = "Accepted"
    VERSION_NOT_FOUND = "VersionNotFound"
    UNKNOWN_VERSION = "UnknownVersion"
    MODEL_NOT_FOUND = "ModelNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    AUTHOR_MISMATCH = "AuthorMismatch"
    SELF_APPROVAL = "SelfApproval"
    GROUP_NOT_ALLOWED = "GroupNotAllowed"
    EXPIRED = "Expired"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


REASONS: Mapping[StrEnum, Explained] = {
    Reason.ACCEPTED: Explained("The decision counts.", "Nothing."),
    Reason.VERSION_NOT_FOUND: Explained(
        "The ModelVersion does not exist yet.", "Nothing, if its TrainingRun is under way; else check the name."
    ),
    Reason.UNKNOWN_VERSION: Explained(
        "An hour after the decision was made, the ModelVersion still does not exist.",
        "Check spec.version.name. The decision counts as soon as that version appears.",
    ),
    Reason.MODEL_NOT_FOUND: Explained(
        "The RegisteredModel of the version does not exist, so nobody says whose decision counts.",
        "Create the RegisteredModel; it goes on by itself.",
    ),
    Reason.DIGEST_MISMATCH: Explained(
        "The version's manifest has another digest than the one that was decided on.",
        "Look at the version again, and create a new Approval with the digest it really has.",
    ),
    Reason.AUTHOR_MISMATCH: Explained(
        "The version's author is somebody else than spec.version.author says.",
        "Create a new Approval with the author that the version really has.",
    ),
    Reason.SELF_APPROVAL: Explained(
        "The approver is the author of the version.", "Ask somebody else to decide and delete this Approval."
    ),
    Reason.GROUP_NOT_ALLOWED: Explained(
        "The RegisteredModel names groups whose decision counts, and spec.group is none of them.",
        "Create a new Approval for one of those groups, of which the approver must be a member.",
    ),
    Reason.EXPIRED: Explained("The moment in spec.expiresAt has passed.", "Decide again if the decision still holds."),
    **explained(Reason),
}


class Approval(Resource[ApprovalSpec, ApprovalStatus]):
    """One person's decision."""


KIND = Kind(
    kind="Approval",
    plural="approvals",
    short="appr",
    description="The decision of one person on one ModelVersion, by digest.",
    resource=Approval,
    spec=ApprovalSpec,
    status=ApprovalStatus,
    reasons=REASONS,
    columns=(
        Column("Version", ".spec.version.name", description="The ModelVersion."),
        Column("Approver", ".spec.approver", description="Who decided."),
        Column("Decision", ".spec.decision", description="Approve or Deny."),
    ),
    rules=(
        Rule("self.spec == oldSelf.spec", "a decision never changes; delete it and decide again", ".spec"),
        Rule(
            "self.spec.version.author != self.spec.approver",
            "the author of a version cannot decide on it; spec.approver must be somebody else than spec.version.author",
            ".spec.approver",
        ),
        # Everybody who may edit in its namespace can act as a ServiceAccount, the author too.
        Rule(
            "!self.spec.approver.startsWith('system:serviceaccount:')",
            "a ServiceAccount cannot decide; spec.approver must be a person",
            ".spec.approver",
        ),
    ),
)


def refusal(
    approval: ApprovalSpec, version: ModelVersionSpec, model: RegisteredModelSpec, now: datetime
) -> Reason | None:
    """Why this decision on this version does not count now, or None when it counts.

    version, model: the specs of the version that the decision names, and of that version's RegisteredModel. The first
    reason in the order below; an expiry is last, because it alone comes by itself.
    """
    if approval.version.manifest != version.manifest:
        return Reason.DIGEST_MISMATCH
    if approval.version.author != version.author:
        return Reason.AUTHOR_MISMATCH
    if approval.approver == version.author:
        return Reason.SELF_APPROVAL
    allowed = model.approvals.groups
    if allowed and approval.group not in allowed:
        return Reason.GROUP_NOT_ALLOWED
    if approval.expires_at is not None and now >= approval.expires_at:
        return Reason.EXPIRED
    return None
