"""TrainingRun: what it waits for, what it freezes, whose fault a failure is, and what it leaves."""

from datetime import datetime, timedelta

import pytest

from plumbline_contract.runspec import Collect, Fetch
from plumbline_operator.model.conditions import is_true
from plumbline_operator.model.meta import REQUESTED_AT, Key, Manifest
from plumbline_operator.rooms.trainingrun.handlers import ROOM, dependencies
from tests.rooms.data_objects import (
    COMMIT,
    MANIFEST,
    ONNX,
    RESULT,
    SHUFFLED,
    STANDING,
    TRAINED,
    connection,
    dataset,
    digest,
    done,
    ended,
    failing,
    model,
    refused,
    repository,
    run,
    showing,
    snapshot,
    trouble,
    unpullable,
    unschedulable,
    validated,
    verified,
)
from tests.support.fake_kube import FakeKube
from tests.support.laws import check_laws
from tests.support.worlds import (
    DIGEST,
    NAMESPACE,
    NOW,
    Actor,
    World,
    answering,
    die,
    loop_on,
    not_ready,
    open_jobs,
    ready_of,
    settle,
)

DATA = validated(dataset())
ALL = (*STANDING, DATA)
TRACE = "Traceback (most recent call last):\nKeyError: 'late'"


def dying(container: str, reason: str = "Error") -> Actor:
    """An actor that lets the run's container end badly."""

    def act(kube: FakeKube) -> None:
        for job in open_jobs(kube):
            die(kube, job, container=container, reason=reason, log=TRACE)

    return act


def saying(container: str, reason: str) -> Actor:
    """An actor that lets one of our steps refuse."""
    message = refused(reason, "It is not there.").termination_message().decode()
    states = {"fetch": "initContainerStatuses", "collect": "containerStatuses"}
    return failing({"phase": "Failed", states[container]: [ended(container, 2, message)]})


EVICTED = failing(
    {"phase": "Failed", "reason": "Evicted", "message": "low on memory", "initContainerStatuses": [ended("train", 137)]}
)
PREEMPTED = failing(
    {
        "phase": "Failed",
        "conditions": [{"type": "DisruptionTarget", "status": "True"}],
        "initContainerStatuses": [ended("train", 143)],
    }
)
BARE = [one for one in ALL if one["kind"] != "RegisteredModel"]

