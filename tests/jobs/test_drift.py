"""Drift over an ingested snapshot and logs written as servers write them, against PSI computed here by loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from plumbline_contract.manifest import ColumnProfile, ModelManifest, Profile, SnapshotRef, Tensor
from plumbline_contract.report import Outcome, TestVerdict
from plumbline_contract.runspec import Drift, DriftFeature, Owner, Window
from plumbline_jobs import drift
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from plumbline_jobs.profile import profile_values
from tests.jobs import models
from tests.jobs.lake import Lake, column, manifest_of
from tests.jobs.models import Log

OWNER = Owner(namespace="team", kind="DriftMonitor", name="late-arrival", uid="u", job="j")
START = datetime(2013, 1, 1, tzinfo=UTC)
SINCE = datetime(2026, 1, 1, 22, 30, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=2)
ROWS = 600
SEED = np.random.default_rng(11)
TEMP = np.round(SEED.normal(50, 15, ROWS), 1)
ORIGIN = [("EWR", "JFK", "LGA")[i % 3] for i in range(ROWS)]
TIMES = [START + timedelta(hours=i) for i in range(ROWS)]
SCORES = 1 / (1 + np.exp(-(TEMP - 50) / 20))
COLUMNS = (
    column("time", "Timestamp"),
    column("temp", "Float64"),
    column("origin", "String"),
    column("ticket", "String", pii=True, handling="Hash"),
    column("holiday", "Boolean"),
)
INPUTS = {"temp": "FP32", "origin": "BYTES", "holiday": "BOOL", "ticket": "BYTES"}


class World:
    """A trained version: its snapshot, its manifest, the profile of its predictions, and its log."""

    def __init__(self, lake: Lake) -> None:
        lines = [f"{TIMES[i].isoformat()},{TEMP[i]},{ORIGIN[i]},{i},{i % 7 == 0}" for i in range(ROWS)]
        text = "\n".join(["time,temp,origin,ticket,holiday", *lines])
        self.lake = lake
        self.snapshot = manifest_of(lake.ingest(text, COLUMNS, event_time="time"))
        self.manifest = self.of(INPUTS)
        self.predictions = lake.store.put_blob(Profile(columns=(profile_values("probability", SCORES),)).canonical())
        self.log = Log(lake, "v-a", {name: kind for name, kind in INPUTS.items() if name != "ticket"})

    def of(self, inputs: dict[str, Any], shape: tuple[int, ...] = (-1, 1)) -> str:
        """A model manifest with these inputs, whose output is `probability`."""
        known = self.lake.model(models.register(self.lake, models.sigmoid_of({"temp": 1.0})))
        taken = tuple(Tensor(name=name, datatype=kind, shape=shape) for name, kind in inputs.items())
        return self.lake.store.put_blob(ModelManifest.canonical(known.model_copy(update={"inputs": taken})))

    def predicted(self, rows: int, temp: Sequence[float] = (), *, at: datetime = SINCE, **changes: Any) -> None:
        """So many predictions from `at` on, one each second; by default on the training rows again."""
        values = {
            "temp": list(temp) or [TEMP[i % ROWS] for i in range(rows)],
            "origin": [ORIGIN[i % ROWS] for i in range(rows)],
            "holiday": [i % 7 == 0 for i in range(rows)],
        }
        answers = changes.pop("answers", [SCORES[i % ROWS] for i in range(rows)])
        role = changes.pop("role", "primary")
        moments = [at + timedelta(seconds=i) for i in range(rows)]
        self.log.write(moments, values | changes, answers, role=role)

    def asked(self, **changes: Any) -> Answer:
        profile = self.lake.snapshot(self.snapshot).profile
        given: dict[str, Any] = {
            "variant": "v-a",
            "since": SINCE,
            "until": UNTIL,
            "manifest": self.manifest,
            "baseline": profile,
            "training": SnapshotRef(input="i", dataset="flights", snapshot="s1", digest=self.snapshot),
            "features": (DriftFeature(name="temp", maximum_psi=0.25),),
            "minimum_rows": 100,
        } | changes
        return drift.run(Drift(owner=OWNER, storage=self.lake.storage, deployment="late-arrival", **given))

    def verdict(self, name: str = "temp", **changes: Any) -> TestVerdict:
        """One feature's verdict."""
        return {one.name: one for one in self.asked(**changes).report.verdicts}[name]

    def page(self, answer: Answer) -> str:
        return self.lake.blob(answer.report.digests["report"]).decode()


