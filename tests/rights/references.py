"""Every field by which one of our objects names another object, taken from the published schemas.

What counts, so that a new field cannot slip through:
  1. an object with a `name` of an object's form: a reference, whatever the field is called;
  2. a field whose name ends in Ref, Refs or From: a reference, whatever it looks like;
  3. any other text that nothing binds (no enumeration, no format, no digest): it must be listed in TEXTS or, where it
     is the name of an object after all, in NAMED.
`unclassified` gives what is in the schemas and in none of the lists here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plumbline_operator.model.meta import Manifest, Name

CRDS = Path("crds")
OBJECT_NAME = Name.model_json_schema()["properties"]["name"]["pattern"]
SUFFIXES = ("Ref", "Refs", "From")
DIGEST = "^sha256:"


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a kind's spec. path: from `spec`, with [] for any item of a list."""

    kind: str
    path: str
    schema: Any

    @property
    def place(self) -> str:
        """`Kind path`."""
        return f"{self.kind} {self.path}"

    @property
    def is_reference(self) -> bool:
        """Whether shape or name says that it names another object."""
        pattern = self.schema.get("properties", {}).get("name", {}).get("pattern")
        return pattern == OBJECT_NAME or self.path.rpartition(".")[2].removesuffix("[]").endswith(SUFFIXES)

    @property
    def is_text(self) -> bool:
        """Whether it is a text that nothing binds."""
        bound = "enum" in self.schema or "format" in self.schema or self.schema.get("pattern", "").startswith(DIGEST)
        return self.schema.get("type") == "string" and not bound


@dataclass(frozen=True, slots=True)
class Reference:
    """What a field names. followed: whether the operator reads that object; if not, why the field is there."""

    target: str
    followed: bool = True
    because: str = ""


RECORD = "lineage: what it was made from, which may be gone by now; nothing is read through it"

REFERENCES: dict[str, Reference] = {
    "Approval spec.version": Reference("ModelVersion"),
    "Connection spec.s3.secretRef": Reference("Secret"),
    "Dataset spec.storageRef": Reference("Connection"),
    "Dataset spec.source.connectionRef": Reference("Connection"),
    "Dataset spec.tests[].foreignKey.dataset": Reference("Dataset"),
    "DatasetSnapshot spec.datasetRef": Reference("Dataset", followed=False, because=RECORD),
    "DatasetSnapshot spec.storageRef": Reference("Connection", followed=False, because=RECORD),
    "DriftMonitor spec.deploymentRef": Reference("ModelDeployment"),
    "ModelDeployment spec.modelRef": Reference("RegisteredModel"),
    "ModelDeployment spec.versionRef": Reference("ModelVersion"),
    "ModelVersion spec.modelRef": Reference("RegisteredModel"),
    "ModelVersion spec.runRef": Reference("TrainingRun", followed=False, because=RECORD),
    "ModelVersion spec.storageRef": Reference("Connection"),
    "RegisteredModel spec.storageRef": Reference("Connection"),
    "RegisteredModel spec.golden.datasetRef": Reference("Dataset"),
    "RegisteredModel spec.golden.snapshotRef": Reference("DatasetSnapshot"),
    "ReleasePin spec.deploymentRef": Reference("ModelDeployment"),
    "ReleasePin spec.versionRef": Reference("ModelVersion"),
    "TrainingRun spec.storageRef": Reference("Connection"),
    "TrainingRun spec.modelRef": Reference("RegisteredModel"),
    "TrainingRun spec.code.connectionRef": Reference("Connection"),
    "TrainingRun spec.inputs[].datasetRef": Reference("Dataset"),
    "TrainingRun spec.inputs[].snapshotRef": Reference("DatasetSnapshot"),
}

NAMED: dict[str, Reference] = {  # references written as plain text
    "ModelVersion spec.snapshots[].dataset": Reference("Dataset", followed=False, because=RECORD),
    "ModelVersion spec.snapshots[].snapshot": Reference("DatasetSnapshot"),
}

