"""ModelDeployment: what is read, and who wakes whom."""

import logging
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from plumbline_contract.routes import ROUTES_KEY, Routes
from plumbline_operator.build.router import ROUTER_LABEL, router_labels, router_name, routes_name
from plumbline_operator.build.variant import VARIANT_LABEL, selector
from plumbline_operator.kube.protocol import Reader
from plumbline_operator.kube.refs import AUTOSCALERS, CONFIG_MAPS, DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, SERVICES
from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.conditions import find
from plumbline_operator.model.meta import OWNER_KIND, OWNER_NAME, Key, Manifest, Ref, controller_uid
from plumbline_operator.model.names import label_value
from plumbline_operator.rooms.approval.api import KIND as APPROVAL
from plumbline_operator.rooms.approval.api import Approval
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.modeldeployment.api import KIND, ModelDeployment, ModelDeploymentStatus, Served
from plumbline_operator.rooms.modeldeployment.compare import VERB
from plumbline_operator.rooms.modeldeployment.decision import running
from plumbline_operator.rooms.modeldeployment.plan import plan
from plumbline_operator.rooms.modeldeployment.world import Observed, available_replicas
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.modelversion.api import ModelVersionSpec
from plumbline_operator.rooms.modelversion.api import read_spec as read_version
from plumbline_operator.rooms.modelversion.consent import approvals_of
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from plumbline_operator.rooms.releasepin.api import KIND as PIN
from plumbline_operator.rooms.releasepin.api import pins_of
from plumbline_operator.runtime.room import Room, Sight

LISTED = (DEPLOYMENTS, SERVICES)
NAMED = (AUTOSCALERS, DISRUPTION_BUDGETS)  # a variant's have its name; asked for one by one, which needs fewer rights

log = logging.getLogger(__name__)


async def observe(deployment: ModelDeployment, sight: Sight) -> Observed:
    """Everything live, in the order of the questions; routers are asked only while something moves."""
    kube, meta, spec = sight.kube, deployment.metadata, deployment.spec
    pins = pins_of(meta.name, await kube.list(PIN.ref, meta.namespace))
    names = {spec.version_ref.name, *(pin.spec.version_ref.name for pin in pins)}
    versions = await _named(kube, VERSION.ref, meta.namespace, names)
    version = read_version(versions.get(spec.version_ref.name))
    owned = await _owned(kube, deployment)
    parts = await _parts(kube, meta.namespace, owned)
    moving = is_moving(deployment, parts)
    routes, routes_version = await _live_routes(kube, deployment)
    return Observed(
        deployment=deployment,
        images=sight.images,
        model=await kube.get(MODEL.ref, meta.namespace, spec.model_ref.name),
        versions=versions,
        snapshots=await _named(kube, SNAPSHOT.ref, meta.namespace, _trained_on(deployment, version)),
        connections=await _named(kube, CONNECTION.ref, meta.namespace, _storages(deployment, version)),
        pins=pins,
        parts=parts,
        router=next((one for one in owned if _is_router(one)), None),
        routes=routes,
        routes_version=routes_version,
        measured=await sight.signals.measured(await _router_addresses(kube, deployment)) if moving else None,
        pods=await _silent_pods(kube, deployment, parts),
        jobs=await see_jobs(kube, Key(KIND.kind, meta.namespace, meta.name), VERB),
        approvals=await _decisions(kube, deployment, names, versions),
    )


def is_moving(deployment: ModelDeployment, parts: Iterable[Manifest]) -> bool:
    """Whether what routers count or serve decides anything: a step runs, or a variant waits to be removed."""
    kept = {one.variant for one in running(deployment.status, deployment.spec)}
    return deployment.status.step is not None or any(p["metadata"]["labels"][VARIANT_LABEL] not in kept for p in parts)


async def _decisions(
    kube: Reader, deployment: ModelDeployment, names: Iterable[str], versions: Mapping[str, Manifest]
) -> tuple[Approval, ...]:
    """What people decided on the versions named, but for the stable one: that is not brought in any more."""
    coming = sorted(name for name in names if not _is_stable(deployment.status, name, versions.get(name)))
    raws = await kube.list(APPROVAL.ref, deployment.metadata.namespace) if coming else []
    return tuple(one for name in coming for one in approvals_of(name, raws))


def _is_stable(status: ModelDeploymentStatus, name: str, raw: Manifest | None) -> bool:
    """Whether this name is the stable version's, and not that of another which was made under it since."""
    version, stable = read_version(raw), status.stable
    if stable is None or stable.version != name:
        return False
    return version is None or version.manifest == stable.manifest


async def _named(kube: Reader, ref: Ref, namespace: str, names: Iterable[str]) -> dict[str, Manifest]:
    """Those of the named objects that exist."""
    found = {name: await kube.get(ref, namespace, name) for name in sorted(names)}
    return {name: raw for name, raw in found.items() if raw is not None}


async def _owned(kube: Reader, deployment: ModelDeployment) -> list[Manifest]:
    """The Deployments and Services this deployment has made; not those of a deleted namesake.

    What is in use is found by name when it has lost its labels, so that a stranger's hand on a label moves no traffic.
    """
    meta = deployment.metadata
    labels = {OWNER_KIND: KIND.kind, OWNER_NAME: label_value(meta.name)}
    found = [_typed(ref, one) for ref in LISTED for one in await kube.list(ref, meta.namespace, labels)]
    present = {(one["kind"], one["metadata"]["name"]) for one in found}
    for (ref, name), label in _in_use(deployment).items():
        if (ref.kind, name) not in present and (one := await kube.get(ref, meta.namespace, name)) is not None:
            found.append(_typed(ref, _labelled(one, label)))
    return [one for one in found if controller_uid(one) in ("", meta.uid)]


