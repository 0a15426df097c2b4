"""Plays scheduler and kubelet on Bed A, which has neither: every pod of Plumbline's gets a status.

The pods are made by the real Job and Deployment controllers, and those draw the consequences; only `status` of pods is
written here. A Job's pod ends with the Report that `play` gives for its RunSpec, any other pod becomes ready.

    with PodActor(cluster.kubeconfig, play=good_report) as actor: ...
"""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from pydantic import TypeAdapter
from urllib3.exceptions import HTTPError

from plumbline_contract import runspec
from plumbline_contract.base import digest_of
from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE

POLL_SECONDS = 0.1
EXIT_CODES = {Outcome.DONE: 0, Outcome.REFUSED: 2, Outcome.TROUBLE: 3}
RUN_SPECS: TypeAdapter[Any] = TypeAdapter(runspec.RunSpec)


@dataclass(frozen=True, slots=True)
class Death:
    """A container that ends without a report: its name, exit code, reason and the end of its log."""

    container: str
    code: int = 1
    reason: str = "Error"
    log: str = "boom"


@dataclass(frozen=True, slots=True)
class Stuck:
    """A pod that does not start: its whole status."""

    status: dict[str, Any] = field(default_factory=dict)


Play = Callable[[Any], "Report | Death | Stuck | None"]
"""Given the RunSpec of a Job's last container: how the Job ends; None leaves its pod running."""


