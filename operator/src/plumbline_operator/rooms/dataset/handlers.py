"""Dataset: what is read, and what wakes it."""

from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.dataset.api import KIND, DatasetResource
from plumbline_operator.rooms.dataset.plan import VERB, Observed, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(dataset: DatasetResource, sight: Sight) -> Observed:
    """Both Connections, the Datasets that foreign keys refer to, and the ingest Jobs."""
    kube, space, spec = sight.kube, dataset.metadata.namespace, dataset.spec
    targets = sorted({test.foreign_key.dataset.name for test in spec.tests if test.foreign_key})
    return Observed(
        dataset=dataset,
        storage=await kube.get(CONNECTION.ref, space, spec.storage_ref.name),
        source=await kube.get(CONNECTION.ref, space, spec.source.connection_ref.name),
        referenced={name: await kube.get(KIND.ref, space, name) for name in targets},
        jobs=await see_jobs(kube, Key(KIND.kind, space, dataset.metadata.name), VERB),
        image=sight.images.jobs,
        pull_policy=sight.images.pull_policy,
    )


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """The Connections to source and storage, and the Datasets that foreign keys refer to."""
    space, spec = raw["metadata"]["namespace"], raw.get("spec", {})
    connections = {
        spec.get("storageRef", {}).get("name", "storage"),
        spec.get("source", {}).get("connectionRef", {}).get("name", ""),
    }
    targets = {test["foreignKey"]["dataset"]["name"] for test in spec.get("tests", ()) if test.get("foreignKey")}
    return (
        *(Key(CONNECTION.kind, space, name) for name in sorted(connections) if name),
        *(Key(KIND.kind, space, name) for name in sorted(targets)),
    )


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
