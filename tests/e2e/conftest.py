"""One run of the demo for all end-to-end tests: the README's command, on a cluster it starts itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.cluster import Cluster, start
from tests.support.cluster.sweep import leftovers
from tests.support.demo.people import Person
from tests.support.demo.story import APPROVERS, NAMESPACE

DEMO = [sys.executable, "-m", "tests.support.demo"]
DEMO_SECONDS = 2400  # a cold demo builds Kubernetes first


@dataclass(frozen=True, slots=True)
class Told:
    """The demo after it has ended well: its cluster, its facts, and the people in it."""

    cluster: Cluster
    facts: dict[str, Any]
    admin: Person
    alice: Person
    carol: Person


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Tell the story once; remove everything at the end, and prove that nothing is left."""
    facts = tmp_path_factory.mktemp("demo") / "facts.json"
    try:
        subprocess.run([*DEMO, "up", "--facts", str(facts)], check=True, timeout=DEMO_SECONDS)
        cluster = start(bed="B", name="demo")
        yield Told(
            cluster,
            json.loads(facts.read_text()),
            admin=Person("admin", cluster.kubeconfig, NAMESPACE),
            alice=_person(cluster, "alice@example.com", APPROVERS),
            carol=_person(cluster, "carol@example.com"),
        )
    finally:  # also when the story failed: what is left of it would disturb every later cluster on this machine
        subprocess.run([*DEMO, "down"], check=True, timeout=300)
    assert leftovers("demo") == []


def _person(cluster: Cluster, name: str, *groups: str) -> Person:
    return Person(name, cluster.user_kubeconfig(name, groups), NAMESPACE)