def unschedulable(message: str = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.") -> Stuck:
    """A pod that no node fits, in the scheduler's words."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return Stuck({"phase": "Pending", "conditions": [condition]})


def good_report(spec: Any) -> Report:
    """The report of a Job that did its work; equal documents give equal digests, whoever they are for."""
    document = spec.model_dump(mode="json", exclude={"owner"})
    seed = json.dumps(document, sort_keys=True)
    match spec:
        case runspec.VerifyConnection():
            return _done()
        case runspec.Ingest():
            words = {"firstEvent": "2013-01-01T00:00:00Z", "lastEvent": "2013-12-31T00:00:00Z"}
            verdicts = tuple(TestVerdict(name=test.name, verdict="Pass", value=0, bound="") for test in spec.tests)
            numbers = {"rows": 1000, "bytes": 4096}
            return _done(_digests(seed, "manifest", "profile"), numbers, words=words, verdicts=verdicts)
        case runspec.Collect():
            return _done(_digests(seed, "manifest", "model"), {"auc": 0.75})
        case runspec.Evaluate():
            verdicts = tuple(TestVerdict(name=gate.name, verdict="Pass", value=0.75, bound="") for gate in spec.gates)
            return _done(_digests(seed, "evaluation", "predictions"), {"auc": 0.75, "rows": 1000}, verdicts=verdicts)
        case runspec.Compare():
            return _done(numbers={"pairs": 5000, "agreement": 0.99, "meanDifference": 0.001})
        case runspec.Drift():
            numbers = {f"psi.{feature.name}": 0.01 for feature in spec.features}
            verdicts = tuple(
                TestVerdict(name=feature.name, verdict="Pass", value=0.01, bound=f"<= {feature.maximum_psi:g}")
                for feature in spec.features
            )
            return _done(_digests(seed, "report"), numbers | {"rows": 5000}, verdicts=verdicts)
    raise ValueError(f"no Job's last container carries out {spec.verb}")


def made_up_address(pod: dict[str, Any]) -> str:
    """An address at which nobody answers, another for each pod."""
    last = int(hashlib.sha256(pod["metadata"]["name"].encode()).hexdigest()[:4], 16)
    return f"10.99.{last // 256}.{last % 254 + 1}"


class PodActor:
    """A thread that gives pods their status until the `with` block ends. `play` may be replaced at any time.

    address: of a pod that serves; a test that answers for such pods gives them an address of its own.
    Raises in `stop` what went wrong in the thread, so that a test does not wait in vain without a reason.
    """

    def __init__(
        self, kubeconfig: Path, play: Play = good_report, address: Callable[[dict[str, Any]], str] = made_up_address
    ) -> None:
        self.play = play
        self._address = address
        self._core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pod-actor", daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._over.set()
        self._thread.join(30)
        self._core.api_client.close()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._over.wait(POLL_SECONDS):
                self._try()
        except Exception as failure:  # noqa: BLE001  # a thread's boundary: handed to whoever stops the actor
            self._failure = failure

    def _try(self) -> None:
        """Act, unless the API server is away or in trouble: then the next round will."""
        try:
            self._act()
        except HTTPError:
            return
        except ApiException as error:
            if error.status != 429 and error.status < 500:
                raise

    def _act(self) -> None:
        # The client's own models of a hundred pods would take longer to make than the time between two rounds.
        ours = f"{MANAGED_BY}={MANAGED_VALUE}"
        listed = self._core.list_pod_for_all_namespaces(label_selector=ours, _preload_content=False)
        for pod in json.loads(listed.data)["items"]:
            status = self._status_of(pod)
            if status is not None and not _shows(pod.get("status", {}), status):
                self._say(pod, status)

    def _status_of(self, pod: dict[str, Any]) -> dict[str, Any] | None:
        """What the pod should say; None once it has ended or is going."""
        meta = pod["metadata"]
        if meta.get("deletionTimestamp") or pod["status"].get("phase") in ("Succeeded", "Failed"):
            return None
        if not any(owner["kind"] == "Job" for owner in meta.get("ownerReferences", ())):
            return _ready(pod, self._address(pod))
        env = {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][-1].get("env", ())}
        act = self.play(RUN_SPECS.validate_json(env[runspec.RUNSPEC_VARIABLE]))
        match act:
            case Report():
                message = act.termination_message().decode()
                return _ended(pod, pod["spec"]["containers"][-1]["name"], EXIT_CODES[act.outcome], "", message)
            case Death():
                return _ended(pod, act.container, act.code, act.reason, act.log)
            case Stuck():
                return act.status
        return {"phase": "Running"}

    def _say(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        meta = pod["metadata"]
        try:
            self._core.patch_namespaced_pod_status(meta["name"], meta["namespace"], {"status": status})
        except ApiException as error:
            if error.status not in (404, 409):  # it went, or changed; the next round sees
                raise


def _done(
    digests: dict[str, str] | None = None,
    numbers: dict[str, float] | None = None,
    *,
    words: dict[str, str] | None = None,
    verdicts: tuple[TestVerdict, ...] = (),
) -> Report:
    return Report(
        outcome=Outcome.DONE, digests=digests or {}, numbers=numbers or {}, words=words or {}, verdicts=verdicts
    )


def _digests(seed: str, *names: str) -> dict[str, str]:
    return {name: digest_of(f"{name} {seed}".encode()) for name in names}


def _ready(pod: dict[str, Any], address: str) -> dict[str, Any]:
    """The status of a pod that serves."""
    states = [_state(one, {"running": {}}) | {"ready": True, "started": True} for one in pod["spec"]["containers"]]
    conditions = [
        {"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": states,
        "podIP": address,
        "podIPs": [{"ip": address}],
    }


def _ended(pod: dict[str, Any], speaker: str, code: int, reason: str, message: str) -> dict[str, Any]:
    """The status of a pod whose container `speaker` ended last, with this message."""
    inits, mains = pod["spec"].get("initContainers", []), pod["spec"]["containers"]
    order = [*inits, *mains]
    ran = order[: [one["name"] for one in order].index(speaker) + 1]
    states = {one["name"]: _state(one, _over(0, "Completed", "")) for one in ran}
    states[speaker] = _state(ran[-1], _over(code, reason or ("Error" if code else "Completed"), message))
    return {
        "phase": "Failed" if code else "Succeeded",
        "initContainerStatuses": [states[one["name"]] for one in inits if one["name"] in states],
        "containerStatuses": [states[one["name"]] for one in mains if one["name"] in states],
    }


def _over(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def _state(container: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    image = container["image"]
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"{image.partition('@')[0]}@{digest_of(image.encode())}",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


def _shows(live: Any, wanted: Any) -> bool:
    """Whether everything wanted is there already."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_shows(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        found = live if isinstance(live, list) else []
        return all(any(_shows(one, item) for one in found) for item in wanted)
    return bool(live == wanted)
