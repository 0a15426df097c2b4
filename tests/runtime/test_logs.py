"""Every log line is one JSON object."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from plumbline_operator.runtime.logs import JsonLines, set_up

QUIETED = ("kopf.objects", "kopf._core.reactor.running", "httpx2")


@pytest.fixture
def loggers() -> Iterator[None]:
    """The loggers as they were, afterwards."""
    root = logging.getLogger()
    kept = root.level, list(root.handlers), {n: logging.getLogger(n).level for n in QUIETED}
    yield
    root.handlers[:] = kept[1]
    root.setLevel(kept[0])
    for name, level in kept[2].items():
        logging.getLogger(name).setLevel(level)


def line(**changes: object) -> dict[str, object]:
    record = logging.LogRecord("plumbline.test", logging.WARNING, "x.py", 1, "a %s", ("line",), None)
    vars(record).update(changes)
    return json.loads(JsonLines().format(record))


def test_a_line_says_when_how_bad_who_and_what() -> None:
    found = line(created=0.0)
    assert found == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "warning",
        "logger": "plumbline.test",
        "message": "a line",
    }


def test_what_was_given_as_extra_is_a_field() -> None:
    assert line(holder="pod-1")["holder"] == "pod-1"
    assert line(key=object)["key"].startswith("<class")  # type: ignore[attr-defined]


def test_a_traceback_stays_inside_its_line(loggers: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info")
    try:
        raise ValueError("the\nreason")
    except ValueError:
        logging.getLogger("plumbline.test").exception("it failed")
    (text,) = capsys.readouterr().out.strip().splitlines()
    assert "ValueError: the\nreason" in json.loads(text)["exception"]


def test_the_level_is_kept_and_chatter_is_not(loggers: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info")
    logging.getLogger("plumbline.test").debug("too fine")
    logging.getLogger("kopf.objects").info("Handler 'toys' succeeded.")
    logging.getLogger("kopf._core.reactor.running").warning("OS signals are ignored: running not in the main thread.")
    logging.getLogger("httpx2").info("GET /measured")
    logging.getLogger("plumbline.test").info("said")
    assert [json.loads(one)["message"] for one in capsys.readouterr().out.splitlines()] == ["said"]


def test_what_kopf_takes_for_its_end_is_a_warning_in_one_line(
    loggers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("info")
    try:
        raise ValueError("the reason")
    except ValueError:
        logging.getLogger("kopf._core.reactor").exception("Watcher for %s has failed", "toys")
    (text,) = capsys.readouterr().out.strip().splitlines()
    found = json.loads(text)
    assert (found["level"], found["message"]) == ("warning", "Watcher for toys has failed (ValueError('the reason'))")
    assert "exception" not in found
