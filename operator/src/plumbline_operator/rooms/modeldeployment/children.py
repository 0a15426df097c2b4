"""What a ModelDeployment has made, and what of it has to go. Pure."""

from datetime import timedelta

from plumbline_contract.routes import Routes, ServingSettings
from plumbline_operator.build.job import Resources, resources_of
from plumbline_operator.build.router import Router, router_children, routes_map
from plumbline_operator.build.variant import VARIANT_LABEL, Variant, variant_children
from plumbline_operator.kube.refs import ref_of
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Target
from plumbline_operator.rooms.connection.api import bucket_of, credentials_of, unusable
from plumbline_operator.rooms.connection.api import read_spec as read_connection
from plumbline_operator.rooms.modeldeployment.api import ModelDeploymentStatus, Served
from plumbline_operator.rooms.modeldeployment.decision import running
from plumbline_operator.rooms.modeldeployment.world import Observed

SERVER = Resources({"cpu": "250m", "memory": "512Mi"}, {"memory": "2Gi"})  # when the spec names nothing
RETIRE_AGAIN = timedelta(seconds=5)


def children(seen: Observed, status: ModelDeploymentStatus, routes: Routes | None) -> tuple[Manifest, ...]:
    """The routes first, because their one write is what an incident waits for; then variants, then the router."""
    first = () if routes is None else (routes_map(routes, seen.routes_version),)
    variants = [part for served in running(status, seen.deployment.spec) for part in parts_of(seen, served)]
    return (*first, *variants, *router_children(_router(seen)))


def parts_of(seen: Observed, served: Served) -> tuple[Manifest, ...]:
    """Everything one version runs on. Nothing while its Connection is missing: what runs is then left as it is."""
    raw = seen.connections.get(served.storage)
    if raw is None or unusable(served.storage, raw, ready=False):
        return ()
    connection = read_connection(raw)
    spec = seen.deployment.spec
    return variant_children(
        Variant(
            name=served.variant,
            image=served.image,
            pull_policy=seen.images.pull_policy,
            settings=_settings(seen, served, raw),
            credentials=credentials_of(connection),
            resources=resources_of(spec.real_time.resources, SERVER),
            minimum=spec.real_time.replicas.min,
            maximum=spec.real_time.replicas.max,
            target_cpu_percent=spec.real_time.target_cpu_percent,
            present=seen.wanted_pods(served.variant),
        )
    )


def retired(seen: Observed, status: ModelDeploymentStatus) -> tuple[tuple[Target, ...], timedelta | None]:
    """What to delete now, and when to look again for what has to wait.

    A variant that is not needed any more goes only when every router pod is known to serve routes without it. Its
    Deployment goes last: by that the rest is found should something come in between.
    """
    kept = running(status, seen.deployment.spec)
    wanted = {(p["kind"], p["metadata"]["name"]) for served in kept for p in parts_of(seen, served)}
    names = {served.variant for served in kept}
    live = [p for p in seen.parts if not p["metadata"].get("deletionTimestamp")]
    old = [p for p in live if p["metadata"]["labels"][VARIANT_LABEL] not in names]
    surplus = [p for p in live if _is_surplus(p, wanted)]
    unmoved = status.routes_generation == seen.deployment.status.routes_generation
    free = status.stable is None or (unmoved and seen.routers_follow())
    gone = sorted([*surplus, *(old if free else [])], key=lambda p: bool(p["kind"] == "Deployment"))
    return tuple(_target(p) for p in gone), RETIRE_AGAIN if old and not free else None


def _is_surplus(part: Manifest, wanted: set[tuple[str, str]]) -> bool:
    """Whether a variant that stays has an autoscaler or disruption budget it does not need any more."""
    optional = part["kind"] in ("HorizontalPodAutoscaler", "PodDisruptionBudget")
    known = ("Deployment", part["metadata"]["labels"][VARIANT_LABEL]) in wanted
    return optional and known and (part["kind"], part["metadata"]["name"]) not in wanted


def _target(part: Manifest) -> Target:
    return Target(ref_of(part), part["metadata"]["name"], part["metadata"]["uid"])


def _router(seen: Observed) -> Router:
    meta, spec = seen.deployment.metadata, seen.deployment.spec
    return Router(
        deployment=meta.name,
        namespace=meta.namespace,
        image=seen.images.router,
        pull_policy=seen.images.pull_policy,
        replicas=spec.real_time.router_replicas,
        node_port=spec.node_port,
    )


def _settings(seen: Observed, served: Served, connection: Manifest) -> ServingSettings:
    meta, spec = seen.deployment.metadata, seen.deployment.spec
    bucket = bucket_of(read_connection(connection), meta.namespace)
    return ServingSettings(
        namespace=meta.namespace,
        deployment=meta.name,
        variant=served.variant,
        model_name=spec.model_ref.name,
        manifest=served.manifest,
        endpoint=bucket.endpoint,
        region=bucket.region,
        bucket=bucket.bucket,
        prefix=bucket.prefix,
        path_style=bucket.path_style,
        redact=dict(served.redact),
        log_flush_seconds=spec.logging.flush_seconds,
    )
