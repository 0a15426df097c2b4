"""Who acts in the demo, each with a kubeconfig of their own, and how they wait for facts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster import programs
from tests.support.demo.narrate import say

POLL_SECONDS = 0.5
Raw = dict[str, Any]


class DemoError(Exception):
    """A fact the demo promised did not come true; the text says which."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the cluster. Every command runs with this user's rights in one namespace."""

    name: str
    kubeconfig: Path
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """The output of a kubectl command. Raises DemoError with what kubectl said."""
        done = self.attempt(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise DemoError(f"{self.name}: kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def attempt(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a kubectl command that may be refused."""
        kubectl = programs.program(programs.KUBERNETES, "kubectl")
        environment = plugin_environment() | {"KUBECONFIG": str(self.kubeconfig)}
        # Behind the arguments, because kubectl allows no option before a plugin's name.
        command = [str(kubectl), *arguments, "--namespace", self.namespace]
        if "--namespace" in arguments or "-n" in arguments:
            command = [str(kubectl), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=300, env=environment, check=False
        )

    def get(self, kind: str, name: str) -> Raw:
        """One object, or an empty dictionary while it does not exist."""
        done = self.attempt("get", kind, name, "-o", "json", "--ignore-not-found")
        if done.returncode != 0:
            raise DemoError(f"{self.name}: get {kind} {name}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def list(self, kind: str, *selector: str) -> list[Raw]:
        """All objects of a kind in the namespace."""
        items: list[Raw] = json.loads(self.kubectl("get", kind, "-o", "json", *selector))["items"]
        return items

    def until_ready(self, kind: str, name: str, seconds: float = 240) -> Raw:
        """The object once its Ready condition is True for its present generation; fails at once when it stalls."""
        return self.until(kind, name, "Ready", lambda raw: condition(raw, "Ready").get("status") == "True", seconds)

    def until(self, kind: str, name: str, fact: str, holds: Callable[[Raw], bool], seconds: float = 240) -> Raw:
        """The object once a fact holds; every new reason on the way is printed."""
        deadline, last = time.monotonic() + seconds, ""
        while True:
            raw = self.get(kind, name)
            if raw and holds(raw):
                return raw
            now = condition(raw, "Ready")
            line = f"{now.get('reason', 'not there yet')}: {now.get('message', '')}"
            if line != last:
                say(f"    {kind}/{name} {line}"[:220])
                last = line
            if condition(raw, "Stalled").get("status") == "True":
                raise DemoError(f"{kind}/{name} waits for a human, not for {fact}: {line}")
            if time.monotonic() > deadline:
                raise DemoError(f"{kind}/{name} is not {fact} after {seconds:.0f} s: {line}")
            time.sleep(POLL_SECONDS)


def plugin_environment() -> dict[str, str]:
    """The environment in which kubectl finds our plugin: the folder of this interpreter comes first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def condition(raw: Raw, type_: str) -> Raw:
    """A condition that speaks of the present generation, or an empty dictionary."""
    for one in raw.get("status", {}).get("conditions", []):
        if one["type"] == type_ and one.get("observedGeneration", 0) >= raw["metadata"].get("generation", 0):
            return dict(one)
    return {}
