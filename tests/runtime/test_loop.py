"""The loop does what a plan says, in order, and only what is needed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from plumbline_contract.report import Outcome, Report
from plumbline_operator.kube.errors import Conflict, Refused, Unreachable
from plumbline_operator.model.meta import MANAGED_BY, OWNER_KIND, OWNER_NAME, Key
from plumbline_operator.model.plan import Impossible, Plan
from plumbline_operator.runtime.room import Room
from tests.runtime.toy import KIND, ROOM
from tests.support.fake_kube import FakeKube
from tests.support.laws import check_laws
from tests.support.worlds import NOW, World, answering, die, loop_on, open_jobs, raw, ready_of, settle, thing

TOY = raw(KIND, "bear", {"size": 3})
KEY = Key("Toy", "team", "bear")
DONE = answering(Report(outcome=Outcome.DONE))


async def reconcile(kube: FakeKube, room: Room = ROOM) -> timedelta | None:
    return await loop_on(kube).reconcile(room, KEY, NOW)


async def test_the_toy_room_obeys_the_laws() -> None:
    def breaking(kube: FakeKube) -> None:
        for job in open_jobs(kube):
            die(kube, job)

    await check_laws(
        ROOM,
        [
            World("a job that never ends", TOY),
            World("a job that answers", TOY, actor=DONE),
            World("a job that dies", TOY, actor=breaking),
        ],
    )


async def test_children_get_owner_labels_and_namespace() -> None:
    kube = FakeKube(TOY)
    await reconcile(kube)
    job = kube.look("Job", "bear-play")
    assert job is not None
    assert job["metadata"]["ownerReferences"][0]["uid"] == TOY["metadata"]["uid"]
    labels = {MANAGED_BY: "plumbline", OWNER_KIND: "Toy", OWNER_NAME: "bear"}
    assert labels.items() <= job["metadata"]["labels"].items()
    assert labels.items() <= job["spec"]["template"]["metadata"]["labels"].items()


async def test_the_status_is_stored_before_the_job_is_deleted_and_announced_once() -> None:
    kube = FakeKube(TOY)
    await settle(ROOM, World("answers", TOY, actor=DONE), kube)
    verbs = [(w.verb, w.kind) for w in kube.writes]
    assert verbs.index(("delete", "Job")) > max(i for i, v in enumerate(verbs) if v == ("apply_status", "Toy"))
    assert [e["reason"] for e in kube.events] == ["Played"]
    assert kube.all("Job") == []


async def test_a_child_changed_by_hand_is_put_back() -> None:
    kube = FakeKube(TOY)
    await reconcile(kube)
    kube.edit(kube.all("ConfigMap")[0], data={"size": "9"})
    await reconcile(kube)
    assert kube.all("ConfigMap")[0]["data"] == {"size": "3"}


async def test_a_label_stripped_from_a_job_comes_back_without_touching_its_spec() -> None:
    kube = FakeKube(TOY)
    await reconcile(kube)
    job = kube.all("Job")[0]
    stripped = {**job, "metadata": {k: v for k, v in job["metadata"].items() if k != "labels"}}
    kube.put(stripped)
    await reconcile(kube)
    assert kube.all("Job")[0]["metadata"]["labels"][MANAGED_BY] == "plumbline"
    assert kube.all("Job")[0]["spec"] == job["spec"]


async def test_what_can_be_changed_of_a_running_job_is_put_back() -> None:
    kube = FakeKube(TOY)
    await reconcile(kube)
    job = kube.all("Job")[0]
    kube.edit(job, spec={"backoffLimit": 7, "suspend": True})
    await reconcile(kube)
    assert kube.all("Job")[0]["spec"] == job["spec"] | {"suspend": True}  # a queue's own field is not ours
    assert "suspend" not in kube.writes[-1].body["spec"]


async def test_a_running_job_is_left_alone_when_the_operator_would_make_it_differently_today() -> None:
    kube = FakeKube(TOY)
    await reconcile(kube)
    job = kube.all("Job")[0]
    other = {**job, "spec": {**job["spec"], "backoffLimit": 7}}
    kube.put({**other, "metadata": {**job["metadata"], "annotations": {"plumbline.dev/applied": "older"}}})
    before = len(kube.writes)
    await reconcile(kube)
    assert [w for w in kube.writes[before:] if w.kind == "Job"] == []


async def test_a_foreign_object_of_a_childs_name_is_never_overwritten() -> None:
    kube = FakeKube(TOY, thing("v1", "ConfigMap", "bear-size", {"data": {"size": "theirs"}}))
    assert await reconcile(kube) == timedelta(minutes=5)
    own = kube.look("Toy", "bear")
    assert own is not None
    assert ready_of(own) == ("False", "NameTaken")
    assert "ConfigMap bear-size" in own["status"]["conditions"][0]["message"]
    assert kube.all("ConfigMap")[0]["data"] == {"size": "theirs"}
    before = len(kube.writes)
    await reconcile(kube)
    assert kube.writes[before:] == []


async def test_the_child_of_a_deleted_namesake_is_waited_for() -> None:
    old = {"apiVersion": "plumbline.dev/v1alpha1", "kind": "Toy", "name": "bear", "uid": "older", "controller": True}
    kube = FakeKube(TOY, thing("v1", "ConfigMap", "bear-size", {"data": {}}, ownerReferences=[old]))
    assert await reconcile(kube) == timedelta(seconds=2)
    assert [w.verb for w in kube.writes if w.kind == "ConfigMap"] == []
    kube.remove(kube.all("ConfigMap")[0])
    assert await reconcile(kube) == timedelta(minutes=1)
    assert kube.all("ConfigMap")[0]["metadata"]["ownerReferences"][0]["uid"] == TOY["metadata"]["uid"]


async def test_a_spec_our_model_refuses_stalls_with_path_and_value() -> None:
    kube = FakeKube(raw(KIND, "bear", {"size": 99}))
    await reconcile(kube)
    own = kube.look("Toy", "bear")
    assert own is not None
    assert ready_of(own) == ("False", "InvalidSpec")
    assert "spec.size is 99" in own["status"]["conditions"][0]["message"]
    before = len(kube.writes)
    await reconcile(kube)
    assert kube.writes[before:] == []


async def test_what_cannot_be_made_stalls_and_keeps_what_was_known() -> None:
    def plan(seen: Any, now: datetime) -> Plan:
        raise Impossible("spec.size asks for more than there is. Lower it.")

    kube = FakeKube(raw(KIND, "bear", {"size": 3}) | {"status": {"played": 1}})
    await reconcile(kube, replace(ROOM, plan=plan))
    own = kube.look("Toy", "bear")
    assert own is not None
    assert ready_of(own) == ("False", "InvalidSpec")
    assert own["status"]["played"] == 1
    assert own["status"]["conditions"][0]["message"] == "spec.size asks for more than there is. Lower it."


async def test_a_refusal_by_the_api_server_stalls_with_its_message() -> None:
    kube = FakeKube(TOY)
    kube.fail("apply", "Job", Refused("apply", "jobs", 403, "exceeded quota: compute"))
    assert await reconcile(kube) == timedelta(minutes=5)
    own = kube.look("Toy", "bear")
    assert own is not None
    assert ready_of(own) == ("False", "Refused")
    assert "exceeded quota: compute" in own["status"]["conditions"][0]["message"]


async def test_trouble_with_the_api_server_is_raised_and_leaves_the_status_alone() -> None:
    kube = FakeKube(TOY)
    kube.fail("apply", "Job", Unreachable("apply", "jobs", 503, "etcd is away"))
    with pytest.raises(Unreachable):
        await reconcile(kube)
    own = kube.look("Toy", "bear")
    assert own is not None
    assert "status" not in own


async def test_a_child_decided_on_a_version_is_not_written_over_a_newer_one_nor_made_again() -> None:
    kube = FakeKube(TOY)
    await reconcile(kube)
    read = kube.look("ConfigMap", "bear-size")
    assert read is not None
    version = read["metadata"]["resourceVersion"]
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bear-size", "resourceVersion": version}}
    small, large = (Plan(apply=({**child, "data": {"size": size}},)) for size in ("1", "9"))
    await loop_on(kube).carry_out(small, TOY, NOW)
    newer = kube.look("ConfigMap", "bear-size")
    assert newer is not None
    assert newer["data"] == {"size": "1"}
    with pytest.raises(Conflict):
        await loop_on(kube).carry_out(large, TOY, NOW)
    assert kube.look("ConfigMap", "bear-size") == newer
    kube.remove(newer)
    with pytest.raises(Conflict, match="is gone"):
        await loop_on(kube).carry_out(large, TOY, NOW)
    assert kube.look("ConfigMap", "bear-size") is None


async def test_a_status_that_cannot_be_read_any_more_is_written_anew() -> None:
    kube = FakeKube({**TOY, "status": {"played": "many"}})
    await reconcile(kube)
    own = kube.look("Toy", "bear")
    assert own is not None
    assert own["status"]["played"] == 0


async def test_an_object_that_is_gone_needs_nothing() -> None:
    kube = FakeKube()
    assert await reconcile(kube) is None
    assert kube.writes == []
