"""The demo's stages, in order. Each waits for a fact and fails loudly when it does not come true.

data → champion → approval → serving → challenger → shadow → canary 5 % → 100 % → drift → rollback → lineage
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tests.support.cluster import Cluster
from tests.support.demo.canary import CanaryWatch
from tests.support.demo.data import EXAMPLE, prepared, upload
from tests.support.demo.install import install, load_images
from tests.support.demo.narrate import say, stage
from tests.support.demo.people import DemoError, Person, Raw, condition
from tests.support.demo.traffic import Request, Tally, Traffic

NAMESPACE = "flights"
MODEL, DEPLOYMENT, MONITOR = "late-arrival", "late-arrival", "late-arrival"
CHAMPION, CHALLENGER = "late-arrival-logistic", "late-arrival-boosted"
DATASETS = ("airlines", "planes", "weather", "flights", "departures")
APPROVERS = "ml-approvers"
REFUSING = ("AwaitingApproval", "VersionNotApproved", "VersionNotFound")  # of a deployment, whenever it is asked
NODE_PORT = 30080  # examples/flights/deployment.yaml
RATE = 150  # requests per second; a quarter of what one serving pod answers on a shared core
# Enough for a verdict (examples/flights/drift.yaml asks for 1,000 rows) beyond the 15 s that the monitor leaves the log
# for being written.
WINDOW_REQUESTS = 35 * RATE
ROLLBACK_SECONDS = 30


@dataclass(slots=True)
class Demo:
    """The cluster, the people, and the facts measured so far."""

    cluster: Cluster
    alice: Person  # trains
    bob: Person  # approves
    carol: Person  # releases, and is on call
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    traffic: Traffic | None = None


def tell(cluster: Cluster) -> dict[str, Any]:
    """Run the whole story on a cluster; returns the measured facts."""
    with stage("install: images and chart"):
        install(cluster, load_images(cluster))
    with stage("bucket, data and people"):
        demo = _people_and_data(cluster)
    try:
        with stage("data: five datasets, tested and frozen"):
            _ingest(demo)
        with stage("champion: train, evaluate, approve by a second person"):
            _champion(demo)
        with stage("serving: the champion answers live requests"):
            _serve(demo)
        with stage("challenger: train and beat the champion on the same rows"):
            _challenger(demo)
        with stage("release: shadow, canary 5 %, 100 %"):
            _release(demo)
        with stage("drift: the weather shifts, the alarm rises"):
            _drift(demo)
        with stage("rollback: one command"):
            _rollback(demo)
        tally = _end_traffic(demo)
        with stage("lineage: from one prediction back to its origin"):
            _lineage(demo, tally)
    finally:
        if demo.traffic is not None:
            demo.traffic.stop()
    return demo.facts


def _people_and_data(cluster: Cluster) -> Demo:
    """A namespace as on the first day: what an earlier telling left goes, its bytes in the bucket may stay."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=170s", seconds=180)
    folder = prepared()
    sizes = upload(cluster.s3, folder)
    cluster.kubectl("apply", "-k", str(EXAMPLE / "platform"))
    _secret(cluster)
    demo = Demo(
        cluster,
        # Alice may approve, too, but not what she trained herself.
        alice=Person("alice@example.com", cluster.user_kubeconfig("alice@example.com", [APPROVERS]), NAMESPACE),
        bob=Person("bob@example.com", cluster.user_kubeconfig("bob@example.com", [APPROVERS]), NAMESPACE),
        carol=Person("carol@example.com", cluster.user_kubeconfig("carol@example.com"), NAMESPACE),
        folder=folder,
    )
    demo.facts["uploaded"] = sizes
    return demo


