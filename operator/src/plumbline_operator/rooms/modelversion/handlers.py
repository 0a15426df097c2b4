"""Wires the ModelVersion room."""

from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.approval.api import KIND as APPROVAL
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.modelversion.api import KIND, ModelVersion
from plumbline_operator.rooms.modelversion.consent import approvals_of
from plumbline_operator.rooms.modelversion.evaluation import VERB
from plumbline_operator.rooms.modelversion.plan import Seen, plan
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from plumbline_operator.rooms.registeredmodel.api import champion_of, read_spec
from plumbline_operator.runtime.room import Room, Sight


async def observe(version: ModelVersion, sight: Sight) -> Seen:
    """Its model, storage, approvals, evaluation Jobs and the champion, live."""
    meta, spec = version.metadata, version.spec
    raw = await sight.kube.get(MODEL.ref, meta.namespace, spec.model_ref.name)
    return Seen(
        version=version,
        model=read_spec(raw),
        model_raw=raw,
        connection=await sight.kube.get(CONNECTION.ref, meta.namespace, spec.storage_ref.name),
        champion=champion_of(spec.model_ref.name, await sight.kube.list(DEPLOYMENT.ref, meta.namespace)),
        approvals=approvals_of(meta.name, await sight.kube.list(APPROVAL.ref, meta.namespace)),
        jobs=await see_jobs(sight.kube, Key(KIND.kind, meta.namespace, meta.name), VERB),
        image=sight.images.jobs,
        pull_policy=sight.images.pull_policy,
    )


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """Model and storage. Approvals wake their version themselves."""
    spec, namespace = raw.get("spec", {}), raw["metadata"]["namespace"]
    names = (
        (MODEL.kind, spec.get("modelRef", {}).get("name")),
        (CONNECTION.kind, spec.get("storageRef", {}).get("name")),
    )
    return tuple(Key(kind, namespace, name) for kind, name in names if name)


def wakes(raw: Manifest) -> tuple[Key, ...]:
    """The model, which counts its versions, whatever their status says."""
    name = raw.get("spec", {}).get("modelRef", {}).get("name")
    return (Key(MODEL.kind, raw["metadata"]["namespace"], name),) if name else ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies, wakes=wakes, status_tells=False)
