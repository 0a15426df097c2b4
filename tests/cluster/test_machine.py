"""What the tool asks of a machine, and how it says that something is missing."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from tests.support.argocd import install
from tests.support.cluster import (
    ClusterError,
    cgroups,
    current,
    embedded,
    find,
    host,
    kind,
    layout,
    network,
    programs,
    start,
    stop,
    sweep,
)
from tests.support.cluster.__main__ import main
from tests.support.cluster.paths import HERE, locked

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State, data and cache of this test's own."""
    for variable in ("STATE", "DATA", "CACHE"):
        monkeypatch.setenv(f"PLUMBLINE_{variable}", str(tmp_path / variable.lower()))
    return tmp_path / "state"


def test_a_cold_bed_b_without_room_on_the_disk_is_refused_before_anything_is_built(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 * 1024**3, 0, 3 * 1024**3))

    with pytest.raises(ClusterError, match=r"Bed B needs 15 GiB free at .*cache, which has 3\.0"):
        start(bed="B", name="cold", provider="embedded")
    assert layout.load("cold") is None


def test_bed_b_without_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(ClusterError, match="Bed B needs root; this is user 1000"):
        host.require_root()


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    with pytest.raises(ClusterError, match=r"needs Linux; this is darwin\. Use --provider kind"):
        host.require_linux()


def test_missing_commands_are_all_named() -> None:
    with pytest.raises(ClusterError, match="not on the PATH: no-such-a, no-such-b"):
        host.require_commands(["sh", "no-such-b", "no-such-a"])


def test_missing_packages_without_apt_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ClusterError, match="missing: nothing-like-it"):
        host.install_packages({"nothing-like-it": "/no/such/file", "present": "/"})


def test_an_unknown_provider_and_an_unnamed_context_are_refused() -> None:
    with pytest.raises(ClusterError, match="'minikube' is none of auto, embedded, kind, current:<context>"):
        start(bed="A", name="x", provider="minikube")
    with pytest.raises(ClusterError, match="name the context"):
        current.start("x", "A", "")
    with pytest.raises(ClusterError, match="cannot run without job-controller"):
        start(bed="A", name="x", provider="kind", disabled_controllers=["job-controller"])


def test_kind_without_a_docker_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert not kind.works()
    with pytest.raises(ClusterError, match="needs the kind program and a Docker engine"):
        start(bed="B", name="x", provider="kind")


def test_a_cluster_that_is_not_there_is_not_found_and_stopping_it_does_nothing(state: Path) -> None:
    with pytest.raises(ClusterError, match="no cluster 'absent' is ready; `up --bed A --name absent` starts one"):
        find("absent")
    stop("absent")


def test_the_command_line_answers_a_refusal_with_one_line_and_exit_code_1(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "--bed", "A", "--provider", "nothing"]) == 1
    assert capsys.readouterr().err == (
        "[cluster] refused: provider 'nothing' is none of auto, embedded, kind, current:<context>\n"
    )


def test_clusters_get_blocks_of_ports_that_do_not_touch(state: Path) -> None:
    blocks = [layout.reserve(name, "A", "embedded").first_port for name in ("one", "two", "three")]

    assert len(set(blocks)) == 3
    assert min(abs(a - b) for a in blocks for b in blocks if a != b) >= layout.PORTS_PER_CLUSTER
    assert len(layout.PORT_NAMES) <= layout.PORTS_PER_CLUSTER


def test_a_record_survives_being_written_and_read(state: Path) -> None:
    record = layout.reserve("kept", "A", "embedded")
    record.facts["what"] = ["ever"]
    record.ready = True
    record.save()

    assert layout.load("kept") == record
    assert [known.name for known in layout.known_clusters()] == ["kept"]


def test_a_dead_bed_b_of_another_name_is_cleared_away_and_a_locked_one_is_not(state: Path) -> None:
    dead = layout.reserve("dead", "B", "embedded")

    with locked(layout.Layout("dead").lock), pytest.raises(ClusterError, match="being started or stopped"):
        sweep.end_dead_bed_bs(other_than="new")
    assert layout.load("dead") == dead
    sweep.end_dead_bed_bs(other_than="new")
    assert layout.load("dead") is None