@pytest.fixture
def world(lake: Lake) -> World:
    return World(lake)


def loops(training: Sequence[float], window: Sequence[float], edges: Sequence[float]) -> float:
    """PSI in nats, by the definition: open bins at both ends, the last closed, shares of at least 1e-4."""

    def share(values: Sequence[float], inside: Callable[[float], bool]) -> float:
        return max(sum(inside(v) for v in values) / len(values), 1e-4)

    rules: list[Callable[[float], bool]] = [lambda v: v < edges[0], lambda v: v > edges[-1]]
    for place, (low, high) in enumerate(pairwise(edges)):
        last = place == len(edges) - 2
        rules.append(lambda v, low=low, high=high, last=last: low <= v < high or (last and v == high))
    total = 0.0
    for rule in rules:
        t, w = share(training, rule), share(window, rule)
        total += (w - t) * math.log(w / t)
    return total


def single(values: Sequence[float]) -> list[float]:
    return [float(np.float32(value)) for value in values]


def edges_of(world: World) -> list[float]:
    profile = world.lake.profile(world.lake.snapshot(world.snapshot).profile)
    return single(next(one for one in profile.columns if one.name == "temp").edges)


def test_the_training_rows_served_again_have_not_drifted_at_all(world: World) -> None:
    """Also where float32 moves a value that equals an edge: TEMP has one decimal, and edges are values of it."""
    world.predicted(ROWS)
    answer = world.asked(
        features=(DriftFeature(name="*", maximum_psi=0.25),),
        predictions=world.predictions,
        prediction_output="probability",
        maximum_prediction_psi=0.25,
        manifest=world.of({name: kind for name, kind in INPUTS.items() if name != "ticket"}),
    )
    assert answer.report.outcome is Outcome.DONE
    assert answer.report.numbers == {
        "rows": ROWS,
        "psi.temp": 0,
        "psi.origin": 0,
        "psi.holiday": 0,
        "psi.prediction": pytest.approx(0, abs=1e-12),
    }
    assert {one.verdict for one in answer.report.verdicts} == {"Pass"}


@pytest.mark.parametrize(("shift", "verdict"), [(1.0, "Pass"), (30.0, "Fail"), (-200.0, "Fail")])
def test_a_shift_has_the_psi_of_the_definition(world: World, shift: float, verdict: str) -> None:
    warmer = [value + shift for value in TEMP]
    world.predicted(ROWS, warmer)
    found = world.verdict()
    assert found.value == pytest.approx(loops(single(TEMP), single(warmer), edges_of(world)), rel=1e-9)
    assert (found.verdict, found.bound) == (verdict, "<= 0.25")


def test_the_bound_itself_still_passes(world: World) -> None:
    world.predicted(ROWS, [value + 5 for value in TEMP])
    value = world.verdict().value
    assert value is not None
    for maximum, verdict in ((value, "Pass"), (math.nextafter(value, 0), "Fail")):
        assert world.verdict(features=(DriftFeature(name="temp", maximum_psi=maximum),)).verdict == verdict


def test_with_a_training_window_only_its_rows_are_the_baseline(world: World) -> None:
    world.predicted(ROWS)
    found = world.verdict(baseline=None, training_window=Window(until=TIMES[200]))
    assert found.value == pytest.approx(loops(single(TEMP[:200]), single(TEMP), edges_of(world)), rel=1e-9)
    assert found.value > 0
    whole = world.verdict(baseline=None)
    assert whole.value == 0


def test_segments_add_up_and_the_window_is_half_open(world: World) -> None:
    for at in (SINCE - timedelta(seconds=1), SINCE, SINCE + timedelta(hours=1), UNTIL - timedelta(seconds=1), UNTIL):
        world.predicted(1, [TEMP[0]], at=at)
    assert world.asked().report.numbers["rows"] == 3


def test_copies_of_a_shadow_and_other_variants_do_not_count(world: World) -> None:
    world.predicted(120)
    world.predicted(50, [999.0] * 50, role="shadow")
    world.log = Log(world.lake, "v-b", dict(INPUTS))
    answer = world.asked()
    assert answer.report.numbers["rows"] == 120


