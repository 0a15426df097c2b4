"""The operator's real process, outside the cluster, with exactly the chart's rights."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plumbline_operator.model.meta import Manifest
from plumbline_operator.runtime.lease import LEASE_SECONDS, RETRY_SECONDS
from tests.apiserver.installation import apply, installed
from tests.rooms.data_objects import connection
from tests.support.cluster import Cluster
from tests.support.cluster.progress import wait_until
from tests.support.pod_actor import PodActor
from tests.support.render import NAMESPACE
from tests.support.worlds import ready_of

pytestmark = pytest.mark.apiserver

TEAM = "team"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:plumbline"
LEASE = "plumbline-operator"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
START_SECONDS = 60
STOP_SECONDS = 30
QUIET_SECONDS = 20.0
# Killed just after a renewal, seen one poll later, found free at the poll after its time: and a second for the rest.
TAKEOVER_SECONDS = LEASE_SECONDS + 2 * RETRY_SECONDS + 1


@dataclass(frozen=True, slots=True)
class Operator:
    """A running operator: its process, log and port."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; the last line may be half written."""
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def answer(self, path: str) -> tuple[int, str]:
        """Status and text of a GET on its port; (0, "") while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ends(self, number: int | None = None) -> int:
        """Its exit status, after this signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster with the chart's rights, and where operators write their logs."""

    cluster: Cluster
    folder: Path

    @contextmanager
    def operator(self, name: str) -> Iterator[Operator]:
        """An operator of this name; it is killed at the end if it still runs."""
        port, log = free_port(), self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "plumbline_operator"], env=self._environment(name, port), stdout=output, stderr=2
            )
        try:
            yield Operator(name, process, log, port)
        finally:
            process.kill()
            process.wait()

    def lease(self) -> Manifest:
        """The spec of the Lease; empty while there is none."""
        text = self.cluster.kubectl("-n", NAMESPACE, "get", "lease", LEASE, "-o", "json", "--ignore-not-found")
        found: Manifest = json.loads(text)["spec"] if text.strip() else {}
        return found

    def until_leading(self, operator: Operator, seconds: float = START_SECONDS) -> None:
        """Return once this operator holds the Lease."""

        def holds() -> bool:
            assert operator.process.poll() is None, operator.log.read_text()
            return str(self.lease().get("holderIdentity")).startswith(f"{operator.name}_")

        wait_until(f"{operator.name} leads", holds, seconds=seconds, every=0.2)

    def look(self, kind: str, name: str) -> Manifest:
        """An object in the team's namespace; empty while there is none."""
        text = self.cluster.kubectl("-n", TEAM, "get", kind, name, "-o", "json", "--ignore-not-found")
        found: Manifest = json.loads(text) if text.strip() else {}
        return found

    def requests(self) -> list[Manifest]:
        """The audit log's lines of the operator's account."""
        whole, _, _ = self.cluster.audit_log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if ACCOUNT in line]
        return [line for line in lines if line["user"]["username"] == ACCOUNT]

    def last_write(self) -> datetime:
        """When the operator last changed anything but its Lease."""
        times = [
            datetime.fromisoformat(line["requestReceivedTimestamp"])
            for line in self.requests()
            if line["verb"] in WRITES and line["objectRef"]["resource"] not in ("leases", "selfsubjectaccessreviews")
        ]
        return max(times)

    def _environment(self, name: str, port: int) -> dict[str, str]:
        config = self.cluster.service_account_kubeconfig(NAMESPACE, "plumbline")
        images = {f"PLUMBLINE_{one}_IMAGE": f"plumbline/{one.lower()}:test" for one in ("JOBS", "SERVING", "ROUTER")}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLUMBLINE_", "KUBERNETES_"))}
        own = {"KUBECONFIG": str(config), "POD_NAME": name, "PLUMBLINE_HEALTH_HOST": "127.0.0.1"}
        return inherited | images | own | {"PLUMBLINE_HEALTH_PORT": str(port)}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The chart without its pod, and a namespace of a team."""
    with installed("process") as cluster:
        cluster.kubectl("create", "namespace", TEAM)
        yield Stage(cluster, tmp_path_factory.mktemp("logs"))


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def place(stage: Stage, obj: Manifest) -> None:
    """Apply one of our objects in the team's namespace, as its user."""
    meta = {"name": obj["metadata"]["name"], "namespace": TEAM}
    apply(stage.cluster, {**{k: v for k, v in obj.items() if k != "status"}, "metadata": meta})


def soon(what: str, fact: Callable[[], object], seconds: float = START_SECONDS) -> None:
    """Wait for a fact."""
    wait_until(what, fact, seconds=seconds, every=0.2)


def test_it_leads_works_settles_and_leaves_in_order(stage: Stage) -> None:
    with stage.operator("first") as operator, PodActor(stage.cluster.kubeconfig):
        stage.until_leading(operator)
        assert operator.answer("/healthz") == (200, "ok")
        assert operator.answer("/readyz") == (200, "ok")
        place(stage, connection())
        soon("the Connection is verified", lambda: ready_of(stage.look("connection", "storage"))[1] == "Verified")
        soon("its Job is gone", lambda: not jobs(stage))
        verbs = [line["verb"] for line in stage.requests() if line.get("objectRef", {}).get("resource") == "jobs"]
        assert "patch" in verbs
        assert "delete" in verbs
        check_metrics(operator)
        check_silence(stage, operator)
        assert [line for line in stage.requests() if line["responseStatus"]["code"] in (401, 403)] == []
        assert complaints(operator) == []
        assert operator.ends(signal.SIGTERM) == 0
        assert stage.lease()["holderIdentity"] == ""