def _in_use(deployment: ModelDeployment) -> dict[tuple[Ref, str], dict[str, str]]:
    """Type and name of everything that answers requests now, with the label that says what it is."""
    name, status = deployment.metadata.name, deployment.status
    variants = [one.variant for one in running(status, deployment.spec)]
    parts = {(ref, variant): selector(variant) for variant in variants for ref in LISTED}
    return parts | ({(DEPLOYMENTS, router_name(name)): router_labels(name)} if status.stable else {})


def _is_router(raw: Manifest) -> bool:
    return raw["kind"] == DEPLOYMENTS.kind and ROUTER_LABEL in raw["metadata"].get("labels", {})


def _labelled(raw: Manifest, labels: dict[str, str]) -> Manifest:
    meta = raw["metadata"]
    return raw | {"metadata": meta | {"labels": meta.get("labels", {}) | labels}}


async def _parts(kube: Reader, namespace: str, owned: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Everything that belongs to a variant: what is labelled so, and what a variant's Deployment may have beside it."""
    parts = [one for one in owned if VARIANT_LABEL in one["metadata"].get("labels", {})]
    names = [one["metadata"]["name"] for one in parts if one["kind"] == DEPLOYMENTS.kind]
    beside = [(ref, await kube.get(ref, namespace, name)) for name in names for ref in NAMED]
    found = [_typed(ref, one) for ref, one in beside if one is not None]
    return (*parts, *(one for one in found if VARIANT_LABEL in one["metadata"].get("labels", {})))


def _typed(ref: Ref, raw: Manifest) -> Manifest:
    """The object with its type, which a list leaves out."""
    return raw | {"apiVersion": ref.api_version, "kind": ref.kind}


def _is_known(status: ModelDeploymentStatus, name: str, version: ModelVersionSpec) -> bool:
    entries: tuple[Served | None, ...] = (status.stable, status.target, *status.previous)
    return any(one is not None and (one.version, one.manifest) == (name, version.manifest) for one in entries)


def _trained_on(deployment: ModelDeployment, version: ModelVersionSpec | None) -> set[str]:
    """Snapshots that say which inputs are personal; a version that served knows already."""
    name = deployment.spec.version_ref.name
    if version is None or _is_known(deployment.status, name, version):
        return set()
    return {one.snapshot for one in version.snapshots}


def _storages(deployment: ModelDeployment, version: ModelVersionSpec | None) -> set[str]:
    status = deployment.status
    served = [one for one in (status.stable, status.target, *status.previous) if one is not None]
    return {one.storage for one in served} | ({version.storage_ref.name} if version else set())


async def _live_routes(kube: Reader, deployment: ModelDeployment) -> tuple[Routes | None, str]:
    """The routes that routers have been given, and the resourceVersion of the object they stand in."""
    meta = deployment.metadata
    raw = await kube.get(CONFIG_MAPS, meta.namespace, routes_name(meta.name))
    if raw is None:
        return None, ""
    version = str(raw["metadata"]["resourceVersion"])
    text = raw.get("data", {}).get(ROUTES_KEY)
    if text is None:
        return None, version
    try:
        return Routes.model_validate_json(text), version
    except ValidationError as exc:
        log.warning("routes of %s/%s are unreadable, written anew: %s", meta.namespace, meta.name, exc)
        return None, version


async def _router_addresses(kube: Reader, deployment: ModelDeployment) -> str:
    """The IPs of the router pods that are ready, joined by commas."""
    meta = deployment.metadata
    pods = await kube.list(PODS, meta.namespace, router_labels(meta.name))
    return ",".join(sorted(pod["status"]["podIP"] for pod in pods if _answers(pod)))


def _answers(pod: Manifest) -> bool:
    status = pod.get("status", {})
    ready = find(status.get("conditions", ()), "Ready") or {}
    leaving = "deletionTimestamp" in pod["metadata"]
    return ready.get("status") == "True" and bool(status.get("podIP")) and not leaving


async def _silent_pods(kube: Reader, deployment: ModelDeployment, parts: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The pods of the version that should be ready and has none that is; they say why."""
    status = deployment.status
    waited_for = status.target or status.stable
    if waited_for is None:
        return ()
    for part in parts:
        if part["kind"] == "Deployment" and part["metadata"]["name"] == waited_for.variant and available_replicas(part):
            return ()
    return tuple(await kube.list(PODS, deployment.metadata.namespace, selector(waited_for.variant)))


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """The model, the wanted version, and what the versions that run stand on."""
    namespace, spec, status = raw["metadata"]["namespace"], raw.get("spec", {}), raw.get("status", {})
    named = [
        (MODEL.kind, spec.get("modelRef", {}).get("name")),
        (VERSION.kind, spec.get("versionRef", {}).get("name")),
        (VERSION.kind, status.get("pin", {}).get("version")),
        *((CONNECTION.kind, status.get(part, {}).get("storage")) for part in ("stable", "target")),
    ]
    return tuple(sorted({Key(kind, namespace, name) for kind, name in named if name}))


def wakes(raw: Manifest) -> tuple[Key, ...]:
    """The model, whose champion is what serves here."""
    name = raw.get("spec", {}).get("modelRef", {}).get("name")
    return (Key(MODEL.kind, raw["metadata"]["namespace"], name),) if name else ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies, wakes=wakes)
