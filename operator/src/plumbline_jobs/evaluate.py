"""Scores a model, and the champion, on the golden rows, and judges the gates.

golden rows ──batches──► candidate ─┬─► metrics, slices, verdicts ──► Evaluation
                     └─► champion  ─┘
training rows ─────────► candidate ───► profile of the predictions: the baseline of prediction drift
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from plumbline_contract.manifest import Evaluation, Profile, SliceMetric, SnapshotManifest
from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_contract.runspec import Evaluate
from plumbline_jobs import places
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from plumbline_jobs.gates import INCONCLUSIVE, MONTH, OVERALL, PASS, Scored, groups_of, judge
from plumbline_jobs.io.store import Store
from plumbline_jobs.log import log
from plumbline_jobs.metrics import Measured, measure, usual_metrics
from plumbline_jobs.profile import as_numbers, profile_values
from plumbline_jobs.scoring import Model, load
from plumbline_jobs.snapshot import Rows, snapshot_manifest
from plumbline_jobs.stats.bins import Floats
from plumbline_jobs.tensors import may_be_missing

MOST_SLICES = 2_000  # values of one column; more are an identifier, not a slice


@dataclass(slots=True)
class _Judges:
    """The candidate, and the champion for as long as it fits the rows."""

    candidate: Model
    champion: Model | None = None
    why_no_champion: str = "there is no champion"
    theirs: list[Floats] = field(default_factory=list)

    def dismiss_champion(self, error: Refused) -> None:
        """The champion cannot be scored: that is no fault of the candidate's, but nothing can be compared."""
        self.champion, self.why_no_champion = None, f"the champion cannot be scored on these rows: {error.message}"
        log("champion not scored", reason=error.reason)


def run(spec: Evaluate) -> Answer:
    """The evaluation. Raises Refused with ModelFileRefused, EvaluationRefused or DataUnavailable."""
    store = Store.connect(spec.storage)
    judges = _judges(spec, store)
    manifest = snapshot_manifest(store, spec.golden)
    with places.scratch() as folder:
        scored = _scored(spec, judges, manifest, Rows(store, manifest, folder, spec.window))
        log("golden rows scored", rows=len(scored.labels))
        predictions = _prediction_profile(spec, store, judges.candidate, folder)
    return _answer(spec, store, scored, predictions)


def _judges(spec: Evaluate, store: Store) -> _Judges:
    judges = _Judges(load(store, spec.manifest, spec.prediction_output))
    if spec.champion is not None:
        try:
            judges.champion = load(store, spec.champion, spec.prediction_output)
        except Refused as error:
            judges.dismiss_champion(error)
    return judges


def _scored(spec: Evaluate, judges: _Judges, manifest: SnapshotManifest, rows: Rows) -> Scored:
    """Both models' predictions on the golden rows, with labels and slices."""
    columns, per_month = groups_of(spec.gates)
    _has_columns(manifest, (*judges.candidate.columns, spec.label, *columns))
    time = (_event_time(manifest),) if per_month else ()
    if judges.champion is not None:
        try:
            _has_columns(manifest, judges.champion.columns)
        except Refused as error:
            judges.dismiss_champion(error)
    theirs = judges.champion.columns if judges.champion else ()
    labels, scores, groups = [], [], []
    for frame in rows.frames((*judges.candidate.columns, *theirs, spec.label, *columns, *time)):
        labels.append(_labels(frame[spec.label]))
        scores.append(judges.candidate.scores(frame))
        _score_champion(judges, frame)
        groups.append(_groups(frame, columns, time))
    return _joined(spec, judges, (labels, scores), groups)


def _score_champion(judges: _Judges, frame: pl.DataFrame) -> None:
    if judges.champion is None:
        return
    try:
        judges.theirs.append(judges.champion.scores(frame))
    except Refused as error:
        judges.dismiss_champion(error)


def _joined(
    spec: Evaluate, judges: _Judges, found: tuple[list[Floats], list[Floats]], groups: Sequence[pl.DataFrame]
) -> Scored:
    labels, scores = (np.concatenate(part) if part else np.empty(0) for part in found)
    if not len(labels):
        raise Refused("EvaluationRefused", "the golden window has no rows; correct spec.golden.since and until")
    odd = int((~np.isfinite(scores)).sum())
    if odd:
        raise Refused(
            "EvaluationRefused",
            f"the model answers NaN or infinity on {odd} of {len(scores)} golden rows; a served model must answer "
            f"every row with a number. Look at rows with missing inputs, or at output `{spec.prediction_output}`",
        )
    together = pl.concat(groups)
    return Scored(
        labels=labels,
        scores=scores,
        champion=np.concatenate(judges.theirs) if judges.champion else None,
        why_no_champion=judges.why_no_champion,
        groups={name: _few(together[name]) for name in together.columns},
    )


def _labels(column: pl.Series) -> Floats:
    """The label of each row as a number."""
    if column.dtype in (pl.String, pl.Date) or isinstance(column.dtype, pl.Datetime):
        raise Refused("EvaluationRefused", f"the label `{column.name}` is {column.dtype}; it must be a number")
    if column.null_count():
        raise Refused(
            "EvaluationRefused",
            f"the label `{column.name}` is null on {column.null_count()} golden rows; end the golden window where all "
            "labels are known",
        )
    return as_numbers(column)