def test_too_few_rows_say_nothing_but_how_many(world: World) -> None:
    world.predicted(99, [999.0] * 99)
    answer = world.asked()
    assert answer.report.numbers == {"rows": 99}
    assert [one.verdict for one in answer.report.verdicts] == ["Inconclusive"]
    world.predicted(1, [999.0], at=SINCE + timedelta(hours=1))
    assert world.verdict().verdict == "Fail"


def test_an_empty_window_is_an_answer(world: World) -> None:
    answer = world.asked(predictions=world.predictions, prediction_output="probability", maximum_prediction_psi=0.25)
    assert answer.report.outcome is Outcome.DONE
    assert answer.report.numbers == {"rows": 0}
    assert {(one.name, one.verdict, one.value) for one in answer.report.verdicts} == {
        ("temp", "Inconclusive", None),
        ("prediction", "Inconclusive", None),
    }


def test_texts_that_training_never_saw_are_others(world: World) -> None:
    strangers = ["SFO" if i % 2 else ORIGIN[i] for i in range(300)]
    world.predicted(300, origin=strangers)
    found = world.verdict("origin", features=(DriftFeature(name="origin", maximum_psi=0.25),))
    shares = [(1 / 3, strangers.count(name) / 300) for name in ("EWR", "JFK", "LGA")] + [(1e-4, 0.5)]
    assert found.value == pytest.approx(sum((w - t) * math.log(w / t) for t, w in shares), rel=1e-9)
    assert found.verdict == "Fail"


def test_the_predictions_are_judged_by_their_own_bound(world: World) -> None:
    world.predicted(ROWS, answers=list(SCORES**3))
    given = {"predictions": world.predictions, "prediction_output": "probability"}
    profile = world.lake.profile(world.predictions).columns[0]
    found = world.verdict("prediction", maximum_prediction_psi=0.25, **given)
    assert found.verdict == "Fail"
    assert found.value == pytest.approx(loops(single(SCORES), single(SCORES**3), single(profile.edges)), rel=1e-9)
    assert world.verdict("prediction", maximum_prediction_psi=99, **given).verdict == "Pass"


def test_two_probabilities_are_judged_by_the_second(world: World) -> None:
    world.log = Log(world.lake, "v-a", {name: kind for name, kind in INPUTS.items() if name != "ticket"}, width=2)
    world.predicted(ROWS, answers=[[1 - score, score] for score in SCORES])
    given = {"predictions": world.predictions, "prediction_output": "probability", "maximum_prediction_psi": 0.25}
    assert world.verdict("prediction", **given).value == pytest.approx(0, abs=1e-12)


def test_a_star_stands_for_every_input_without_an_entry_of_its_own(world: World) -> None:
    features = (DriftFeature(name="*", maximum_psi=0.1), DriftFeature(name="temp", maximum_psi=0.5))
    assert drift.bounds_of(features, ["temp", "origin"]) == {"temp": 0.5, "origin": 0.1}
    assert drift.bounds_of(features[1:], ["temp", "origin"]) == {"temp": 0.5}
    assert drift.bounds_of((), ["temp"]) == {}


def test_an_unknown_feature_is_refused_with_those_known(world: World) -> None:
    with pytest.raises(Refused) as caught:
        world.asked(features=(DriftFeature(name="tmep", maximum_psi=0.25),))
    assert caught.value.reason == "UnknownFeature"
    assert "`tmep`" in caught.value.message
    assert "`temp`" in caught.value.message


def test_a_personal_input_is_not_judged_and_says_why(world: World) -> None:
    world.predicted(ROWS)
    found = world.verdict("ticket", features=(DriftFeature(name="ticket", maximum_psi=0.25),))
    assert (found.verdict, found.value) == ("Inconclusive", None)
    assert "personal" in found.message


def test_an_input_that_the_log_holds_hashed_or_not_at_all_is_not_judged(world: World) -> None:
    world.log = Log(world.lake, "v-a", {"temp": "FP32"})
    moments = [SINCE + timedelta(seconds=i) for i in range(200)]
    world.log.write(moments, {"temp": ["a" * 64] * 200}, [0.5] * 200, hashed=["temp"])
    assert "hashed" in world.verdict().message
    assert world.verdict().verdict == "Inconclusive"
    origin = world.verdict("origin", features=(DriftFeature(name="origin", maximum_psi=0.25),))
    assert (origin.verdict, origin.value) == ("Inconclusive", None)
    assert "the log holds no value of it" in origin.message


