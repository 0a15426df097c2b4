"""When a monitor evaluates, what it asks, and what it does with the answer."""

import json
from datetime import datetime, timedelta
from typing import Any

from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_operator.model.meta import REQUESTED_AT, Key, Manifest
from plumbline_operator.rooms.driftmonitor.api import DriftMonitorSpec
from plumbline_operator.rooms.driftmonitor.handlers import ROOM
from plumbline_operator.rooms.driftmonitor.plan import features_of, interval_end
from tests.rooms.registry_objects import digest
from tests.rooms.release_objects import FIRST, NAME, SECOND, approved, deployment, monitor, surroundings
from tests.support.fake_kube import FakeKube
from tests.support.laws import check_laws
from tests.support.worlds import NOW, World, answer, answering, loop_on, open_jobs, ready_of, with_status

KEY = Key("DriftMonitor", "team", "drift")
HTML = digest("7")


def serving(version: str = "v1", manifest: str = FIRST) -> Manifest:
    """A deployment that serves a version."""
    stable = {
        "version": version,
        "manifest": manifest,
        "variant": f"late-v-{version}",
        "image": "plumbline/serving:test",
        "storage": "storage",
    }
    return with_status(deployment(version), stable=stable)


def evaluated(version: str = "v1", manifest: str = FIRST, **spec: Any) -> Manifest:
    """An approved version whose evaluation left a profile of predictions."""
    judgement = {"policy": "p", "golden": {"snapshot": "golden-1", "digest": digest("c")}, "predictions": digest("e")}
    raw = with_status(approved(version, manifest), evaluation=judgement)
    return raw | {"spec": raw["spec"] | spec}


def found(*verdicts: tuple[str, str, float | None], rows: float = 500) -> Report:
    said = tuple(TestVerdict(name=name, verdict=word, value=value) for name, word, value in verdicts)
    return Report(outcome=Outcome.DONE, digests={"report": HTML}, numbers={"rows": rows}, verdicts=said)


CALM, SHIFTED = found(("temp", "Pass", 0.1)), found(("temp", "Fail", 1.3))


class Watch:
    """A monitor in a cluster in memory."""

    def __init__(self, *objects: Manifest) -> None:
        self.kube = FakeKube(*objects)
        self.now = NOW
        self.again: timedelta | None = None

    async def step(self, seconds: float = 0) -> Manifest:
        """Let time go by, then reconcile; the monitor as it is then."""
        self.now += timedelta(seconds=seconds)
        self.again = await loop_on(self.kube).reconcile(ROOM, KEY, self.now)
        own = self.kube.look("DriftMonitor", "drift")
        assert own is not None
        return own

    async def evaluate(self, report: Report, seconds: float = 0) -> Manifest:
        """The monitor after the Job that is due now has given this answer, and was removed."""
        await self.step(seconds)
        (job,) = open_jobs(self.kube)
        answer(self.kube, job, report)
        await self.step()
        own = await self.step()
        assert not self.kube.all("Job")
        return own

    def asked(self) -> dict[str, Any]:
        """The document of the only Job."""
        (job,) = self.kube.all("Job")
        return dict(json.loads(job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]))


def watch(*, own: Manifest | None = None, version: Manifest | None = None) -> Watch:
    return Watch(*surroundings(version or evaluated()), serving(), own or monitor())


def drifting_of(raw: Manifest) -> tuple[str, str]:
    one = next(c for c in raw["status"]["conditions"] if c["type"] == "Drifting")
    return one["status"], one["reason"]


# ------------------------------------------------------------------ what is asked


async def test_the_first_evaluation_starts_at_once_on_what_is_written_already() -> None:
    world = watch()
    own = await world.step()
    assert ready_of(own) == ("False", "Evaluating")
    asked = world.asked()
    # Flushed every second: what was predicted 7 s ago is in the bucket.
    assert (asked["since"], asked["until"]) == ("2026-03-01T10:59:53Z", "2026-03-01T11:59:53Z")
    assert (asked["variant"], asked["manifest"]) == ("late-v-v1", FIRST)
    assert asked["training"]["digest"] == digest("8")
    assert asked["baseline"] == digest("9")
    assert "predictions" not in asked
    assert asked["features"] == [{"name": "*", "maximum_psi": 0.25}]
    assert asked["storage"]["prefix"] == "plumb/team"
    assert "maximum_prediction_psi" not in asked


async def test_a_version_trained_on_a_window_has_no_ready_made_baseline() -> None:
    window = {"since": "2025-01-01T00:00:00Z", "until": "2025-06-01T00:00:00Z"}
    world = watch(version=evaluated(trainingWindow=window))
    await world.step()
    asked = world.asked()
    assert asked.get("baseline") is None
    assert asked["training_window"] == window


async def test_predictions_are_watched_when_asked_for() -> None:
    world = watch(own=monitor(prediction={"maxPSI": 0.1}))
    await world.step()
    assert world.asked()["maximum_prediction_psi"] == 0.1
    assert world.asked()["prediction_output"] == "probability"
    assert world.asked()["predictions"] == digest("e")


