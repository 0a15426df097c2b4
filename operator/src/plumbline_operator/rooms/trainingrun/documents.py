"""Turns a TrainingRun into the documents of its steps, and their answer into status and a ModelVersion. Pure."""

from plumbline_contract.manifest import CodeRef, SnapshotRef
from plumbline_contract.report import Report
from plumbline_contract.runspec import Bucket, Collect, Fetch, Owner, Split, Window
from plumbline_operator.model.conditions import stamp
from plumbline_operator.model.meta import Manifest, plain
from plumbline_operator.rooms.modelversion.api import TrainingWindow, version_manifest
from plumbline_operator.rooms.trainingrun.api import SplitRule, TrainingRunResource, TrainingRunStatus

MAX_METRICS = 100  # a ModelVersion keeps as many; all of them are in the manifest


def inputs_of(run: TrainingRunResource) -> object:
    """What decides the result: the spec and the frozen snapshots, and nothing that may change later."""
    return {"spec": plain(run.spec), "snapshots": [plain(one) for one in run.status.snapshots]}


def fetch_document(run: TrainingRunResource, storage: Bucket, code_url: str, job: str) -> Fetch:
    """What the first step is asked to do."""
    return Fetch(
        owner=_owner(run, job),
        storage=storage,
        code=_code(run, code_url),
        snapshots=_snapshots(run),
        split=_split(run.spec.split) if run.spec.split else None,
        parameters=dict(run.spec.parameters),
        seeds=dict(run.spec.seeds),
    )


def collect_document(run: TrainingRunResource, storage: Bucket, code_url: str, job: str, attempt: int) -> Collect:
    """What the last step is asked to do."""
    return Collect(
        owner=_owner(run, job),
        storage=storage,
        author=run.spec.author,
        attempt=attempt,
        code=_code(run, code_url),
        image=run.spec.image,
        command=run.spec.command,
        parameters=dict(run.spec.parameters),
        seeds=dict(run.spec.seeds),
        snapshots=_snapshots(run),
        split=split_words(run.spec.split) if run.spec.split else {},
    )


def split_words(split: SplitRule) -> dict[str, str]:
    """The split as text, for the record of the run: part → window or share, and how they were made."""
    parts = {
        f"part.{part.name}": f"{part.share:g}"
        if part.share is not None
        else f"{stamp(part.since) if part.since else '..'}/{stamp(part.until) if part.until else '..'}"
        for part in split.parts
    }
    words = {"input": split.input, "strategy": split.strategy, **parts}
    if split.strategy == "Shuffled":
        words |= {"seed": str(split.seed), "reason": split.reason}
    return words


def learned(status: TrainingRunStatus, report: Report) -> TrainingRunStatus:
    """The status with what the last step answered."""
    metrics = {name: float(f"{value:.6g}") for name, value in sorted(report.numbers.items())[:MAX_METRICS]}
    return status.model_copy(
        update={
            "manifest": report.digests.get("manifest", ""),
            "model": report.digests.get("model", ""),
            "lock": report.digests.get("lock", ""),
            "metrics": metrics,
        }
    )


def version_child(run: TrainingRunResource, status: TrainingRunStatus, model: Manifest) -> Manifest:
    """The ModelVersion of a run that left a model. It belongs to the RegisteredModel, so it outlives the run."""
    return version_manifest(
        name=run.metadata.name,
        run=run.metadata.name,
        model=model["metadata"]["name"],
        model_uid=model["metadata"]["uid"],
        author=run.spec.author,
        storage=run.spec.storage_ref.name,
        manifest=status.manifest,
        model_digest=status.model,
        image_digest=status.image_digest,
        metrics=status.metrics,
        snapshots=_snapshots(run),
        training_window=training_window(run.spec.split),
    )


def training_window(split: SplitRule | None) -> TrainingWindow | None:
    """The event times of the rows trained on: of the part `train`, or else the first; None unless split by time."""
    if split is None or split.strategy != "Time":
        return None
    part = next((one for one in split.parts if one.name == "train"), split.parts[0])
    return TrainingWindow(since=part.since, until=part.until)


def _owner(run: TrainingRunResource, job: str) -> Owner:
    meta = run.metadata
    return Owner(namespace=meta.namespace, kind="TrainingRun", name=meta.name, uid=meta.uid, job=job)


def _code(run: TrainingRunResource, url: str) -> CodeRef | None:
    code = run.spec.code
    return CodeRef(url=url, commit=code.commit, path=code.path) if code else None


def _snapshots(run: TrainingRunResource) -> tuple[SnapshotRef, ...]:
    return tuple(SnapshotRef.model_validate(one.model_dump()) for one in run.status.snapshots)


def _split(split: SplitRule) -> Split:
    if split.strategy == "Time":
        windows = {part.name: Window(since=part.since, until=part.until) for part in split.parts}
        return Split(input=split.input, windows=windows)
    shares = {part.name: part.share for part in split.parts if part.share is not None}
    return Split(input=split.input, shares=shares, seed=split.seed)
