"""What the operator relies on in an API server, held against a real one and against the fake of the other tests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from plumbline_operator.kube import http
from plumbline_operator.kube.auth import login
from plumbline_operator.kube.errors import Conflict, Refused
from plumbline_operator.kube.http import HttpKube
from plumbline_operator.kube.protocol import Kube
from plumbline_operator.kube.refs import CONFIG_MAPS, DEPLOYMENTS, JOBS, LEASES, PODS, ref_of
from plumbline_operator.model.meta import GROUP, VERSION, Manifest, Ref
from plumbline_operator.model.plan import Note
from plumbline_operator.rooms.dataset.api import KIND as DATASET
from plumbline_operator.rooms.datasetsnapshot.api import KIND as SNAPSHOT
from plumbline_operator.runtime.contain import contains
from plumbline_operator.runtime.events import Recorder
from plumbline_operator.runtime.lease import Election, Grip
from plumbline_operator.runtime.owned import complete, owner_reference
from plumbline_operator.runtime.reports import same_status
from tests.apiserver.conftest import Bench
from tests.rooms import data_objects as objects
from tests.support.fake_kube import FakeKube
from tests.support.worlds import NOW

pytestmark = pytest.mark.apiserver


@dataclass(frozen=True, slots=True)
class Ground:
    """An API server, real or fake, and a namespace of it that is empty."""

    kube: Kube
    namespace: str

    def placed(self, obj: Manifest, **metadata: Any) -> Manifest:
        """The object as the operator would apply it here."""
        meta = {"name": obj["metadata"]["name"], "namespace": self.namespace} | metadata
        return {k: v for k, v in obj.items() if k != "status"} | {"metadata": meta}

    async def apply(self, obj: Manifest, **metadata: Any) -> Manifest:
        return await self.kube.apply(ref_of(obj), self.placed(obj, **metadata))

    async def get(self, obj: Manifest) -> Manifest:
        found = await self.kube.get(ref_of(obj), self.namespace, obj["metadata"]["name"])
        assert found is not None
        return found

    async def say(self, obj: Manifest, status: Manifest) -> Manifest:
        """Store a status of an object as it was read."""
        meta = {k: obj["metadata"][k] for k in ("name", "namespace", "resourceVersion")}
        body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "status": status}
        return await self.kube.apply_status(ref_of(obj), body)


@pytest.fixture(params=["fake", "real"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """First the fake, so that what it gets wrong shows beside what is right."""
    if request.param == "fake":
        return Ground(FakeKube(), "team")
    bench: Bench = request.getfixturevalue("bench")
    return Ground(bench.kube, bench.namespace)


def config(name: str = "a", **data: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(*env: str) -> Manifest:
    labels = {"app": "x"}
    main = {
        "name": "main",
        "image": "x:1",
        "env": [{"name": one, "value": "1"} for one in env],
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
    }
    volume = {"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [main], "volumes": [volume]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def job(image: str = "x:1") -> Manifest:
    pod = {"containers": [{"name": "main", "image": image}], "restartPolicy": "Never"}
    spec = {"backoffLimit": 0, "suspend": True, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}


def ready(reason: str, *more: str) -> list[Manifest]:
    rest = {"reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return [{"type": type_, "status": "True", **rest} for type_ in ("Ready", *more)]


async def until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = 30) -> None:
    """Poll for a fact that somebody else brings about."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"after {seconds} s: not {what}"
        await asyncio.sleep(0.05)


async def test_an_applied_object_is_counted_from_one_and_only_its_spec_counts(ground: Ground) -> None:
    made = await ground.apply(objects.dataset())
    assert made["metadata"]["generation"] == 1
    said = await ground.say(made, {"inputs": "x"})
    labelled = await ground.apply(objects.dataset(), labels={"a": "b"})
    assert (said["metadata"]["generation"], labelled["metadata"]["generation"]) == (1, 1)
    changed = objects.dataset()
    changed["spec"] = changed["spec"] | {"unknownColumns": "Drop"}
    assert (await ground.apply(changed))["metadata"]["generation"] == 2
    assert (await ground.get(changed))["status"] == {"inputs": "x"}


