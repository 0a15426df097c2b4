"""Wires the RegisteredModel room."""

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.dataset.api import KIND as DATASET
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.registeredmodel.api import KIND, RegisteredModel, champion_of
from plumbline_operator.rooms.registeredmodel.plan import Seen, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(model: RegisteredModel, sight: Sight) -> Seen:
    """Storage, golden rows, versions and deployments, live."""
    namespace, name, golden = model.metadata.namespace, model.metadata.name, model.spec.golden
    dataset = await sight.kube.get(DATASET.ref, namespace, golden.dataset_ref.name)
    wanted = golden.snapshot_ref.name if golden.snapshot_ref else _latest(dataset)
    versions = await sight.kube.list(VERSION.ref, namespace)
    return Seen(
        model=model,
        connection=await sight.kube.get(CONNECTION.ref, namespace, model.spec.storage_ref.name),
        dataset=dataset,
        snapshot=await sight.kube.get(SNAPSHOT.ref, namespace, wanted) if wanted else None,
        champion=champion_of(name, await sight.kube.list(DEPLOYMENT.ref, namespace)),
        versions=sum(one["spec"].get("modelRef", {}).get("name") == name for one in versions),
    )


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """Connection, golden Dataset and its pinned snapshot. Versions and deployments wake their model themselves."""
    spec, namespace = raw.get("spec", {}), raw["metadata"]["namespace"]
    golden = spec.get("golden", {})
    names = (
        (CONNECTION.kind, spec.get("storageRef", {}).get("name", "storage")),
        (DATASET.kind, golden.get("datasetRef", {}).get("name")),
        (SNAPSHOT.kind, golden.get("snapshotRef", {}).get("name")),
    )
    return tuple(Key(kind, namespace, name) for kind, name in names if name)


def _latest(dataset: Manifest | None) -> str:
    latest = (dataset or {}).get("status", {}).get("latestSnapshot") or {}
    return str(latest.get("name", ""))


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
