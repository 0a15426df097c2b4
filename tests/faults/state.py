"""The state of a namespace, written so that two runs of the same path can be compared.

What differs from run to run is masked: uids, times, resource versions, addresses. Digests and the hashes in computed
names depend on the namespace's name; they become #1, #2 … in the order in which they are met, so that equal ones
stay equal and different ones different.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any

from plumbline_operator.kube.http import HttpKube
from plumbline_operator.kube.refs import CHILDREN, JOBS
from plumbline_operator.model.meta import MANAGED_BY, MANAGED_VALUE, Manifest
from plumbline_operator.rooms import ROOMS

OWN = tuple(room.kind.ref for room in ROOMS)
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)")
HASH = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8})\b")
SHARD = re.compile(r"/[0-9a-f]{2}/(?=[0-9a-f]{64}\b)")  # a blob lies in the folder of its digest's first two digits
KEPT_METADATA = ("name", "labels", "annotations", "ownerReferences", "finalizers", "generation")
ADDRESSES = ("clusterIP", "clusterIPs", "nodePort")


async def objects_of(kube: HttpKube, namespace: str) -> list[Manifest]:
    """Every object of ours and every child in a namespace, as it is."""
    lists = [kube.list(ref, namespace) for ref in OWN]
    lists += [kube.list(ref, namespace, {MANAGED_BY: MANAGED_VALUE}) for ref in CHILDREN if ref != JOBS]
    lists.append(kube.list(JOBS, namespace))
    return [one for found in await asyncio.gather(*lists) for one in found]


@dataclass(slots=True)
class _Masks:
    namespace: str
    hashes: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """A string without what differs between runs."""
        text = TIME.sub("<time>", UUID.sub("<uid>", text.replace(self.namespace, "<namespace>")))
        text = SHARD.sub("/", text)
        return HASH.sub(lambda found: self.hashes.setdefault(found[0], f"#{len(self.hashes) + 1}"), text)

    def known(self, text: str) -> str:
        """A string with the hashes that were met before by their numbers, and no other."""
        return HASH.sub(lambda found: self.hashes.get(found[0], "#"), text)

    def value(self, value: Any) -> Any:
        """Any JSON value, masked."""
        if isinstance(value, dict):
            return {self.text(name): self.value(part) for name, part in sorted(value.items()) if name not in ADDRESSES}
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return self.text(value) if isinstance(value, str) else value


def masked(objects: list[Manifest], namespace: str) -> dict[str, Any]:
    """Kind/name → the object without what differs between runs."""
    masks = _Masks(namespace)
    found = {}
    # Our kinds first: they name their children, which may differ in nothing but a hash.
    for ours in (True, False):
        part = [one for one in objects if one["apiVersion"].startswith("plumbline.dev/") == ours]
        for one in sorted(part, key=lambda one: (one["kind"], masks.known(one["metadata"]["name"]))):
            name = masks.text(one["metadata"]["name"])
            found[f"{one['kind']}/{name}"] = masks.value(_kept(one, ours=ours))
    return found


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where two masked states differ, in words."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        lines = [f"{path}.{name} is missing" for name in wanted.keys() - found.keys()]
        lines += [f"{path}.{name} is too much: {_short(found[name])}" for name in found.keys() - wanted.keys()]
        for name in sorted(wanted.keys() & found.keys()):
            lines += differences(wanted[name], found[name], f"{path}.{name}")
        return lines
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [line for n, (one, other) in pairs for line in differences(one, other, f"{path}[{n}]")]
    return [] if wanted == found else [f"{path}: {' instead of '.join(_beside(json.dumps(found), json.dumps(wanted)))}"]


def _kept(one: Manifest, *, ours: bool) -> Manifest:
    meta = {part: value for part, value in one["metadata"].items() if part in KEPT_METADATA}
    if not ours:
        meta.pop("generation", None)
        meta["annotations"] = {k: v for k, v in meta.get("annotations", {}).items() if k.startswith("plumbline.dev/")}
    rest = {part: value for part, value in one.items() if part not in ("metadata", "managedFields")}
    if not ours:
        rest.pop("status", None)  # written by the controllers of Kubernetes
    return {"metadata": meta, **rest}


def _short(value: Any) -> str:
    return _cut(json.dumps(value), 0)


def _beside(one: str, other: str) -> tuple[str, str]:
    """Both texts, when they are long from shortly before they differ."""
    common = next((place for place, both in enumerate(zip(one, other, strict=False)) if both[0] != both[1]), 0)
    start = max(0, common - 60)
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    if len(text) <= 160:
        return text
    return f"{'...' if start else ''}{text[start : start + 157]}..."
