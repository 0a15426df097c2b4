"""ModelDeployment: which version answers, and how the next one takes over.

    wanted = the pinned version, else spec.versionRef

    wanted is stable        settled: nothing moves, nothing is written
    wanted was stable       back to it at once, no gate (as soon as it has a pod that is ready)
    nothing is stable yet   first version: all requests as soon as its pods are ready
    anything else           a rollout, step by step: rollout.py

Traffic moves by one write of the routes ConfigMap, which is applied before everything else.
"""

from datetime import datetime, timedelta

from plumbline_operator.model.attempts import conditions_for, leftovers, written
from plumbline_operator.model.conditions import Conditions
from plumbline_operator.model.plan import Note, Plan
from plumbline_operator.rooms.connection.api import unusable
from plumbline_operator.rooms.modeldeployment import words
from plumbline_operator.rooms.modeldeployment.api import (
    ModelDeploymentStatus,
    PinStatus,
    Served,
    served_versions,
)
from plumbline_operator.rooms.modeldeployment.children import children, retired
from plumbline_operator.rooms.modeldeployment.decision import (
    PATIENCE,
    SOON,
    Decision,
    Mood,
    changed,
    promoted,
    waiting,
    without_target,
)
from plumbline_operator.rooms.modeldeployment.reasons import Reason
from plumbline_operator.rooms.modeldeployment.rollout import roll
from plumbline_operator.rooms.modeldeployment.routes import next_routes
from plumbline_operator.rooms.modeldeployment.world import (
    Observed,
    Obstacle,
    available_replicas,
    candidate,
    complaint,
    denial,
    said,
    unconsented,
)
from plumbline_operator.rooms.modelversion.api import read_spec as read_version
from plumbline_operator.rooms.releasepin.api import ReleasePin, in_force, is_refused


def plan(seen: Observed, now: datetime) -> Plan:
    """The next move: routes first, then pods and the rest, then what is not needed any more."""
    pin = pin_in_force(seen, now)
    pinned = PinStatus(name=pin.metadata.name, version=pin.spec.version_ref.name) if pin else None
    decision = with_health(seen, decide(seen, changed(seen.deployment.status, pin=pinned), pin, now))
    routes = next_routes(seen, decision)
    status = decision.status
    if routes is not None:
        status = changed(
            status,
            weights={one.variant: one.weight for one in routes.backends},
            shadow_percent=routes.shadow.weight if routes.shadow else 0,
            routes_generation=routes.generation,
        )
    gone, retire_again = retired(seen, status)
    return Plan(
        apply=(*children(seen, status, routes), *decision.jobs),
        delete=(*gone, *leftovers(seen.jobs, keep=decision.job)),
        status=written(status, conditions(seen, decision, pin, now)),
        notes=decision.notes,
        again=soonest(decision.again, retire_again, expiry(pin, now)),
    )


def pin_in_force(seen: Observed, now: datetime) -> ReleasePin | None:
    """The ReleasePin that decides, if there is one."""
    refused = frozenset(name for name, raw in seen.versions.items() if is_refused(raw))
    return in_force(seen.pins, served_versions(seen.deployment.status), refused, now)


def decide(seen: Observed, status: ModelDeploymentStatus, pin: ReleasePin | None, now: datetime) -> Decision:
    """Who answers, and what has to happen next."""
    wanted = pin.spec.version_ref.name if pin else seen.deployment.spec.version_ref.name
    known = remembered(seen, status, wanted, pinned=pin is not None)
    if known is not None and known == status.stable:
        return settled(status, known, pin)
    if known is not None:
        return come_back(seen, status, known, pin, now)
    target = candidate(seen, wanted, now)
    if isinstance(target, Obstacle):
        return halted(status, target)
    return roll(seen, status, target, now)


def remembered(seen: Observed, status: ModelDeploymentStatus, wanted: str, *, pinned: bool) -> Served | None:
    """The version of this name that is or was stable.

    A ModelVersion that was deleted and made again with another model is another version, unless a pin names it: a
    pin means what has served.
    """
    version = None if pinned else read_version(seen.versions.get(wanted))
    candidates = (status.stable, *status.previous) if status.stable else status.previous
    same = (one for one in candidates if one is not None and one.version == wanted)
    return next((one for one in same if version is None or one.manifest == version.manifest), None)


def settled(status: ModelDeploymentStatus, stable: Served, pin: ReleasePin | None) -> Decision:
    """The wanted version answers already. Whoever was being brought in is not any more."""
    after = without_target(status)
    if pin is not None:
        return Decision(after, Mood.READY, Reason.PINNED, words.pinned(stable, pin), again=None)
    reason = Reason.ROLLED_BACK if stable.by == "Rollback" else Reason.PROMOTED
    return Decision(after, Mood.READY, reason, words.serving(stable), again=None)


