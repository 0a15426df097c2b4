"""Changes by hand: every published rule broken, and every documented reason for which a good-looking spec stalls.

A script changes the good spec of its kind, in one place where one is enough.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.fuzz.goods import AUTHOR, OTHER, OTHER_RUN, Spec, digest
from tests.fuzz.sites import at

LONG_AGO = "2013-01-01T00:00:00Z"
ITSELF = "@itself"  # stands for the object's own name
GOLDEN_SNAPSHOT = "@golden"  # stands for the name of the golden Dataset's snapshot


class Sort(StrEnum):
    """What must become of a change."""

    VALID = "valid"  # the schema allows it: taken, or refused by a published rule; then a decided status
    DANGLING = "dangling"  # names what is not there: not Ready, and says what is missing
    SCHEMA = "schema"  # breaks the schema: refused, with the field
    RULE = "rule"  # breaks a published rule: refused, with its message and the field
    FROZEN = "frozen"  # changes what never changes: refused
    MEANING = "meaning"  # passes the schema, and cannot work: Stalled, or refused


@dataclass(frozen=True, slots=True)
class Script:
    """One such change. `says`: part of the rule's message, or the reason it stalls with; `name`: of the object."""

    sort: Sort
    says: str
    way: str
    change: Callable[[Spec], Spec]
    name: str = ""


def to(*pairs: tuple[str, Any]) -> Callable[[Spec], Spec]:
    """Sets each `path/to/field` to a value; a number in the path is a place in a list, `...` takes the field away."""

    def change(spec: Spec) -> Spec:
        changed = copy.deepcopy(spec)
        for path, value in pairs:
            *above, last = (int(part) if part.isdigit() else part for part in path.split("/"))
            parent = at(changed, tuple(above))
            if value is ...:
                del parent[last]
            else:
                parent[last] = value
        return changed

    return change


def breaks(says: str, way: str, *pairs: tuple[str, Any], name: str = "") -> Script:
    """Breaks the rule with this message."""
    return Script(Sort.RULE, says, way, to(*pairs), name)


def stalls(says: str, way: str, *pairs: tuple[str, Any]) -> Script:
    """Stalls for this reason."""
    return Script(Sort.MEANING, says, way, to(*pairs))


def amounts(place: str, way: str) -> tuple[Script, ...]:
    """What is wrong with requests and limits wherever they stand. `place`: path, `way`: the field's name."""
    return (
        breaks("no request may be above its limit", way, (f"{place}/requests/memory", "3Gi")),
        breaks("every key must match", way, (f"{place}/requests/CPU", "1")),
        breaks("every key must match", way, (f"{place}/limits/-cpu", "1")),
        breaks("no key may be longer", way, (f"{place}/requests/{'c' * 254}", "1")),
        breaks("no key may be longer", way, (f"{place}/limits/{'c' * 254}", "1")),
        breaks("every key must match", way, (f"{place}/limits/nonsense", "1")),
        breaks("cannot be overcommitted", way, (f"{place}/requests", {"example.com/gpu": "1"})),
    )


def _shuffled() -> Spec:
    parts = [{"name": "train", "share": 0.8}, {"name": "validation", "share": 0.2}]
    return {"input": "flights", "strategy": "Shuffled", "parts": parts}


CONNECTION = (
    breaks("set exactly one of s3 and git", "", ("git", {"url": "https://git.example.com/x.git"})),
    *(
        breaks("must not be a link-local address", "s3.endpoint", ("s3/endpoint", f"http://{host}"))
        for host in ("169.254.169.254", "169.254.0.1:80", "[fe80::1]", "[fd00:ec2::254]", "metadata.google.internal")
    ),
    *(
        breaks("must name its host", "s3.endpoint", ("s3/endpoint", f"http://{host}"))
        for host in ("2852039166", "0xa9fea9fe", "169.16689662")
    ),
    breaks("must not climb", "s3.prefix", ("s3/prefix", "lake/../../other")),
    stalls("BucketNotFound", "s3.bucket", ("s3/bucket", "no-such-bucket")),
)

REPOSITORY = (
    breaks("must not be a link-local address", "git.url", ("git/url", "http://169.254.169.254/latest/meta-data")),
    breaks("must not be a link-local address", "git.url", ("git/url", "git://metadata.google.internal/x")),
    breaks("must name its host", "git.url", ("git/url", "http://0x7f.1/x.git")),
    breaks("set exactly one of s3 and git", "", ("s3", {"bucket": "team-data", "secretRef": {"name": "keys"}})),
)

