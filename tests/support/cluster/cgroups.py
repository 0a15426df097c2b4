"""The control group that all pods of one cluster live in, which tells them from everything else here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import processes

ROOT = Path("/sys/fs/cgroup")
# A new group weighs as much as one process beside it: a test runner and an API server would starve every pod.
FAIR_SHARE = 4


def name_of(cluster: str) -> str:
    """The group's name, the same in every hierarchy."""
    return f"plumbline-{cluster}"


def is_unified() -> bool:
    """Whether the machine has one hierarchy for all controllers (cgroup v2)."""
    return (ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    if is_unified():
        return [ROOT]
    # Links such as cpu → cpu,cpuacct name a hierarchy twice.
    return [path for path in sorted(ROOT.iterdir()) if path.is_dir() and not path.is_symlink()]


def create(cluster: str) -> None:
    """Makes the group in every hierarchy, with all processors and memory nodes."""
    if is_unified():
        wanted = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}
        available = wanted & set((ROOT / "cgroup.controllers").read_text().split())
        (ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in sorted(available)))
    for hierarchy in _hierarchies():
        group = hierarchy / name_of(cluster)
        group.mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":
            # A new group of the first version starts without any, and then no process may enter it.
            for file in ("cpuset.cpus", "cpuset.mems"):
                (group / file).write_text((hierarchy / file).read_text())
        _weigh(group)


def _weigh(group: Path) -> None:
    for file, usual in (("cpu.shares", 1024), ("cpu.weight", 100)):
        if (group / file).exists():
            (group / file).write_text(str(FAIR_SHARE * usual))


def groups(cluster: str) -> list[Path]:
    """The group and all below it that exist, the deepest first."""
    found: list[Path] = []
    for hierarchy in _hierarchies():
        top = hierarchy / name_of(cluster)
        found += [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
    return found


def members(cluster: str) -> Iterator[processes.Identity]:
    """The living processes in the group or below it."""
    numbers = set()
    for group in groups(cluster):
        try:
            numbers |= {int(word) for word in (group / "cgroup.procs").read_text().split()}
        except FileNotFoundError:
            # A pod that ends just now takes its group away.
            continue
    for number in sorted(numbers):
        known = processes.identity_of(number)
        if known is not None:
            yield known


def kill_members(cluster: str) -> None:
    """Ends every process in the group at once."""
    for known in members(cluster):
        processes.send(known, signal.SIGKILL)


def remove(cluster: str) -> bool:
    """Removes the group everywhere; False while something is still in it."""
    for group in groups(cluster):
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
