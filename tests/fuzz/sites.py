"""The places of a spec that can be changed: what is there, and what the schema allows beside it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "crds"
RULES = "x-kubernetes-validations"

Schema = dict[str, Any]
Way = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """One field. `required`: its parent cannot be without it; `key`: it tells the items of a list apart."""

    way: Way
    schema: Schema
    present: bool
    required: bool = False
    key: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule as published, and the field it stands at."""

    way: str
    message: str


def published(plural: str) -> Schema:
    """The schema of one of our kinds, as it is checked in."""
    text = (CRDS / f"plumbline.dev_{plural}.yaml").read_text()
    schema: Schema = yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def sites(schema: Schema, value: Any, way: Way = ()) -> Iterator[Site]:
    """Every field below `value`, present ones with all that is below them."""
    if isinstance(value, dict) and "properties" in schema:
        for name, one in schema["properties"].items():
            yield Site((*way, name), one, name in value, name in schema.get("required", ()))
            if name in value:
                yield from sites(one, value[name], (*way, name))
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for name, one in value.items():
            yield Site((*way, name), schema["additionalProperties"], present=True)
            yield from sites(schema["additionalProperties"], one, (*way, name))
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys", ())
        for index, one in enumerate(value):
            for site in sites(schema["items"], one, (*way, index)):
                yield Site(site.way, site.schema, site.present, site.required, site.key or site.way[-1] in keys)


def rules(schema: Schema, way: str = "") -> Iterator[Rule]:
    """Every CEL rule of a schema and below."""
    for rule in schema.get(RULES, ()):
        yield Rule(way, rule["message"])
    for name, one in schema.get("properties", {}).items():
        if (way, name) != ("", "status"):
            yield from rules(one, f"{way}.{name}" if way else name)
    for below, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(below), dict):
            yield from rules(schema[below], f"{way}{mark}")


def at(value: Any, way: Way) -> Any:
    """What stands at a place; raises KeyError or IndexError when nothing does."""
    for step in way:
        value = value[step]
    return value


def put(value: Any, way: Way, new: Any) -> Any:
    """A copy with `new` at a place whose parent is there."""
    changed = copy.deepcopy(value)
    at(changed, way[:-1])[way[-1]] = new
    return changed


def without(value: Any, way: Way) -> Any:
    """A copy without what stands at a place."""
    changed = copy.deepcopy(value)
    del at(changed, way[:-1])[way[-1]]
    return changed


def words(way: Way) -> str:
    """The place as messages call it: `spec.columns[0].type`."""
    return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