TEXTS: dict[str, tuple[str, ...]] = {  # what a text is → where
    "a person, a team or a group": (
        "Approval spec.approver",
        "Approval spec.group",
        "Approval spec.version.author",
        "ModelVersion spec.author",
        "RegisteredModel spec.approvals.groups[]",
        "RegisteredModel spec.owner",
        "TrainingRun spec.author",
    ),
    "words for people": (
        "Approval spec.comment",
        "Dataset spec.columns[].description",
        "RegisteredModel spec.description",
        "ReleasePin spec.reason",
        "TrainingRun spec.split.reason",
    ),
    "an address outside the cluster's objects, reached with the namespace's own credentials": (
        "Connection spec.git.url",
        "Connection spec.s3.bucket",
        "Connection spec.s3.endpoint",
        "Connection spec.s3.prefix",
        "Connection spec.s3.region",
        "Dataset spec.source.key",
        "DriftMonitor spec.runbookURL",
    ),
    "a column, an input or an output of a table or model": (
        "Dataset spec.columns[].name",
        "Dataset spec.eventTime.column",
        "Dataset spec.tests[].allowedSet.column",
        "Dataset spec.tests[].foreignKey.column",
        "Dataset spec.tests[].foreignKey.referencedColumn",
        "Dataset spec.tests[].nullShare.column",
        "Dataset spec.tests[].range.column",
        "Dataset spec.tests[].regex.column",
        "Dataset spec.tests[].uniqueKey.columns[]",
        "DatasetSnapshot spec.columns[].name",
        "DatasetSnapshot spec.dropped[]",
        "DatasetSnapshot spec.eventTime",
        "DriftMonitor spec.features.only[]",
        "DriftMonitor spec.features.overrides[].name",
        "ModelDeployment spec.agreement.output",
        "RegisteredModel spec.gates[].slices.columns[]",
        "RegisteredModel spec.golden.label",
        "RegisteredModel spec.golden.predictionOutput",
    ),
    "a value of a cell, or how cells are written": (
        "Dataset spec.columns[].allowed[]",
        "Dataset spec.source.delimiter",
        "Dataset spec.source.nullValues[]",
        "Dataset spec.tests[].allowedSet.values[]",
        "Dataset spec.tests[].regex.pattern",
    ),
    "the name of a part of the same object": (
        "Dataset spec.tests[].name",
        "ModelDeployment spec.strategy.steps[].name",
        "ModelVersion spec.snapshots[].input",
        "RegisteredModel spec.gates[].name",
        "TrainingRun spec.inputs[].name",
        "TrainingRun spec.split.input",
        "TrainingRun spec.split.parts[].name",
    ),
    "what the user's own container is and gets": (
        "ModelVersion spec.imageDigest",
        "TrainingRun spec.code.commit",
        "TrainingRun spec.code.path",
        "TrainingRun spec.command[]",
        "TrainingRun spec.image",
        "TrainingRun spec.parameters{}",
    ),
    "a moment": ("DatasetSnapshot spec.firstEvent", "DatasetSnapshot spec.lastEvent"),
}


def fields() -> list[Field]:
    """Every property of every kind's spec, from the published CustomResourceDefinitions."""
    found = []
    for path in sorted(CRDS.glob("plumbline.dev_*.yaml")):
        crd = yaml.safe_load(path.read_text())
        for version in crd["spec"]["versions"]:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
            found += [Field(crd["spec"]["names"]["kind"], place, schema) for place, schema in _walk("spec", spec)]
    return found


def classified() -> dict[str, Reference]:
    """Every reference that is known, by `Kind path`."""
    return REFERENCES | NAMED


def unclassified(everything: list[Field]) -> list[str]:
    """Fields that may name another object and of which nobody has said whether they do."""
    texts = {place for places in TEXTS.values() for place in places}
    parts = {f"{place}.name" for place in REFERENCES}
    return [
        one.place
        for one in everything
        if (one.is_reference and one.place not in REFERENCES)
        or (one.is_text and one.place not in texts | parts | NAMED.keys())
    ]


def forgotten(everything: list[Field]) -> list[str]:
    """What the lists name and the schemas do not have any more."""
    places = {one.place for one in everything}
    listed = {*REFERENCES, *NAMED, *(place for texts in TEXTS.values() for place in texts)}
    return sorted(listed - places)


def pointing(obj: Manifest, path: str, name: str, **more: str) -> Manifest:
    """The object with this reference naming `name`; `more` is smuggled in beside it."""
    changed = copy.deepcopy(obj)
    *way, last = path.split(".")
    here = changed
    for part in way:
        here = here[part.removesuffix("[]")]
        here = here[0] if part.endswith("[]") else here
    written: Any = name if f"{obj['kind']} {path}" in NAMED else {**_rest(here.get(last)), "name": name, **more}
    here[last] = written
    return changed


def _rest(before: Any) -> dict[str, Any]:
    """What a reference carries besides the name: an Approval's subject does."""
    return before if isinstance(before, dict) else {}


def _walk(path: str, schema: Any) -> Iterator[tuple[str, Any]]:
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}", part
        yield from _walk(f"{path}.{name}", part)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        part = schema.get(key)
        if isinstance(part, dict):
            yield f"{path}{mark}", part
            yield from _walk(f"{path}{mark}", part)


def word(text: str) -> str:
    """A text as part of an object's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