def test_only_the_named_features_are_judged_when_there_are_names() -> None:
    rules = {"maxPSI": 0.2, "only": ["a", "b"], "overrides": [{"name": "b", "maxPSI": 0.5}]}
    spec = DriftMonitorSpec.model_validate({"deploymentRef": {"name": NAME}, "features": rules})
    assert {one.name: one.maximum_psi for one in features_of(spec)} == {"a": 0.2, "b": 0.5}
    spec = DriftMonitorSpec.model_validate({"deploymentRef": {"name": NAME}, "features": rules | {"only": []}})
    assert {one.name: one.maximum_psi for one in features_of(spec)} == {"*": 0.2, "b": 0.5}


def test_intervals_are_aligned_to_the_clock() -> None:
    spec = DriftMonitorSpec.model_validate({"deploymentRef": {"name": NAME}, "intervalSeconds": 600})
    assert interval_end(datetime.fromisoformat("2026-03-01T12:09:59Z"), spec).isoformat() == "2026-03-01T12:00:00+00:00"
    assert interval_end(datetime.fromisoformat("2026-03-01T12:10:00Z"), spec).isoformat() == "2026-03-01T12:10:00+00:00"


# ------------------------------------------------------------------ the answer


async def test_a_shift_is_told_with_values_report_and_event() -> None:
    world = watch()
    own = await world.evaluate(SHIFTED)
    assert ready_of(own) == ("True", "Evaluated")
    assert drifting_of(own) == ("True", "Drifted")
    status = own["status"]
    assert status["values"] == [{"name": "temp", "psi": 1.3, "maxPSI": 0.25, "verdict": "Fail"}]
    assert status["lastWindow"]["rows"] == 500
    assert status["report"] == {"digest": HTML, "key": f"plumb/team/blobs/sha256/77/{'7' * 64}"}
    assert [e["reason"] for e in world.kube.events] == ["Drifted"]


async def test_an_empty_window_is_no_calm_one() -> None:
    world = watch()
    await world.evaluate(CALM)
    own = await world.evaluate(found(("temp", "Inconclusive", None), rows=0), 610)
    assert drifting_of(own) == ("Unknown", "InsufficientRows")
    said = next(c["message"] for c in own["status"]["conditions"] if c["type"] == "Drifting")
    assert said.startswith("0 rows until 2026-03-01T12:")
    assert said.endswith(", fewer than spec.minRows 100.")
    assert own["status"]["values"] == [{"name": "temp", "maxPSI": 0.25, "verdict": "Inconclusive"}]


async def test_the_alarm_is_announced_once_and_its_end_too() -> None:
    world = watch()
    await world.evaluate(SHIFTED)
    await world.evaluate(SHIFTED, 610)
    await world.evaluate(CALM, 600)
    await world.evaluate(CALM, 600)
    assert [e["reason"] for e in world.kube.events] == ["Drifted", "NoDrift"]


async def test_a_monitor_between_two_intervals_writes_nothing() -> None:
    world = watch()
    await world.evaluate(CALM)
    await world.evaluate(CALM, 10)
    before = len(world.kube.writes)
    for _ in range(9):
        await world.step(60)
    assert world.kube.writes[before:] == []
    assert world.again is not None


async def test_the_next_interval_is_evaluated_when_its_predictions_are_written() -> None:
    world = watch()
    await world.evaluate(CALM)
    assert world.again == timedelta(seconds=7)
    await world.step(6)
    assert world.kube.all("Job") == []
    await world.step(1)
    assert world.asked()["until"] == "2026-03-01T12:00:00Z"
    answer(world.kube, open_jobs(world.kube)[0], CALM)
    await world.step()
    await world.step()
    assert world.again == timedelta(minutes=10)


async def test_it_stays_ready_while_it_evaluates_again() -> None:
    world = watch()
    await world.evaluate(CALM)
    own = await world.step(610)
    assert ready_of(own) == ("True", "Evaluating")
    assert drifting_of(own) == ("False", "NoDrift")


async def test_an_evaluation_that_is_asked_for_happens_now() -> None:
    world = watch()
    await world.evaluate(CALM)
    own = world.kube.look("DriftMonitor", "drift")
    assert own is not None
    world.kube.edit(own, metadata={"annotations": {REQUESTED_AT: "now"}})
    world.now += timedelta(seconds=100)
    own = await world.evaluate(SHIFTED)
    assert own["status"]["lastRequestedAt"] == "now"
    assert own["status"]["lastWindow"]["until"] == "2026-03-01T12:01:33Z"
    assert drifting_of(own) == ("True", "Drifted")


