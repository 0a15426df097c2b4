"""Dataset: when it is Ready, and when whoever uses it has to wait."""

from typing import Any

import pytest

from plumbline_contract.runspec import ForeignKey, Ingest
from plumbline_operator.model.meta import REQUESTED_AT, Manifest
from plumbline_operator.rooms.dataset.handlers import ROOM
from tests.rooms.data_objects import (
    COLUMNS,
    INGESTED,
    MANIFEST,
    TEST_FAILED,
    connection,
    dataset,
    digest,
    done,
    failing,
    refused,
    repository,
    showing,
    trouble,
    unpullable,
    unschedulable,
    validated,
    verified,
)
from tests.support.fake_kube import FakeKube
from tests.support.laws import check_laws
from tests.support.worlds import NOW, World, answering, loop_on, not_ready, open_jobs, ready_of, settle

STORAGE, LAKE = verified(connection()), verified(connection("lake"))
BOTH = (STORAGE, LAKE)
ORPHANS = {
    "name": "planes-known",
    "foreignKey": {"column": "tail", "dataset": {"name": "planes"}, "referencedColumn": "tailnum", "maxOrphans": 2},
}
REFERRING = dataset(tests=[ORPHANS])
PLANES = validated(dataset("planes"), digest("f"))
TYPO = dataset(tests=[{"name": "typo", "nullShare": {"column": "distanec", "max": 0.1}}])

WORLDS = {
    "all tests pass": (World("good", dataset(), BOTH, actor=answering(INGESTED)), ("True", "Validated")),
    "it is being read": (World("new", dataset(), BOTH), ("False", "Ingesting")),
    "a test fails": (World("failing", dataset(), BOTH, actor=answering(TEST_FAILED)), ("False", "TestFailed")),
    "a column is missing": (
        World("schema", dataset(), BOTH, actor=answering(refused("SchemaMismatch", "Column at is missing."))),
        ("False", "SchemaMismatch"),
    ),
    "the object is missing": (
        World("gone", dataset(), BOTH, actor=answering(refused("SourceNotFound"))),
        ("False", "SourceNotFound"),
    ),
    "the store is down": (World("down", dataset(), BOTH, actor=answering(trouble())), ("False", "EndpointUnreachable")),
    "the source's Connection is missing": (World("no lake", dataset(), (STORAGE,)), ("False", "ConnectionNotReady")),
    "the storage is not verified": (
        World("unverified", dataset(), (LAKE, not_ready(connection(), "BucketNotFound"))),
        ("False", "ConnectionNotReady"),
    ),
    "the storage is a repository": (
        World("git", dataset(), (LAKE, verified(repository("storage")))),
        ("False", "ConnectionNotReady"),
    ),
    "the referenced Dataset is missing": (World("lonely", REFERRING, BOTH), ("False", "DatasetNotReady")),
    "the referenced Dataset is not Ready": (
        World("waiting", REFERRING, (*BOTH, not_ready(dataset("planes"), "TestFailed", "too few planes"))),
        ("False", "DatasetNotReady"),
    ),
    "the referenced Dataset is Ready": (
        World("joined", REFERRING, (*BOTH, PLANES), actor=answering(INGESTED)),
        ("True", "Validated"),
    ),
    "a test reads an undeclared column": (World("typo", TYPO, BOTH), ("False", "InvalidSpec")),
    "an answer without digests": (World("odd", dataset(), BOTH, actor=answering(done())), ("False", "JobFailed")),
    "no node fits": (World("full", dataset(), BOTH, actor=showing(unschedulable())), ("False", "Unschedulable")),
    "our image cannot be had": (
        World("image", dataset(), BOTH, actor=showing(unpullable("main"))),
        ("False", "ImageNotFound"),
    ),
    "it runs past its deadline": (
        World("slow", dataset(), BOTH, actor=failing({}, "DeadlineExceeded")),
        ("False", "Deadline"),
    ),
}


@pytest.mark.parametrize("title", WORLDS)
async def test_a_dataset_says(title: str) -> None:
    world, expected = WORLDS[title]
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == expected


async def test_the_laws_hold() -> None:
    worlds = [world for title, (world, _) in WORLDS.items() if title != "a test reads an undeclared column"]
    await check_laws(ROOM, worlds)


async def test_an_invalid_spec_names_the_test_and_the_column() -> None:
    world, _ = WORLDS["a test reads an undeclared column"]
    own = await settle(ROOM, world, world.kube())
    message = own["status"]["conditions"][0]["message"]
    assert "typo" in message
    assert "distanec" in message


