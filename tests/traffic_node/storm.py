"""What happens to a deployment under load: each disturbance ends when everything is well again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from plumbline_operator.build.router import router_labels
from tests.support.demo.install import SYSTEM
from tests.support.demo.people import Person, condition
from tests.traffic_node.node import kill, no_api_server
from tests.traffic_node.scene import Scene, until

AGENT, SERVER, OPERATOR = "plumbline_router.agent", "plumbline_serving", "plumbline_operator"
WELL_SECONDS = 240.0
OUTAGE_SECONDS = 30.0
AGENT_KILLS = 4  # in one disturbance


@dataclass(slots=True)
class Storm:
    """Disturbs a scene; `happened` counts what by its name."""

    scene: Scene
    chance: random.Random
    happened: Counter[str] = field(default_factory=Counter)
    pins: int = 0

    def rage(self, until_moment: float, at_least: int) -> None:
        """One thing after the other until this moment, and at least so many. The canary comes first, once."""
        ways: list[Callable[[], None]] = [
            self.pin_and_release,
            self.kill_a_server,
            self.restart_a_router,
            self.revert_the_spec,
            self.kill_agents_in_mid_write,
            self.delete_a_server,
            self.kill_the_operator,
            self.operator_away,
            self.api_server_away,
        ]
        self._do(self.canary)
        place = 0
        while time.monotonic() < until_moment or self.happened.total() < at_least:
            self._do(ways[place % len(ways)])
            place += 1

    def _do(self, way: Callable[[], None]) -> None:
        begun = time.monotonic()
        way()
        self.happened[way.__name__.replace("_", " ")] += 1
        print(f"    {way.__name__}: {time.monotonic() - begun:.1f} s", flush=True)

    def canary(self) -> None:
        """The new version comes in, step by step."""
        self.scene.ask(self.scene.new)
        self.scene.until_stable(self.scene.new, WELL_SECONDS)

    def pin_and_release(self) -> None:
        """A pin on the other version, and its end."""
        other = self._other()
        name = self._pin(other)
        self._until_pinned(other)
        self.scene.unpin(name)
        self.scene.until_stable(self._wanted(), WELL_SECONDS)

    def revert_the_spec(self) -> None:
        """The spec names the other version, which served before."""
        other = self._other()
        self.scene.ask(other)
        self.scene.until_stable(other, WELL_SECONDS)

    def kill_a_server(self) -> None:
        """SIGKILL the process of a pod that answers."""
        pod = self.chance.choice(self.scene.servers(self._serving()))
        assert kill(pod, SERVER) >= 1
        self._servers_well()

    def delete_a_server(self) -> None:
        """Delete a pod that answers."""
        pod = self.chance.choice(self.scene.servers(self._serving()))
        self.scene.person.kubectl("delete", "pod", pod["metadata"]["name"])
        self._servers_well()

    def restart_a_router(self) -> None:
        """Delete a router pod."""
        pod = self.chance.choice(self.scene.routers())
        self.scene.person.kubectl("delete", "pod", pod["metadata"]["name"])
        self._routers_well()

    def kill_agents_in_mid_write(self) -> None:
        """SIGKILL the agents of all router pods just when new routes are on their way."""
        for _ in range(AGENT_KILLS):
            other = self._other()
            name = self._pin(other)
            time.sleep(self.chance.uniform(0, 0.3))
            self._kill_agents()
            self._until_pinned(other)
            self.scene.unpin(name)
            time.sleep(self.chance.uniform(0, 0.3))
            self._kill_agents()
            self.scene.until_stable(self._wanted(), WELL_SECONDS)
        self._routers_well()

    def kill_the_operator(self) -> None:
        """SIGKILL the operator's process; the deployment is moved once it is back."""
        assert sum(kill(pod, OPERATOR) for pod in self._admin().list("pods")) >= 1
        self.revert_the_spec()

    def operator_away(self) -> None:
        """No operator for half a minute; afterwards the deployment can be moved again."""
        admin = self._admin()
        admin.kubectl("scale", "deployment", "--all", "--replicas=0")
        until(lambda: not admin.list("pods"), "no operator runs", WELL_SECONDS)
        time.sleep(OUTAGE_SECONDS)
        admin.kubectl("scale", "deployment", "--all", "--replicas=1")
        self.revert_the_spec()

    def api_server_away(self) -> None:
        """No API server for half a minute; afterwards the deployment can be moved again."""
        with no_api_server(self.scene.cluster):
            time.sleep(OUTAGE_SECONDS)
        self.revert_the_spec()

    def _kill_agents(self) -> None:
        """All that live; one that was killed a moment ago may still be on its way back."""
        until(lambda: sum(kill(pod, AGENT) for pod in self.scene.routers()) >= 1, "an agent lives", WELL_SECONDS)

    def _admin(self) -> Person:
        return Person("admin", self.scene.cluster.kubeconfig, SYSTEM)

    def _pin(self, version: str) -> str:
        self.pins += 1
        name = f"storm-{self.pins:04d}"
        self.scene.pin(name, version)
        return name

    def _until_pinned(self, version: str) -> None:
        scene = self.scene
        scene.person.until(
            "modeldeployment",
            scene.deployment,
            f"pinned to {version}",
            lambda raw: (
                condition(raw, "Ready").get("reason") == "Pinned" and raw["status"]["stable"]["version"] == version
            ),
            WELL_SECONDS,
        )

    def _serving(self) -> str:
        return str(self.scene.status()["stable"]["version"])

    def _wanted(self) -> str:
        raw = self.scene.person.get("modeldeployment", self.scene.deployment)
        return str(raw["spec"]["versionRef"]["name"])

    def _other(self) -> str:
        """The one of the two versions that does not serve now."""
        return self.scene.old if self._serving() == self.scene.new else self.scene.new

    def _servers_well(self) -> None:
        labels = {"plumbline.dev/variant": self.scene.variant(self._serving())}
        self.scene.until_ready(labels, 2, WELL_SECONDS)

    def _routers_well(self) -> None:
        """All router pods are ready and serve the last routes."""
        self.scene.until_ready(router_labels(self.scene.deployment), 2, WELL_SECONDS)
        until(lambda: len(self.scene.routers()) == 2, "the old router pod is gone", WELL_SECONDS)