@pytest.mark.parametrize("obj", [config(k="v"), deployment("A"), job(), objects.dataset()], ids=lambda o: o["kind"])
async def test_an_apply_that_changes_nothing_leaves_the_version_alone(ground: Ground, obj: Manifest) -> None:
    await ground.apply(obj)

    async def quiet() -> bool:  # controllers write a status once, when they first see an object
        before = await ground.get(obj)
        again = await ground.apply(obj)
        return bool(again["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"])

    await until(quiet, "left alone")
    assert contains(await ground.get(obj), ground.placed(obj))


async def test_a_field_that_is_sent_no_more_goes(ground: Ground) -> None:
    await ground.apply(config(a="1", b="2"))
    assert (await ground.apply(config(b="2")))["data"] == {"b": "2"}


async def test_an_item_of_a_keyed_list_that_is_sent_no_more_goes(ground: Ground) -> None:
    await ground.apply(deployment("A", "B"))
    changed = await ground.apply(deployment("B"))
    (main,) = changed["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in main["env"]] == ["B"]


async def test_an_apply_does_not_touch_the_status_nor_a_status_the_spec(ground: Ground) -> None:
    made = await ground.apply(objects.dataset())
    made = await ground.say(made, {"inputs": "x"})
    body = ground.placed(objects.dataset()) | {"status": {"inputs": "forged"}}
    made = await ground.kube.apply(ref_of(body), body)
    assert made["status"] == {"inputs": "x"}
    spec = objects.dataset()["spec"] | {"unknownColumns": "Drop"}
    meta = {k: made["metadata"][k] for k in ("name", "namespace", "resourceVersion")}
    report = {**ground.placed(objects.dataset()), "metadata": meta, "spec": spec, "status": {"inputs": "y"}}
    assert (await ground.kube.apply_status(ref_of(report), report))["spec"].get("unknownColumns") != "Drop"


async def test_a_status_is_not_written_over_what_was_not_read(ground: Ground) -> None:
    read = await ground.apply(objects.dataset())
    await ground.say(read, {"attempt": 1})
    with pytest.raises(Conflict):
        await ground.say(read, {"attempt": 2})


async def test_the_whole_status_is_what_was_said_last(ground: Ground) -> None:
    made = await ground.apply(objects.dataset())
    made = await ground.say(made, {"inputs": "x", "attempt": 1, "conditions": ready("A", "Stalled")})
    said = await ground.say(made, {"attempt": 2, "conditions": ready("B")})
    assert said["status"] == {"attempt": 2, "conditions": ready("B")}


async def test_the_order_of_conditions_is_no_difference(ground: Ground) -> None:
    made = await ground.apply(objects.dataset())
    await ground.say(made, {"conditions": ready("A", "Stalled")})
    own = await ground.get(made)
    assert same_status({"conditions": list(reversed(ready("A", "Stalled")))}, own)
    assert not same_status({"conditions": ready("A")}, own)


async def test_the_dead_stay_dead(ground: Ground) -> None:
    made = await ground.apply(objects.dataset())
    await ground.kube.delete(DATASET.ref, ground.namespace, made["metadata"]["name"], made["metadata"]["uid"])
    with pytest.raises(Conflict):
        await ground.say(made, {"attempt": 1})
    with pytest.raises(Conflict):
        await ground.apply(objects.dataset(), uid=made["metadata"]["uid"])
    assert await ground.kube.list(DATASET.ref, ground.namespace) == []


async def test_who_was_made_again_is_somebody_else(ground: Ground) -> None:
    old = await ground.apply(objects.dataset())
    await ground.kube.delete(DATASET.ref, ground.namespace, old["metadata"]["name"], old["metadata"]["uid"])
    new = await ground.apply(objects.dataset())
    with pytest.raises(Conflict):
        await ground.say(old, {"attempt": 1})
    await ground.kube.delete(DATASET.ref, ground.namespace, old["metadata"]["name"], old["metadata"]["uid"])
    assert (await ground.get(new))["metadata"]["uid"] == new["metadata"]["uid"]


async def test_a_delete_may_come_twice(ground: Ground) -> None:
    made = await ground.apply(config(k="v"))
    for _ in range(2):
        await ground.kube.delete(CONFIG_MAPS, ground.namespace, "a", made["metadata"]["uid"])
    assert await ground.kube.get(CONFIG_MAPS, ground.namespace, "a") is None


async def test_children_go_with_their_owner(ground: Ground) -> None:
    owner = await ground.apply(objects.dataset())
    await ground.apply(config("child"), ownerReferences=[owner_reference(owner)])
    await ground.apply(config("stranger"))
    await ground.kube.delete(DATASET.ref, ground.namespace, owner["metadata"]["name"], owner["metadata"]["uid"])

    async def gone() -> bool:
        return await ground.kube.get(CONFIG_MAPS, ground.namespace, "child") is None

    # The collector looks for new kinds every 30 s; until then it does not know the owner's.
    await until(gone, "collected", seconds=100)
    assert await ground.kube.get(CONFIG_MAPS, ground.namespace, "stranger") is not None


@pytest.mark.parametrize("kind", ["Job", "DatasetSnapshot"])
async def test_what_is_immutable_is_refused(ground: Ground, kind: str) -> None:
    if kind == "Job":
        first, second = job(), job("x:2")
    else:
        first = objects.snapshot()
        second = {**first, "spec": {**first["spec"], "rows": 7}}
    await ground.apply(first)
    with pytest.raises(Refused, match="immutable"):
        await ground.apply(second)
    assert ref_of(first) in (JOBS, SNAPSHOT.ref)


async def test_lists_keep_to_labels_and_namespace(ground: Ground) -> None:
    await ground.apply(config("a"), labels={"x": "1", "y": "1"})
    await ground.apply(config("b"), labels={"x": "1"})
    found = await ground.kube.list(CONFIG_MAPS, ground.namespace, {"x": "1", "y": "1"})
    assert [one["metadata"]["name"] for one in found] == ["a"]
    assert all((one["apiVersion"], one["kind"]) == ("v1", "ConfigMap") for one in found)
    assert await ground.kube.list(CONFIG_MAPS, "elsewhere", {"x": "1"}) == []


async def test_a_completed_manifest_is_contained_in_what_the_server_made_of_it(ground: Ground) -> None:
    owner = await ground.apply(objects.dataset())
    child = complete(deployment("A"), owner)
    live = await ground.kube.apply(DEPLOYMENTS, child)
    assert contains(live, child)
    assert not contains(live, complete(deployment("A", "B"), owner))


async def test_conditions_of_others_live_beside_ours(bench: Bench) -> None:
    bench.apply(objects.dataset())
    name = objects.dataset()["metadata"]["name"]
    own = await bench.look("Dataset", name)
    here = Ground(bench.kube, bench.namespace)
    await here.say(own, {"conditions": ready("A", "Stalled")})
    foreign = {**ready("Seen")[0], "type": "example.com/Audited"}
    report = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Dataset",
        "metadata": {"name": name, "namespace": bench.namespace},
        "status": {"conditions": [foreign]},
    }
    words = ("apply", "--server-side", "--subresource=status", "--field-manager=audit", "-f", "-")
    bench.cluster.kubectl(*words, stdin=json.dumps(report))
    both = await bench.look("Dataset", name)
    assert same_status({"conditions": ready("A", "Stalled")}, both)
    await here.say(both, {"conditions": ready("B")})
    after = await bench.look("Dataset", name)
    assert {c["type"] for c in after["status"]["conditions"]} == {"Ready", "example.com/Audited"}


