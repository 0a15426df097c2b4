"""Writes the CustomResourceDefinitions of all rooms, and checks that what lies on disk is what the code says.

`python -m plumbline_operator.crdgen write` writes them, `verify` prints the difference and ends with 1 if there is one.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from plumbline_operator.generated import difference, store
from plumbline_operator.model.kind import (
    AGE_COLUMN,
    MESSAGE_COLUMN,
    READY_COLUMN,
    REASON_COLUMN,
    Column,
    Kind,
)
from plumbline_operator.model.meta import GROUP, VERSION
from plumbline_operator.rooms import ROOMS
from plumbline_operator.structural import RULES, structural

FOLDERS = (Path("crds"), Path("charts/plumbline/files/crds"))  # the chart cannot follow links out of its folder
HEADER = "# Generated from operator/src/plumbline_operator/rooms/{room}/api.py by `make generate`; edit that file.\n"
COLUMNS_MAX = 6  # without -o wide; more do not fit a terminal of 120 characters
CATEGORY = "plumbline"

Schema = dict[str, Any]


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of one kind."""
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "shortNames": [kind.short],
        "categories": [CATEGORY],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema_of(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(one) for one in columns_of(kind)],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def schema_of(kind: Kind) -> Schema:
    """The whole object's structural schema. Raises CannotSay with the path of a field it cannot express."""
    spec = structural(kind.spec, "spec")
    status = structural(kind.status, "status", report=True)
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": spec | {"description": _first_paragraph(kind.spec.__doc__)},
            "status": status | {"description": f"{_first_paragraph(kind.status.__doc__)} Written by the operator."},
        },
    }
    if kind.rules:
        schema[RULES] = [{"rule": one.rule, "message": one.message, "fieldPath": one.field} for one in kind.rules]
    if any(one.field == ".metadata.name" for one in kind.rules):
        schema["properties"]["metadata"]["properties"] = {"name": {"type": "string", "description": "Its name."}}
    return schema


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The printer columns, in order. Raises ValueError when more than fit a terminal."""
    columns = (READY_COLUMN, REASON_COLUMN, *kind.columns, AGE_COLUMN, MESSAGE_COLUMN)
    narrow = [one.name for one in columns if one.priority == 0]
    if len(narrow) > COLUMNS_MAX:
        raise ValueError(f"{kind.kind} has columns {narrow}; at most {COLUMNS_MAX} fit, give others priority 1")
    return columns


def files(kinds: Iterable[Kind]) -> Mapping[Path, str]:
    """Path below the repository root → text, of everything this module generates."""
    texts = {f"{GROUP}_{kind.plural}.yaml": _text(kind) for kind in kinds}
    return {folder / name: text for folder in FOLDERS for name, text in texts.items()}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    wanted = files([room.kind for room in ROOMS])
    match arguments:
        case ["write"]:
            return store(Path.cwd(), FOLDERS, wanted, "*.yaml")
        case ["verify"]:
            return difference(Path.cwd(), FOLDERS, wanted, "*.yaml")
        case _:
            sys.stderr.write("usage: python -m plumbline_operator.crdgen write|verify\n")
            return 2


def _column(one: Column) -> Schema:
    column: Schema = {"name": one.name, "type": one.type, "jsonPath": one.path}
    if one.description:
        column["description"] = one.description
    return column | ({"priority": one.priority} if one.priority else {})


def _text(kind: Kind) -> str:
    body = yaml.dump(definition(kind), Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return HEADER.format(room=kind.kind.lower()) + body


def _first_paragraph(docstring: str | None) -> str:
    return " ".join((docstring or "").strip().split("\n\n")[0].split())


class _Plain(yaml.SafeDumper):
    """Writes every value out; no anchors, which reviewers and some tools cannot follow."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