def test_inputs_that_no_column_or_no_single_value_stands_for_are_not_judged(world: World) -> None:
    world.predicted(ROWS)
    features = (DriftFeature(name="*", maximum_psi=0.25),)
    unknown = world.verdict("wind", features=features, manifest=world.of({"wind": "FP32"}))
    assert "no such column" in unknown.message
    wide = world.verdict("temp", features=features, manifest=world.of({"temp": "FP32"}, (-1, 3)))
    assert (wide.verdict, wide.value) == ("Inconclusive", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"baseline": models.DIGEST},
        {"training": SnapshotRef(input="i", dataset="d", snapshot="s", digest=models.DIGEST)},
        {"baseline": None, "training_window": Window(since=TIMES[-1] + timedelta(days=1))},
        {"maximum_prediction_psi": 0.25, "prediction_output": "probability"},
        {"maximum_prediction_psi": 0.25, "prediction_output": "probability", "predictions": models.DIGEST},
    ],
)
def test_what_to_compare_with_must_be_there(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        world.asked(**changes)
    assert caught.value.reason == "BaselineMissing"


def test_a_profile_of_another_output_is_no_baseline(world: World) -> None:
    given = {"predictions": world.predictions, "prediction_output": "score", "maximum_prediction_psi": 0.25}
    with pytest.raises(Refused, match="no output `score`"):
        world.asked(**given)


def test_the_full_result_has_both_histograms(world: World) -> None:
    world.predicted(ROWS)
    found = world.asked().details["histograms"][0]
    assert found["training"] == found["window"]
    assert sum(found["window"]) == ROWS
    assert len(found["window"]) == len(found["edges"]) + 1
    assert found["edges"] == edges_of(world)


class Page(HTMLParser):
    """Every tag, attribute and text of a page; unclosed tags are found at the end."""

    VOID = frozenset({"meta", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_needs_nothing_else_and_shows_both_distributions(world: World) -> None:
    world.predicted(ROWS, [value + 30 for value in TEMP])
    answer = world.asked()
    text = world.page(answer)
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert "http://" not in text
    assert "https://" not in text
    bins = len(edges_of(world)) + 1
    assert page.attributes.count(("class", "training")) == page.attributes.count(("class", "window")) == bins + 1
    words = " ".join(page.text)
    assert f"{answer.report.numbers['psi.temp']:.4f}" in words
    assert all(f"{edge:.6g}" in words for edge in edges_of(world))
    assert "late-arrival" in words


def test_the_same_window_has_the_same_page(world: World) -> None:
    world.predicted(ROWS)
    assert world.asked().report.digests == world.asked().report.digests


def test_names_of_tenants_are_text_and_never_markup(world: World) -> None:
    evil = '<script>alert(1)</script><img src="https://example.org/x">'
    profile = ColumnProfile(
        name=evil, type="String", rows=3, nulls=0, categories=(evil,), category_counts=(2,), other=1, distinct=2
    )
    snapshot = world.lake.snapshot(world.snapshot)
    hurt = snapshot.model_copy(
        update={
            "dataset": evil,
            "columns": (snapshot.columns[2].model_copy(update={"name": evil}),),
            "profile": world.lake.store.put_blob(Profile(columns=(profile,)).canonical()),
        }
    )
    digest = world.lake.store.put_blob(hurt.canonical())
    world.log = Log(world.lake, "v-a", {evil: "BYTES"})
    world.log.write([SINCE + timedelta(seconds=i) for i in range(200)], {evil: [evil] * 200}, [0.5] * 200)
    answer = world.asked(
        baseline=hurt.profile,
        training=SnapshotRef(input="i", dataset=evil, snapshot=evil, digest=digest),
        manifest=world.of({evil: "BYTES"}),
        features=(DriftFeature(name="*", maximum_psi=0.25),),
    )
    page = Page(world.page(answer))
    assert answer.report.verdicts[0].value is not None
    assert not {"script", "img"} & set(page.tags)