async def test_a_field_somebody_added_to_a_child_stays_and_ours_comes_back(bench: Bench) -> None:
    here = Ground(bench.kube, bench.namespace)
    await here.apply(config(k="ours"))
    patch = json.dumps({"data": {"k": "theirs", "extra": "kept"}})
    bench.cluster.kubectl("-n", bench.namespace, "patch", "configmap", "a", "--type=merge", "-p", patch)
    assert (await here.apply(config(k="ours")))["data"] == {"k": "ours", "extra": "kept"}


async def test_a_long_list_comes_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Ground(bench.kube, bench.namespace)
    for number in range(5):
        await here.apply(config(f"c{number}"), labels={"x": "1"})
    monkeypatch.setattr(http, "PAGE", 2)
    found = await bench.kube.list(CONFIG_MAPS, bench.namespace, {"x": "1"})
    assert [one["metadata"]["name"] for one in found] == [f"c{number}" for number in range(5)]


async def test_a_repeated_announcement_is_one_event_that_counts(bench: Bench) -> None:
    bench.apply(objects.dataset())
    own = await bench.look("Dataset", objects.dataset()["metadata"]["name"])
    recorder = Recorder(bench.kube, "tests")
    for minutes in range(3):
        await recorder.publish(own, Note("Validated", "All tests passed."), NOW + timedelta(minutes=minutes))
    events = Ref("events.k8s.io", "v1", "events", "Event")
    (event,) = await bench.kube.list(events, bench.namespace)
    assert event["regarding"]["uid"] == own["metadata"]["uid"]
    assert event["series"]["count"] == 3
    told = bench.cluster.kubectl("-n", bench.namespace, "describe", "dataset", own["metadata"]["name"])
    assert "All tests passed." in told