WORLDS = {
    "it succeeds": (World("good", run(), ALL, actor=answering(TRAINED)), ("True", "Succeeded")),
    "it succeeds without a model to register at": (
        World("free", run(modelRef=None), ALL, actor=answering(TRAINED)),
        ("True", "Succeeded"),
    ),
    "it runs": (World("running", run(), ALL, actor=showing({"phase": "Running"})), ("False", "Running")),
    "it needs no data": (
        World("no data", run(inputs=None, split=None), STANDING, actor=answering(TRAINED)),
        ("True", "Succeeded"),
    ),
    "the Dataset is missing": (World("no dataset", run(), STANDING), ("False", "DatasetNotReady")),
    "the Dataset fails its tests": (
        World("bad data", run(), (*STANDING, not_ready(DATA, "TestFailed", "Test enough failed: 3 rows."))),
        ("False", "DatasetNotReady"),
    ),
    "the storage is not verified": (
        World("storage", run(), (DATA, model(), verified(repository()), not_ready(connection(), "AccessDenied"))),
        ("False", "ConnectionNotReady"),
    ),
    "the repository is a bucket": (
        World("no git", run(), (DATA, model(), verified(connection()), verified(connection("code")))),
        ("False", "ConnectionNotReady"),
    ),
    "the RegisteredModel is missing": (World("no model", run(), BARE), ("False", "ModelNotFound")),
    "a shuffled split of data with an event time": (
        World("shuffled", run(split=SHUFFLED), ALL),
        ("False", "ShuffledSplitRefused"),
    ),
    "a shuffled split with a reason": (
        World("reasoned", run(split=SHUFFLED | {"reason": "rows are independent"}), ALL, actor=answering(TRAINED)),
        ("True", "Succeeded"),
    ),
    "a shuffled split of data without an event time": (
        World(
            "timeless", run(split=SHUFFLED), (*STANDING, validated(dataset(event_time=False))), actor=answering(TRAINED)
        ),
        ("True", "Succeeded"),
    ),
    "a split by time of data without an event time": (
        World("no clock", run(), (*STANDING, validated(dataset(event_time=False)))),
        ("False", "InvalidSpec"),
    ),
    "no node has a GPU": (World("no gpu", run(), ALL, actor=showing(unschedulable())), ("False", "Unschedulable")),
    "the image cannot be had": (World("image", run(), ALL, actor=showing(unpullable())), ("False", "ImageNotFound")),
    "the code fails": (World("code", run(), ALL, actor=dying("train")), ("False", "UserCode")),
    "it needs too much memory": (World("oom", run(), ALL, actor=dying("train", "OOMKilled")), ("False", "OOMKilled")),
    "the data is gone": (
        World("data", run(), ALL, actor=saying("fetch", "DataUnavailable")),
        ("False", "DataUnavailable"),
    ),
    "the model file is refused": (
        World("file", run(), ALL, actor=saying("collect", "ModelFileRefused")),
        ("False", "ModelFileRefused"),
    ),
    "it leaves no model": (
        World("empty", run(), ALL, actor=answering(done(digests={"manifest": RESULT}))),
        ("False", "UserCode"),
    ),
    "it takes too long": (World("slow", run(), ALL, actor=failing({}, "DeadlineExceeded")), ("False", "Deadline")),
    "the store is down": (World("down", run(), ALL, actor=answering(trouble())), ("False", "Retrying")),
    "its pod is evicted": (World("evicted", run(), ALL, actor=EVICTED), ("False", "Retrying")),
    "its pod is preempted": (World("preempted", run(), ALL, actor=PREEMPTED), ("False", "Retrying")),
    "its pod vanishes with the node": (World("lost", run(), ALL, actor=failing({})), ("False", "Retrying")),
    "one attempt is all there is": (
        World("once", run(maxAttempts=1), ALL, actor=failing({})),
        ("False", "PodLost"),
    ),
}


@pytest.mark.parametrize("title", WORLDS)
async def test_a_run_says(title: str) -> None:
    world, expected = WORLDS[title]
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == expected


async def test_the_laws_hold() -> None:
    await check_laws(ROOM, [world for world, _ in WORLDS.values()])


async def test_inputs_are_frozen_in_the_status_before_the_pod_exists() -> None:
    kube, _ = await settled("it runs")
    first_status = next(i for i, w in enumerate(kube.writes) if w.verb == "apply_status")
    first_job = next(i for i, w in enumerate(kube.writes) if w.kind == "Job")
    assert first_status < first_job
    assert kube.writes[first_status].body["status"]["snapshots"] == [
        {"input": "flights", "dataset": "flights", "snapshot": "flights-1", "digest": MANIFEST}
    ]


async def test_a_retry_reads_what_the_first_attempt_read_whatever_was_cut_since() -> None:
    kube, own = await settled("its pod vanishes with the node")
    kube.put(validated(dataset(), digest("7")))
    later = datetime.fromisoformat(own["status"]["ended"]["retryAt"])
    await loop_on(kube).reconcile(ROOM, key(), later)
    (job,) = open_jobs(kube)
    assert fetch_of(job).snapshots[0].digest == MANIFEST
    assert look(kube)["status"]["attempt"] == 2


