"""The golden path on a real node: what the demo measured is true, and what it left can be relied on."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_contract import layout
from plumbline_contract.prediction import parse_prediction_id
from tests.e2e import truth
from tests.e2e.conftest import Told
from tests.support.demo.data import BUCKET, EXAMPLE, client_of
from tests.support.demo.people import condition
from tests.support.demo.story import DEPLOYMENT, MODEL, NODE_PORT
from tests.support.demo.traffic import Traffic

pytestmark = [pytest.mark.bed_b, pytest.mark.timeout(3600)]

OPERATOR = "system:serviceaccount:plumbline-system:plumbline"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
QUIET_SECONDS = 60


def test_the_tables_have_the_rows_nulls_and_orphans_of_the_real_data(told: Told) -> None:
    flights = told.facts["datasets"]["flights"]
    assert flights["rows"] == 336_776
    assert flights["tests"]["arrival-delay-known"]["value"] == pytest.approx(9_430 / 336_776, rel=1e-5)
    assert flights["tests"]["tail-number-known"]["value"] == pytest.approx(2_512 / 336_776, rel=1e-5)
    assert flights["tests"]["plane-exists"]["value"] == 50_094
    assert flights["tests"]["one-row-a-departure"]["value"] == 0
    assert told.facts["datasets"]["departures"]["rows"] == 336_776 - 9_430


def test_the_challenger_is_honest_and_better(told: Told) -> None:
    champion, challenger = (told.facts[who]["metrics"]["auc"] for who in ("champion", "challenger"))
    assert challenger >= 0.70
    assert challenger > champion
    assert all(
        gate["verdict"] == "Pass" for who in ("champion", "challenger") for gate in told.facts[who]["gates"].values()
    )


def test_a_shuffled_split_is_refused_with_the_way_out(told: Told) -> None:
    assert "reason" in told.facts["shuffled"]


def test_a_canary_gets_its_share_and_moves_nobody(told: Told) -> None:
    canary = told.facts["release"]["canary"]
    assert canary["asked"] == 5
    assert canary["requests"] >= 5_000
    assert 4.0 <= canary["share"] <= 6.0
    assert 4.0 <= canary["router_share"] <= 6.0
    assert canary["moved"] == 0


def test_no_request_failed(told: Told) -> None:
    assert told.facts["traffic"]["failed"] == 0
    assert told.facts["traffic"]["answered"] == told.facts["traffic"]["requests"]


def test_after_a_pin_only_the_old_version_answers_within_two_seconds(told: Told) -> None:
    assert told.facts["rollback"]["seconds"] <= 2.0


def test_the_alarm_rose_with_the_weather_and_trained_nothing(told: Told) -> None:
    drift = told.facts["drift"]
    assert drift["before"]["drifting"]["status"] == "False"
    assert drift["after"]["drifting"]["status"] == "True"
    assert "temp" in drift["after"]["drifting"]["message"]
    assert sorted(drift["runs"]) == ["late-arrival-boosted", "late-arrival-logistic"]


def test_psi_of_temperature_equals_an_independent_computation(told: Told) -> None:
    after = told.facts["drift"]["after"]
    assert after["values"]["temp"] == pytest.approx(truth.psi_of_temp(told, after["window"]), rel=0.01)


def test_every_object_reads_as_expected(told: Told) -> None:
    expected = yaml.safe_load((EXAMPLE / "expect.yaml").read_text())
    for kind, objects in expected.items():
        for name, reason in objects.items():
            raw = told.admin.get(kind, name)
            assert condition(raw, "Ready").get("reason") == reason, f"{kind}/{name}: {condition(raw, 'Ready')}"


def test_what_was_applied_is_what_lies_there(told: Told) -> None:
    for path in sorted(EXAMPLE.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document.get("apiVersion", "").startswith("plumbline.dev/"):
                _same(told, path, document)


def _same(told: Told, path: Path, document: dict[str, Any]) -> None:
    """The live spec, labels and annotations hold exactly what the file says, and defaults of the schema."""
    live = told.admin.get(document["kind"], document["metadata"]["name"])
    spec = json.loads(json.dumps(document["spec"], default=str))
    if document["kind"] == "ModelDeployment":
        spec["versionRef"] = live["spec"]["versionRef"]  # the release changed it, as a commit would
    assert _holds(spec, live["spec"]), f"{path}: {document['kind']} {document['metadata']['name']}"
    assert live["metadata"].get("labels", {}) == document["metadata"].get("labels", {})
    ours = {k for k in live["metadata"].get("annotations", {}) if not k.startswith("kubectl.kubernetes.io/")}
    assert ours <= {"plumbline.dev/requested-at"}  # asked for by a person, in the drift stage


def _holds(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(k in found and _holds(v, found[k]) for k, v in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(_holds(a, b) for a, b in zip(wanted, found, strict=True))
    return bool(wanted == found)


def test_a_settled_world_is_silent(told: Told) -> None:
    """No write by the operator in 60 s, read from the API server's own audit log.

    The renewal of its Lease is the one exception: it is how a leader lives, and touches no object of anybody.
    """
    offset = told.cluster.audit_log.stat().st_size
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(5.0, max(0.0, deadline - time.monotonic())))
    with told.cluster.audit_log.open() as log:
        log.seek(offset)
        entries = [json.loads(line) for line in log if line.strip().endswith("}")]
    writes = Counter(
        f"{e['verb']} {e['objectRef'].get('resource')}/{e['objectRef'].get('name')}"
        for e in entries
        if e["user"]["username"] == OPERATOR
        and e["verb"] in WRITES
        and e["objectRef"].get("resource") not in ("leases", "selfsubjectaccessreviews")
    )
    assert entries, "the audit log did not grow; the API server is not being watched"
    assert not writes


def test_a_prediction_is_explained_and_a_flipped_byte_is_found(told: Told) -> None:
    prediction = told.facts["lineage"]["prediction"]
    arguments = ("plumbline", "explain", prediction, "--s3-endpoint", told.cluster.s3.host_endpoint, "-o", "json")
    chain = json.loads(told.carol.kubectl(*arguments))
    titles = truth.titles(chain)
    assert {"prediction", "model version", "training run", "data snapshot", "approval", "evaluation"} <= titles
    facts = truth.link(chain, "training run")
    assert facts["commit"] == told.facts["commit"]
    assert truth.link(chain, "approval")["approver"] == "bob@example.com"
    parse_prediction_id(prediction)

    key = truth.link(chain, "model version")["digests"][0]["key"]
    s3 = client_of(told.cluster.s3)
    whole = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=key, Body=whole[:-1] + bytes([whole[-1] ^ 0x20]))
    try:
        done = told.carol.attempt(*arguments)
        assert done.returncode == 1
        assert key in done.stderr
    finally:
        s3.put_object(Bucket=BUCKET, Key=key, Body=whole)
    assert layout.BLOBS in key
    assert told.carol.attempt(*arguments).returncode == 0


def test_a_gpu_run_waits_with_the_resource_and_starts_when_the_node_offers_it(told: Told) -> None:
    run = yaml.safe_load((EXAMPLE / "challenger.yaml").read_text())
    run["metadata"]["name"] = "late-arrival-gpu"
    del run["spec"]["modelRef"]
    run["spec"]["resources"] = {
        "requests": {"cpu": "100m", "memory": "1Gi"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"},
    }
    told.alice.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(run))
    started = time.monotonic()
    raw = told.alice.until(
        "trainingrun",
        "late-arrival-gpu",
        "unschedulable",
        lambda raw: condition(raw, "Ready").get("reason") == "Unschedulable",
        60,
    )
    assert time.monotonic() - started <= 60
    assert "nvidia.com/gpu" in condition(raw, "Ready")["message"]
    patch = json.dumps([{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "1"}])
    node = told.admin.kubectl("get", "nodes", "-o", "name").strip()
    told.admin.kubectl("patch", node, "--subresource=status", "--type=json", f"--patch={patch}")
    told.alice.until_ready("trainingrun", "late-arrival-gpu", 300)
    told.alice.kubectl("delete", "trainingrun", "late-arrival-gpu")


def test_identity_rules_hold_while_the_operator_is_down(told: Told) -> None:
    """Scaled to zero: a forged author and a self-approval are refused by the API server itself."""
    told.admin.kubectl("-n", "plumbline-system", "scale", "deployment/plumbline", "--replicas=0")
    try:
        told.admin.kubectl("-n", "plumbline-system", "wait", "--for=delete", "pod", "--all", "--timeout=60s")
        run = yaml.safe_load((EXAMPLE / "challenger.yaml").read_text())
        run["metadata"]["name"] = "forged"
        run["spec"]["author"] = "mallory@example.com"
        forged = told.alice.attempt("apply", "-f", "-", stdin=yaml.safe_dump(run))
        assert forged.returncode != 0
        assert "mallory@example.com" in forged.stderr
        approval = told.alice.attempt("plumbline", "approve", "late-arrival-boosted")
        assert approval.returncode != 0
        assert "the author of a version" in approval.stderr
    finally:
        told.admin.kubectl("-n", "plumbline-system", "scale", "deployment/plumbline", "--replicas=1")
        told.admin.kubectl("-n", "plumbline-system", "rollout", "status", "deployment/plumbline", "--timeout=120s")


def test_a_server_that_is_deleted_under_traffic_fails_nobody(told: Told) -> None:
    """One pod serves; it goes, answers until its successor is ready, and no caller notices."""
    traffic = Traffic(f"http://127.0.0.1:{NODE_PORT}/v2/models/{MODEL}/infer", truth.departures(), per_second=50)
    traffic.start()
    variant = told.carol.get("modeldeployment", DEPLOYMENT)["status"]["weights"]
    serving = next(name for name, weight in variant.items() if weight == 100)
    before = {pod["metadata"]["name"] for pod in told.admin.list("pods") if pod["metadata"]["name"].startswith(serving)}
    told.admin.kubectl("delete", "pod", *before)  # returns when they are gone
    told.admin.kubectl("rollout", "status", f"deployment/{serving}", "--timeout=60s")
    tally = traffic.stop()
    assert tally.failures == []
    assert sum(tally.answered.values()) == tally.sent >= 100
