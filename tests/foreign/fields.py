"""The fields of an object that a manager owns, by the API server's own record, and other values for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from plumbline_operator.model.meta import MANAGER, Manifest

Step = str | tuple[tuple[str, Any], ...]  # a field, or an item of a list by its keys
Path = tuple[Step, ...]
ITSELF = "."


def owned(obj: Mapping[str, Any], manager: str = MANAGER) -> dict[Path, Any]:
    """Every field that a manager has applied, with its value now; fields that the API server treats whole are one."""
    found: dict[Path, Any] = {}
    for entry in obj["metadata"].get("managedFields", ()):
        if (entry.get("manager"), entry.get("operation")) == (manager, "Apply") and not entry.get("subresource"):
            found |= {path: value_at(obj, path) for path in _paths(entry["fieldsV1"], ())}
    return found


def is_made(obj: Mapping[str, Any], manager: str = MANAGER) -> bool:
    """Whether a manager has applied this object, and not only its status."""
    return bool(owned(obj, manager))


def value_at(obj: Any, path: Path) -> Any:
    """The value at a path; None when it is not there."""
    for step in path:
        obj = _inside(obj, step)
    return obj


def with_value(obj: Manifest, path: Path, value: Any) -> Manifest:
    """A copy of the object with another value at a path that is there; None removes a field."""
    after = copy.deepcopy(obj)
    place = value_at(after, path[:-1])
    last = path[-1]
    if isinstance(last, str) and value is None:
        place.pop(last, None)
    elif isinstance(last, str):
        place[last] = value
    else:
        place[place.index(_inside(place, last))] = value
    return after


def editable(obj: Manifest) -> list[Path]:
    """The paths of what we have applied, but for the metadata."""
    return [path for path, value in owned(obj).items() if path[0] not in ("metadata", "status") and value is not None]


def others(path: Path, value: Any) -> list[Any]:
    """Values that somebody might write instead, the most dangerous first."""
    if path[-1] == "replicas":
        return [0]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, 1]
    if isinstance(value, str):
        return [f"{value}x", "7", "1Gi", None]
    if isinstance(value, list):
        return [*([[*value, _sibling(value[-1])]] if value else []), value[:-1]]
    return [value | {"stranger": "x"}, dict(list(value.items())[1:])]


def _sibling(item: Any) -> Any:
    return item | {"name": "stranger"} if isinstance(item, dict) and "name" in item else copy.deepcopy(item)


def _paths(fields: Mapping[str, Any], path: Path) -> Iterator[Path]:
    parts = {name: inner for name, inner in fields.items() if name != ITSELF}
    if not parts and path:
        yield path
    for name, inner in parts.items():
        sort, _, rest = name.partition(":")
        if sort == "f":
            yield from _paths(inner, (*path, rest))
        elif sort == "k":
            yield from _paths(inner, (*path, tuple(sorted(json.loads(rest).items()))))
        elif sort == "v":
            yield (*path, (("", json.loads(rest)),))


def _inside(obj: Any, step: Step) -> Any:
    if isinstance(step, str):
        return obj.get(step) if isinstance(obj, Mapping) else None
    for item in obj or ():
        if all((item if name == "" else item.get(name)) == value for name, value in step):
            return item
    return None