def complaints(operator: Operator) -> list[str]:
    """Warnings and errors in its log. The API server answers 429 while the storage of a new kind is being set up."""
    loud = [line["message"] for line in operator.lines() if line["level"] in ("warning", "error")]
    return [text for text in loud if "storage is (re)initializing" not in text]


def jobs(stage: Stage) -> str:
    """The team's Jobs."""
    return stage.cluster.kubectl("-n", TEAM, "get", "jobs", "-o", "name").strip()


def check_metrics(operator: Operator) -> None:
    """What a scrape shows of the Connection, the leader and the calls."""
    status, text = operator.answer("/metrics")
    assert status == 200
    assert "plumbline_leader 1.0" in text
    assert 'plumbline_condition{kind="Connection",name="storage",namespace="team",type="Ready"} 1.0' in text
    assert 'plumbline_reconcile_seconds_count{kind="Connection",outcome="done"}' in text
    assert 'plumbline_api_calls_total{code="200",resource="connections",verb="apply_status"}' in text
    assert 'outcome="bug"' not in text


def check_silence(stage: Stage, operator: Operator) -> None:
    """Nothing is written for a while, and not because the operator is dead: it renews its Lease meanwhile."""
    before = stage.lease()["renewTime"]
    soon(
        f"no write for {QUIET_SECONDS} s",
        lambda: (datetime.now(UTC) - stage.last_write()).total_seconds() > QUIET_SECONDS,
        seconds=QUIET_SECONDS + 20,
    )
    assert operator.process.poll() is None
    assert stage.lease()["renewTime"] > before


def elected(stage: Stage, one: Operator, other: Operator) -> tuple[Operator, Operator]:
    """The leader and the follower of two operators: whoever was faster leads."""

    def holder() -> str:
        return str(stage.lease().get("holderIdentity")).partition("_")[0]

    soon("one of the two leads", lambda: holder() in (one.name, other.name))
    return (one, other) if holder() == one.name else (other, one)


def test_a_second_one_waits_and_takes_over_when_the_first_is_killed(stage: Stage) -> None:
    with stage.operator("one") as one, stage.operator("other") as other:
        leader, heir = elected(stage, one, other)
        soon("the heir is up", lambda: heir.answer("/healthz")[0] == 200)
        soon("the heir waits", lambda: "plumbline_leader 0.0" in heir.answer("/metrics")[1])
        assert "plumbline_leader 1.0" in leader.answer("/metrics")[1]
        killed = time.monotonic()
        assert leader.ends(signal.SIGKILL) == -signal.SIGKILL
        stage.until_leading(heir, TAKEOVER_SECONDS)
        assert time.monotonic() - killed <= TAKEOVER_SECONDS
        place(stage, connection("later"))
        soon("the heir works", lambda: ready_of(stage.look("connection", "later"))[1] == "Verifying")
        assert heir.ends(signal.SIGTERM) == 0


def test_a_follower_can_be_stopped_while_it_waits(stage: Stage) -> None:
    with stage.operator("sitting") as one, stage.operator("waiting") as other:
        leader, follower = elected(stage, one, other)
        soon("the follower is up", lambda: follower.answer("/healthz")[0] == 200)
        assert follower.ends(signal.SIGTERM) == 0
        assert stage.lease()["holderIdentity"].startswith(f"{leader.name}_")
        assert leader.ends(signal.SIGTERM) == 0


def test_a_missing_right_ends_it_with_the_right_named(stage: Stage) -> None:
    with without_right(stage, "watch", "pods"), stage.operator("poor") as operator:
        assert operator.ends() == 1
        errors = [line["message"] for line in operator.lines() if line["level"] == "error"]
    assert len(errors) == 1
    assert "watch pods in the cluster" in errors[0]
    assert "Install the chart's roles" in errors[0]
    assert "list pods" not in errors[0]


@contextmanager
def without_right(stage: Stage, verb: str, resource: str) -> Iterator[None]:
    """The operator's role without one verb on one resource, for a while."""
    whole = json.loads(stage.cluster.kubectl("get", "clusterrole", LEASE, "-o", "json"))
    for part in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
        whole["metadata"].pop(part, None)
    less = json.loads(json.dumps(whole))
    for rule in less["rules"]:
        if rule["resources"] == [resource]:
            rule["verbs"].remove(verb)

    def replace(role: Manifest, answer: str) -> None:
        stage.cluster.kubectl("replace", "-f", "-", stdin=json.dumps(role))
        soon(f"may {verb} {resource}: {answer}", lambda: may(stage, verb, resource) == answer)

    replace(less, "no")
    try:
        yield
    finally:
        replace(whole, "yes")


def may(stage: Stage, verb: str, resource: str) -> str:
    """What the API server says to whether the operator's account may do this everywhere."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": {"verb": verb, "group": "", "resource": resource}},
    }
    answer = stage.cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    return "yes" if json.loads(answer)["status"].get("allowed") else "no"