DATASET = (
    breaks("eventTime.column must be a declared", "eventTime", ("eventTime/column", "distance")),
    breaks("eventTime.column must be a declared", "eventTime", ("columns/0/type", "String")),
    breaks("eventTime.column must be a declared", "columns", ("columns/0/handling", "Drop")),
    breaks("a column with pii: true", "columns", ("columns/1/handling", "Keep")),
    breaks("a column with pii: true", "columns", ("columns/3/pii", True)),
    breaks("min must not be larger than max", "columns", ("columns/2/min", 10_001)),
    breaks("set min, max or both", "tests", ("tests/0/rowCount", {})),
    breaks("min must not be larger than max", "tests", ("tests/0/rowCount/max", 3)),
    breaks("set min, max or both", "tests", ("tests/3/range", {"column": "distance"})),
    breaks("min must not be larger than max", "tests", ("tests/3/range/max", -1)),
    breaks("set exactly one of", "tests", ("tests/1/rowCount", {"min": 1})),
    breaks("set exactly one of", "tests", ("tests/2/uniqueKey", ...)),
    breaks("must refer to another Dataset", "tests", ("tests/6/foreignKey/dataset/name", ITSELF)),
    *amounts("resources", "resources"),
    stalls("InvalidSpec", "tests", ("tests/4/allowedSet/column", "unheard-of")),
    stalls("InvalidSpec", "tests", ("tests/2/uniqueKey/columns", ["at", "unheard-of"])),
    stalls("InvalidSpec", "columns", ("columns/3/allowed", [f"{n:0200d}" for n in range(900)])),
    stalls("SourceNotFound", "source.key", ("source/key", "no-such-key")),
)

SNAPSHOT = (Script(Sort.FROZEN, "a snapshot is immutable", "rows", to(("rows", 7))),)

MODEL = (
    breaks("since must be before until", "golden", ("golden/until", "2013-09-01T00:00:00Z")),
    breaks("give exactly one of minimum", "gates", ("gates/0/regression", {"metric": "f1", "maxPercent": 1})),
    breaks("give exactly one of minimum", "gates", ("gates/1/regression", ...)),
    breaks("must lie between the years", "golden.since", ("golden/since", "0001-01-01T00:00:00+14:00")),
    breaks("must lie between the years", "golden.until", ("golden/until", "9999-12-31T23:59:59-12:00")),
    breaks("name at least one column", "gates", ("gates/2/slices/columns", []), ("gates/2/slices/perMonth", False)),
    stalls("LabelNotFound", "golden.label", ("golden/label", "unheard-of")),
    stalls("StorageMismatch", "storageRef", ("storageRef/name", "lake")),
    stalls("SnapshotNotFound", "golden.snapshotRef", ("golden/snapshotRef", {"name": "flights-00000000"})),
    stalls("SnapshotNotFound", "golden.datasetRef", ("golden/snapshotRef", {"name": GOLDEN_SNAPSHOT})),
    stalls("EventTimeMissing", "golden", ("golden/datasetRef/name", "golden")),
)

RUN = (
    Script(Sort.FROZEN, "a run is immutable", "image", to(("image", "team/train:2"))),
    Script(Sort.FROZEN, "a run is immutable", "parameters", to(("parameters/depth", "7"))),
    breaks("give code with a commit", "", ("code", ...)),
    breaks("split.input must be the name", "split", ("split/input", "planes")),
    breaks("since must be before until", "split", ("split/parts/0/until", LONG_AGO.replace("2013", "2012"))),
    breaks("the windows of the parts must not overlap", "split", ("split/parts/1/since", LONG_AGO)),
    breaks("must lie between the years", "split", ("split/parts/0/since", "1066-10-14T00:00:00Z")),
    breaks("must lie between the years", "split", ("split/parts/1/until", "9999-12-31T23:59:59-12:00")),
    breaks("with strategy Time every part", "split", ("split/parts/1/share", 0.5)),
    breaks("with strategy Shuffled every part", "split", ("split/strategy", "Shuffled")),
    breaks(
        "the shares of the parts must not exceed 1",
        "split",
        ("split/strategy", "Shuffled"),
        ("split/reason", "Why not."),
        ("split/parts", [{"name": "train", "share": 0.8}, {"name": "validation", "share": 0.3}]),
    ),
    breaks("every key must match", "parameters", ("parameters/Depth", "1")),
    breaks("no key may be longer", "parameters", (f"parameters/{'p' * 64}", "1")),
    breaks("every key must match", "seeds", ("seeds/9", 1)),
    breaks("no key may be longer", "seeds", (f"seeds/{'s' * 64}", 1)),
    *amounts("resources", "resources"),
    stalls("ShuffledSplitRefused", "split", ("split", _shuffled())),
    stalls("InvalidSpec", "split", ("inputs/0/datasetRef/name", "golden")),
    stalls("SnapshotMismatch", "inputs", ("inputs/0/snapshotRef", {"name": GOLDEN_SNAPSHOT})),
    stalls("InvalidSpec", "parameters", ("parameters", {f"p{n}": "x" * 4096 for n in range(40)})),
    stalls("InvalidSpec", "command", ("command", ["x" * 4096] * 40)),
)

