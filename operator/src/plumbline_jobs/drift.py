"""Compares the inputs and predictions of a window of the log with those that the serving version was trained on.

    training snapshot's profile ── edges ──┬────────────────────────────┐
    training rows in their window ─────► counts ─┐                      │
    log segments of the window ───────────────── counts ─► PSI ─► verdicts ─► report (HTML)

Edges are fixed by the snapshot's profile, so counts of segments add up and every row is read once.
"""

from collections.abc import Sequence

import polars as pl

from plumbline_contract.manifest import ColumnProfile, ModelManifest, SnapshotManifest, Tensor
from plumbline_contract.prediction import INPUT_PREFIX, OUTPUT_PREFIX
from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_contract.runspec import Drift, DriftFeature
from plumbline_jobs import places
from plumbline_jobs.answer import Answer
from plumbline_jobs.drift_report import page
from plumbline_jobs.errors import Refused
from plumbline_jobs.histograms import Comparison, Watched, baseline_counts, watched, worst_first
from plumbline_jobs.io.store import Store
from plumbline_jobs.log import log
from plumbline_jobs.predictions import PredictionLog, Span, between
from plumbline_jobs.snapshot import Rows, model_manifest, profile_of, snapshot_manifest

EVERY_INPUT = "*"
PREDICTION = "prediction"
REPORTED = 20  # values in the report, which holds 4,096 bytes; the page and the full result have all of them
REPORTED_BYTES = 1200  # of their names, which may be long


def run(spec: Drift) -> Answer:
    """A verdict for each feature, and the report. Raises Refused with UnknownFeature or BaselineMissing."""
    store = Store.connect(spec.storage)
    model = model_manifest(store, spec.manifest)
    bounds = bounds_of(spec.features, [tensor.name for tensor in model.inputs])
    subjects = [*_features(spec, store, model, bounds), *_prediction(spec, store, model)]
    with places.scratch() as folder:
        rows = _read_window(spec, PredictionLog(store, spec.owner, spec.deployment, folder), subjects)
    found = [subject.compared(rows, spec.minimum_rows) for subject in subjects]
    log("window compared", rows=rows, features=len(found), failing=sum(one.verdict == "Fail" for one in found))
    return _answer(spec, store, rows, found)


def bounds_of(features: Sequence[DriftFeature], inputs: Sequence[str]) -> dict[str, float]:
    """Input name → its maximum PSI. `*` stands for every input that has no entry of its own.

    Raises Refused, reason UnknownFeature, for a name that is no input of the model.
    """
    own = {feature.name: feature.maximum_psi for feature in features if feature.name != EVERY_INPUT}
    unknown = [name for name in own if name not in inputs]
    if unknown:
        known = ", ".join(f"`{name}`" for name in inputs[:60])
        raise Refused("UnknownFeature", f"`{unknown[0]}` is no input of the model that serves; its inputs are {known}")
    default = next((feature.maximum_psi for feature in features if feature.name == EVERY_INPUT), None)
    return {name: own.get(name, default or 0.0) for name in inputs if name in own or default is not None}


def _features(spec: Drift, store: Store, model: ModelManifest, bounds: dict[str, float]) -> list[Watched]:
    """The inputs to judge, with their counts on the training rows."""
    try:
        manifest = snapshot_manifest(store, spec.training.digest)
        profile = profile_of(store, spec.baseline or manifest.profile)
        found = [
            _feature(tensor, manifest, profile.columns, bounds) for tensor in model.inputs if tensor.name in bounds
        ]
        if spec.baseline is None:
            with places.scratch() as folder:
                baseline_counts(found, Rows(store, manifest, folder, spec.training_window))
    except Refused as error:
        raise _baseline_missing(error) from error
    return found


