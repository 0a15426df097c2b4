"""Two teams with a namespace each: ours, where somebody points across, and theirs, which has what is pointed at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from plumbline_operator.kube.refs import CHILDREN, EVENTS, PODS
from plumbline_operator.model.meta import Manifest, Ref
from plumbline_operator.rooms import ROOMS
from tests.faults import objects as golden
from tests.rights.caller import Caller, placed
from tests.rights.ground import made, soon
from tests.rights.references import REFERENCES, classified, pointing, word
from tests.rooms import data_objects as data
from tests.rooms import registry_objects as registry
from tests.rooms import release_objects as release
from tests.support.worlds import ready_of

OURS, THEIRS = "team-ours", "team-theirs"
MARK = "canary-b"  # in every value of theirs, and in nothing of ours
NAME, REPOSITORY = "theirs", "theirs-code"  # of what exists in their namespace only
KINDS = {room.kind.kind: room.kind.ref for room in ROOMS}
SECRETS = Ref("", "v1", "secrets", "Secret")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
WORDS_OF_PATH = {"spec.code.connectionRef": REPOSITORY}  # code is no bucket
PATH_SECONDS = 120.0
TABLE = [{"name": "at", "type": "Timestamp"}, {"name": "late", "type": "Int64"}, {"name": "distance", "type": "Int64"}]


def secret(name: str, mark: str) -> Manifest:
    """Credentials."""
    values = {"AWS_ACCESS_KEY_ID": f"{mark}-id", "AWS_SECRET_ACCESS_KEY": f"{mark}-key"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def marked(obj: Manifest, mark: str) -> Manifest:
    """The object with this mark in values that its team alone has."""
    spec = dict(obj["spec"])
    match obj["kind"]:
        case "Connection" if "s3" in spec:
            address = {"endpoint": f"http://{mark}.store:9000", "bucket": f"{mark}-bucket", "prefix": mark}
            spec["s3"] = spec["s3"] | address
        case "Connection":
            spec["git"] = {"url": f"https://{mark}.example.com/training.git"}
        case "Dataset":
            spec["columns"] = [one | {"description": mark} for one in spec["columns"]]
            spec["source"] = spec["source"] | {"key": f"{mark}.csv.gz"}
        case "RegisteredModel":
            spec |= {"description": mark, "owner": mark}
        case "TrainingRun":
            spec |= {"image": f"team/{mark}:1", "parameters": {"depth": mark}, "author": f"alice@{mark}.example.com"}
    return obj | {"spec": spec}


def named_theirs() -> list[Manifest]:
    """A golden path in which every object has a name that exists nowhere else."""
    table = data.dataset(NAME, columns=TABLE, eventTime={"column": "at"}, tests=[])
    path = [
        data.connection(NAME),
        data.repository(REPOSITORY),
        table,
        data.model(NAME),
        data.run(NAME),
        _renamed(release.deployment(), NAME),
        _renamed(release.monitor(intervalSeconds=golden.DAY, windowSeconds=golden.DAY), NAME),
    ]
    return [redirected(one) for one in path]


def redirected(obj: Manifest) -> Manifest:
    """The object with every reference it has, and a storage, pointing at theirs."""
    for place in REFERENCES:
        kind, _, path = place.partition(" ")
        if kind == obj["kind"] and (path == "spec.storageRef" or _has(obj, path)):
            obj = pointing(obj, path, target_of(path))
    return obj


def target_of(path: str) -> str:
    """The name of what exists in their namespace only, for a reference at this path."""
    return WORDS_OF_PATH.get(path, NAME)


async def walk(admin: Caller, namespace: str, objects: list[Manifest], run: str) -> None:
    """Create a golden path, approve the version of its run, and wait until all of it is Ready."""
    await made(admin, namespace, *objects)
    version: Manifest = {}

    async def registered() -> bool:
        version.update(await admin.look(KINDS["ModelVersion"], namespace, run))
        return bool(version)

    await soon(f"ModelVersion {run} of {namespace}", registered, PATH_SECONDS)
    consent = golden.approval({"kind": "ModelVersion", **version})
    await made(admin, namespace, _renamed(consent, f"consent-{run}"))
    await until_ready(admin, namespace, objects)


async def until_ready(admin: Caller, namespace: str, objects: list[Manifest]) -> None:
    """Wait until all of these are Ready."""
    left = list(objects)

    async def ready() -> bool:
        live = [await admin.look(KINDS[one["kind"]], namespace, one["metadata"]["name"]) for one in left]
        left[:] = [one for one, found in zip(left, live, strict=True) if ready_of(found)[0] != "True"]
        return not left

    try:
        await soon(f"the golden path of {namespace}", ready, PATH_SECONDS)
    except AssertionError as late:
        states = [await admin.look(KINDS[o["kind"]], namespace, o["metadata"]["name"]) for o in left]
        raise AssertionError(f"{late}: {[(s.get('kind'), s.get('status')) for s in states]}") from late


async def dump(admin: Caller, namespace: str, *, own_only: bool = False) -> list[Manifest]:
    """Everything in a namespace in which something of a neighbour could lie."""
    refs = [*KINDS.values()] if own_only else [*KINDS.values(), *CHILDREN, PODS, EVENTS, SECRETS]
    return [one for ref in refs for one in await admin.all(ref, namespace)]


def leaks(ours: list[Manifest], theirs: list[Manifest], written: list[Manifest]) -> list[str]:
    """What of theirs is found among ours: their mark, digests of what they made, uids. `written`: what we wrote."""
    said = DIGEST.findall(json.dumps(written))
    digests = set(DIGEST.findall(json.dumps([one.get("status", {}) for one in theirs]))) - set(said)
    traces = {MARK, MARK.replace("-", "_"), *digests, *(one["metadata"]["uid"] for one in theirs)}
    return [
        f"{one['kind']} {one['metadata']['name']} holds {trace} of {THEIRS}"
        for one in ours
        for text in [json.dumps(one)]
        for trace in sorted(traces)
        if trace in text
    ]


@dataclass(frozen=True, slots=True)
class Case:
    """One object of ours that points across.

    objects: what is written; the first has the reference. watched: kind and name of the one that must not be Ready.
    refused: whether the API server must not even take it. query: parameters of the writing request.
    """

    place: str
    form: str
    objects: tuple[Manifest, ...]
    watched: tuple[str, str]
    name: str
    refused: bool = False
    strict: bool = False

    @property
    def title(self) -> str:
        """Which field in which form."""
        return f"{self.place} ({self.form})"

    @property
    def followed(self) -> bool:
        """Whether the operator has to say that it is missing."""
        return classified()[self.place].followed


def cases() -> Iterator[Case]:
    """Every reference field of every kind in every form of pointing across."""
    for number, place in enumerate(classified()):
        path = place.partition(" ")[2]
        wanted = target_of(path)
        smuggled = {} if place not in REFERENCES else {"namespace": THEIRS}
        yield _case(number, place, "alone", wanted)
        yield _case(number, place, "dotted", f"{wanted}.{THEIRS}")
        yield _case(number, place, "slash", f"{THEIRS}/{wanted}", refused=True)
        yield _case(number, place, "climb", f"../../{THEIRS}/{word(place)}/{wanted}", refused=True)
        if smuggled:
            yield _case(number, place, "with a namespace", wanted, **smuggled)
            yield _case(number, place, "with a namespace, strictly", wanted, refused=True, strict=True, **smuggled)


def _case(
    number: int, place: str, form: str, name: str, *, refused: bool = False, strict: bool = False, **smuggled: str
) -> Case:
    kind, _, path = place.partition(" ")
    own = f"{word(form)}-{number}"
    first = pointing(subject(kind, own), path, name, **smuggled)
    objects: tuple[Manifest, ...] = (first,)
    watched = (kind, own)
    if place == "ModelVersion spec.snapshots[].snapshot":  # whoever serves the version reads it
        serving = {"modelRef": {"name": golden.MODEL}, "versionRef": {"name": own}}
        follower = _renamed(release.deployment(**serving), own)
        consent = _renamed(golden.approval(first), f"consent-{own}")
        objects, watched = (first, consent, follower), ("ModelDeployment", own)
    return Case(place, form, objects, watched, name, refused, strict)


def subject(kind: str, name: str) -> Manifest:
    """An object of ours all of whose references are good."""
    run, model = golden.RUN, golden.MODEL
    foreign = {
        "name": "fk",
        "foreignKey": {"column": "tail", "dataset": {"name": "flights"}, "referencedColumn": "tail"},
    }
    match kind:
        case "Approval":
            version = {"name": run, "manifest": data.digest("7"), "author": "alice@example.com"}
            found = registry.approval(name, version=version)
        case "Connection":
            found = data.connection(name)
        case "Dataset":
            found = data.dataset(name, tests=[foreign])
        case "DatasetSnapshot":
            found = data.snapshot(name)
        case "DriftMonitor":
            found = release.monitor(intervalSeconds=golden.DAY, windowSeconds=golden.DAY)
        case "ModelDeployment":
            found = release.deployment(run, modelRef={"name": model}, versionRef={"name": run})
        case "ModelVersion":
            found = registry.version(name, modelRef={"name": model}, manifest=data.digest("7"))
        case "RegisteredModel":
            found = data.model(name)
        case "ReleasePin":
            found = release.pin(name, run)
        case "TrainingRun":
            found = data.run(name)
        case _:
            raise ValueError(f"no example of a {kind}: write one")
    return _renamed(found, name)


def _renamed(obj: Manifest, name: str) -> Manifest:
    """The object as its user writes it, under this name and without an owner."""
    bare = placed(obj, "")
    return bare | {"metadata": {"name": name}}


def _has(obj: Any, path: str) -> bool:
    here = obj
    for part in path.split("."):
        here = here.get(part.removesuffix("[]")) if isinstance(here, dict) else None
        if isinstance(here, list):
            here = here[0] if here else None
    return here is not None