def _secret(cluster: Cluster) -> None:
    """The bucket's key pair, where the Connections look for it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bucket", "namespace": NAMESPACE},
        "stringData": {
            "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(secret))


def _ingest(demo: Demo) -> None:
    demo.alice.kubectl("apply", "-k", str(EXAMPLE))
    demo.facts["commit"] = demo.alice.get("trainingrun", CHAMPION)["spec"]["code"]["commit"]
    for connection in ("storage", "lake", "code"):
        demo.alice.until_ready("connection", connection, 120)
    for name in DATASETS:
        status = demo.alice.until_ready("dataset", name, 300)["status"]
        tests = {t["name"]: t for t in status["tests"]}
        demo.facts.setdefault("datasets", {})[name] = {"rows": status["latestSnapshot"]["rows"], "tests": tests}
        passed = sum(t["verdict"] == "Pass" for t in tests.values())
        say(f"    {name}: {status['latestSnapshot']['rows']:,} rows, {passed} of {len(tests)} tests passed")
    _refused_split(demo)


def _refused_split(demo: Demo) -> None:
    """A shuffled split on data with an event time, without a reason, must be refused."""
    demo.alice.kubectl("apply", "-f", str(EXAMPLE / "refused" / "shuffled-split.yaml"))
    raw = _stalled(demo.alice, "trainingrun", "late-arrival-shuffled", "ShuffledSplitRefused")
    demo.facts["shuffled"] = condition(raw, "Ready")["message"]
    demo.alice.kubectl("delete", "trainingrun", "late-arrival-shuffled")


def _stalled(person: Person, kind: str, name: str, reason: str, seconds: float = 60) -> Raw:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        raw = person.get(kind, name)
        if raw and condition(raw, "Stalled").get("reason") == reason:
            return raw
        time.sleep(0.5)
    raise DemoError(f"{kind}/{name} did not stall with {reason} in {seconds} s: {condition(raw, 'Ready')}")


def _champion(demo: Demo) -> None:
    started = time.monotonic()
    run = demo.alice.until_ready("trainingrun", CHAMPION, 300)
    demo.facts["champion"] = {"trained": time.monotonic() - started, "claims": run["status"].get("metrics", {})}
    demo.facts["champion"] |= _approved(demo, CHAMPION)


def _approved(demo: Demo, version: str) -> dict[str, Any]:
    """Wait for the gates, see the author's own approval refused, and have another person approve."""
    judged = demo.alice.until(
        "modelversion", version, "judged", lambda raw: condition(raw, "GatesPassed").get("status") == "True", 240
    )
    own = demo.alice.attempt("plumbline", "approve", version, "--group", APPROVERS)
    if own.returncode == 0 or "approver" not in own.stderr:
        raise DemoError(f"{version}: its author's approval was not refused as such: {own.stderr or 'it was accepted'}")
    demo.facts.setdefault("refused", {})[f"self-approval of {version}"] = own.stderr.strip()
    demo.bob.kubectl("plumbline", "approve", version, "--group", APPROVERS, "--comment", "gates passed")
    demo.alice.until_ready("modelversion", version, 60)
    gates = {g["name"]: g for g in judged["status"]["gates"]}
    return {"metrics": judged["status"]["evaluation"]["metrics"], "gates": gates}


def _serve(demo: Demo) -> None:
    demo.carol.until_ready("modeldeployment", DEPLOYMENT, 240)
    url = f"http://127.0.0.1:{NODE_PORT}/v2/models/{MODEL}/infer"
    demo.traffic = Traffic(url, _held_out(demo), RATE)
    demo.traffic.start()
    _until(lambda: sum(demo.traffic.tally.answered.values()) > RATE, 60, "the first requests to be answered")


def _held_out(demo: Demo) -> Callable[[], Iterator[Request]]:
    """September to December in an order that mixes the seasons, so that the window looks like the year."""
    return _requests(demo, "2013-09-01", "2014-01-01")


def _summer(demo: Demo) -> Callable[[], Iterator[Request]]:
    """July and August: the weather no training row has seen."""
    return _requests(demo, "2013-07-01", "2013-09-01")


def _requests(demo: Demo, since: str, until: str) -> Callable[[], Iterator[Request]]:
    from examples.flights.replay import requests

    rows = pl.read_parquet(demo.folder / "features" / "departures.parquet")

    def endless() -> Iterator[Request]:
        return itertools.chain.from_iterable(requests(rows, since, until, seed=n) for n in itertools.count())

    return endless


def _challenger(demo: Demo) -> None:
    demo.alice.kubectl("apply", "-f", str(EXAMPLE / "challenger.yaml"))
    demo.alice.until_ready("trainingrun", CHALLENGER, 300)
    refused = demo.carol.attempt(*_release_patch(CHALLENGER))
    raw = demo.carol.until(
        "modeldeployment",
        DEPLOYMENT,
        "refusing the unapproved version",
        lambda raw: condition(raw, "Ready").get("reason") in REFUSING,
        60,
    )
    demo.facts.setdefault("refused", {})["unapproved version"] = refused.stderr or condition(raw, "Ready")["message"]
    demo.carol.kubectl(*_release_patch(CHAMPION))
    demo.facts["challenger"] = _approved(demo, CHALLENGER)


def _release_patch(version: str) -> tuple[str, ...]:
    patch = json.dumps({"spec": {"versionRef": {"name": version}}})
    return ("patch", "modeldeployment", DEPLOYMENT, "--type", "merge", "--patch", patch)


def _release(demo: Demo) -> None:
    demo.carol.until_ready("modeldeployment", DEPLOYMENT, 60)
    demo.carol.kubectl(*_release_patch(CHALLENGER))
    seen: dict[str, Raw] = {}
    canary = CanaryWatch(demo.traffic.tally)

    def watch(raw: Raw) -> bool:
        """Keep the last status of each reason, so that the numbers of every step outlive the step."""
        status, ready = raw.get("status", {}), condition(raw, "Ready")
        if ready:
            seen[ready["reason"]] = status
            canary.look(status)
        return ready.get("status") == "True" and status.get("stable", {}).get("version") == CHALLENGER

    demo.carol.until("modeldeployment", DEPLOYMENT, "promoted", watch, 420)
    demo.facts["release"] = {"reasons": list(seen), "canary": canary.facts(), "shadow": _shadow_facts(seen)}