def _groups(frame: pl.DataFrame, columns: Sequence[str], time: Sequence[str]) -> pl.DataFrame:
    """The slice that each row belongs to, by column, and by month of the event time in UTC."""
    found = [frame[name].cast(pl.String).fill_null("null").alias(name) for name in columns]
    months = [frame[name].dt.strftime("%Y-%m").fill_null("null").alias(MONTH) for name in time]
    return pl.DataFrame([*found, *months])


def _few(groups: pl.Series) -> pl.Series:
    distinct = groups.n_unique()
    if distinct > MOST_SLICES:
        raise Refused(
            "EvaluationRefused",
            f"column `{groups.name}` has {distinct} values, more than the {MOST_SLICES} slices that are judged; "
            "choose a column with fewer",
        )
    return groups


def _has_columns(manifest: SnapshotManifest, names: Sequence[str]) -> None:
    known = {column.name for column in manifest.columns}
    missing = [name for name in names if name not in known]
    if missing:
        raise Refused(
            "EvaluationRefused",
            f"the golden snapshot of dataset {manifest.dataset} has no column "
            f"{', '.join(f'`{name}`' for name in missing[:8])}; inputs of a model, the label and slices are columns",
        )


def _event_time(manifest: SnapshotManifest) -> str:
    if manifest.event_time is None:
        raise Refused(
            "EvaluationRefused",
            f"a gate asks for slices per month, but dataset {manifest.dataset} declares no event time; "
            "set spec.eventTime.column",
        )
    return manifest.event_time


def _prediction_profile(spec: Evaluate, store: Store, model: Model, folder: Path) -> str | None:
    """The stored profile of the predictions on the training rows; None when there are none to score.

    Rows in which an input is null that cannot say so were not what the model was trained on, and are left out.
    """
    if not spec.training:
        return None
    manifest = snapshot_manifest(store, spec.training[0].digest)
    if not set(model.columns) <= {column.name for column in manifest.columns}:
        log("predictions not profiled", cause="the training snapshot lacks inputs of the model")
        return None
    needed = [tensor.name for tensor in model.inputs if not may_be_missing(tensor)]
    parts = []
    for frame in Rows(store, manifest, folder, spec.training_window).frames(model.columns):
        scores = model.scores(frame.drop_nulls(needed) if needed else frame)
        parts.append(scores[np.isfinite(scores)])
    found = np.concatenate(parts) if parts else np.empty(0)
    if not len(found):
        log("predictions not profiled", cause="the training window has no rows that can be scored")
        return None
    log("training rows scored", rows=len(found))
    profile = Profile(columns=(profile_values(spec.prediction_output, found),))
    return store.put_blob(profile.canonical())


def _answer(spec: Evaluate, store: Store, scored: Scored, predictions: str | None) -> Answer:
    judged = [judge(gate, scored) for gate in spec.gates]
    metrics = _overall_metrics(spec, scored)
    ours = _overall(metrics, scored.labels, scored.scores)
    theirs = () if scored.champion is None else _overall(metrics, scored.labels, scored.champion)
    verdicts = tuple(one.verdict for one in judged)
    evaluation = Evaluation(
        model=spec.manifest,
        golden=spec.golden,
        champion=spec.champion,
        rows=len(scored.labels),
        metrics=(*ours, *_distinct(slice_ for one in judged for slice_ in one.slices)),
        champion_metrics=(*theirs, *_distinct(slice_ for one in judged for slice_ in one.champion_slices)),
        verdicts=verdicts,
        prediction_profile=predictions,
    )
    digests = {"evaluation": store.put_blob(evaluation.canonical())}
    if predictions is not None:
        digests["predictions"] = predictions
    numbers = {"rows": float(len(scored.labels))} | {one.metric: one.value for one in ours if one.value is not None}
    _log_verdicts(verdicts)
    return Answer(Report(outcome=Outcome.DONE, digests=digests, numbers=numbers, verdicts=verdicts))


def _overall_metrics(spec: Evaluate, scored: Scored) -> tuple[str, ...]:
    """What is told of all rows: the metrics that fit the labels, and those that gates name."""
    return tuple(dict.fromkeys((*usual_metrics(scored.labels), *(gate.metric for gate in spec.gates))))


def _overall(metrics: Sequence[str], labels: Floats, scores: Floats) -> tuple[SliceMetric, ...]:
    return tuple(_of_all_rows(name, len(labels), measure(name, labels, scores)) for name in metrics)


def _of_all_rows(metric: str, rows: int, found: Measured) -> SliceMetric:
    verdict = INCONCLUSIVE if found.value is None else PASS
    return SliceMetric(slice=OVERALL, rows=rows, metric=metric, value=found.value, verdict=verdict)


def _distinct(slices: Iterable[SliceMetric]) -> tuple[SliceMetric, ...]:
    """Each slice once for each metric and verdict: two gates may look at the same."""
    return tuple(dict.fromkeys(slices))


def _log_verdicts(verdicts: Sequence[TestVerdict]) -> None:
    for one in verdicts:
        log("gate judged", gate=one.name, verdict=one.verdict, value=one.value, bound=one.bound)
