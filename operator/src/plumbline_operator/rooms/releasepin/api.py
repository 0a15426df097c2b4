"""ReleasePin: an earlier version answers now, whatever Git says."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from plumbline_operator.model.conditions import find
from plumbline_operator.model.kind import Column, Explained, Kind, Resource, Status
from plumbline_operator.model.meta import Meta, Model, Moment, Name
from plumbline_operator.model.reasons import explained

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class ReleasePinSpec(Model):
    """Which deployment, which version, why and until when."""

    deployment_ref: Name = Field(description="The ModelDeployment to pin.")
    version_ref: Name = Field(description="The ModelVersion to serve; it must have served in that deployment before.")
    reason: str = Field(min_length=1, max_length=1024, description="Why; kept for whoever reads about it later.")
    expires_at: Moment | None = Field(
        default=None, description="When spec.versionRef of the deployment counts again (RFC 3339). Absent: never."
    )


class ReleasePinStatus(Status):
    """Whether it is in force."""

    since: datetime | None = Field(default=None, description="Since when it is in force (UTC).")


class Reason(StrEnum):
    """Why a ReleasePin is in force or not."""

    IN_FORCE = "InForce"
    APPLYING = "Applying"
    NEVER_SERVED = "NeverServed"
    UNAPPROVED = "Unapproved"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    EXPIRED = "Expired"
    SUPERSEDED = "Superseded"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


REASONS: Mapping[StrEnum, Explained] = {
    Reason.IN_FORCE: Explained(
        "The pinned version answers all requests.",
        "When the incident is over, set the deployment's spec.versionRef as it should be and delete the pin.",
    ),
    Reason.APPLYING: Explained(
        "The deployment is about to serve the pinned version, or waits for a ready pod of it.",
        "Nothing; it takes a moment. The ModelDeployment's own message says what it waits for.",
    ),
    Reason.NEVER_SERVED: Explained(
        "The version was never the stable one in that deployment, or too many versions ago. A pin skips every gate, "
        "so it only goes back to what has served before.",
        "Name a version from the deployment's status.stable or status.previous.",
    ),
    Reason.UNAPPROVED: Explained(
        "The ModelVersion has no approval that counts any more: it expired, or somebody denied it.",
        "Approve it again, or pin another version.",
    ),
    Reason.DEPLOYMENT_NOT_FOUND: Explained(
        "The ModelDeployment does not exist in this namespace.", "Correct spec.deploymentRef, or create it."
    ),
    Reason.EXPIRED: Explained(
        "spec.expiresAt has passed; the deployment follows its spec again.", "Delete the pin, or create a new one."
    ),
    Reason.SUPERSEDED: Explained(
        "A newer ReleasePin of the same deployment is in force.", "Delete this one, or the newer one to return to it."
    ),
    **explained(Reason),
}


class ReleasePin(Resource[ReleasePinSpec, ReleasePinStatus]):
    """A deployment pinned to an earlier version."""

    metadata: Meta
    spec: ReleasePinSpec
    status: ReleasePinStatus = ReleasePinStatus()


KIND = Kind(
    kind="ReleasePin",
    plural="releasepins",
    short="rpin",
    description="Makes a deployment serve an earlier version at once, whatever its spec says: the lever for incidents.",
    resource=ReleasePin,
    spec=ReleasePinSpec,
    status=ReleasePinStatus,
    reasons=REASONS,
    columns=(
        Column("Deployment", ".spec.deploymentRef.name", description="The ModelDeployment that is pinned."),
        Column("Version", ".spec.versionRef.name", description="The version it serves."),
        Column("Expires", ".spec.expiresAt", "date", description="When it ends."),
    ),
)


def is_refused(version: Mapping[str, Any] | None) -> bool:
    """Whether a ModelVersion exists and has lost, or never had, its approval."""
    if version is None:
        return False
    approved = find(version.get("status", {}).get("conditions", ()), "Approved")
    return approved is not None and approved.get("status") == "False"


def refusal(pin: ReleasePin, served: Collection[str], refused: Collection[str], now: datetime) -> Reason | None:
    """Why a pin must not be followed, or None.

    served: versions that are or were stable in its deployment. refused: versions whose approval does not count.
    """
    spec = pin.spec
    if pin.metadata.deletion_timestamp is not None or (spec.expires_at is not None and now >= spec.expires_at):
        return Reason.EXPIRED
    if spec.version_ref.name not in served:
        return Reason.NEVER_SERVED
    if spec.version_ref.name in refused:
        return Reason.UNAPPROVED
    return None


def in_force(
    pins: Iterable[ReleasePin], served: Collection[str], refused: Collection[str], now: datetime
) -> ReleasePin | None:
    """The pin that decides among those of one deployment: the newest that may be followed, by name when two are."""
    allowed = [pin for pin in pins if refusal(pin, served, refused, now) is None]
    return max(allowed, key=lambda pin: (pin.metadata.creation_timestamp or _LONG_AGO, pin.metadata.name), default=None)


def pins_of(deployment: str, raws: Iterable[Mapping[str, Any]]) -> tuple[ReleasePin, ...]:
    """The pins (raw) that name this deployment. One whose spec cannot be read stalls by itself and pins nothing."""
    found = []
    for raw in raws:
        try:
            pin = ReleasePin.model_validate({"metadata": raw["metadata"], "spec": raw.get("spec", {})})
        except ValidationError:
            continue
        if pin.spec.deployment_ref.name == deployment:
            found.append(pin)
    return tuple(found)
