"""The sentences of a ModelDeployment's conditions. Pure; no sentence counts seconds, so that waiting writes nothing."""

from plumbline_operator.model.conditions import stamp
from plumbline_operator.rooms.modeldeployment.api import ModelDeploymentStatus, Served, StepStatus
from plumbline_operator.rooms.releasepin.api import ReleasePin
from plumbline_operator.traffic.steps import Canary, Cause, Numbers, Shadow, Step


def serving(stable: Served) -> str:
    """Everything is as it should be."""
    return f"{stable.version} answers all requests."


def pinned(stable: Served, pin: ReleasePin) -> str:
    """A pin is in force."""
    return f"{stable.version} answers all requests, pinned by ReleasePin {pin.metadata.name}: {pin.spec.reason}"


def diverged(pin: ReleasePin, wanted: str) -> str:
    """What runs is not what the spec says."""
    pinned_version = pin.spec.version_ref.name
    return (
        f"spec.versionRef is {wanted}, but ReleasePin {pin.metadata.name} makes {pinned_version} serve. "
        f"Set spec.versionRef, then delete the pin."
    )


def pods_missing(target: Served, complaint: str) -> str:
    """No pod can answer yet; `complaint` is what the pods say."""
    text = f"Waiting for pods of {target.version} (Deployment {target.variant})."
    return f"{text} {complaint}" if complaint else text


def doing(step: Step) -> str:
    """What a step does, in half a sentence."""
    if isinstance(step, Shadow):
        return f"Step {step.name}: {step.percent} % of the requests are copied"
    return f"Step {step.name}: {step.weight} % of the requests are sent"


def entered(target: Served, step: Step) -> str:
    """A step begins."""
    return f"{doing(step)} to {target.version}."


def routers_behind(step: Step, generation: int, *, answered: bool) -> str:
    """The clock of a step has not started."""
    if answered:
        return f"{doing(step)}; waiting until every router pod serves routes of generation {generation}."
    return f"{doing(step)}; waiting until every router pod says what it serves."


def holding(status: ModelDeploymentStatus, target: Served, at: StepStatus, step: Step, cause: Cause) -> str:
    """Why a step is not over yet, with the numbers last written."""
    text = f"{doing(step)} to {target.version}"
    if cause is Cause.NO_MEASUREMENT:
        return f"{text}; a router pod does not answer, so nothing moves until it does."
    parts = [text, *_counted(status, target, step)]
    if at.since is not None and cause is Cause.HOLDING:
        parts.append(f"at least until {stamp(at.since + step.hold)}")
    return "; ".join(parts) + "."


def _counted(status: ModelDeploymentStatus, target: Served, step: Step) -> list[str]:
    seen = status.measured
    if seen is None:
        return []
    if isinstance(step, Shadow):
        return [f"{seen.mirrored.get(target.variant, 0)} of {step.min_requests} copies counted"]
    total = sum(seen.requests.values())
    failed = seen.failures.get(target.variant, 0)
    own = seen.requests.get(target.variant, 0)
    return [f"{total} of {step.min_requests} requests counted", f"{failed} of its {own} failed"]


def stopped(status: ModelDeploymentStatus, target: Served, step: Step, numbers: Numbers | None) -> str:
    """A step failed for good."""
    if isinstance(step, Canary) and numbers is not None:
        return (
            f"Step {step.name}: {numbers.target_failures} of {numbers.target} requests to {target.version} failed, "
            f"{numbers.failure_percent:.3g} % against {step.max_failure_percent:g} % allowed."
        )
    if isinstance(step, Shadow) and status.shadow is not None:
        return (
            f"Step {step.name}: predictions of {target.version} agree on {status.shadow.agreement:.4g} of "
            f"{status.shadow.pairs} pairs, against {step.min_agreement} demanded."
        )
    return f"Step {step.name} failed."
