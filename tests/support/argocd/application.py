"""One Application: everything that Argo CD ever said of it, and how to wait for what it says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import yaml
from kubernetes import client, config, watch

from plumbline_operator.model.meta import Manifest
from tests.support.argocd.install import GUIDE, NAMESPACE
from tests.support.argocd.repository import Repository
from tests.support.argocd.scripts import Health
from tests.support.cluster import Cluster, ClusterError
from tests.support.cluster.progress import run, wait_until

GROUP, VERSION, PLURAL = "argoproj.io", "v1alpha1", "applications"
CLOCK = timedelta(seconds=1)  # the resolution of its times
TREE = "app|resources-tree|"
WATCH_SECONDS = 3600


@dataclass(slots=True)
class Application:
    """Follows an Application from its creation on. Use `with application(...)`."""

    cluster: Cluster
    name: str
    entries: list[Manifest] = field(default_factory=list)
    trees: dict[str, list[Health]] = field(default_factory=dict)
    excused: bool = False  # somebody else has just changed an object, and self-heal has not answered yet
    _excuses: list[bool] = field(default_factory=list)

    @property
    def now(self) -> Manifest:
        """The last that was said; empty before anything was."""
        return self.entries[-1] if self.entries else {}

    def refresh(self) -> None:
        """Have Argo CD look at Git now, as a webhook of the Git host would."""
        patch = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        self._kubectl("patch", "application", self.name, "--type=merge", "-p", json.dumps(patch))

    def until_synced(self, revision: str, seconds: float) -> None:
        """Return once this commit has been applied and compared with the cluster. Raises ClusterError."""
        self.refresh()
        wait_until(f"{self.name} is synced to {revision}", lambda: is_synced(self.now, revision), seconds=seconds)

    def until_health(self, wanted: str, seconds: float) -> None:
        """Return once Argo CD calls the whole so. Raises ClusterError with what each object says."""
        self._until(f"{self.name} is {wanted}", lambda: health_of(self.now) == wanted, seconds)

    def until_shown(self, what: str, wanted: str, seconds: float) -> Health:
        """Return once the resource tree shows this `Kind/name` so. Raises ClusterError."""
        self._until(f"{what} is {wanted}", lambda: self.shown(what).status == wanted, seconds)
        return self.shown(what)

    def shown(self, what: str) -> Health:
        """What the resource tree says of a `Kind/name` now."""
        return self.trees.get(what, [Health("")])[-1]

    def story(self, what: str) -> list[str]:
        """Each health that the tree ever showed of a `Kind/name`, in turn."""
        states = [one.status for one in self.trees.get(what, [])]
        return [one for place, one in enumerate(states) if place == 0 or states[place - 1] != one]

    def faults(self) -> list[str]:
        """Every moment in which what had been applied was out of sync or healed, although nobody had touched it."""
        pairs = list(zip(self.entries, self._excuses, strict=True))
        excused = {healing(entry) for entry, excuse in pairs if excuse}
        healed = dict.fromkeys(healing(entry) for entry, _ in pairs if healing(entry) and healing(entry) not in excused)
        return [line for entry, excuse in pairs if not excuse for line in undue(entry)] + list(healed)

    def syncs(self) -> int:
        """How many commits have been applied."""
        return len(self.now.get("status", {}).get("history", ()))

    def remove(self, seconds: float) -> None:
        """Delete it and wait until its finalizer has done its work."""
        self._kubectl("delete", "application", self.name, f"--timeout={seconds:.0f}s", seconds=seconds + 10)

    def note(self, entry: Manifest) -> None:
        """Keep what was said."""
        self._excuses.append(self.excused)
        self.entries.append(entry)

    def note_tree(self) -> None:
        """Keep what the resource tree says, where it differs from the last time."""
        for what, health in self._tree():
            known = self.trees.setdefault(what, [])
            if not known or known[-1] != health:
                known.append(health)

    def _tree(self) -> Iterator[tuple[str, Health]]:
        keys = self._redis("KEYS", f"{TREE}{self.name}|*").split()
        for text in (self._redis("GET", key) for key in keys):
            for node in (json.loads(text).get("nodes") or []) if text.strip() else []:
                health = node.get("health") or {}
                yield (
                    f"{node['kind']}/{node['name']}",
                    Health(health.get("status", ""), health.get("message", "")),
                )

    def _until(self, what: str, fact: Callable[[], bool], seconds: float) -> None:
        try:
            wait_until(what, fact, seconds=seconds)
        except ClusterError as late:
            late.add_note(json.dumps({what: vars_of(story[-1]) for what, story in self.trees.items()}, indent=1))
            late.add_note(json.dumps(self.now.get("status", {}).get("conditions", [])))
            raise

    def _redis(self, *words: str) -> str:
        return run(["redis-cli", "-p", str(self.cluster.record.port("redis")), "--raw", *words])

    def _kubectl(self, *words: str, seconds: float = 60) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *words, seconds=seconds)


def vars_of(health: Health) -> dict[str, str]:
    """A Health as JSON."""
    return {"status": health.status, "message": health.message}


def health_of(entry: Manifest) -> str:
    """The health of the whole Application."""
    return str(entry.get("status", {}).get("health", {}).get("status", ""))


def is_synced(entry: Manifest, revision: str) -> bool:
    """Whether this commit has been applied, and then found to be what is live."""
    status = entry.get("status", {})
    sync, operation = status.get("sync", {}), status.get("operationState", {})
    applied = operation.get("phase") == "Succeeded" and operation.get("syncResult", {}).get("revision") == revision
    return applied and (sync.get("status"), sync.get("revision")) == ("Synced", revision)


def undue(entry: Manifest) -> list[str]:
    """Objects out of sync in a comparison that was made after its commit had been applied."""
    status = entry.get("status", {})
    sync, operation = status.get("sync", {}), status.get("operationState", {})
    applied = operation.get("phase") == "Succeeded" and (
        operation.get("syncResult", {}).get("revision") == sync.get("revision")
    )
    if sync.get("status") != "OutOfSync" or not applied:
        return []
    if _time(status["reconciledAt"]) <= _time(operation["finishedAt"]) + CLOCK:
        return []
    late = [f"{one['kind']}/{one['name']}" for one in status.get("resources", ()) if one.get("status") == "OutOfSync"]
    return [f"{sync['revision'][:8]} at {status['reconciledAt']}: {', '.join(late) or 'nothing named'}"]


def healing(entry: Manifest) -> str:
    """When and what self-heal was at; empty while it was not."""
    operation = entry.get("status", {}).get("operationState", {})
    asked = operation.get("operation", {}).get("sync", {})
    if not asked.get("autoHealAttemptsCount"):
        return ""
    names = ", ".join(f"{one.get('kind')}/{one.get('name')}" for one in asked.get("resources", ()))
    return f"healed at {operation.get('startedAt')}: {names}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@contextmanager
def application(cluster: Cluster, repository: Repository, namespace: str) -> Iterator[Application]:
    """The guide's Application for this repository and namespace, followed until the block ends."""
    block = GUIDE.read_text().split("<!-- application -->")[1].split("```yaml\n")[1].split("```")[0]
    manifest = yaml.safe_load(block)
    server = json.loads(cluster.kubectl("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"]
    manifest["spec"]["source"]["repoURL"] = repository.url
    manifest["spec"]["destination"] = {"server": server, "namespace": namespace}
    manifest["spec"]["revisionHistoryLimit"] = 100  # one entry for each sync, which the tests count
    one = Application(cluster, manifest["metadata"]["name"])
    over = threading.Event()
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    threads = [_Follower(_follow, one, over), _Follower(_follow_tree, one, over)]
    try:
        yield one
    finally:
        over.set()
        for thread in threads:
            thread.end()


def _follow(one: Application, over: threading.Event) -> None:
    api = config.new_client_from_config(str(one.cluster.kubeconfig))
    objects, stream = client.CustomObjectsApi(api), watch.Watch()
    asked: dict[str, Any] = {"field_selector": f"metadata.name={one.name}", "timeout_seconds": 2}
    while not over.is_set():
        for event in stream.stream(objects.list_namespaced_custom_object, GROUP, VERSION, NAMESPACE, PLURAL, **asked):
            if event["type"] in ("ADDED", "MODIFIED"):
                one.note(event["object"])
        asked["resource_version"] = stream.resource_version
    api.close()


def _follow_tree(one: Application, over: threading.Event) -> None:
    while not over.wait(0.25):
        one.note_tree()


class _Follower:
    """A thread whose failure is raised where it is ended."""

    def __init__(self, work: Callable[[Application, threading.Event], None], *arguments: Any) -> None:
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(work, arguments), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            work(*arguments)
        except Exception as failure:  # noqa: BLE001  # a thread's boundary: handed to whoever ends it
            self._failure = failure

    def end(self) -> None:
        """Wait for the thread."""
        self._thread.join(30)
        if self._failure is not None:
            raise self._failure
