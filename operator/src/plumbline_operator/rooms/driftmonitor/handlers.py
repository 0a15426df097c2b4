"""DriftMonitor: what is read, and what wakes it."""

from plumbline_operator.kube.protocol import Reader
from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.driftmonitor.api import KIND, DriftMonitor
from plumbline_operator.rooms.driftmonitor.plan import VERB, Observed, plan
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.modeldeployment.api import ModelDeployment, Served
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.modelversion.api import ModelVersion
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from plumbline_operator.runtime.room import Room, Sight


async def observe(monitor: DriftMonitor, sight: Sight) -> Observed:
    """The deployment, and what the version that serves there was made from."""
    kube, meta = sight.kube, monitor.metadata
    jobs = await see_jobs(kube, Key(KIND.kind, meta.namespace, meta.name), VERB)
    raw = await kube.get(DEPLOYMENT.ref, meta.namespace, monitor.spec.deployment_ref.name)
    deployment = None if raw is None else ModelDeployment.model_validate(raw)
    stable = deployment.status.stable if deployment else None
    if stable is None:
        return Observed(monitor, sight.images, deployment, jobs=jobs)
    version = await _version(kube, meta.namespace, stable)
    return Observed(
        monitor,
        sight.images,
        deployment,
        version=version,
        connection=await kube.get(CONNECTION.ref, meta.namespace, stable.storage),
        baseline=await _baseline(kube, meta.namespace, version),
        output=await _output(kube, meta.namespace, version),
        jobs=jobs,
    )


async def _version(kube: Reader, namespace: str, stable: Served) -> ModelVersion | None:
    """The ModelVersion that serves; one that was made again with another model is not it."""
    raw = await kube.get(VERSION.ref, namespace, stable.version)
    version = None if raw is None else ModelVersion.model_validate(raw)
    return version if version is not None and version.spec.manifest == stable.manifest else None


async def _baseline(kube: Reader, namespace: str, version: ModelVersion | None) -> str | None:
    """The profile of what the version was trained on; None when it was a part of the snapshot, or that is gone."""
    if version is None or not version.spec.snapshots or version.spec.training_window is not None:
        return None
    trained = version.spec.snapshots[0]
    raw = await kube.get(SNAPSHOT.ref, namespace, trained.snapshot)
    if raw is None or raw["spec"].get("manifest") != trained.digest:
        return None
    return str(raw["spec"]["profile"])


async def _output(kube: Reader, namespace: str, version: ModelVersion | None) -> str:
    """The output by which the model is judged."""
    if version is None:
        return ""
    raw = await kube.get(MODEL.ref, namespace, version.spec.model_ref.name)
    return "" if raw is None else str(raw["spec"]["golden"].get("predictionOutput", "probability"))


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """The deployment, whose change of version matters between two intervals, and the version evaluated last."""
    namespace = raw["metadata"]["namespace"]
    names = {
        DEPLOYMENT.kind: raw.get("spec", {}).get("deploymentRef", {}).get("name"),
        VERSION.kind: raw.get("status", {}).get("evaluation", {}).get("version"),
    }
    return tuple(Key(kind, namespace, name) for kind, name in names.items() if name)


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
