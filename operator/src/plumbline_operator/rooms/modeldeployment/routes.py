"""The routes a decision means. Pure."""

from plumbline_contract.routes import Backend, Routes
from plumbline_operator.rooms.modeldeployment.api import ModelDeploymentSpec, ModelDeploymentStatus
from plumbline_operator.rooms.modeldeployment.decision import Decision, running
from plumbline_operator.rooms.modeldeployment.world import Observed


def next_routes(seen: Observed, decision: Decision) -> Routes | None:
    """The routes to have now, numbered; None while no version is stable, which leaves routers waiting.

    The generation grows with every change, and past that of whatever was written last, even when the status of that
    write was lost. Routes that say the same keep theirs, so that a settled deployment writes nothing.
    """
    meta, last = seen.deployment.metadata, seen.deployment.status.routes_generation
    wanted = _routes(decision, seen.deployment.spec, meta.name, meta.namespace)
    live = seen.routes
    if wanted is None or live is None:
        return wanted and wanted.model_copy(update={"generation": last + 1})
    if live.generation >= last and live.model_copy(update={"generation": 0}) == wanted:
        return live
    return wanted.model_copy(update={"generation": max(live.generation, last) + 1})


def _routes(decision: Decision, spec: ModelDeploymentSpec, deployment: str, namespace: str) -> Routes | None:
    """Stable, the target while it gets requests, and the warm ones with weight 0, so that a router knows their
    addresses before they are needed."""
    status, part = decision.status, decision.split
    stable, target = status.stable, status.target
    if stable is None:
        return None
    weights = {stable.variant: 100}
    shadow = None
    if target is not None and target.variant != stable.variant:
        if part.weight:
            weights = {stable.variant: 100 - part.weight, target.variant: part.weight}
        if part.mirrored:
            shadow = _backend(target.variant, namespace, part.mirrored)
    for warm in warm_variants(status, spec):
        weights.setdefault(warm, 0)
    backends = tuple(_backend(variant, namespace, weight) for variant, weight in weights.items())
    return Routes(generation=0, deployment=deployment, backends=backends, shadow=shadow)


def warm_variants(status: ModelDeploymentStatus, spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """Variants that run without requests, ready to take over."""
    busy = {one.variant for one in (status.stable, status.target) if one is not None}
    return tuple(one.variant for one in running(status, spec) if one.variant not in busy)


def _backend(variant: str, namespace: str, weight: int) -> Backend:
    # Without the cluster's domain, which nobody tells us: the search list of the router pod completes it.
    return Backend(variant=variant, host=f"{variant}.{namespace}.svc", weight=weight)