async def test_infrastructure_is_retried_and_then_given_up() -> None:
    world, _ = WORLDS["its pod vanishes with the node"]
    kube, now = world.kube(), NOW
    for _ in range(2):
        own = await settle(ROOM, World("lost", run(), ALL, actor=world.actor, now=now), kube)
        assert "The next starts at" in message_of(own)
        now = datetime.fromisoformat(own["status"]["ended"]["retryAt"])
    own = await settle(ROOM, World("lost", run(), ALL, actor=world.actor, now=now), kube)
    assert ready_of(own) == ("False", "PodLost")
    assert own["status"]["attempt"] == 3
    assert "Stalled" in [c["type"] for c in own["status"]["conditions"]]


@pytest.mark.parametrize(
    "title", ["the code fails", "it needs too much memory", "the data is gone", "it takes too long"]
)
async def test_what_is_not_infrastructure_is_never_retried(title: str) -> None:
    kube, own = await settled(title)
    assert own["status"]["attempt"] == 1
    assert "retryAt" not in own["status"]["ended"]
    await loop_on(kube).reconcile(ROOM, key(), NOW + timedelta(days=1))
    assert open_jobs(kube) == []


async def test_user_code_shows_the_end_of_its_log() -> None:
    _, own = await settled("the code fails")
    assert "KeyError: 'late'" in message_of(own)


async def test_unschedulable_names_the_resource() -> None:
    _, own = await settled("no node has a GPU")
    assert "Insufficient nvidia.com/gpu" in message_of(own)
    assert "Reconciling" in [c["type"] for c in own["status"]["conditions"]]


async def test_a_run_that_never_found_a_node_says_so_at_its_deadline() -> None:
    kube, _ = await settled("no node has a GPU")
    own = await settle(ROOM, World("late", run(), ALL, actor=failing({}, "DeadlineExceeded")), kube)
    assert ready_of(own) == ("False", "Deadline")
    assert "Insufficient nvidia.com/gpu" in message_of(own)


async def test_a_waiting_run_says_what_its_dataset_says() -> None:
    _, own = await settled("the Dataset fails its tests")
    assert "TestFailed" in message_of(own)
    assert "3 rows" in message_of(own)


async def test_a_refused_split_says_the_way_out() -> None:
    kube, own = await settled("a shuffled split of data with an event time")
    assert "strategy Time" in message_of(own)
    assert kube.all("Job") == []


async def test_the_version_has_the_runs_name_and_belongs_to_the_model() -> None:
    kube, own = await settled("it succeeds")
    (version,) = kube.all("ModelVersion")
    assert version["metadata"]["name"] == own["metadata"]["name"] == own["status"]["version"]
    assert [(o["kind"], o["name"]) for o in version["metadata"]["ownerReferences"]] == [("RegisteredModel", "delays")]
    spec = version["spec"]
    assert (spec["manifest"], spec["model"], spec["imageDigest"]) == (RESULT, ONNX, DIGEST)
    assert spec["trainingWindow"] == {"since": "2013-01-01T00:00:00Z", "until": "2013-06-01T00:00:00Z"}
    assert spec["metrics"] == {"auc": 0.731235, "rows": 100}
    assert kube.all("Job") == []


async def test_one_event_tells_of_the_result_and_its_version() -> None:
    kube, _ = await settled("it succeeds")
    (event,) = kube.events
    assert event["reason"] == "Succeeded"
    assert f"{RESULT}, ModelVersion delays-1." in event["note"]


async def test_a_version_of_another_run_is_not_touched() -> None:
    foreign, _ = await settled("it succeeds")
    (version,) = foreign.all("ModelVersion")
    version = version | {"spec": version["spec"] | {"manifest": digest("9")}}
    world = World("again", run(), (*ALL, version), actor=answering(TRAINED))
    kube = world.kube()
    own = await settle(ROOM, world, kube)
    assert ready_of(own) == ("False", "NameTaken")
    assert kube.all("ModelVersion")[0]["spec"]["manifest"] == digest("9")


async def test_a_run_that_succeeded_is_not_run_again_by_the_annotation() -> None:
    kube, own = await settled("it succeeds")
    kube.edit(own, metadata={"annotations": {REQUESTED_AT: "again"}})
    before = len(kube.writes)
    await settle(ROOM, WORLDS["it succeeds"][0], kube)
    assert kube.writes[before:] == []


