"""An API server with our kinds, somebody who plays kubelet and lets chosen Jobs hang, and all types it serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from plumbline_contract.report import Report
from plumbline_operator.crdgen import definition
from plumbline_operator.model.meta import Ref
from plumbline_operator.rooms import ROOMS
from tests.support.cluster import Cluster, start
from tests.support.pod_actor import PodActor, good_report

SLOW = "slow-"  # names of owners whose Jobs never end
_numbers = count(1)


@dataclass(slots=True)
class Holds:
    """Plays the Jobs of all namespaces: those of a held verb, or of a slow owner, hang; others do their work."""

    held: set[tuple[str, str]] = field(default_factory=set)

    def hold(self, namespace: str, *verbs: str) -> None:
        """Let Jobs that do these things hang in this namespace."""
        self.held |= {(namespace, verb) for verb in verbs}

    def release(self, namespace: str, verb: str) -> None:
        """Let them end."""
        self.held.discard((namespace, verb))

    def play(self, spec: Any) -> Report | None:
        """How a Job ends; None: not yet."""
        hangs = (spec.owner.namespace, spec.verb) in self.held or spec.owner.name.startswith(SLOW)
        return None if hangs else good_report(spec)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where cases run. `limit`: seconds to restore or clean what a stranger did."""

    cluster: Cluster
    folder: Path
    holds: Holds
    limit: float

    def place(self, title: str) -> tuple[str, Path]:
        """A fresh namespace's name, and a folder for what it leaves."""
        name = f"foreign-{next(_numbers)}"
        return name, self.folder / f"{title}-{name}"


@contextmanager
def bed(name: str) -> Iterator[tuple[Cluster, Holds]]:
    """A bare Bed A of this name with a pod actor, gone at the end."""
    cluster = start(bed="A", name=name)
    holds = Holds()
    try:
        with PodActor(cluster.kubeconfig, play=holds.play):
            yield cluster, holds
    finally:
        cluster.stop()


@contextmanager
def ground(name: str, folder: Path, limit: float) -> Iterator[Ground]:
    """A Bed A with our kinds."""
    with bed(name) as (cluster, holds):
        text = yaml.safe_dump_all([definition(room.kind) for room in ROOMS])
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield Ground(cluster, folder, holds, limit)


def types_of(cluster: Cluster, *, namespaced: bool) -> list[Ref]:
    """Every type whose objects can be listed, whoever defined it."""
    text = cluster.kubectl(
        "api-resources", f"--namespaced={str(namespaced).lower()}", "--verbs=list", "--no-headers", "-o", "wide"
    )
    found = []
    for line in text.splitlines():
        words = line.split()
        # The columns are NAME, SHORTNAMES, APIVERSION, NAMESPACED, KIND, VERBS, CATEGORIES; the second and the last may
        # be empty.
        at = next(n for n, word in enumerate(words) if word in ("true", "false"))
        group, _, version = words[at - 1].rpartition("/")
        found.append(Ref(group, version, words[0], words[at + 1], namespaced))
    return found
