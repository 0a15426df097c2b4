"""Renders the chart, and from it the kustomize base: `python -m tests.support.render` writes the base."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster.programs import KUBERNETES_VERSION
from tests.support.cluster.progress import run
from tests.support.helm import helm_program

CHART = Path("charts/plumbline")
BASE = Path("charts/kustomize/install.yaml")
NAMESPACE = "plumbline-system"
HEAD = "# Rendered from charts/plumbline by `python -m tests.support.render`; the CRDs come from ../../crds.\n"


def render(*arguments: str) -> str:
    """What the chart renders to with these arguments, as YAML documents. Raises ClusterError with helm's words."""
    version = f"--kube-version={KUBERNETES_VERSION}"
    return run([helm_program(), "template", "plumbline", CHART, "-n", NAMESPACE, version, *arguments])


def documents(*arguments: str) -> list[dict[str, Any]]:
    """The same, read."""
    return [document for document in yaml.safe_load_all(render(*arguments)) if document]


def base() -> str:
    """The kustomize base: the chart with its defaults, without what only Helm reads."""
    kept = [_without_helm(document) for document in documents("--set=crds.enabled=false")]
    return HEAD + yaml.safe_dump_all(kept, sort_keys=False, width=120)


def _without_helm(document: dict[str, Any]) -> dict[str, Any]:
    for labels in _labels(document):
        labels.pop("helm.sh/chart", None)
    return document


def _labels(document: dict[str, Any]) -> Sequence[dict[str, str]]:
    template = document.get("spec", {}).get("template", {}).get("metadata", {})
    return [meta["labels"] for meta in (document["metadata"], template) if "labels" in meta]


if __name__ == "__main__":
    BASE.write_text(base())
    print(f"wrote {BASE}", file=sys.stderr)
