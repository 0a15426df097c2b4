"""TrainingRun: what is read, and what wakes it."""

from plumbline_operator.build.training import VERB
from plumbline_operator.kube.protocol import Reader
from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.meta import Key, Manifest, Name, Ref
from plumbline_operator.rooms.connection.api import KIND as CONNECTION
from plumbline_operator.rooms.dataset.api import KIND as DATASET
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from plumbline_operator.rooms.trainingrun.api import KIND, TrainingRunResource
from plumbline_operator.rooms.trainingrun.plan import Observed, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(run: TrainingRunResource, sight: Sight) -> Observed:
    """Everything the run names, the ModelVersion of its own name, and its Jobs."""
    kube, space, spec = sight.kube, run.metadata.namespace, run.spec
    datasets = sorted({one.dataset_ref.name for one in spec.inputs})
    snapshots = sorted({one.snapshot_ref.name for one in spec.inputs if one.snapshot_ref})
    return Observed(
        run=run,
        storage=await kube.get(CONNECTION.ref, space, spec.storage_ref.name),
        code=await _get(kube, CONNECTION.ref, space, spec.code.connection_ref if spec.code else None),
        datasets={name: await kube.get(DATASET.ref, space, name) for name in datasets},
        snapshots={name: await kube.get(SNAPSHOT.ref, space, name) for name in snapshots},
        model=await _get(kube, MODEL.ref, space, spec.model_ref),
        version=await _get(kube, VERSION.ref, space, Name(name=run.metadata.name) if spec.model_ref else None),
        jobs=await see_jobs(kube, Key(KIND.kind, space, run.metadata.name), VERB),
        image=sight.images.jobs,
        pull_policy=sight.images.pull_policy,
    )


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """The Connections, Datasets, DatasetSnapshots and RegisteredModel it names, and the ModelVersion of its name."""
    space, spec = raw["metadata"]["namespace"], raw.get("spec", {})
    model = spec.get("modelRef")
    inputs = spec.get("inputs", ())
    named = {
        CONNECTION.kind: [spec.get("storageRef", {"name": "storage"}), spec.get("code", {}).get("connectionRef")],
        DATASET.kind: [one.get("datasetRef") for one in inputs],
        SNAPSHOT.kind: [one.get("snapshotRef") for one in inputs],
        MODEL.kind: [model],
        VERSION.kind: [{"name": raw["metadata"]["name"]} if model else None],
    }
    return tuple(
        Key(kind, space, name) for kind, refs in named.items() for name in sorted({ref["name"] for ref in refs if ref})
    )


async def _get(kube: Reader, ref: Ref, namespace: str, name: Name | None) -> Manifest | None:
    return await kube.get(ref, namespace, name.name) if name else None


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies)
