"""A decision about a rollout, before it becomes manifests and a status, and the moves it is made of. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from plumbline_contract.base import short_hash
from plumbline_operator.model.meta import Manifest, plain
from plumbline_operator.model.plan import Note
from plumbline_operator.rooms.modeldeployment.api import ModelDeploymentSpec, ModelDeploymentStatus, Served
from plumbline_operator.rooms.modeldeployment.reasons import Reason
from plumbline_operator.traffic.steps import NOTHING, Split

HISTORY = 10  # versions remembered; a pin or a revert to one of these passes no gate
SOON = timedelta(seconds=1)
PATIENCE = timedelta(minutes=5)  # whatever is waited for wakes the deployment; this is the bound should that be missed


class Mood(StrEnum):
    """How the Ready condition speaks."""

    READY = "Ready"
    WAITING = "Waiting"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True)
class Decision:
    """The next status but for its conditions, who gets which traffic, and what to say about it.

    split: the target's part; everything else goes to the stable version. jobs: comparisons to start. job: name of the
    one whose answer is not stored yet; all others are deleted.
    """

    status: ModelDeploymentStatus
    mood: Mood
    reason: str
    message: str
    split: Split = NOTHING
    jobs: tuple[Manifest, ...] = ()
    job: str = ""
    notes: tuple[Note, ...] = ()
    again: timedelta | None = PATIENCE


def whole(moment: datetime) -> datetime:
    """A time in UTC, cut to seconds, as statuses keep it."""
    return moment.astimezone(UTC).replace(microsecond=0)


def changed(status: ModelDeploymentStatus, **fields: Any) -> ModelDeploymentStatus:
    """The status with these fields replaced."""
    return status.model_copy(update=fields)


def without_target(status: ModelDeploymentStatus) -> ModelDeploymentStatus:
    """No rollout: nobody is being brought in, nothing is measured."""
    return changed(status, target=None, step=None, rollout="", failure=None, measured=None)


def promoted(
    status: ModelDeploymentStatus, target: Served, by: Literal["First", "Rollout", "Rollback", "Pin"], now: datetime
) -> ModelDeploymentStatus:
    """The target is the stable version from now on; the one before it heads the history."""
    before = (status.stable, *status.previous) if status.stable else status.previous
    rest = tuple(one for one in before if (one.version, one.manifest) != (target.version, target.manifest))
    stable = target.model_copy(update={"since": whole(now), "by": by})
    return changed(without_target(status), stable=stable, previous=rest[:HISTORY])


def fingerprint(target: Served, spec: ModelDeploymentSpec) -> str:
    """What makes a rollout that rollout: other steps or another model start a new one."""
    return short_hash({"version": target.version, "manifest": target.manifest, "strategy": plain(spec.strategy)})


def running(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> tuple[Served, ...]:
    """The versions that have pods: stable, target, and the warm ones; each variant once, in this order."""
    warm = status.previous[: spec.warm_versions]
    found = {one.variant: one for one in (status.stable, status.target, *warm) if one is not None}
    return tuple(found.values())


def waiting(status: ModelDeploymentStatus, reason: Reason, message: str, **more: Any) -> Decision:
    """It goes on by itself."""
    return Decision(status, Mood.WAITING, reason, message, **more)