RECORD = (
    Script(Sort.FROZEN, "a version never changes", "metrics", to(("metrics/auc", 0.99))),
    breaks("since must be before until", "trainingWindow", ("trainingWindow/since", "2014-01-01T00:00:00Z")),
    breaks("must lie between the years", "trainingWindow", ("trainingWindow/since", "0001-01-01T00:00:00+14:00")),
    breaks("must lie between the years", "trainingWindow", ("trainingWindow/until", "9999-12-31T23:59:59-12:00")),
    stalls("StorageMismatch", "storageRef", ("storageRef/name", "lake")),
)

APPROVAL = (
    Script(Sort.FROZEN, "a decision never changes", "decision", to(("decision", "Deny"))),
    breaks("the author of a version cannot decide", "approver", ("approver", AUTHOR)),
    breaks("a ServiceAccount cannot decide", "approver", ("approver", "system:serviceaccount:team:robot")),
    breaks("must lie between the years", "expiresAt", ("expiresAt", "9999-12-31T23:59:59-12:00")),
    stalls("DigestMismatch", "version.manifest", ("version/manifest", digest(6))),
    stalls("AuthorMismatch", "version.author", ("version/author", "mallory@example.com")),
    stalls("Expired", "expiresAt", ("expiresAt", LONG_AGO)),
)

_STEPS = "strategy/steps"
DEPLOYMENT = (
    breaks("the name becomes a Service's", "metadata.name", name="9-starts-with-a-digit"),
    breaks("the name becomes a Service's", "metadata.name", name="has.dots"),
    breaks("min must not be larger than max", "realTime.replicas", ("realTime/replicas/min", 3)),
    breaks("autoscaling needs a CPU request", "realTime", ("realTime/resources/requests/cpu", ...)),
    breaks("the weights of canary steps must rise", "strategy", (f"{_STEPS}/1/canary/weight", 60)),
    breaks("the weights of canary steps must rise", "strategy", (f"{_STEPS}/1/canary/weight", 50)),
    breaks("shadow steps come before", "strategy", (f"{_STEPS}/2", {"name": "x", "shadow": {"percent": 5}})),
    breaks("give exactly one of shadow and canary", "strategy", (f"{_STEPS}/1/shadow", {"percent": 5})),
    breaks("give exactly one of shadow and canary", "strategy", (f"{_STEPS}/2/canary", ...)),
    breaks("minAgreement belongs to a shadow step", "strategy", (f"{_STEPS}/1/minAgreement", 0.5)),
    breaks("modelRef cannot change", "modelRef", ("modelRef/name", OTHER)),
    *amounts("realTime/resources", "realTime.resources"),
    stalls("VersionOfOtherModel", "versionRef", ("versionRef/name", OTHER_RUN)),
    stalls("Refused", "nodePort", ("nodePort", 80)),
)

PIN = (
    stalls("DeploymentNotFound", "deploymentRef", ("deploymentRef/name", "unheard-of")),
    breaks("must lie between the years", "expiresAt", ("expiresAt", "9999-12-31T23:59:59-12:00")),
    stalls("NeverServed", "versionRef", ("versionRef/name", OTHER_RUN)),
    stalls("NeverServed", "versionRef", ("versionRef/name", "unheard-of")),
    stalls("Expired", "expiresAt", ("expiresAt", LONG_AGO)),
)

MONITOR = (
    breaks("severity Page needs a runbookURL", "runbookURL", ("runbookURL", "")),
    breaks("severity Page needs a runbookURL", "runbookURL", ("runbookURL", ...)),
    breaks("overrides must name features in only", "features", ("features/overrides/0/name", "unheard-of")),
    *amounts("resources", "resources"),
    stalls("UnknownFeature", "features", ("features", {"only": ["unheard-of"]})),
    stalls("UnknownFeature", "features", ("features", {"overrides": [{"name": "unheard-of", "maxPSI": 1}]})),
)
