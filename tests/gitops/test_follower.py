"""What the run with Argo CD is judged by, held against what it must refuse."""

from __future__ import annotations

from typing import Any

from tests.gitops.compare import unlike
from tests.support.argocd.application import Application, healing, is_synced, undue

REVISION = "0123456789abcdef"
NOWHERE: Any = None  # no cluster is asked anything here


def entry(sync: str = "Synced", *, compared: str = "12:00:09", healed: bool = False, applied: str = REVISION) -> Any:
    """An Application that was synced at 12:00:05 and compared later."""
    asked = {"autoHealAttemptsCount": 1, "resources": [{"kind": "Dataset", "name": "flights"}]} if healed else {}
    operation = {
        "phase": "Succeeded",
        "startedAt": "2026-01-01T12:00:04Z",
        "finishedAt": "2026-01-01T12:00:05Z",
        "operation": {"sync": asked},
        "syncResult": {"revision": applied},
    }
    status = {
        "sync": {"status": sync, "revision": REVISION},
        "operationState": operation,
        "reconciledAt": f"2026-01-01T{compared}Z",
        "resources": [{"kind": "Dataset", "name": "flights", "status": sync}],
    }
    return {"status": status}


def test_a_commit_is_synced_once_it_was_applied_and_found() -> None:
    assert is_synced(entry(), REVISION)
    assert not is_synced(entry("OutOfSync"), REVISION)
    assert not is_synced(entry(), "another")
    assert not is_synced({}, REVISION)


def test_what_differs_after_it_was_applied_is_our_fault() -> None:
    assert undue(entry("OutOfSync")) == ["01234567 at 2026-01-01T12:00:09Z: Dataset/flights"]
    assert undue(entry("OutOfSync", compared="12:00:05")) == []  # compared before the sync had ended
    assert undue(entry("OutOfSync", applied="the commit before")) == []  # the sync is still to come
    assert undue(entry()) == []
    assert undue({}) == []


def test_a_healing_is_our_fault_unless_somebody_touched_the_object() -> None:
    one = Application(NOWHERE, "flights")
    one.note(entry())
    one.note(entry(healed=True))
    assert one.faults() == [healing(entry(healed=True))]
    other = Application(NOWHERE, "flights")
    other.excused = True
    other.note(entry("OutOfSync", healed=True))
    other.excused = False
    other.note(entry(healed=True))
    assert other.faults() == []


def test_a_map_may_have_more_than_git_and_a_list_may_not() -> None:
    git = {"columns": [{"name": "a"}], "source": {"key": "x"}}
    filled = {"columns": [{"name": "a", "pii": False}], "source": {"key": "x", "format": "CSV"}, "tests": []}
    assert unlike(git, filled, "") == []
    found = unlike(git, {"columns": [{"name": "b"}], "source": {}}, "")
    assert [line.split(" is ")[0] for line in found] == [".columns[0].name", ".source.key"]
    assert unlike(git, filled | {"columns": []}, "") == [".columns is [] instead of [{'name': 'a'}]"]