async def test_a_run_that_failed_is_run_again_by_the_annotation_on_the_same_snapshots() -> None:
    kube, own = await settled("the code fails")
    kube.put(validated(dataset(), digest("7")))
    kube.edit(own, metadata={"annotations": {REQUESTED_AT: "again"}})
    await loop_on(kube).reconcile(ROOM, key(), NOW)
    (job,) = open_jobs(kube)
    assert fetch_of(job).snapshots[0].digest == MANIFEST


async def test_a_pinned_snapshot_needs_no_ready_dataset() -> None:
    pinned = run(inputs=[{"name": "flights", "datasetRef": {"name": "flights"}, "snapshotRef": {"name": "flights-0"}}])
    world = World(
        "pinned", pinned, (*STANDING, not_ready(dataset(), "TestFailed"), snapshot()), actor=answering(TRAINED)
    )
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == ("True", "Succeeded")
    assert own["status"]["snapshots"][0]["digest"] == digest("0")


async def test_a_snapshot_of_another_dataset_is_refused_for_good() -> None:
    pinned = run(inputs=[{"name": "flights", "datasetRef": {"name": "flights"}, "snapshotRef": {"name": "planes-0"}}])
    world = World("mispinned", pinned, (*ALL, snapshot("planes-0", "planes")))
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == ("False", "SnapshotMismatch")
    assert "was cut from Dataset planes, not from flights" in message_of(own)
    assert is_true(own, "Stalled")


async def test_instructions_that_no_container_can_be_given_are_refused_before_there_is_a_job() -> None:
    wordy = run(parameters={f"p{number}": "x" * 4096 for number in range(40)})
    world = World("wordy", wordy, ALL)
    kube = world.kube()
    own = await settle(ROOM, world, kube)
    assert ready_of(own) == ("False", "InvalidSpec")
    assert "The document in PLUMBLINE_RUNSPEC would take" in message_of(own)
    assert not open_jobs(kube)


async def test_a_running_run_does_not_care_that_its_connection_is_verified_again() -> None:
    kube, _ = await settled("it runs")
    kube.put(not_ready(connection(), "Verifying"))
    own = await settle(ROOM, WORLDS["it runs"][0], kube)
    assert ready_of(own) == ("False", "Running")
    assert len(open_jobs(kube)) == 1


async def test_the_three_steps() -> None:
    kube, _ = await settled("it runs")
    (job,) = open_jobs(kube)
    pod = job["spec"]["template"]["spec"]
    fetch, train = pod["initContainers"]
    (collect,) = pod["containers"]
    assert [one["name"] for one in (fetch, train, collect)] == ["fetch", "train", "collect"]
    assert train["command"] == ["/plumbline/in/.plumbline/launch", "python3", "train.py"]
    assert train["workingDir"] == "/plumbline/code/flights"
    env = {one["name"]: one["value"] for one in train["env"]}
    assert (env["PLUMBLINE_PARAM_DEPTH"], env["PLUMBLINE_SEED_MODEL"]) == ("6", "7")
    assert (env["PLUMBLINE_IN"], env["PLUMBLINE_OUT"]) == ("/plumbline/in", "/plumbline/out")
    assert "SecretKeyRef".lower() not in str(train["env"]).lower()
    mounts = {one["mountPath"]: one.get("readOnly", False) for one in train["volumeMounts"]}
    assert mounts == {
        "/plumbline/in": True,
        "/plumbline/code": False,
        "/plumbline/out": False,
        "/tmp": False,
        "/dev/shm": False,
    }
    document = Collect.model_validate_json(collect["env"][0]["value"])
    assert document.code is not None
    assert (document.code.commit, document.author, document.attempt) == (COMMIT, "alice@example.com", 1)
    assert document.split["part.train"] == "2013-01-01T00:00:00Z/2013-06-01T00:00:00Z"


