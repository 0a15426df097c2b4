"""Writes the reference pages: every field, rule and reason of every kind.

`python -m plumbline_operator.refgen write` writes them, `verify` prints the difference and ends with 1 if there is one.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plumbline_operator.crdgen import columns_of, schema_of
from plumbline_operator.generated import difference, store
from plumbline_operator.model.kind import Kind
from plumbline_operator.model.meta import GROUP, VERSION
from plumbline_operator.rooms import ROOMS
from plumbline_operator.structural import MAX_LENGTH, RULES

FOLDER = Path("docs/reference")
HEADER = "<!-- Generated from operator/src/plumbline_operator/rooms/{room}/api.py by `make generate`. -->\n"
INDEX = "<!-- Generated from operator/src/plumbline_operator/rooms by `make generate`. -->\n"
BOUNDS = (
    ("minimum", "≥ {}"),
    ("maximum", "≤ {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("maxProperties", "at most {} entries"),
    ("pattern", "matches `{}`"),
)

Schema = dict[str, Any]


def page(kind: Kind) -> str:
    """The reference page of one kind, in Markdown."""
    schema = schema_of(kind)
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    parts = [
        HEADER.format(room=kind.kind.lower()),
        f"# {kind.kind}",
        f"{kind.description}\n\n`apiVersion: {GROUP}/{VERSION}`, short name `{kind.short}`, "
        f"in `kubectl get plumbline`. {_columns(kind)}",
        f"## spec\n\n{spec['description']}\n\n{_fields(spec, 'spec')}",
        _rules(schema),
        f"## status\n\n{status['description']}\n\n{_fields(status, 'status')}",
        f"## Reasons\n\nThe reason of `Ready`, and what to do about it.\n\n{_reasons(kind)}",
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def index(kinds: Iterable[Kind]) -> str:
    """The page that lists the kinds, in the order of a model's life."""
    kinds = list(kinds)
    table = _table(
        ("Kind", "Short", "What it is"),
        [(f"[{k.kind}]({k.kind.lower()}.md)", f"`{k.short}`", k.description) for k in kinds],
    )
    names = "\n".join(k.kind.lower() for k in kinds)
    toctree = f"```{{toctree}}\n:hidden:\n\n{names}\n```"
    return f"{INDEX}# Reference\n\n{table}\n\n{toctree}\n"


def files(kinds: Iterable[Kind]) -> Mapping[Path, str]:
    """Path below the repository root → text, of everything this module generates."""
    kinds = list(kinds)
    pages = {FOLDER / f"{kind.kind.lower()}.md": page(kind) for kind in kinds}
    return {**pages, FOLDER / "index.md": index(kinds)}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    wanted = files([room.kind for room in ROOMS])
    match arguments:
        case ["write"]:
            return store(Path.cwd(), [FOLDER], wanted, "*.md")
        case ["verify"]:
            return difference(Path.cwd(), [FOLDER], wanted, "*.md")
        case _:
            sys.stderr.write("usage: python -m plumbline_operator.refgen write|verify\n")
            return 2


def _columns(kind: Kind) -> str:
    names = [f"`{one.name.upper()}`" for one in columns_of(kind) if one.priority == 0]
    return f"Columns: {', '.join(names)}; with `-o wide` also `MESSAGE`."


def _fields(schema: Schema, path: str) -> str:
    rows = [
        (f"`{at}`", _type(one), "required" if needed else _default(one), _description(one))
        for at, one, needed in _walk(schema, path)
    ]
    return _table(("Field", "Type", "Default", "Meaning"), rows) if rows else "No fields of its own."


def _walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """Every field below, as (path, schema, required); `[]` stands for an item, `{}` for a value of a map."""
    required = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        at = f"{path}.{name}"
        yield at, one, name in required
        yield from _walk(one, at)
        if "items" in one:
            yield from _walk(one["items"], f"{at}[]")
        if "additionalProperties" in one:
            yield from _walk(one["additionalProperties"], f"{at}{{}}")


def _type(one: Schema) -> str:
    if "enum" in one:
        return " \\| ".join(f"`{value}`" for value in one["enum"])
    if one.get("x-kubernetes-int-or-string"):
        return "integer or string"
    match one["type"]:
        case "array":
            return f"list of {_type(one['items'])}"
        case "object" if "additionalProperties" in one:
            return f"map to {_type(one['additionalProperties'])}"
        case "string" if one.get("format") == "date-time":
            return "time"
        case plain:
            return str(plain)


def _default(one: Schema) -> str:
    return f"`{json.dumps(one['default'])}`" if "default" in one else ""


def _description(one: Schema) -> str:
    """What it means, its bounds and its rules."""
    bounds = [text.format(one[name]) for name, text in BOUNDS if name in one and one[name] != MAX_LENGTH]
    bounds = ["not empty" if bound in ("at least 1 characters", "at least 1 items") else bound for bound in bounds]
    rules = [_literal(rule["message"]) for rule in (*one.get(RULES, ()), *one.get("items", {}).get(RULES, ()))]
    extra = "; ".join([*bounds, *rules])
    return f"{one['description']} *({extra})*" if extra else str(one["description"])


def _rules(schema: Schema) -> str:
    """The rules of the whole object and of the whole spec; those of single fields stand beside them."""
    rules = [*schema.get(RULES, ()), *schema["properties"]["spec"].get(RULES, ())]
    lines = "\n".join(f"- {_literal(rule['message'])}" for rule in rules)
    return f"## Rules\n\nThe API server refuses what breaks one of these.\n\n{lines}" if rules else ""


def _literal(text: str) -> str:
    """Text in which Markdown finds nothing to interpret: a message may quote a regular expression."""
    return re.sub(r"([\\\[\]*_<|^])", r"\\\1", text)


def _reasons(kind: Kind) -> str:
    return _table(("Reason", "Cause", "What to do"), [(f"`{r}`", e.cause, e.fix) for r, e in kind.reasons.items()])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(_cell(one) for one in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("\\|", "\0").replace("|", "\\|").replace("\0", "\\|").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