async def test_only_one_of_two_gets_the_lease(bench: Bench) -> None:
    one, other = (Election(bench.kube, bench.namespace, "operator", time.monotonic, name) for name in ("a", "b"))
    assert await one._try() is Grip.OURS
    assert await other._try() is Grip.THEIRS
    read = await bench.kube.get(LEASES, bench.namespace, "operator")
    assert read is not None
    assert await one._try() is Grip.OURS
    with pytest.raises(Conflict):
        await bench.kube.replace(LEASES, read)  # it has been renewed since
    await one.release()
    assert await other._try() is Grip.OURS


async def test_the_server_says_what_may_be_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.cluster.kubectl("-n", bench.namespace, "create", "serviceaccount", "nobody")
    path = bench.cluster.service_account_kubeconfig(bench.namespace, "nobody")
    monkeypatch.setenv("KUBECONFIG", str(path))
    nobody = HttpKube(await login())
    try:
        assert await bench.kube.may("delete", PODS, bench.namespace)
        assert not await nobody.may("delete", PODS, bench.namespace)
        with pytest.raises(Refused, match="cannot list resource"):
            await nobody.list(PODS, bench.namespace)
    finally:
        await nobody.close()


async def test_a_condition_of_ours_goes_although_somebody_else_has_a_part_of_it(bench: Bench) -> None:
    ground = Ground(bench.kube, bench.namespace)
    said = await ground.say(await ground.apply(objects.dataset()), {"conditions": ready("A")})
    theirs = [{"op": "add", "path": "/status/conditions/-", "value": ready("Theirs", "Stalled")[1]}]
    patch = ("--subresource=status", "--type=json", "--patch", json.dumps(theirs))
    bench.cluster.kubectl("-n", ground.namespace, "patch", "dataset", said["metadata"]["name"], *patch)
    said = await ground.say(await ground.get(said), {"conditions": ready("B", "Stalled")})
    await settles_on(ground, said, ready("C"))


async def test_a_condition_of_ours_goes_although_the_record_says_it_is_not(bench: Bench) -> None:
    ground = Ground(bench.kube, bench.namespace)
    said = await ground.say(await ground.apply(objects.dataset()), {"conditions": ready("A", "Stalled")})
    for conditions in (ready("B", "Stalled"), ready("C")):
        erased = ("--type=merge", "--patch", '{"metadata": {"managedFields": [{}]}}')
        bench.cluster.kubectl("-n", ground.namespace, "patch", "dataset", said["metadata"]["name"], *erased)
        assert "managedFields" not in (await ground.get(said))["metadata"]
        said = await ground.say(await ground.get(said), {"conditions": conditions})
    await settles_on(ground, said, ready("D"))


async def settles_on(ground: Ground, said: Manifest, conditions: list[Manifest]) -> None:
    """Say these conditions: then there are no others, and saying so again writes nothing."""
    said = await ground.say(said, {"conditions": conditions})
    assert said["status"]["conditions"] == conditions
    again = await ground.say(said, {"conditions": conditions})
    assert again["metadata"]["resourceVersion"] == said["metadata"]["resourceVersion"]