async def test_an_unknown_feature_stalls_until_the_spec_changes() -> None:
    world = watch(own=monitor(features={"only": ["tmep"]}))
    await world.step()
    text = "tmep is no input of the model; its inputs are temp, wind."
    answer(world.kube, open_jobs(world.kube)[0], Report(outcome=Outcome.REFUSED, reason="UnknownFeature", message=text))
    own = await world.step()
    assert ready_of(own) == ("False", "UnknownFeature")
    assert next(c for c in own["status"]["conditions"] if c["type"] == "Stalled")["message"] == text
    await world.step()
    before = len(world.kube.writes)
    for _ in range(3):
        own = await world.step(3600)
    assert world.kube.writes[before:] == []
    assert ready_of(own) == ("False", "UnknownFeature")
    world.kube.put(own | {"spec": own["spec"] | {"features": {"only": ["temp"]}}})
    await world.step()
    assert world.asked()["features"] == [{"name": "temp", "maximum_psi": 0.25}]


async def test_what_may_have_been_mended_is_asked_again_in_the_next_interval() -> None:
    world = watch()
    denied = Report(outcome=Outcome.REFUSED, reason="AccessDenied", message="the keys are not allowed to read")
    own = await world.evaluate(denied)
    assert ready_of(own) == ("False", "AccessDenied")
    await world.evaluate(denied, 10)
    before = len(world.kube.writes)
    await world.step(300)
    assert world.kube.writes[before:] == []
    own = await world.evaluate(CALM, 300)
    assert ready_of(own) == ("True", "Evaluated")


async def test_trouble_is_tried_again_and_the_next_interval_starts_afresh() -> None:
    world = watch()
    await world.step()
    trouble = Report(outcome=Outcome.TROUBLE, reason="JobFailed", message="the store does not answer")
    answer(world.kube, open_jobs(world.kube)[0], trouble)
    own = await world.step()
    assert ready_of(own) == ("False", "JobFailed")
    await world.step()
    await world.step(31)
    assert len(open_jobs(world.kube)) == 1
    assert drifting_of(own) == ("Unknown", "NotYetEvaluated")


async def test_the_drift_of_another_version_starts_anew() -> None:
    world = watch(own=monitor(forSeconds=900))
    await world.evaluate(SHIFTED)
    await world.evaluate(SHIFTED, 610)
    world.kube.put(evaluated("v2", SECOND))
    world.kube.put(serving("v2", SECOND))
    own = await world.evaluate(SHIFTED, 600)
    assert own["status"]["lastWindow"]["variant"] == "late-v-v2"
    assert drifting_of(own) == ("False", "DriftPending")


# ------------------------------------------------------------------ what is missing


async def test_what_is_missing_is_named() -> None:
    silent = evaluated(snapshots=[])
    worlds = [
        ((), ("False", "DeploymentNotFound")),
        ((deployment("v1"),), ("False", "NoVersionServing")),
        ((serving(),), ("False", "VersionNotFound")),
        ((serving(), evaluated()), ("False", "ConnectionNotReady")),
        ((serving(), silent), ("False", "TrainingDataUnknown")),
    ]
    for others, expected in worlds:
        world = Watch(*others, monitor())
        assert ready_of(await world.step()) == expected
        assert world.again is not None
        assert world.kube.all("Job") == []


async def test_predictions_are_not_judged_before_the_version_that_was_made_again_is_evaluated() -> None:
    again = {part: value for part, value in approved("v1", FIRST).items() if part != "status"}
    world = watch(own=monitor(prediction={}), version=again)
    assert ready_of(await world.step()) == ("False", "VersionNotEvaluated")
    assert world.kube.all("Job") == []
    world.kube.put(evaluated())
    await world.step()
    assert world.asked()["predictions"] == digest("e")


async def test_the_version_evaluated_last_wakes_its_monitor() -> None:
    world = watch()
    own = await world.evaluate(CALM)
    assert set(ROOM.dependencies(own)) == {Key("ModelDeployment", "team", NAME), Key("ModelVersion", "team", "v1")}
    assert set(ROOM.dependencies(monitor())) == {Key("ModelDeployment", "team", NAME)}


async def test_a_monitor_makes_nothing_but_its_own_job() -> None:
    world = watch()
    await world.evaluate(SHIFTED)
    await world.evaluate(SHIFTED, 610)
    assert {w.kind for w in world.kube.writes if w.verb == "apply"} == {"Job"}


async def test_the_laws_hold() -> None:
    around = (*surroundings(evaluated()), serving())
    refused = Report(outcome=Outcome.REFUSED, reason="UnknownFeature", message="no such input")
    await check_laws(
        ROOM,
        [
            World("alone", monitor()),
            World("nothing serves", monitor(), (deployment("v1"),)),
            World("no training data", monitor(), (*surroundings(evaluated(snapshots=[])), serving())),
            World("evaluating", monitor(), around),
            World("calm", monitor(), around, actor=answering(CALM)),
            World("shifted", monitor(), around, actor=answering(SHIFTED)),
            World("asked for", monitor(requested="now"), around, actor=answering(SHIFTED)),
            World("refused", monitor(), around, actor=answering(refused)),
        ],
    )
