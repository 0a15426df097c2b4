"""Bed A: a real API server, etcd and controller manager on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.cluster import Cluster, ClusterError, find, leftovers, processes, start, stop
from tests.support.cluster.audit import WRITES
from tests.support.cluster.embedded import EmbeddedCluster
from tests.support.cluster.layout import Layout
from tests.support.cluster.progress import wait_until

pytestmark = pytest.mark.apiserver

PREFIX = "test-bed-a"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A cluster name of this test's own; whatever runs under it is ended afterwards."""
    own = f"{PREFIX}-{os.getpid()}"
    yield own
    stop(own)


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """One Bed A for the tests that only use it."""
    cluster = start(bed="A", name=f"{PREFIX}-shared-{os.getpid()}")
    yield cluster
    cluster.stop()


def audit_lines(cluster: Cluster) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]


def test_it_serves_and_stops_without_leftovers(name: str) -> None:
    cluster = start(bed="A", name=name)

    cluster.kubectl("create", "namespace", "hello")
    assert json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == "v1.35.4"
    # The controller manager works: a new namespace gets its service account.
    cluster.kubectl("-n", "hello", "wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    assert leftovers(name), "a running cluster is not nothing"

    cluster.stop()

    assert leftovers(name) == []


def test_starting_again_gives_the_running_one(shared: Cluster) -> None:
    shared.kubectl("create", "namespace", "kept")

    again = start(bed="A", name=shared.name)

    assert again.kubectl("get", "namespace", "kept", "-o", "name") == "namespace/kept\n"
    assert again.kubeconfig == shared.kubeconfig
    assert find(shared.name).is_healthy()


def test_two_run_side_by_side_and_share_nothing(shared: Cluster, name: str) -> None:
    other = start(bed="A", name=name)

    other.kubectl("create", "namespace", "only-here")

    assert "only-here" not in shared.kubectl("get", "namespaces", "-o", "name")
    other.stop()
    assert shared.is_healthy()
    assert leftovers(name) == []


def test_users_come_with_their_groups_and_no_rights(shared: Cluster) -> None:
    alice = shared.user_kubeconfig("alice", ["team/fraud", "on-call"])

    who = json.loads(shared.kubectl("--kubeconfig", alice, "auth", "whoami", "-o", "json"))["status"]["userInfo"]

    assert who["username"] == "alice"
    assert set(who["groups"]) == {"team/fraud", "on-call", "system:authenticated"}
    with pytest.raises(ClusterError, match=r'User "alice" cannot list resource "secrets"'):
        shared.kubectl("--kubeconfig", alice, "get", "secrets")


def test_a_service_account_kubeconfig_acts_as_that_account(shared: Cluster) -> None:
    shared.kubectl("create", "serviceaccount", "operator")

    config = shared.service_account_kubeconfig("default", "operator")

    who = shared.kubectl("--kubeconfig", config, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert who == "system:serviceaccount:default:operator"
    with pytest.raises(ClusterError, match="not found"):
        shared.service_account_kubeconfig("default", "nobody")


def test_the_audit_log_has_who_and_what_and_the_bodies_of_child_objects(shared: Cluster) -> None:
    alice = shared.user_kubeconfig("alice-audited")
    with pytest.raises(ClusterError, match="forbidden"):
        shared.kubectl("--kubeconfig", alice, "get", "secret", "audited")
    shared.kubectl("create", "configmap", "audited", "--from-literal=key=value-in-the-body")
    shared.kubectl("create", "secret", "generic", "audited", "--from-literal=key=value-of-a-secret")

    lines = audit_lines(shared)

    asked = [line for line in lines if line["user"]["username"] == "alice-audited" and "secrets" in line["requestURI"]]
    assert [line["responseStatus"]["code"] for line in asked] == [403]
    writes = [line for line in lines if line["verb"] in WRITES and line.get("objectRef", {}).get("name") == "audited"]
    bodies = {line["objectRef"]["resource"]: line.get("requestObject", {}).get("data") for line in writes}
    assert bodies == {"configmaps": {"key": "value-in-the-body"}, "secrets": None}


def test_admission_policies_in_cel_are_enforced(shared: Cluster) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-blue"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ]
            },
            "validations": [{"expression": "object.metadata.name != 'blue'", "message": "not in blue"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-blue"},
        "spec": {"policyName": "no-blue", "validationActions": ["Deny"]},
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [policy, binding]}
    shared.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def is_denied() -> bool:
        try:
            shared.kubectl("create", "configmap", "blue", "--dry-run=server")
        except ClusterError as error:
            return "not in blue" in str(error)
        return False

    wait_until("the policy takes hold", is_denied, seconds=30)
    shared.kubectl("create", "configmap", "green", "--dry-run=server")


def test_a_controller_can_be_left_out(name: str) -> None:
    cluster = start(bed="A", name=name, disabled_controllers=["job-controller"])
    job = cluster.kubectl(
        "create", "job", "still", "--image=example/none:1", "--dry-run=client", "-o", "json", "--", "true"
    )
    cluster.kubectl("apply", "-f", "-", stdin=job)
    # A Deployment made later gets its pods while the Job gets none: its controller is not slow but absent.
    cluster.kubectl("create", "deployment", "moves", "--image=example/none:1")

    cluster.kubectl("wait", "--for=create", "pod", "-l", "app=moves", "--timeout=30s")

    assert cluster.kubectl("get", "pods", "-l", "job-name=still", "-o", "name") == ""


def test_a_part_that_was_stopped_comes_back_with_the_data(name: str) -> None:
    cluster = start(bed="A", name=name)
    assert isinstance(cluster, EmbeddedCluster)
    cluster.kubectl("create", "namespace", "before")

    cluster.control_plane.stop_part("apiserver")
    assert not cluster.is_healthy()
    cluster.control_plane.start_part("apiserver")
    cluster.control_plane.wait_for("apiserver")

    assert cluster.kubectl("get", "namespace", "before", "-o", "name") == "namespace/before\n"


def test_a_starter_killed_in_the_middle_is_healed_by_the_next_start(name: str) -> None:
    script = f"from tests.support.cluster import start; start(bed='A', name={name!r})"
    pid_file = Layout(name).pid_file("apiserver")
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as starter:
        wait_until("the API server's process is there", pid_file.exists, seconds=60)
        os.killpg(starter.pid, signal.SIGKILL)
    orphan = processes.recorded(pid_file)
    assert orphan is not None
    assert "etcd" in Layout(name).running_parts(), "the parts outlive their starter"

    cluster = start(bed="A", name=name)

    cluster.kubectl("get", "namespaces")
    assert processes.identity_of(orphan.pid) != orphan
    cluster.stop()
    assert leftovers(name) == []


def test_a_cluster_whose_part_died_is_started_afresh(name: str) -> None:
    start(bed="A", name=name)
    etcd = processes.recorded(Layout(name).pid_file("etcd"))
    assert etcd is not None
    processes.send(etcd, signal.SIGKILL)
    wait_until("etcd is gone", lambda: processes.identity_of(etcd.pid) is None, seconds=10)

    assert start(bed="A", name=name).is_healthy()


def test_s3_is_there_when_asked_for(shared: Cluster) -> None:
    server = shared.s3
    client = boto3.client(
        "s3",
        endpoint_url=server.host_endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )
    client.create_bucket(Bucket="models")
    client.put_object(Bucket="models", Key="a/b", Body=b"weights")

    assert client.get_object(Bucket="models", Key="a/b")["Body"].read() == b"weights"
    assert find(shared.name).s3 == server


def test_a_bed_a_refuses_images(shared: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="Bed A runs no pods"):
        shared.load_image(tmp_path / "image.tar")


def test_a_named_context_of_the_users_own_kubeconfig_is_a_cluster_too(
    shared: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(shared.kubeconfig))

    own = start(bed="A", name=name, provider="current:plumbline")

    own.kubectl("create", "namespace", "through-the-context")
    assert "through-the-context" in shared.kubectl("get", "namespaces", "-o", "name")
    with pytest.raises(ClusterError, match="audit log is out of reach"):
        _ = own.audit_log
    with pytest.raises(ClusterError, match="PLUMBLINE_S3_ENDPOINT"):
        _ = own.s3
    own.stop()
    assert shared.is_healthy(), "what we did not start we do not stop"


@pytest.mark.parametrize("bad", ["", "Upper", "-edge", "dots.in.it", "../elsewhere", "x" * 41])
def test_names_that_could_leave_their_folder_are_refused(bad: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        start(bed="A", name=bad)
