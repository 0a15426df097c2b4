"""Events announce once, count repetitions, and never fail a reconcile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from plumbline_operator.kube.errors import Refused
from plumbline_operator.model.plan import Note
from plumbline_operator.runtime import events
from plumbline_operator.runtime.events import NOTE_LIMIT, Recorder
from tests.runtime.toy import KIND
from tests.support.fake_kube import FakeKube
from tests.support.worlds import NOW, raw

TOY = raw(KIND, "bear", {"size": 1})
NOTE = Note("Played", "It was played with.")


async def test_an_event_says_of_what_by_whom_and_when() -> None:
    kube = FakeKube()
    await Recorder(kube, "pod-1").publish(TOY, NOTE, NOW)
    (event,) = kube.events
    assert event["regarding"] == {
        "apiVersion": "plumbline.dev/v1alpha1",
        "kind": "Toy",
        "namespace": "team",
        "name": "bear",
        "uid": TOY["metadata"]["uid"],
    }
    assert (event["reason"], event["note"], event["type"]) == ("Played", "It was played with.", "Normal")
    assert event["eventTime"] == "2026-03-01T12:00:00.000000Z"
    assert event["reportingInstance"] == "pod-1"
    assert "series" not in event


async def test_a_warning_is_a_warning() -> None:
    kube = FakeKube()
    await Recorder(kube).publish(TOY, Note("Broken", "It broke.", warning=True), NOW)
    assert kube.events[0]["type"] == "Warning"


async def test_a_repetition_counts_on_the_same_event() -> None:
    kube = FakeKube()
    recorder = Recorder(kube)
    for minutes in (0, 2, 4):
        await recorder.publish(TOY, NOTE, NOW + timedelta(minutes=minutes))
    assert len({e["metadata"]["name"] for e in kube.events}) == 1
    assert {e["eventTime"] for e in kube.events} == {"2026-03-01T12:00:00.000000Z"}
    assert kube.events[-1]["series"] == {"count": 3, "lastObservedTime": "2026-03-01T12:04:00.000000Z"}


async def test_after_a_long_silence_a_new_event_begins() -> None:
    kube = FakeKube()
    recorder = Recorder(kube)
    await recorder.publish(TOY, NOTE, NOW)
    await recorder.publish(TOY, NOTE, NOW + timedelta(minutes=7))
    assert len({e["metadata"]["name"] for e in kube.events}) == 2
    assert "series" not in kube.events[-1]


@pytest.mark.parametrize(
    "other", [Note("Broken", NOTE.message), Note(NOTE.reason, "Else."), Note(NOTE.reason, NOTE.message, warning=True)]
)
async def test_something_else_is_another_event(other: Note) -> None:
    kube = FakeKube()
    recorder = Recorder(kube)
    await recorder.publish(TOY, NOTE, NOW)
    await recorder.publish(TOY, other, NOW)
    assert len({e["metadata"]["name"] for e in kube.events}) == 2


async def test_a_long_note_is_cut_between_characters() -> None:
    kube = FakeKube()
    await Recorder(kube).publish(TOY, Note("Played", "ä" * NOTE_LIMIT), NOW)
    assert kube.events[0]["note"] == "ä" * (NOTE_LIMIT // 2)


async def test_the_name_of_an_event_is_one_even_when_the_objects_is_long() -> None:
    kube = FakeKube()
    long = raw(KIND, "b" * 253, {"size": 1})
    await Recorder(kube).publish(long, NOTE, NOW)
    assert len(kube.events[0]["metadata"]["name"]) <= 253


async def test_an_event_that_cannot_be_published_is_logged_and_forgiven(caplog: pytest.LogCaptureFixture) -> None:
    kube = FakeKube()
    kube.fail("event", "Event", Refused("event", "events", 403, "you may not"))
    await Recorder(kube).publish(TOY, NOTE, NOW)
    assert "you may not" in caplog.text


async def test_only_so_many_series_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SERIES_MAX", 2)
    kube = FakeKube()
    recorder = Recorder(kube)
    for message in ("a", "b", "c", "a"):
        await recorder.publish(TOY, Note("Played", message), NOW)
    assert len(recorder._series) == 2
    assert "series" not in kube.events[-1]  # the first was forgotten