async def test_a_snapshot_holds_what_was_declared_and_nothing_that_is_dropped() -> None:
    kube, own = await settled("all tests pass")
    (child,) = kube.all("DatasetSnapshot")
    assert child["metadata"]["name"] == own["status"]["latestSnapshot"]["name"]
    assert child["spec"]["manifest"] == MANIFEST
    assert [(c["name"], c["handling"]) for c in child["spec"]["columns"]] == [
        ("at", "Keep"),
        ("tail", "Hash"),
        ("distance", "Keep"),
    ]
    assert child["spec"]["dropped"] == ["crew"]
    assert child["spec"]["eventTime"] == "at"
    assert own["status"]["latestSnapshot"]["rows"] == 120


async def test_another_dropped_column_gives_another_snapshot_of_the_same_bytes() -> None:
    kube, _ = await settled("all tests pass")
    (before,) = kube.all("DatasetSnapshot")
    more = [*COLUMNS, {"name": "captain", "type": "String", "pii": True, "handling": "Drop"}]
    kube.edit(kube.all("Dataset")[0], spec={"columns": more})
    own = await settle(ROOM, World("more", dataset(columns=more), BOTH, actor=answering(INGESTED)), kube)
    assert ready_of(own) == ("True", "Validated")
    after = next(s for s in kube.all("DatasetSnapshot") if s["metadata"]["name"] != before["metadata"]["name"])
    assert after["spec"]["manifest"] == before["spec"]["manifest"] == MANIFEST
    assert after["spec"]["dropped"] == ["crew", "captain"]
    assert before in kube.all("DatasetSnapshot"), "a snapshot is immutable"


async def test_the_same_bytes_under_another_connection_are_another_snapshot() -> None:
    kube, _ = await settled("all tests pass")
    (before,) = kube.all("DatasetSnapshot")
    moved = {"storageRef": {"name": "archive"}}
    kube.edit(kube.all("Dataset")[0], spec=moved)
    kube.put(verified(connection("archive")))
    own = await settle(ROOM, World("moved", dataset(**moved), BOTH, actor=answering(INGESTED)), kube)
    assert ready_of(own) == ("True", "Validated")
    kept = {one["spec"]["storageRef"]["name"]: one["spec"]["manifest"] for one in kube.all("DatasetSnapshot")}
    assert kept == {"storage": MANIFEST, "archive": MANIFEST}
    assert before in kube.all("DatasetSnapshot"), "a snapshot is immutable"


async def test_a_failing_test_cuts_no_snapshot_and_says_count_and_bound() -> None:
    kube, own = await settled("a test fails")
    assert kube.all("DatasetSnapshot") == []
    ready = own["status"]["conditions"][0]
    assert "enough" in ready["message"]
    assert "3 rows" in ready["message"]
    assert "Stalled" in [c["type"] for c in own["status"]["conditions"]]
    (test,) = own["status"]["tests"]
    assert (test["verdict"], test["value"], test["bound"]) == ("Fail", 3, ">= 10")


async def test_a_failing_ingest_keeps_the_last_good_snapshot_but_is_not_ready() -> None:
    kube, own = await settled("all tests pass")
    kube.edit(own, metadata={"annotations": {REQUESTED_AT: "again"}})
    world = World("again", dataset(), BOTH, actor=answering(TEST_FAILED))
    own = await settle(ROOM, world, kube)
    assert ready_of(own) == ("False", "TestFailed")
    assert own["status"]["latestSnapshot"]["digest"] == MANIFEST


async def test_the_same_bytes_give_the_same_snapshot() -> None:
    kube, own = await settled("all tests pass")
    kube.edit(own, metadata={"annotations": {REQUESTED_AT: "again"}})
    own = await settle(ROOM, WORLDS["all tests pass"][0], kube)
    assert ready_of(own) == ("True", "Validated")
    assert len(kube.all("DatasetSnapshot")) == 1


async def test_other_bytes_give_another_snapshot_and_the_old_one_stays() -> None:
    kube, own = await settled("all tests pass")
    kube.edit(own, metadata={"annotations": {REQUESTED_AT: "again"}})
    other = INGESTED.model_copy(update={"digests": INGESTED.digests | {"manifest": digest("2")}})
    own = await settle(ROOM, World("new", dataset(), BOTH, actor=answering(other)), kube)
    assert own["status"]["latestSnapshot"]["digest"] == digest("2")
    assert len(kube.all("DatasetSnapshot")) == 2


async def test_a_lost_snapshot_object_is_put_back_without_reading_the_source_again() -> None:
    kube, _ = await settled("all tests pass")
    (child,) = kube.all("DatasetSnapshot")
    kube.remove(child)
    before = len(kube.writes)
    await settle(ROOM, WORLDS["all tests pass"][0], kube)
    assert [w.kind for w in kube.writes[before:]] == ["DatasetSnapshot"]


