"""Evaluations of real ONNX models on ingested snapshots, over a real S3 protocol server."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from plumbline_contract.manifest import Evaluation, SnapshotRef
from plumbline_contract.report import Outcome
from plumbline_contract.runspec import Evaluate, MetricGate, Owner, RegressionGate, SliceGate, Window
from plumbline_jobs import evaluate
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from tests.jobs import models
from tests.jobs.lake import Lake, column, manifest_of

OWNER = Owner(namespace="team", kind="ModelVersion", name="v1", uid="u", job="v1-evaluate-a1")
START = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = 480  # twenty days, hour by hour
SEED = np.random.default_rng(5)
DELAY, WIND = SEED.normal(size=ROWS), SEED.normal(size=ROWS)
LATE = (SEED.random(ROWS) < 1 / (1 + np.exp(-2 * DELAY))).astype(int)
ORIGIN = np.array(["EWR", "JFK", "LGA"])[np.arange(ROWS) % 3]
TIMES = [START + timedelta(hours=hour * 4) for hour in range(ROWS)]  # January to March
COLUMNS = (
    column("time", "Timestamp"),
    column("late"),
    column("delay", "Float64", nullable=True),
    column("wind", "Float64"),
    column("origin", "String"),
)


def csv(**changes: Mapping[int, object]) -> str:
    """The table; `changes` replaces the values of a column in single rows."""
    given: dict[str, list[Any]] = {
        "time": [time.isoformat() for time in TIMES],
        "late": list(LATE),
        "delay": [repr(float(x)) for x in DELAY],
        "wind": [repr(float(x)) for x in WIND],
        "origin": list(ORIGIN),
    }
    for name, cells in changes.items():
        for row, cell in cells.items():
            given[name][row] = cell
    lines = zip(*given.values(), strict=True)
    return "\n".join([",".join(given), *(",".join(str(cell) for cell in line) for line in lines)])


@pytest.fixture
def golden(lake: Lake) -> str:
    return manifest_of(lake.ingest(csv(), COLUMNS, event_time="time"))


def asked(lake: Lake, model: bytes | None, golden: str, **changes: Any) -> Answer:
    given: dict[str, Any] = {"label": "late", "prediction_output": "probability", "gates": ()} | changes
    manifest = models.register(lake, model)
    return evaluate.run(Evaluate(owner=OWNER, storage=lake.storage, manifest=manifest, golden=golden, **given))


def evaluation_of(lake: Lake, answer: Answer) -> Evaluation:
    return Evaluation.model_validate_json(lake.blob(answer.report.digests["evaluation"]))


def refusal(lake: Lake, model: bytes | None, golden: str, **changes: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        asked(lake, model, golden, **changes)
    return caught.value


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """By pairs; there are no ties in the data."""
    late, punctual = scores[labels == 1], scores[labels == 0]
    return float((late[:, None] > punctual[None, :]).mean())


DELAY_MODEL = models.sigmoid_of({"delay": 2.0})
WIND_MODEL = models.sigmoid_of({"wind": 1.0})


def test_the_overall_metrics_are_those_of_the_models_own_answers(lake: Lake, golden: str) -> None:
    answer = asked(lake, DELAY_MODEL, golden)
    p = 1 / (1 + np.exp(-2 * DELAY))
    numbers = answer.report.numbers
    assert answer.report.outcome is Outcome.DONE
    assert numbers["rows"] == ROWS
    assert numbers["auc"] == pytest.approx(auc(LATE, DELAY))
    assert numbers["brier"] == pytest.approx(float(((p - LATE) ** 2).mean()), rel=1e-5)
    assert numbers["logLoss"] == pytest.approx(float(-np.log(np.where(LATE == 1, p, 1 - p)).mean()), rel=1e-5)
    assert set(numbers) == {"rows", "auc", "brier", "logLoss", "accuracy", "f1"}


def test_the_window_cuts_the_golden_rows_half_open(lake: Lake, golden: str) -> None:
    answer = asked(lake, DELAY_MODEL, golden, window=Window(since=TIMES[100], until=TIMES[300]))
    assert answer.report.numbers["rows"] == 200
    assert answer.report.numbers["auc"] == pytest.approx(auc(LATE[100:300], DELAY[100:300]))


def test_a_window_without_rows_is_refused(lake: Lake, golden: str) -> None:
    error = refusal(lake, DELAY_MODEL, golden, window=Window(since=TIMES[-1] + timedelta(days=1)))
    assert error.reason == "EvaluationRefused"
    assert "no rows" in error.message


def test_gates_are_judged_and_every_pass_has_its_value(lake: Lake, golden: str) -> None:
    gates = (
        MetricGate(name="ranks", metric="auc", minimum=0.7),
        RegressionGate(name="no-step-back", metric="logLoss", maximum_percent=1),
        SliceGate(
            name="everywhere", metric="auc", columns=("origin",), per_month=True, minimum=0.6, minimum_samples=50
        ),
    )
    champion = models.register(lake, WIND_MODEL)
    answer = asked(lake, DELAY_MODEL, golden, gates=gates, champion=champion)
    by_name = {one.name: one for one in answer.report.verdicts}
    assert [one.verdict for one in answer.report.verdicts] == ["Pass"] * 3
    months = {f"month={month}": [time.strftime("%Y-%m") == month for time in TIMES] for month in ("2013-01", "2013-02")}
    parts = {f"origin={name}": name == ORIGIN for name in ("EWR", "JFK", "LGA")} | months
    parts["month=2013-03"] = [time.month == 3 for time in TIMES]
    expected = {name: auc(LATE[np.array(rows)], DELAY[np.array(rows)]) for name, rows in parts.items()}
    assert by_name["everywhere"].value == pytest.approx(min(expected.values()))
    assert min(expected, key=lambda name: expected[name]) in by_name["everywhere"].message
    written = evaluation_of(lake, answer)
    found = {one.slice: one.value for one in written.metrics if one.slice != "overall"}
    assert found == pytest.approx(expected)
    assert {one.slice for one in written.champion_metrics} == {"overall", *expected}
    assert written.verdicts == answer.report.verdicts


def test_a_candidate_worse_than_the_champion_fails_on_the_same_rows(lake: Lake, golden: str) -> None:
    gate = RegressionGate(name="no-step-back", metric="auc", maximum_percent=1)
    champion = models.register(lake, DELAY_MODEL)
    answer = asked(lake, WIND_MODEL, golden, gates=(gate,), champion=champion)
    ours, theirs = auc(LATE, WIND), auc(LATE, DELAY)
    assert answer.report.verdicts[0].verdict == "Fail"
    assert answer.report.verdicts[0].value == pytest.approx(100 * (theirs - ours) / theirs)


def test_a_champion_that_cannot_be_scored_leaves_the_comparison_open_and_nothing_else(lake: Lake, golden: str) -> None:
    gates = (
        RegressionGate(name="no-step-back", metric="auc", maximum_percent=1),
        MetricGate(name="ranks", metric="auc", minimum=0.7),
    )
    for champion in (models.sigmoid_of({"humidity": 1.0}), models.copy_of("origin", models.FLOAT), None):
        answer = asked(lake, DELAY_MODEL, golden, gates=gates, champion=models.register(lake, champion))
        assert [one.verdict for one in answer.report.verdicts] == ["Inconclusive", "Pass"]
        assert "the champion cannot be scored" in answer.report.verdicts[0].message
        assert evaluation_of(lake, answer).champion_metrics == ()


def test_predictions_on_the_training_rows_are_profiled(lake: Lake, golden: str) -> None:
    training = (SnapshotRef(input="i", dataset="d", snapshot="s", digest=golden),)
    answer = asked(lake, DELAY_MODEL, golden, training=training, training_window=Window(until=TIMES[200]))
    profile = lake.profile(answer.report.digests["predictions"]).columns[0]
    p = 1 / (1 + np.exp(-2 * DELAY[:200]))
    assert (profile.name, profile.rows, profile.nulls, sum(profile.counts)) == ("probability", 200, 0, 200)
    assert len(profile.counts) == 10
    assert set(profile.counts) <= {19, 20, 21}  # deciles of 200 different values
    assert (profile.minimum, profile.maximum) == pytest.approx((p.min(), p.max()), rel=1e-5)
    assert evaluation_of(lake, answer).prediction_profile == answer.report.digests["predictions"]


def test_training_rows_that_the_model_cannot_take_leave_no_profile(lake: Lake, golden: str) -> None:
    other = manifest_of(lake.ingest("x\n1\n", (column("x"),)))
    for changes in (
        {"training": (SnapshotRef(input="i", dataset="d", snapshot="s", digest=other),)},
        {
            "training": (SnapshotRef(input="i", dataset="d", snapshot="s", digest=golden),),
            "training_window": Window(since=TIMES[-1] + timedelta(days=1)),
        },
    ):
        assert set(asked(lake, DELAY_MODEL, golden, **changes).report.digests) == {"evaluation"}


def test_the_same_question_has_the_same_answer_byte_for_byte(lake: Lake, golden: str) -> None:
    gate = SliceGate(name="s", metric="auc", columns=("origin",), per_month=True, minimum=0.6, minimum_samples=5)
    training = (SnapshotRef(input="i", dataset="d", snapshot="s", digest=golden),)
    first, second = (asked(lake, DELAY_MODEL, golden, gates=(gate,), training=training) for _ in range(2))
    assert first.report.canonical() == second.report.canonical()


def test_two_probabilities_mean_the_second(lake: Lake) -> None:
    text = csv(delay={row: abs(x) / 10 for row, x in enumerate(DELAY)})
    answer = asked(lake, models.two_classes("delay"), manifest_of(lake.ingest(text, COLUMNS)))
    assert answer.report.numbers["auc"] == pytest.approx(auc(LATE, np.abs(DELAY)))


def test_text_and_whole_numbers_are_fed_as_the_model_takes_them(lake: Lake, golden: str) -> None:
    answer = asked(lake, models.table_of_texts("origin", {"EWR": 0.9, "JFK": 0.1, "LGA": 0.1}), golden)
    assert answer.report.numbers["accuracy"] == pytest.approx(float(((ORIGIN == "EWR") == (LATE == 1)).mean()))
    answer = asked(lake, models.copy_of("late", models.INT64, (None,)), golden)
    assert (answer.report.numbers["auc"], answer.report.numbers["brier"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("model", "changes", "named"),
    [
        (models.sigmoid_of({"humidity": 1.0}), {}, "no column `humidity`"),
        (DELAY_MODEL, {"label": "tardy"}, "no column `tardy`"),
        (DELAY_MODEL, {"label": "origin"}, "label `origin` is String"),
        (DELAY_MODEL, {"prediction_output": "score"}, "no output `score`; it has `probability`"),
        (models.copy_of("delay", models.INT64), {}, "`delay`"),
        (models.copy_of("origin", models.FLOAT), {}, "`origin`"),
        (models.table_of_texts("wind", {"a": 1.0}), {}, "`wind`"),
        (models.copy_of("wind", models.FLOAT, (None, 3)), {}, "shape [-1, 3]"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    lake: Lake, golden: str, model: bytes, changes: dict[str, str], named: str
) -> None:
    error = refusal(lake, model, golden, **changes)
    assert error.reason == "EvaluationRefused"
    assert named in error.message


def test_slices_by_an_identifier_or_an_absent_column_are_refused(lake: Lake, golden: str) -> None:
    gate = SliceGate(name="s", metric="auc", columns=("airport",), minimum=0.6, minimum_samples=5)
    assert "no column `airport`" in refusal(lake, DELAY_MODEL, golden, gates=(gate,)).message
    no_time = manifest_of(lake.ingest(csv(), COLUMNS))
    monthly = SliceGate(name="s", metric="auc", per_month=True, minimum=0.6, minimum_samples=5)
    assert "declares no event time" in refusal(lake, DELAY_MODEL, no_time, gates=(monthly,)).message


def test_a_column_with_too_many_values_is_no_slice(lake: Lake, golden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MOST_SLICES", 2)
    gate = SliceGate(name="s", metric="auc", columns=("origin",), minimum=0.6, minimum_samples=5)
    assert "`origin` has 3 values" in refusal(lake, DELAY_MODEL, golden, gates=(gate,)).message


def test_a_missing_input_makes_the_answer_nan_and_that_is_refused(lake: Lake) -> None:
    error = refusal(lake, DELAY_MODEL, manifest_of(lake.ingest(csv(delay={7: "NA", 9: "NA"}), COLUMNS)))
    assert "NaN or infinity on 2 of 480 golden rows" in error.message


def test_a_missing_label_is_refused(lake: Lake) -> None:
    columns = tuple(one.model_copy(update={"nullable": True}) for one in COLUMNS)
    error = refusal(lake, DELAY_MODEL, manifest_of(lake.ingest(csv(late={3: "NA"}), columns)))
    assert "label `late` is null on 1 golden rows" in error.message


def test_null_and_true_are_slices_and_labels_like_others(lake: Lake) -> None:
    columns = tuple(
        one.model_copy(update={"nullable": True, "type": "Boolean" if one.name == "late" else one.type})
        for one in COLUMNS
    )
    digest = manifest_of(lake.ingest(csv(origin=dict.fromkeys(range(30), "NA")), columns))
    gate = SliceGate(name="s", metric="auc", columns=("origin",), minimum=0, minimum_samples=30)
    answer = asked(lake, DELAY_MODEL, digest, gates=(gate,))
    assert "origin=null" in {one.slice for one in evaluation_of(lake, answer).metrics}
    assert answer.report.numbers["auc"] == pytest.approx(auc(LATE, DELAY))


def test_a_label_that_is_a_quantity_has_errors_in_its_unit(lake: Lake, golden: str) -> None:
    answer = asked(lake, models.copy_of("delay", models.FLOAT), golden, label="wind")
    assert answer.report.numbers["rmse"] == pytest.approx(math.sqrt(float(((DELAY - WIND) ** 2).mean())), rel=1e-5)
    assert answer.report.numbers["mae"] == pytest.approx(float(np.abs(DELAY - WIND).mean()), rel=1e-5)


@pytest.mark.parametrize("data", [b"\x80\x04pickle", b"PK\x03\x04zip", DELAY_MODEL[:-40]])
def test_a_file_that_is_no_model_never_reaches_the_runtime(
    lake: Lake, golden: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("plumbline_jobs.scoring.onnxruntime.InferenceSession", lambda *given, **_: opened.append(given))
    digest = lake.store.put_blob(data)
    manifest = lake.model(models.register(lake, DELAY_MODEL)).model_copy(update={"model": digest})
    spec = Evaluate(
        owner=OWNER,
        storage=lake.storage,
        manifest=lake.store.put_blob(manifest.canonical()),
        golden=golden,
        label="late",
        prediction_output="probability",
        gates=(),
    )
    with pytest.raises(Refused) as caught:
        evaluate.run(spec)
    assert caught.value.reason == "ModelFileRefused"
    assert opened == []


def test_a_run_without_a_model_is_refused(lake: Lake, golden: str) -> None:
    assert refusal(lake, None, golden).reason == "ModelFileRefused"


def test_one_flipped_bit_in_model_or_rows_is_found(lake: Lake, golden: str) -> None:
    manifest = models.register(lake, DELAY_MODEL)  # once: storing the model again would repair it
    given: dict[str, Any] = {"label": "late", "prediction_output": "probability", "gates": ()}
    order = Evaluate(owner=OWNER, storage=lake.storage, manifest=manifest, golden=golden, **given)
    model, rows = lake.model(manifest).model, lake.snapshot(golden).files[0].digest
    assert model is not None
    for damaged in (model, rows):
        lake.flip(damaged)
        with pytest.raises(Refused) as caught:
            evaluate.run(order)
        assert caught.value.reason == "DataUnavailable"
        lake.flip(damaged)
    assert evaluate.run(order).report.outcome is Outcome.DONE


def test_what_is_stored_names_only_what_is_stored(lake: Lake, golden: str) -> None:
    training = (SnapshotRef(input="i", dataset="d", snapshot="s", digest=golden),)
    answer = asked(lake, DELAY_MODEL, golden, training=training)
    for digest in answer.report.digests.values():
        assert json.loads(lake.blob(digest))["kind"] in ("Evaluation", "Profile")