def test_the_version_in_the_linker_flags_is_the_one_that_is_built() -> None:
    module = (HERE / "go" / "kubernetes" / "go.mod").read_text()

    assert re.findall(r"k8s\.io/kubernetes (v\S+)", module) == [programs.KUBERNETES_VERSION]
    staged = {version for _, version in re.findall(r"=> (k8s\.io/\S+) (v\S+)", module)}
    assert staged == {programs.KUBERNETES_VERSION.replace("v1.", "v0.")}


def test_a_change_of_any_source_changes_the_key_of_what_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(HERE / "go", tmp_path / "go")
    monkeypatch.setattr(programs, "HERE", tmp_path)
    before = programs.PAUSE.key()

    (tmp_path / "go" / "pause" / "main.go").write_text("package main\n\nfunc main() {}\n")

    assert programs.PAUSE.key() != before


def test_the_first_range_that_the_machine_does_not_route_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_routed", lambda: iter(["10.244.0.0/16", "192.0.2.0/24"]))
    assert network.free_ranges() == ("10.212.0.0/22", "10.213.0.0/16")

    monkeypatch.setattr(network, "_routed", lambda: iter(["10.0.0.0/8", "172.16.0.0/12"]))
    with pytest.raises(ClusterError, match="no free address range"):
        network.free_ranges()


def test_addresses_are_taken_from_the_ranges() -> None:
    assert network.bridge_address("10.244.0.0/22") == "10.244.0.1"
    assert network.service_address("10.96.0.0/16", 10) == "10.96.0.10"


def test_another_kubernetes_in_the_same_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = ":INPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A INPUT -j KUBE-SERVICES\n"
    monkeypatch.setattr(network, "run", lambda command, **_: saved)

    with pytest.raises(ClusterError, match="another Kubernetes"):
        network.require_no_other_kubernetes()


def test_only_chains_of_kubernetes_are_removed_and_only_with_their_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = (
        "*filter\n:INPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-FORWARD - [0:0]\n:PLUMBLINE-FORWARD - [0:0]\n"
        '-A INPUT -m comment --comment "to KUBE-FORWARD" -j DOCKER\n'
        '-A INPUT -m comment --comment "a b" -j KUBE-FORWARD\n'
        "-A KUBE-FORWARD -j PLUMBLINE-FORWARD\nCOMMIT\n"
    )
    scripts = []

    def fake_run(command: list[str], stdin: str | None = None) -> str:
        if stdin is not None:
            scripts.append(stdin)
        return saved

    monkeypatch.setattr(network, "run", fake_run)
    network._remove_chains("iptables", "filter")

    assert scripts == [
        "*filter\n:KUBE-FORWARD - [0:0]\n:PLUMBLINE-FORWARD - [0:0]\n"
        '-D INPUT -m comment --comment "a b" -j KUBE-FORWARD\n'
        "-X KUBE-FORWARD\n-X PLUMBLINE-FORWARD\nCOMMIT\n"
    ]


def test_a_group_that_was_never_made_has_nobody_and_is_removed_without_ado() -> None:
    assert cgroups.groups("never-made") == []
    assert list(cgroups.members("never-made")) == []
    assert cgroups.remove("never-made")


def test_pods_are_given_more_of_the_processors_than_one_process_beside_them() -> None:
    cgroups.create("weighed")
    try:
        files = [group / file for group in cgroups.groups("weighed") for file in ("cpu.shares", "cpu.weight")]
        weights = [int(file.read_text()) for file in files if file.exists()]
        assert weights, "no group has a weight"
        assert weights[0] in (cgroups.FAIR_SHARE * 1024, cgroups.FAIR_SHARE * 100)
    finally:
        assert cgroups.remove("weighed")


def test_a_bed_b_knows_what_it_is_made_of() -> None:
    assert {*embedded.CONTROL_PLANE_OF_BED["B"], *embedded.NODE_PARTS, *sweep.GUESTS} == {
        *sweep.STOP_BEFORE_PODS,
        *sweep.STOP_AFTER_PODS,
        "containerd",
    }
    assert {*install.PARTS, "git"} == set(sweep.GUESTS)
