"""What a run's inputs are: whether they are there, whether their split is honest, and their frozen form. Pure."""

from collections.abc import Mapping

from plumbline_operator.model.conditions import is_true
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.dataset.api import latest, unready
from plumbline_operator.rooms.trainingrun.api import FrozenSnapshot, Input, Reason, TrainingRunSpec

Found = Mapping[str, Manifest | None]


def split_refusal(spec: TrainingRunSpec, datasets: Found) -> tuple[Reason, str] | None:
    """Why the split is refused, as reason and message; None while it is fine or the Dataset is not there to judge."""
    split = spec.split
    chosen = next((one for one in spec.inputs if split and one.name == split.input), None)
    dataset = datasets.get(chosen.dataset_ref.name) if chosen else None
    if split is None or dataset is None:
        return None
    name = dataset["metadata"]["name"]
    column = dataset["spec"].get("eventTime", {}).get("column", "")
    if split.strategy == "Time" and not column:
        return Reason.INVALID_SPEC, (
            f"spec.split.strategy is Time, but Dataset {name} has no spec.eventTime to split by. Declare it there, or "
            "create a run with strategy Shuffled."
        )
    if split.strategy == "Shuffled" and column and not split.reason.strip():
        return Reason.SHUFFLED_SPLIT_REFUSED, (
            f"Dataset {name} has the event time {column}; shuffled, the model would be judged on times it has trained "
            "on. Create a run with spec.split.strategy Time, or say in spec.split.reason why shuffling is right here."
        )
    return None


def snapshot_refusal(spec: TrainingRunSpec, snapshots: Found) -> tuple[Reason, str] | None:
    """Why a named snapshot is refused, as reason and message; None while it is fine or not there to judge."""
    for one in spec.inputs:
        found = snapshots.get(one.snapshot_ref.name) if one.snapshot_ref else None
        of = found["spec"]["datasetRef"]["name"] if found else one.dataset_ref.name
        if found is not None and of != one.dataset_ref.name:
            return Reason.SNAPSHOT_MISMATCH, (
                f"DatasetSnapshot {found['metadata']['name']} of input {one.name} was cut from Dataset {of}, not from "
                f"{one.dataset_ref.name}. Neither ever changes: create a run with the two that belong together."
            )
    return None


def waits_for(spec: TrainingRunSpec, datasets: Found, snapshots: Found) -> str:
    """Why the inputs cannot be frozen yet; empty when they can."""
    texts = (_waits_for(one, datasets, snapshots) for one in spec.inputs)
    return next((text for text in texts if text), "")


def frozen(spec: TrainingRunSpec, datasets: Found, snapshots: Found) -> tuple[FrozenSnapshot, ...]:
    """The snapshots the run will read. Only asked for once `waits_for` has nothing to say."""
    return tuple(_frozen(one, datasets, snapshots) for one in spec.inputs)


def _waits_for(one: Input, datasets: Found, snapshots: Found) -> str:
    dataset = one.dataset_ref.name
    if one.snapshot_ref is None:
        return unready(dataset, datasets.get(dataset))
    name = one.snapshot_ref.name
    snapshot = snapshots.get(name)
    if snapshot is None:
        return f"DatasetSnapshot {name} of input {one.name} does not exist in this namespace."
    return "" if is_true(snapshot) else f"DatasetSnapshot {name} of input {one.name} is not Ready."


def _frozen(one: Input, datasets: Found, snapshots: Found) -> FrozenSnapshot:
    dataset = one.dataset_ref.name
    if one.snapshot_ref is not None and (snapshot := snapshots.get(one.snapshot_ref.name)) is not None:
        digest = snapshot["spec"]["manifest"]
        return FrozenSnapshot(input=one.name, dataset=dataset, snapshot=one.snapshot_ref.name, digest=digest)
    raw = datasets.get(dataset)
    cut = latest(raw) if raw is not None else None
    if cut is None:
        raise ValueError(f"Dataset {dataset} has no snapshot")
    return FrozenSnapshot(input=one.name, dataset=dataset, snapshot=cut.name, digest=cut.digest)
