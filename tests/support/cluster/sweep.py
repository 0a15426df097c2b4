"""Ending a cluster from what lies on disk and in the kernel, and the list of what is left of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import cgroups, containers, layout, network, processes
from tests.support.cluster.layout import Layout
from tests.support.cluster.paths import ClusterError, locked, state_root
from tests.support.cluster.progress import run, wait_until

GUESTS = ("argocd-controller", "argocd-repo", "redis", "git")  # what a test may add to a cluster of either bed
# Who stops after whom: the kubelet first, or it would start again what the next step ends.
STOP_BEFORE_PODS = (*GUESTS, "kubelet", "kube-proxy", "coredns")
STOP_AFTER_PODS = ("s3", "scheduler", "controller-manager", "apiserver", "etcd")
LOG_LINKS = Path("/var/log/containers")  # the kubelet's links to pod logs; its place is not configurable
GONE_SECONDS = 30

# Folders whose places the kubelet and the shims do not let us choose. Those that were not there before go at the end.
FIXED_FOLDERS = (Path("/var/lib/kubelet"), LOG_LINKS, Path("/run/containerd"))


def end_cluster(name: str) -> None:
    """Ends whatever is left of a cluster and removes its files; nothing happens where nothing is."""
    where = Layout(name)
    record = layout.load(name)
    for part in STOP_BEFORE_PODS:
        processes.stop(where.pid_file(part))
    if record is not None and record.bed == "B" and record.provider == "embedded":
        _end_pods(where)
    for part in STOP_AFTER_PODS:
        # Their data goes too, so there is nothing to end gracefully.
        processes.stop(where.pid_file(part), grace_seconds=0)
    if record is not None and "settings" in record.facts:
        network.down()
        network.put_back(record.facts["settings"])
    _unmount(where)
    made = record.facts.get("made_folders", []) if record is not None else []
    for folder in made:
        _remove_bare(Path(folder))
    for folder in (where.state, where.data):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_bare(folder: Path) -> None:
    """Removes a fixed folder if only the kubelet's socket is in it: somebody else may have come to use it too."""
    for below, _, files in os.walk(folder, topdown=False):
        if "kubelet.sock" in files:
            Path(below, "kubelet.sock").unlink()
        # What is not empty is in use, and stays.
        with contextlib.suppress(OSError):
            Path(below).rmdir()


def missing_fixed_folders() -> list[str]:
    """Those of the fixed folders that are not there now, and so will be ours."""
    return [str(folder) for folder in FIXED_FOLDERS if not folder.exists()]


def _end_pods(where: Layout) -> None:
    cgroups.kill_members(where.name)
    wait_until("the pods' processes end", lambda: not list(cgroups.members(where.name)), seconds=GONE_SECONDS)
    processes.stop(where.pid_file("containerd"))
    for shim in _shims(where):
        processes.send(shim, signal.SIGKILL)
    wait_until("the shims end", lambda: not _shims(where), seconds=GONE_SECONDS)
    for file in containers.Containers(where).shim_address_files():
        Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    wait_until("the pods' control groups go", lambda: cgroups.remove(where.name), seconds=GONE_SECONDS)
    for link in LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{where.data}/"):
            link.unlink()


def _shims(where: Layout) -> list[processes.Identity]:
    """The shims of this cluster's containerd: programs that were given its very socket."""
    socket = os.fsencode(containers.Containers(where).socket)
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words[0].rpartition(b"/")[2].startswith(b"containerd-shim") and socket in words:
            known = processes.identity_of(int(folder.name))
            found += [known] if known else []
    return found


def _mounts(where: Layout) -> list[str]:
    """Mount points under the cluster's folders, the deepest first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    # The kernel writes a space of a path as \040.
    points = [line.split(" ")[1].encode().decode("unicode_escape") for line in lines]
    ours = [point for point in points if point.startswith((f"{where.state}/", f"{where.data}/"))]
    return sorted(ours, reverse=True)


def _unmount(where: Layout) -> None:
    for point in _mounts(where):
        # Lazily: a process of a pod that is just ending may still stand in it.
        run(["umount", "--lazy", point])


def leftovers(name: str) -> list[str]:
    """What is left of a cluster on this machine, one line each; empty after a whole ``down``."""
    return list(_leftovers(Layout(name)))


def _leftovers(where: Layout) -> Iterator[str]:
    yield from (f"process {part}" for part in where.running_parts())
    yield from (f"shim {shim.pid}" for shim in _shims(where))
    yield from (f"pod process {member.pid}" for member in cgroups.members(where.name))
    yield from (f"control group {group}" for group in cgroups.groups(where.name))
    yield from (f"mount {point}" for point in _mounts(where))
    yield from (f"folder {folder}" for folder in (where.state, where.data) if folder.exists())
    if not bed_b_names(other_than=where.name):
        yield from _network_leftovers()


def _network_leftovers() -> Iterator[str]:
    if network.bridge_exists():
        yield f"bridge {network.BRIDGE}"
    yield from (f"bridge port {port}" for port in network.bridge_ports())
    if shutil.which("iptables-save"):
        yield from (f"iptables chain {chain}" for chain in network.kubernetes_chains())


def bed_b_names(*, other_than: str) -> list[str]:
    """The embedded Bed B clusters that have living processes, save one."""
    return [name for name in _all_bed_b() if name != other_than and Layout(name).running_parts()]


def _all_bed_b() -> list[str]:
    return [one.name for one in layout.known_clusters() if one.bed == "B" and one.provider == "embedded"]


def end_dead_bed_bs(*, other_than: str) -> None:
    """Clears away every Bed B whose processes died, or raises ClusterError naming the one that lives.

    The caller holds the lock that all starters of a Bed B take, so that none comes up meanwhile.
    """
    for name in _all_bed_b():
        if name == other_than:
            continue
        try:
            # Without waiting: its holder may be a starter that waits for the caller's own lock.
            with locked(Layout(name).lock, wait=False):
                if Layout(name).running_parts():
                    raise ClusterError(f"Bed B {name!r} runs on this machine already; `down --name {name}` first")
                end_cluster(name)
        except BlockingIOError as error:
            raise ClusterError(f"Bed B {name!r} is being started or stopped; try again when it is done") from error


def keep_logs(name: str) -> Path:
    """Copies a cluster's logs to where its end does not remove them; returns the folder."""
    kept = state_root() / ".failed" / name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(Layout(name).state / "logs", kept, dirs_exist_ok=True)
    return kept
