"""Connection: asked once per change, and what the answer means."""

from datetime import datetime, timedelta

import pytest

from plumbline_contract.runspec import VerifyConnection
from plumbline_operator.model.meta import REQUESTED_AT, Manifest
from plumbline_operator.rooms.connection.handlers import ROOM
from tests.rooms.data_objects import (
    connection,
    done,
    failing,
    refused,
    repository,
    showing,
    trouble,
    unpullable,
    unschedulable,
)
from tests.support.fake_kube import FakeKube
from tests.support.laws import check_laws
from tests.support.worlds import NOW, World, answering, loop_on, open_jobs, ready_of, settle

MISSING_SECRET = {
    "phase": "Pending",
    "containerStatuses": [
        {
            "name": "main",
            "state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}},
        }
    ],
}

WORLDS = {
    "nobody has answered yet": (World("new", connection()), ("False", "Verifying")),
    "the bucket answers": (World("good", connection(), actor=answering(done())), ("True", "Verified")),
    "the repository answers": (World("git", repository(), actor=answering(done())), ("True", "Verified")),
    "there is no such bucket": (
        World("no bucket", connection(), actor=answering(refused("BucketNotFound"))),
        ("False", "BucketNotFound"),
    ),
    "credentials are wrong": (
        World("denied", connection(), actor=answering(refused("AccessDenied"))),
        ("False", "AccessDenied"),
    ),
    "there is no such repository": (
        World("no repo", repository(), actor=answering(refused("RepositoryNotFound"))),
        ("False", "RepositoryNotFound"),
    ),
    "nothing listens there": (
        World("silence", connection(), actor=answering(trouble())),
        ("False", "EndpointUnreachable"),
    ),
    "a word we do not know": (
        World("new word", connection(), actor=answering(refused("SomethingNew"))),
        ("False", "JobFailed"),
    ),
    "the Secret is missing": (
        World("secret", connection(), actor=showing(MISSING_SECRET)),
        ("False", "SecretNotFound"),
    ),
    "our own image cannot be had": (
        World("image", connection(), actor=showing(unpullable("main"))),
        ("False", "ImageNotFound"),
    ),
    "no node fits": (World("full", connection(), actor=showing(unschedulable())), ("False", "Unschedulable")),
    "it runs past its deadline": (
        World("slow", connection(), actor=failing({}, "DeadlineExceeded")),
        ("False", "Deadline"),
    ),
}


@pytest.mark.parametrize("title", WORLDS)
async def test_a_connection_says(title: str) -> None:
    world, expected = WORLDS[title]
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == expected


async def test_the_laws_hold() -> None:
    await check_laws(ROOM, [world for world, _ in WORLDS.values()])


async def test_the_job_goes_only_after_its_answer_is_stored() -> None:
    world = WORLDS["the bucket answers"][0]
    kube = world.kube()
    await settle(ROOM, world, kube)
    steps = [(w.verb, w.kind) for w in kube.writes if w.verb != "event"]
    assert steps.index(("apply", "Job")) < steps.index(("delete", "Job"))
    stored = next(i for i, w in enumerate(kube.writes) if w.verb == "apply_status" and "ended" in w.body["status"])
    assert stored < next(i for i, w in enumerate(kube.writes) if w.verb == "delete")
    assert kube.all("Job") == []


async def test_trouble_rests_and_doubles_and_gives_up() -> None:
    world = WORLDS["nothing listens there"][0]
    kube, now, rests = world.kube(), NOW, []
    for _ in range(5):
        own = await settle(ROOM, World("trouble", world.subject, actor=world.actor, now=now), kube)
        retry = own["status"]["ended"].get("retryAt")
        if retry is None:
            break
        rests.append((datetime.fromisoformat(retry) - now).total_seconds())
        now += timedelta(seconds=rests[-1])
    assert rests == [30, 60, 120, 240]
    assert [c["type"] for c in own["status"]["conditions"]] == ["Ready", "Stalled"]
    assert own["status"]["attempt"] == 5


async def test_asking_again_asks_again() -> None:
    world = WORLDS["the bucket answers"][0]
    kube = world.kube()
    own = await settle(ROOM, world, kube)
    kube.edit(own, metadata={"annotations": {REQUESTED_AT: "2026-03-02"}})
    before = len(kube.writes)
    own = await settle(ROOM, world, kube)
    assert [w.kind for w in kube.writes[before:] if w.verb == "apply"] == ["Job"]
    assert own["status"]["lastRequestedAt"] == "2026-03-02"


async def test_an_old_answer_says_nothing_about_a_new_bucket() -> None:
    world = WORLDS["the bucket answers"][0]
    kube = world.kube()
    own = await settle(ROOM, world, kube)
    own = kube.edit(own, spec={"s3": {"bucket": "another"}})
    await loop_on(kube).reconcile(ROOM, world.key, NOW)
    own = _own(kube, own)
    assert ready_of(own) == ("False", "Verifying")
    assert "another" in own["status"]["endpoint"]


async def test_a_job_for_an_old_spec_is_removed() -> None:
    kube = FakeKube(connection())
    world = World("edited", connection())
    await loop_on(kube).reconcile(ROOM, world.key, NOW)
    (old,) = open_jobs(kube)
    kube.edit(_own(kube, world.subject), spec={"s3": {"bucket": "another"}})
    await loop_on(kube).reconcile(ROOM, world.key, NOW)
    (new,) = open_jobs(kube)
    assert new["metadata"]["name"] != old["metadata"]["name"]


async def test_after_a_refusal_an_edit_tries_again_with_the_same_inputs() -> None:
    world = WORLDS["there is no such bucket"][0]
    kube = world.kube()
    own = await settle(ROOM, world, kube)
    kube.edit(own, metadata={"generation": own["metadata"]["generation"] + 1})
    before = len(kube.writes)
    await loop_on(kube).reconcile(ROOM, world.key, NOW)
    assert [w.kind for w in kube.writes[before:] if w.verb == "apply"] == ["Job"]


async def test_the_job_is_told_the_bucket_and_fed_the_secret_by_the_kubelet() -> None:
    kube = FakeKube(connection())
    await loop_on(kube).reconcile(ROOM, World("one", connection()).key, NOW)
    (job,) = open_jobs(kube)
    env = {one["name"]: one for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    document = VerifyConnection.model_validate_json(env["PLUMBLINE_RUNSPEC"]["value"])
    assert document.s3 is not None
    assert (document.s3.bucket, document.s3.prefix) == ("team", "lake")
    assert env["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "AWS_ACCESS_KEY_ID"}
    assert "value" not in env["AWS_SECRET_ACCESS_KEY"]


def _own(kube: FakeKube, subject: Manifest) -> Manifest:
    found = kube.look(subject["kind"], subject["metadata"]["name"])
    assert found is not None
    return found
