"""The API server's audit policy: who did what for every request, and the bodies of our own writes."""

from __future__ import annotations

import json
from pathlib import Path

# What the operator makes for its custom resources: its writes to these are what tests count and compare.
CHILD_GROUPS: dict[str, list[str]] = {
    "": ["configmaps", "services", "persistentvolumeclaims"],
    "apps": ["deployments", "deployments/scale", "statefulsets"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["jobs", "cronjobs"],
    "gateway.networking.k8s.io": [],
    "networking.k8s.io": ["networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}
OWN_GROUP = "plumbline.dev"
WRITES = ["create", "update", "patch", "delete", "deletecollection"]


def write_policy(path: Path) -> Path:
    """Writes the policy file: Request level for writes of our kinds and their children, Metadata else."""
    groups: list[dict[str, object]] = [{"group": OWN_GROUP}]
    groups += [{"group": group, **({"resources": kinds} if kinds else {})} for group, kinds in CHILD_GROUPS.items()]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        # One line per request, when it is answered (a watch: when it begins and when it ends).
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Request", "verbs": WRITES, "resources": groups},
            {"level": "Metadata"},
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(policy, indent=2))
    return path