def _feature(
    tensor: Tensor, manifest: SnapshotManifest, profiles: Sequence[ColumnProfile], bounds: dict[str, float]
) -> Watched:
    column = next((one for one in manifest.columns if one.name == tensor.name), None)
    profile = next((one for one in profiles if one.name == tensor.name), None)
    logged_as = INPUT_PREFIX + tensor.name
    if column is None or profile is None:
        why = f"the training snapshot of dataset {manifest.dataset} has no such column"
        return Watched(tensor.name, logged_as, bounds[tensor.name], why=why)
    if column.pii or column.handling == "Hash":
        why = "it is personal, so the log holds it hashed or not at all"
        return Watched(tensor.name, logged_as, bounds[tensor.name], why=why)
    return watched(tensor, profile, logged_as, bounds[tensor.name])


def _prediction(spec: Drift, store: Store, model: ModelManifest) -> list[Watched]:
    """The predictions, when they are watched, with their counts on the training rows."""
    if spec.maximum_prediction_psi is None:
        return []
    if spec.predictions is None:
        raise Refused("BaselineMissing", "the version has no profile of its predictions; have it evaluated again")
    tensor = next((one for one in model.outputs if one.name == spec.prediction_output), None)
    if tensor is None:
        known = ", ".join(f"`{one.name}`" for one in model.outputs)
        raise Refused("BaselineMissing", f"the model has no output `{spec.prediction_output}`; it has {known}")
    try:
        profile = next(iter(profile_of(store, spec.predictions).columns), None)
    except Refused as error:
        raise _baseline_missing(error) from error
    if profile is None or profile.name != spec.prediction_output:
        raise Refused("BaselineMissing", f"the profile {spec.predictions} is not of output `{spec.prediction_output}`")
    flat = tensor.model_copy(update={"name": PREDICTION, "shape": (-1,)})
    return [watched(flat, profile, OUTPUT_PREFIX + spec.prediction_output, spec.maximum_prediction_psi)]


def _baseline_missing(error: Refused) -> Refused:
    return Refused("BaselineMissing", f"what the window is compared with cannot be read: {error.message}")


def _read_window(spec: Drift, logged: PredictionLog, subjects: Sequence[Watched]) -> int:
    """Adds every row of the window to its subjects' counts; returns how many rows there are."""
    rows = 0
    span = Span(spec.since, spec.until)
    columns = [subject.logged_as for subject in subjects]
    for frame in logged.frames(spec.variant, "primary", span, columns):
        inside = between(frame, span)
        rows += inside.height
        for subject in subjects:
            subject.add(_column(inside, subject.logged_as))
    return rows


def _column(frame: pl.DataFrame, name: str) -> pl.Series | None:
    return frame[name] if name in frame.columns and frame.height else None


def _answer(spec: Drift, store: Store, rows: int, found: Sequence[Comparison]) -> Answer:
    digest = store.put_blob(page(spec, rows, found).encode())
    return Answer(report_of(rows, digest, found), {"histograms": [one.plain() for one in found]})


def report_of(rows: int, page_digest: str, found: Sequence[Comparison]) -> Report:
    """The short answer: the number of rows, the largest values, and the verdicts, worst first."""
    listed = worst_first(found)
    return Report(
        outcome=Outcome.DONE,
        digests={"report": page_digest},
        numbers={"rows": float(rows)} | _largest(listed),
        verdicts=tuple(_verdict(one) for one in listed),
    )


def _largest(listed: Sequence[Comparison]) -> dict[str, float]:
    """`psi.<feature>` of the first judged ones, as many as leave room for the rest of the report."""
    judged = [(f"psi.{one.name}", one.psi) for one in listed if one.verdict != "Inconclusive"]
    numbers: dict[str, float] = {}
    for name, value in judged[:REPORTED]:
        if value is not None and sum(len(known.encode()) for known in (*numbers, name)) <= REPORTED_BYTES:
            numbers[name] = value
    return numbers


def _verdict(one: Comparison) -> TestVerdict:
    return TestVerdict(
        name=one.name, verdict=one.verdict, value=one.psi, bound=f"<= {one.maximum:.6g}", message=one.message
    )