async def test_a_connection_that_is_verified_again_does_not_take_ready_away() -> None:
    kube, _ = await settled("all tests pass")
    kube.put(not_ready(connection(), "Verifying"))
    own = await settle(ROOM, WORLDS["all tests pass"][0], kube)
    assert ready_of(own) == ("True", "Validated")


async def test_two_thousand_plain_columns_fit_into_one_jobs_instructions() -> None:
    wide = [*COLUMNS, *({"name": f"sensor_{n:04}", "type": "Float64"} for n in range(1996))]
    own = await settle(ROOM, World("wide", dataset(columns=wide), BOTH), FakeKube(*BOTH, dataset(columns=wide)))
    assert ready_of(own) == ("False", "Ingesting")


async def test_a_declaration_that_cannot_be_handed_to_a_job_is_refused_with_its_size() -> None:
    wide = [*COLUMNS, *({"name": f"sensor_{n:0>200}", "type": "Float64"} for n in range(1996))]
    subject = dataset(columns=wide)
    kube = FakeKube(*BOTH, subject)
    own = await settle(ROOM, World("huge", subject, BOTH), kube)
    assert ready_of(own) == ("False", "InvalidSpec")
    message = own["status"]["conditions"][0]["message"]
    assert "bytes" in message
    assert "Declare fewer columns" in message
    assert kube.all("Job") == []


async def test_the_ingest_gets_what_the_spec_says_and_otherwise_a_default() -> None:
    for spec, limits in (({}, {"memory": "4Gi"}), ({"limits": {"memory": "64Gi"}}, {"memory": "64Gi"})):
        subject = dataset(resources=spec)
        kube = FakeKube(*BOTH, subject)
        await loop_on(kube).reconcile(ROOM, World("x", subject).key, NOW)
        (job,) = open_jobs(kube)
        assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == limits


async def test_a_waiting_dataset_says_what_the_other_one_says() -> None:
    _, own = await settled("the referenced Dataset is not Ready")
    message = own["status"]["conditions"][0]["message"]
    assert "planes" in message
    assert "TestFailed" in message
    assert "too few planes" in message


async def test_the_job_is_told_the_referenced_snapshot_by_digest_and_both_buckets_by_secret() -> None:
    kube = FakeKube(*BOTH, PLANES, REFERRING)
    await loop_on(kube).reconcile(ROOM, World("x", REFERRING).key, NOW)
    (job,) = open_jobs(kube)
    env = {one["name"]: one for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    document = Ingest.model_validate_json(env["PLUMBLINE_RUNSPEC"]["value"])
    (test,) = document.tests
    assert isinstance(test, ForeignKey)
    assert (test.snapshot, test.maximum_orphans) == (digest("f"), 2)
    assert (document.storage.prefix, document.source.prefix, document.source.env) == ("lake/team", "lake", "SOURCE")
    assert env["SOURCE_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "keys"


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"rowCount": {"min": 1, "max": 9}}, {"test": "rowCount", "minimum": 1, "maximum": 9}),
        ({"nullShare": {"column": "at", "max": 0.5}}, {"test": "nullShare", "column": "at", "maximum": 0.5}),
        ({"uniqueKey": {"columns": ["at", "tail"]}}, {"test": "uniqueKey", "columns": ["at", "tail"]}),
        ({"range": {"column": "distance", "min": 1}}, {"test": "range", "column": "distance", "minimum": 1}),
        (
            {"allowedSet": {"column": "tail", "values": ["a"]}},
            {"test": "allowedSet", "column": "tail", "values": ["a"]},
        ),
        ({"regex": {"column": "tail", "pattern": "N.*"}}, {"test": "regex", "column": "tail", "pattern": "N.*"}),
    ],
)
async def test_every_kind_of_test_reaches_the_job(test: Manifest, expected: dict[str, Any]) -> None:
    subject = dataset(tests=[{"name": "one"} | test], columns=COLUMNS)
    kube = FakeKube(*BOTH, subject)
    await loop_on(kube).reconcile(ROOM, World("x", subject).key, NOW)
    (job,) = open_jobs(kube)
    env = {one["name"]: one.get("value") for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    (sent,) = Ingest.model_validate_json(env["PLUMBLINE_RUNSPEC"]).tests
    assert sent.model_dump(mode="json", exclude_none=True) == {"name": "one"} | expected


async def settled(title: str) -> tuple[FakeKube, Manifest]:
    """A world after everything has settled, and its Dataset."""
    world, _ = WORLDS[title]
    kube = world.kube()
    return kube, await settle(ROOM, world, kube)