def come_back(
    seen: Observed, status: ModelDeploymentStatus, known: Served, pin: ReleasePin | None, now: datetime
) -> Decision:
    """To a version that was stable before: everything at once, as soon as one of its pods is ready."""
    refused = objection(seen, known, now)
    if refused is not None:
        return waiting(without_target(status), *refused)
    if seen.ready_pods(known.variant) > 0:
        after = promoted(status, known, "Pin" if pin else "Rollback", now)
        reason = Reason.PINNED if pin else Reason.ROLLED_BACK
        text = words.pinned(known, pin) if pin else words.serving(known)
        note = Note(reason, text, warning=pin is not None)
        return Decision(after, Mood.READY, reason, text, notes=(note,), again=SOON)
    after = changed(without_target(status), target=known)
    trouble = unusable(known.storage, seen.connections.get(known.storage), ready=False)
    if trouble:
        return waiting(after, Reason.CONNECTION_NOT_READY, trouble)
    return waiting(after, Reason.VERSION_NOT_READY, words.pods_missing(known, complaint(seen, known.variant)))


def objection(seen: Observed, known: Served, now: datetime) -> tuple[Reason, str] | None:
    """Why a version that was stable before must not be again, or None.

    Its status is a moment old, and so might miss a denial.
    """
    raw = seen.versions.get(known.version)
    text = f"ModelVersion {known.version} served before, but"
    if raw is not None and is_refused(raw):
        return unconsented(raw), f"{text} its approval does not count now ({said(raw)})."
    denied = denial(seen, known, now)
    if denied is not None:
        who = f"{denied.spec.approver} denies it in Approval {denied.metadata.name}"
        return Reason.VERSION_NOT_APPROVED, f"{text} {who}."
    return None


def halted(status: ModelDeploymentStatus, obstacle: Obstacle) -> Decision:
    """The wanted version must not be served now. Stable gets everything; a rollout that was under way is over."""
    stopped = status.step is not None
    notes = (Note(obstacle.reason, f"Rollout stopped: {obstacle.message}", warning=True),) if stopped else ()
    mood = Mood.STALLED if obstacle.lasting else Mood.WAITING
    again = SOON if obstacle.passing else PATIENCE
    return Decision(without_target(status), mood, obstacle.reason, obstacle.message, notes=notes, again=again)


def with_health(seen: Observed, decision: Decision) -> Decision:
    """A decision that says all is well, corrected when nobody can answer."""
    stable = decision.status.stable
    if decision.mood is not Mood.READY or stable is None:
        return decision
    lacking = lack(seen, stable)
    if lacking is None:
        return decision
    return Decision(decision.status, Mood.WAITING, *lacking, decision.split, notes=decision.notes, again=decision.again)


def lack(seen: Observed, stable: Served) -> tuple[Reason, str] | None:
    """What keeps requests from being answered, or None."""
    if available_replicas(seen.pods_of(stable.variant)) == 0:
        return Reason.VERSION_NOT_READY, words.pods_missing(stable, complaint(seen, stable.variant))
    if available_replicas(seen.router) == 0:
        return Reason.ROUTER_NOT_READY, "Waiting for a router pod to be ready."
    return None


def conditions(seen: Observed, decision: Decision, pin: ReleasePin | None, now: datetime) -> Conditions:
    """Ready, whether requests are answered at all, and whether a pin overrules Git."""
    meta, stable = seen.deployment.metadata, decision.status.stable
    found = conditions_for(meta, seen.deployment.status, now)
    match decision.mood:
        case Mood.READY:
            found.ready(decision.reason, decision.message)
        case Mood.WAITING:
            found.waiting(decision.reason, decision.message)
        case Mood.STALLED:
            found.stalled(decision.reason, decision.message)
    lacking = lack(seen, stable) if stable else (Reason.VERSION_NOT_READY, "No version has served yet.")
    if lacking is None:
        found.set("Available", True, Reason.SERVING, "Requests are answered.")
    else:
        found.set("Available", False, *lacking)
    wanted = seen.deployment.spec.version_ref.name
    if pin is not None and pin.spec.version_ref.name != wanted:
        found.set("GitDiverged", True, Reason.GIT_DIVERGED, words.diverged(pin, wanted))
    return found


def expiry(pin: ReleasePin | None, now: datetime) -> timedelta | None:
    """How long the pin is in force, if it ends."""
    return None if pin is None or pin.spec.expires_at is None else pin.spec.expires_at - now


def soonest(*waits: timedelta | None) -> timedelta | None:
    """The shortest of the waits that are there."""
    return min((one for one in waits if one is not None), default=None)