def _shadow_facts(seen: dict[str, Raw]) -> dict[str, Any]:
    for status in reversed(list(seen.values())):
        if status.get("shadow", {}).get("pairs"):
            return dict(status["shadow"])
    return {}


def _drift(demo: Demo) -> None:
    served = demo.carol.get("modeldeployment", DEPLOYMENT)["status"]["stable"]["variant"]
    promoted = demo.traffic.tally.answered[served]
    _until(lambda: demo.traffic.tally.answered[served] > promoted + WINDOW_REQUESTS, 120, "calm requests")
    calm = _evaluated(demo, "calm")
    demo.facts["drift"] = {"before": _drift_facts(calm)}
    demo.traffic.replay(_summer(demo))
    before = demo.traffic.tally.answered[served]
    _until(lambda: demo.traffic.tally.answered[served] > before + WINDOW_REQUESTS, 120, "summer requests")
    shifted = _evaluated(demo, "shifted")
    if condition(shifted, "Drifting").get("status") != "True":
        raise DemoError(f"the monitor saw no drift: {condition(shifted, 'Drifting')}")
    demo.facts["drift"]["after"] = _drift_facts(shifted)
    runs = [r["metadata"]["name"] for r in demo.alice.list("trainingrun")]
    demo.facts["drift"]["runs"] = runs
    demo.traffic.replay(_held_out(demo))


def _evaluated(demo: Demo, request: str) -> Raw:
    """Ask the monitor for an evaluation now, and wait for its answer to this very request."""
    demo.carol.kubectl("plumbline", "refresh", "DriftMonitor", MONITOR)
    asked = demo.carol.get("driftmonitor", MONITOR)["metadata"]["annotations"]["plumbline.dev/requested-at"]
    return demo.carol.until(
        "driftmonitor",
        MONITOR,
        f"evaluated ({request})",
        lambda raw: (
            raw.get("status", {}).get("lastRequestedAt") == asked
            and condition(raw, "Ready").get("reason") != "Evaluating"
            and bool(raw["status"].get("values"))
        ),
        180,
    )


def _drift_facts(raw: Raw) -> dict[str, Any]:
    status = raw["status"]
    return {
        "values": {v["name"]: v["psi"] for v in status["values"]},
        "rows": status["lastWindow"]["rows"],
        "drifting": condition(raw, "Drifting"),
        "report": status.get("report", {}),
        "window": status["lastWindow"],
    }


def _rollback(demo: Demo) -> None:
    """Pin the champion again; the time runs from before the command until the old version alone answers."""
    tally = demo.traffic.tally
    bad = demo.carol.get("modeldeployment", DEPLOYMENT)["status"]["stable"]["variant"]
    started = time.monotonic()
    demo.carol.kubectl("plumbline", "rollback", DEPLOYMENT, "--reason", "late flights are no longer foreseen")
    issued = time.monotonic()
    demo.carol.until(
        "modeldeployment",
        DEPLOYMENT,
        "pinned",
        lambda raw: condition(raw, "Ready").get("reason") == "Pinned",
        ROLLBACK_SECONDS,
    )
    seen = sum(tally.answered.values())
    _until(lambda: sum(tally.answered.values()) > seen + 3 * RATE, 60, "requests after the pin")
    demo.facts["rollback"] = {
        "command_seconds": issued - started,
        "seconds": max(0.0, tally.last_seen.get(bad, started) - issued),
        "seconds_from_start": max(0.0, tally.last_seen.get(bad, started) - started),
        "from": bad,
    }


def _end_traffic(demo: Demo) -> Tally:
    tally = demo.traffic.stop()
    latencies = sorted(tally.latencies)
    demo.facts["traffic"] = {
        "requests": tally.sent,
        "answered": sum(tally.answered.values()),
        "failed": len(tally.failures),
        "first_failures": tally.failures[:5],
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
        "by_variant": dict(tally.answered),
    }
    if tally.failures:
        raise DemoError(f"{len(tally.failures)} of {tally.sent} requests failed: {tally.failures[:5]}")
    return tally


def _lineage(demo: Demo, tally: Tally) -> None:
    """Explain the last prediction, once its segment of the log has been flushed."""
    deadline = time.monotonic() + 60
    arguments = ("plumbline", "explain", tally.last_prediction, "--s3-endpoint", demo.cluster.s3.host_endpoint)
    while True:
        done = demo.carol.attempt(*arguments, "-o", "json")
        if done.returncode == 0:
            break
        if time.monotonic() > deadline:
            raise DemoError(f"explain {tally.last_prediction}: {done.stderr}")
        time.sleep(1)
    demo.facts["lineage"] = {
        "prediction": tally.last_prediction,
        "chain": json.loads(done.stdout),
        "verified": done.stderr.strip(),
        "at": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    say("\n" + demo.carol.kubectl(*arguments))


def _until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)
