"""What a verb hands back, and how it is written: first the full result in the bucket, then the report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plumbline_contract import layout
from plumbline_contract.base import canonical_json
from plumbline_contract.report import Report
from plumbline_contract.runspec import Owner
from plumbline_jobs.io.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """The short report, and everything that did not fit into it (JSON-ready, finite numbers only)."""

    report: Report
    details: Mapping[str, Any] = field(default_factory=dict)


def keep(store: Store, owner: Owner, verb: str, answer: Answer) -> str:
    """Stores the full result as a blob and then its index, and returns the blob's digest.

    The index is the last object a Job writes: whoever finds it finds everything it names.
    """
    full = canonical_json({"verb": verb, "report": _plain(answer.report), "details": dict(answer.details)})
    digest = store.put_blob(full)
    index = {
        "kind": "Report",
        "verb": verb,
        "job": owner.job,
        "uid": owner.uid,
        "result": digest,
        "report": _plain(answer.report),
    }
    store.write(report_key(store, owner, verb), canonical_json(index))
    return digest


def report_key(store: Store, owner: Owner, verb: str) -> str:
    """The index's key. Fetch and collect are steps of one Job, so fetch's has its own suffix."""
    job = f"{owner.job}.fetch" if verb == "fetch" else owner.job
    return layout.report(store.prefix, owner.namespace, owner.kind, owner.name, job)


def _plain(report: Report) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(report.canonical())
    return plain