async def test_every_step_passes_pod_security_restricted() -> None:
    kube, _ = await settled("it runs")
    (job,) = open_jobs(kube)
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for one in (*pod["initContainers"], *pod["containers"]):
        context = one["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


async def test_a_gpu_is_asked_for_as_the_user_wrote_it() -> None:
    wanted = {"requests": {"cpu": 2}, "limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}}
    subject = run(resources=wanted, inputs=None, split=None)
    kube = FakeKube(*STANDING, subject)
    await loop_on(kube).reconcile(ROOM, key(), NOW)
    (job,) = open_jobs(kube)
    train = job["spec"]["template"]["spec"]["initContainers"][1]
    assert train["resources"] == {"requests": {"cpu": "2"}, "limits": {"nvidia.com/gpu": "1", "memory": "8Gi"}}


async def test_our_steps_may_use_as_much_memory_as_training() -> None:
    for memory, expected in (("512Mi", "4Gi"), ("32Gi", "32Gi")):
        subject = run(resources={"limits": {"memory": memory}}, inputs=None, split=None)
        kube = FakeKube(*STANDING, subject)
        await loop_on(kube).reconcile(ROOM, key(), NOW)
        pod = open_jobs(kube)[0]["spec"]["template"]["spec"]
        assert [c["resources"]["limits"]["memory"] for c in (pod["initContainers"][0], *pod["containers"])] == [
            expected
        ] * 2
        assert pod["initContainers"][1]["resources"] == {"requests": {}, "limits": {"memory": memory}}


async def test_a_running_run_says_which_step_it_is_at() -> None:
    states = [{"name": "fetch", "state": {"terminated": {"exitCode": 0}}}, {"name": "train", "state": {"running": {}}}]
    world = World("step", run(), ALL, actor=showing({"phase": "Pending", "initContainerStatuses": states}))
    own = await settle(ROOM, world, world.kube())
    assert ready_of(own) == ("False", "Running")
    assert "step train" in message_of(own)


async def test_splits_reach_the_fetch_step() -> None:
    kube, _ = await settled("it runs")
    by_time = fetch_of(open_jobs(kube)[0]).split
    assert by_time is not None
    assert list(by_time.windows) == ["train", "validation"]
    assert by_time.windows["validation"].until is None
    subject = run(split=SHUFFLED | {"reason": "rows are independent"})
    kube = FakeKube(*ALL, subject)
    for _ in range(2):
        await loop_on(kube).reconcile(ROOM, key(), NOW)
    shuffled = fetch_of(open_jobs(kube)[0]).split
    assert shuffled is not None
    assert (shuffled.shares, shuffled.seed) == ({"train": 0.8, "validation": 0.2}, 7)


def test_a_run_is_woken_by_everything_it_names() -> None:
    found = {(one.kind, one.name) for one in dependencies(run())}
    assert found == {
        ("Connection", "storage"),
        ("Connection", "code"),
        ("Dataset", "flights"),
        ("RegisteredModel", "delays"),
        ("ModelVersion", "delays-1"),
    }


def key() -> Key:
    """The key of the run."""
    return Key("TrainingRun", NAMESPACE, "delays-1")


def look(kube: FakeKube) -> Manifest:
    """The run as it is now."""
    found = kube.look("TrainingRun", "delays-1")
    assert found is not None
    return found


def message_of(own: Manifest) -> str:
    """The message of Ready."""
    return str(own["status"]["conditions"][0]["message"])


def fetch_of(job: Manifest) -> Fetch:
    """What the first step of a Job is asked to do."""
    return Fetch.model_validate_json(job["spec"]["template"]["spec"]["initContainers"][0]["env"][0]["value"])


async def settled(title: str) -> tuple[FakeKube, Manifest]:
    """A world after everything has settled, and its run."""
    world, _ = WORLDS[title]
    kube = world.kube()
    return kube, await settle(ROOM, world, kube)
