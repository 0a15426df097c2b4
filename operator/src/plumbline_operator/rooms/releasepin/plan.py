"""ReleasePin: says whether it is in force. The deployment itself follows it; nothing is made here.

created ── Applying ── InForce ──(expiresAt)── Expired
   │                      └──(a newer pin)── Superseded
   └── NeverServed, Unapproved, DeploymentNotFound
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_operator.model.attempts import conditions_for, written
from plumbline_operator.model.conditions import Conditions, find, stamp
from plumbline_operator.model.plan import Note, Plan
from plumbline_operator.rooms.modeldeployment.api import ModelDeployment, served_versions
from plumbline_operator.rooms.releasepin.api import Reason, ReleasePin, in_force, refusal

SOON = timedelta(seconds=30)  # the deployment wakes its pins; this is the bound should that be missed


@dataclass(frozen=True, slots=True)
class Observed:
    """A pin, its deployment, and all pins of that deployment. refused: versions whose approval does not count."""

    pin: ReleasePin
    deployment: ModelDeployment | None
    pins: tuple[ReleasePin, ...] = ()
    refused: frozenset[str] = frozenset()


def plan(seen: Observed, now: datetime) -> Plan:
    """The next status; a ReleasePin has no children."""
    pin = seen.pin
    conditions = conditions_for(pin.metadata, pin.status, now)
    if seen.deployment is None:
        name = pin.spec.deployment_ref.name
        text = f"ModelDeployment {name} does not exist in this namespace. Correct spec.deploymentRef."
        return _answer(pin, conditions.stalled(Reason.DEPLOYMENT_NOT_FOUND, text), now, None)
    served = served_versions(seen.deployment.status)
    refused = refusal(pin, served, seen.refused, now)
    if refused is not None:
        return _answer(pin, conditions.stalled(refused, _why(refused, pin, served)), now, None)
    again = pin.spec.expires_at - now if pin.spec.expires_at else None
    chosen = in_force(seen.pins, served, seen.refused, now)
    if chosen is not None and chosen.metadata.name != pin.metadata.name:
        text = f"ReleasePin {chosen.metadata.name} of the same deployment is newer. Delete one of the two."
        return _answer(pin, conditions.stalled(Reason.SUPERSEDED, text), now, again)
    return _follow(seen.deployment, pin, conditions, now, again)


def _follow(
    deployment: ModelDeployment, pin: ReleasePin, conditions: Conditions, now: datetime, again: timedelta | None
) -> Plan:
    """The pin decides; whether the deployment has got there is in its status."""
    version, stable, known = pin.spec.version_ref.name, deployment.status.stable, deployment.status.pin
    name = deployment.metadata.name
    if stable is not None and stable.version == version and known is not None and known.name == pin.metadata.name:
        until = f" until {stamp(pin.spec.expires_at)}" if pin.spec.expires_at else ""
        text = f"ModelDeployment {name} serves {version}{until}: {pin.spec.reason}"
        return _answer(pin, conditions.ready(Reason.IN_FORCE, text), now, again)
    text = f"ModelDeployment {name} goes to {version}."
    return _answer(pin, conditions.waiting(Reason.APPLYING, text), now, min(again or SOON, SOON))


def _why(reason: Reason, pin: ReleasePin, served: frozenset[str]) -> str:
    version, name = pin.spec.version_ref.name, pin.spec.deployment_ref.name
    match reason:
        case Reason.NEVER_SERVED:
            known = ", ".join(sorted(served)) or "none yet"
            return f"ModelVersion {version} never served in ModelDeployment {name}. Those that did: {known}."
        case Reason.UNAPPROVED:
            return (
                f"ModelVersion {version} has no approval that counts now. Approve it, or pin one of {sorted(served)}."
            )
        case _:
            at = f" at {stamp(pin.spec.expires_at)}" if pin.spec.expires_at else ""
            return f"The pin ended{at}; ModelDeployment {name} follows its spec. Delete the pin."


def _answer(pin: ReleasePin, conditions: Conditions, now: datetime, again: timedelta | None) -> Plan:
    """The plan that stores these conditions, with an Event when the pin gets into or out of force."""
    listed = conditions.list()
    before = next((one for one in pin.status.conditions if one.type == "Ready"), None)
    after = find(listed, "Ready") or {}
    ready = after["status"] == "True"
    lasting = ready or find(listed, "Stalled") is not None
    moved = before is None or before.reason != after["reason"]
    notes = (Note(after["reason"], after["message"], warning=not ready),) if moved and lasting else ()
    since = (pin.status.since or now.replace(microsecond=0)) if ready else None
    status = pin.status.model_copy(update={"since": since})
    return Plan(status=written(status, conditions), notes=notes, again=again)
