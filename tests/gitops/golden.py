"""The golden path as the repository of a team: the flights example's own files, and what is committed later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plumbline_contract.report import Outcome, Report, TestVerdict
from plumbline_operator.model.meta import GROUP, VERSION, Manifest
from tests.support.pod_actor import Death, Stuck, good_report

EXAMPLE = Path("examples/flights")
FILES = ("connections.yaml", "datasets.yaml", "model.yaml", "champion.yaml", "deployment.yaml", "drift.yaml")
NAME = "late-arrival"  # of the model, its deployment and its monitor
CHAMPION, CHALLENGER = "late-arrival-logistic", "late-arrival-boosted"
BAD = "departures-copy"


def files() -> dict[str, str]:
    """What is committed first: name → text, as the example has it."""
    return {name: (EXAMPLE / name).read_text() for name in FILES}


def challenger() -> dict[str, str]:
    """The run of the next version."""
    return {"challenger.yaml": (EXAMPLE / "challenger.yaml").read_text()}


def deployment(version: str, **annotations: str) -> dict[str, list[Manifest]]:
    """The deployment's file, with this version."""
    manifest = yaml.safe_load((EXAMPLE / "deployment.yaml").read_text())
    manifest["spec"]["versionRef"]["name"] = version
    if annotations:
        manifest["metadata"]["annotations"] = {f"example.com/{key}": value for key, value in annotations.items()}
    return {"deployment.yaml": [manifest]}


def approval(version: Manifest, approver: str = "bob@example.com") -> dict[str, list[Manifest]]:
    """A file with somebody's consent to a live ModelVersion."""
    spec, name = version["spec"], version["metadata"]["name"]
    about = {"name": name, "manifest": spec["manifest"], "author": spec["author"]}
    decision = {"approver": approver, "group": "ml-approvers", "version": about, "decision": "Approve"}
    return {f"approval-{name}.yaml": [_object("Approval", name, decision)]}


def pin(version: str) -> Manifest:
    """An on-call engineer's lever."""
    about = {"deploymentRef": {"name": NAME}, "versionRef": {"name": version}, "reason": "Late flights are missed."}
    return _object("ReleasePin", "incident", about)


def bad_dataset() -> dict[str, list[Manifest]]:
    """The file of a Dataset whose test will fail."""
    source = {"connectionRef": {"name": "lake"}, "key": "raw/copy.csv", "format": "CSV"}
    columns = [{"name": "late", "type": "Int64"}]
    tests = [{"name": "enough", "rowCount": {"min": 1_000_000}}]
    return {"copy.yaml": [_object("Dataset", BAD, {"source": source, "columns": columns, "tests": tests})]}


@dataclass(slots=True)
class Cast:
    """How Jobs end. `held`: verbs whose Jobs run on and on."""

    held: set[str] = field(default_factory=set)
    otherwise: Callable[[Any], Report] = good_report

    def play(self, spec: Any) -> Report | Death | Stuck | None:
        """For the pod actor."""
        if spec.verb in self.held:
            return None
        if spec.owner.name == BAD:
            verdict = TestVerdict(name="enough", verdict="Fail", value=3, bound=">= 1000000", message="3 rows")
            words = "Test enough failed: 3 rows, at least 1000000 wanted."
            return Report(outcome=Outcome.REFUSED, reason="TestFailed", message=words, verdicts=(verdict,))
        return self.otherwise(spec)


def _object(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": spec}
