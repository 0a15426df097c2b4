"""The table of measured facts with which the demo ends."""

from __future__ import annotations

from typing import Any

from tests.support.demo.narrate import table

Rows = list[tuple[str, str]]


def facts_table(facts: dict[str, Any]) -> str:
    """Everything the story measured, as text."""
    rows = [
        *_data(facts),
        *_models(facts),
        *_release(facts),
        *_drift(facts["drift"]),
        *_ends(facts),
    ]
    return table("Measured", rows)


def _data(facts: dict[str, Any]) -> Rows:
    rows: Rows = []
    for name, data in facts["datasets"].items():
        passed = sum(t["verdict"] == "Pass" for t in data["tests"].values())
        rows.append((f"dataset {name}", f"{data['rows']:,} rows, {passed} of {len(data['tests'])} tests passed"))
    flights = facts["datasets"]["flights"]["tests"]
    for test in flights.values():
        if "value" in test:
            rows.append((f"  {test['name']}", f"{test['value']:,.6g} (bound {test.get('bound', '')})"))
    rows.append(("shuffled split", facts["shuffled"][:100]))
    return rows


def _models(facts: dict[str, Any]) -> Rows:
    rows: Rows = [("training code", f"commit {facts['commit']}")]
    for who in ("champion", "challenger"):
        model = facts[who]
        rows.append((f"{who} AUC, July–August", f"{model['metrics']['auc']:.4f}"))
        for gate in model["gates"].values():
            value = f"{gate['value']:.4f}" if "value" in gate else ""
            rows.append((f"  gate {gate['name']}", f"{gate['verdict']} {value} {gate.get('bound', '')}".strip()))
    for what, text in facts["refused"].items():
        rows.append((f"refused: {what}", text.splitlines()[-1][:110]))
    return rows


def _release(facts: dict[str, Any]) -> Rows:
    shadow, canary, traffic = facts["release"]["shadow"], facts["release"]["canary"], facts["traffic"]
    return [
        ("shadow", f"{shadow['pairs']:,} pairs, agreement {shadow['agreement']:.4f}"),
        ("canary, asked", f"{canary['asked']} %"),
        ("canary, measured by clients", f"{canary['share']:.2f} % of {canary['requests']:,} requests"),
        ("canary, measured at the router", f"{canary.get('router_share', float('nan')):.2f} %"),
        ("units that changed arm in the canary", f"{canary['moved']} of {canary['units']:,}"),
        ("requests", f"{traffic['answered']:,} answered, {traffic['failed']} failed"),
        ("latency", f"p50 {traffic['p50_ms']:.1f} ms, p99 {traffic['p99_ms']:.1f} ms"),
    ]


def _drift(drift: dict[str, Any]) -> Rows:
    rows: Rows = []
    for when in ("before", "after"):
        values = ", ".join(f"{name} {psi:.3f}" for name, psi in drift[when]["values"].items())
        rows.append((f"PSI {when} the shift", f"{values} over {drift[when]['rows']:,} rows"))
        rows.append(
            ("  drifting", f"{drift[when]['drifting'].get('status')}: {drift[when]['drifting'].get('message')}"[:120])
        )
    rows.append(("drift report", drift["after"]["report"].get("key", "")))
    return rows


def _ends(facts: dict[str, Any]) -> Rows:
    rollback, lineage = facts["rollback"], facts["lineage"]
    after, whole = rollback["seconds"], rollback["seconds_from_start"]
    return [
        ("rollback", f"old version alone {after:.2f} s after the command returned, {whole:.2f} s after it began"),
        ("prediction", lineage["prediction"]),
        ("  lineage", lineage["verified"]),
    ]
