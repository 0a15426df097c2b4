"""What is heard wakes exactly those whom it concerns."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import kopf
import pytest
from prometheus_client import generate_latest

from plumbline_operator.kube import refs
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE, OWNER_KIND, OWNER_NAME, Key, Manifest
from plumbline_operator.model.names import label_value
from plumbline_operator.rooms import ROOMS
from plumbline_operator.runtime.ears import LABELLED, Ears, listener_settings
from plumbline_operator.runtime.links import Links
from plumbline_operator.runtime.metrics import Metrics
from plumbline_operator.runtime.owned import owner_reference
from plumbline_operator.runtime.queue import WorkQueue
from tests.runtime.toy import KIND, ROOM
from tests.support.clock import Clock
from tests.support.worlds import raw, ready, thing


@pytest.fixture
def ears() -> Ears:
    return Ears({"Toy": ROOM}, WorkQueue(Clock()), Links(), Metrics())


def bear(name: str = "bear", **metadata: Any) -> Manifest:
    return raw(KIND, name, {"size": 1}, resourceVersion="7", **metadata)


def key(name: str) -> Key:
    return Key("Toy", "team", name)


def woken(ears: Ears) -> set[Key]:
    """Everybody who is due now; takes them."""
    found = set()
    while (one := ears.queue._next()) is not None:
        ears.queue.done(one)
        found.add(one)
    return found


def child_of(name: str, kind: str = "Toy") -> Manifest:
    labels = {MANAGED_BY: MANAGED_VALUE, OWNER_KIND: kind, OWNER_NAME: name}
    return thing("batch/v1", "Job", "bear-play", labels=labels)


def handlers(ears: Ears) -> list[Any]:
    return list(ears.listen()._watching._handlers)  # kopf offers no other way to list them


async def heard(ears: Ears, plural: str, type_: str | None, body: Manifest) -> None:
    """One event, through the handler that kopf would call."""
    (handler,) = [one for one in handlers(ears) if one.id == plural]
    await handler.fn(type=type_, body=kopf.RawBody(body))


async def test_an_object_wakes_itself(ears: Ears) -> None:
    await heard(ears, "toys", "MODIFIED", bear())
    assert woken(ears) == {key("bear")}
    assert ears.heard == {key("bear"): 7}


async def test_an_object_wakes_those_who_depend_on_it_even_by_its_end(ears: Ears) -> None:
    await heard(ears, "toys", None, bear("cub", labels={"after": "bear"}))
    woken(ears)
    for event in ("ADDED", "MODIFIED", "DELETED"):
        await heard(ears, "toys", event, bear())
        assert woken(ears) == {key("bear"), key("cub")}, event


async def test_an_object_wakes_whom_it_names_from_its_own_end(ears: Ears) -> None:
    ears.rooms = {"Toy": replace(ROOM, wakes=lambda body: (key("named"),))}
    await heard(ears, "toys", "DELETED", bear())
    assert woken(ears) == {key("bear"), key("named")}


async def test_a_status_that_tells_nobody_else_wakes_neither_owner_nor_named_but_all_else_does(ears: Ears) -> None:
    ears.rooms = {"Toy": replace(ROOM, wakes=lambda body: (key("named"),), status_tells=False)}
    owned = bear(labels=child_of("mother")["metadata"]["labels"], generation=1)
    everybody = {key("bear"), key("named"), key("mother")}
    await heard(ears, "toys", "ADDED", owned)
    assert woken(ears) == everybody
    played = owned | {"status": {"played": 1}}
    await heard(ears, "toys", "MODIFIED", played | {"metadata": owned["metadata"] | {"resourceVersion": "8"}})
    assert woken(ears) == {key("bear")}
    for change in ({"generation": 2}, {"annotations": {"a": "b"}}, {"ownerReferences": []}):
        await heard(ears, "toys", "MODIFIED", played | {"metadata": owned["metadata"] | change})
        assert woken(ears) == everybody, change
    await heard(ears, "toys", "DELETED", played)
    assert woken(ears) == everybody


async def test_a_child_wakes_its_owner_by_its_labels(ears: Ears) -> None:
    await heard(ears, "jobs", "MODIFIED", child_of("bear"))
    assert woken(ears) == {key("bear")}


async def test_a_child_whose_label_was_stripped_wakes_its_owner_once_more(ears: Ears) -> None:
    await heard(ears, "jobs", "DELETED", child_of("bear"))  # what a watch by label says of it
    assert woken(ears) == {key("bear")}


@pytest.mark.parametrize("labels", [{}, {MANAGED_BY: MANAGED_VALUE}, {OWNER_KIND: "Toy", OWNER_NAME: "wrong"}])
async def test_a_child_without_its_labels_wakes_its_owner_by_reference(ears: Ears, labels: dict[str, str]) -> None:
    child = thing("batch/v1", "Job", "bear-play", labels=labels, ownerReferences=[owner_reference(bear())])
    await heard(ears, "jobs", "MODIFIED", child)
    assert key("bear") in woken(ears)


async def test_somebody_elses_kind_of_the_same_name_is_not_woken_by_reference(ears: Ears) -> None:
    owner = {"apiVersion": "toys.example.com/v1", "kind": "Toy", "name": "bear", "uid": "u"}
    await heard(ears, "jobs", "MODIFIED", thing("batch/v1", "Job", "j", ownerReferences=[owner]))
    assert woken(ears) == set()


async def test_a_child_of_an_owner_with_a_long_name_finds_it(ears: Ears) -> None:
    long = "bear-" + "x" * 80
    await heard(ears, "toys", None, bear(long))
    woken(ears)
    await heard(ears, "jobs", "MODIFIED", child_of(label_value(long)))
    assert woken(ears) == {key(long)}


@pytest.mark.parametrize("labels", [{}, {OWNER_KIND: "Stranger", OWNER_NAME: "x"}, {OWNER_KIND: "Toy"}])
async def test_a_child_of_nobody_wakes_nobody(ears: Ears, labels: dict[str, str]) -> None:
    await heard(ears, "pods", "ADDED", thing("v1", "Pod", "p", labels=labels))
    assert woken(ears) == set()


async def test_what_comes_late_wakes_and_is_not_kept(ears: Ears) -> None:
    await heard(ears, "toys", "MODIFIED", ready(bear(), "Played"))
    woken(ears)
    older = bear()
    older["metadata"]["resourceVersion"] = "6"
    for event in ("MODIFIED", "DELETED"):
        await heard(ears, "toys", event, older)
        assert woken(ears) == {key("bear")}
        assert ears.heard == {key("bear"): 7}
    assert b'name="bear"' in generate_latest(ears.metrics.registry)


async def test_the_newest_version_of_a_watch_is_told_for_a_namespace_and_for_all(ears: Ears) -> None:
    await heard(ears, "toys", "MODIFIED", bear())
    await heard(ears, "toys", "DELETED", bear("cub", namespace="others") | {})
    assert ears.newest(KIND.ref, "team") == ears.newest(KIND.ref, None) == 7
    assert ears.newest(KIND.ref, "elsewhere") == 0


async def test_one_of_our_kinds_that_is_somebodys_child_wakes_both(ears: Ears) -> None:
    await heard(ears, "toys", "ADDED", bear("cub", labels={OWNER_KIND: "Toy", OWNER_NAME: "bear"}))
    assert woken(ears) == {key("cub"), key("bear")}


async def test_conditions_are_shown_while_there_is_an_object(ears: Ears) -> None:
    line = b'plumbline_condition{kind="Toy",name="bear",namespace="team",type="Ready"} 1.0'
    await heard(ears, "toys", "MODIFIED", ready(bear(), "Played"))
    assert line in generate_latest(ears.metrics.registry)
    await heard(ears, "toys", "DELETED", ready(bear(), "Played"))
    assert b'name="bear"' not in generate_latest(ears.metrics.registry)


def test_nothing_but_events_is_listened_to_and_every_handler_is_asynchronous() -> None:
    ears = Ears({room.kind.kind: room for room in ROOMS}, WorkQueue(Clock()), Links(), Metrics())
    registry = ears.listen()
    assert [one.id for one in handlers(ears)] == [r.kind.plural for r in ROOMS] + [ref.plural for ref in LABELLED]
    assert all(inspect.iscoroutinefunction(one.fn) for one in handlers(ears))
    others = (registry._indexing, registry._spawning, registry._changing, registry._webhooks)
    assert [one._handlers for one in others] == [[], [], [], []]


def test_only_our_children_cross_the_wire() -> None:
    selectors = listener_settings(clusterwide=True).watching.label_selectors
    assert set(LABELLED) > set(refs.CHILDREN)
    for ref in LABELLED:
        assert selectors[ref.group, ref.version, ref.plural] == f"{MANAGED_BY}={MANAGED_VALUE}"


def test_a_namespaced_install_does_not_scan_the_cluster() -> None:
    assert listener_settings(clusterwide=False).scanning.disabled
    assert not listener_settings(clusterwide=True).scanning.disabled
