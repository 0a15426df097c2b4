"""Turns a pydantic model into the structural schema that a CustomResourceDefinition wants.

    pydantic                             structural
    $ref                                 the definition itself, inlined
    anyOf [T, null]                      T, not required; a null in a manifest means the same as leaving it out
    const                                enum of one value
    exclusiveMinimum: 0                  minimum: 0, exclusiveMinimum: true
    patternProperties, propertyNames     additionalProperties and a CEL rule on the keys
    uniqueItems                          x-kubernetes-list-type: set
    title, additionalProperties: false   dropped; the API server prunes unknown fields, kubectl refuses them

What a structural schema cannot say (unions, tuples of fixed shape, recursion, untyped values) is refused with the
field's path, and so is a field that neither describes itself nor has a type that does.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

MAX_LENGTH = 4096  # characters of a string whose model sets no bound: CEL's cost estimate needs one everywhere
MAX_ITEMS = 256  # of a list whose model sets no bound
MAX_PROPERTIES = 128  # of a map whose model sets no bound
RULES = "x-kubernetes-validations"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
KEPT = frozenset(
    {
        "type",
        "description",
        "default",
        "enum",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    }
)
TRANSLATED = frozenset(
    {"properties", "required", "items", "additionalProperties", "propertyNames", "patternProperties"}
)
DROPPED = frozenset({"$defs", "title", "examples", "deprecated", "uniqueItems", "const"})

FIRST = {name: rank for rank, name in enumerate(("description", "type", "format", "enum", "default"))}  # for readers
LAST = {name: 100 + rank for rank, name in enumerate(("required", RULES, "properties", "items"))}

Schema = dict[str, Any]


class CannotSay(Exception):
    """A model uses something that a structural schema has no words for."""

    def __init__(self, path: str, what: str, instead: str) -> None:
        super().__init__(f"{path} {what}; {instead}")


class _WithFactories(GenerateJsonSchema):
    """Pydantic's generator, which also shows defaults made by a factory."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory = schema.get("default_factory")
        if factory is not None and not schema.get("default_factory_takes_data"):
            return factory()  # type: ignore[call-arg]  # the check above says that it takes no argument
        return super().get_default_value(schema)


def structural(model: type[BaseModel], path: str, *, report: bool = False) -> Schema:
    """The structural schema of a model that stands at `path` of the object.

    report: it is a status, which the operator alone writes: no defaults (they would differ from what was written), no
    bounds, and nothing required at the top, so that others may add their conditions at any time.
    Raises CannotSay with the path of the field at fault.
    """
    generated = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_WithFactories)
    schema = _Translation(generated.get("$defs", {}), report).whole(generated, path, ())
    if report:
        schema.pop("required", None)
    return schema


class _Translation:
    """One model's translation, with the definitions it refers to."""

    def __init__(self, definitions: Mapping[str, Schema], report: bool) -> None:
        self.definitions = definitions
        self.report = report

    def whole(self, source: Schema, path: str, above: tuple[str, ...]) -> Schema:
        """One schema node, everything below included. `above` are the definitions it lies in."""
        node, above = self._resolved(source, path, above)
        _refuse_the_unsayable(node, path)
        schema = {k: v for k, v in node.items() if k in KEPT or k.startswith("x-kubernetes-")}
        unknown = node.keys() - KEPT - DROPPED - TRANSLATED - schema.keys()
        if unknown:
            raise CannotSay(path, f"uses {sorted(unknown)}", "use plain types, bounds and CEL rules")
        if "const" in node:
            schema["enum"] = [node["const"]]
        _exclusive_bounds(schema)
        self._default(schema)
        schema |= self._below(node, schema, path, above)
        return dict(sorted(schema.items(), key=lambda item: FIRST.get(item[0], LAST.get(item[0], 50))))

    def _resolved(self, node: Schema, path: str, above: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The node with references and optionality replaced by what they mean; its own words win."""
        while True:
            if "$ref" in node:
                name = node["$ref"].rsplit("/", 1)[-1]
                if name in above:
                    raise CannotSay(path, f"contains itself ({name})", "a structural schema ends somewhere")
                above = (*above, name)
                node = _overlaid(self.definitions[name], {k: v for k, v in node.items() if k != "$ref"})
            elif "anyOf" in node:
                choices = [one for one in node["anyOf"] if one.get("type") != "null"]
                if len(choices) != 1:
                    raise CannotSay(path, "is a union", "use one optional field per alternative and a CEL rule")
                node = _overlaid(choices[0], {k: v for k, v in node.items() if k != "anyOf"})
            elif len(node.get("allOf", ())) == 1:
                node = _overlaid(node["allOf"][0], {k: v for k, v in node.items() if k != "allOf"})
            else:
                return node, above

    def _default(self, schema: Schema) -> None:
        if self.report or schema.get("default", ...) is None:
            schema.pop("default", None)
        elif isinstance(schema.get("default"), dict):
            schema["default"] = _without_nulls(schema["default"])

    def _below(self, node: Schema, schema: Schema, path: str, above: tuple[str, ...]) -> Schema:
        """What hangs below, by type, with bounds where the model set none."""
        match node.get("type"):
            case "object" if "properties" in node or not _is_map(node):
                return self._object(node, path, above)
            case "object":
                return self._map(node, schema, path, above)
            case "array":
                items = self.whole(node["items"], f"{path}[]", above)
                unique = {"x-kubernetes-list-type": "set"} if node.get("uniqueItems") else {}
                return self._bound(schema, "maxItems", MAX_ITEMS) | unique | {"items": items}
            case "string" if "enum" not in schema and "format" not in schema:
                return self._bound(schema, "maxLength", MAX_LENGTH)
        return {}

    def _bound(self, schema: Schema, name: str, limit: int) -> Schema:
        return {} if self.report or name in schema else {name: limit}

    def _object(self, node: Schema, path: str, above: tuple[str, ...]) -> Schema:
        below: Schema = {"properties": {}}
        for name, prop in node.get("properties", {}).items():
            at = f"{path}.{name}"
            schema = self.whole(prop, at, above)
            if not schema.get("description", "").strip():
                raise CannotSay(at, "has no description", "say what it is, its unit and its bounds in Field(...)")
            below["properties"][name] = schema
        if node.get("required"):
            below["required"] = list(node["required"])
        return below if below["properties"] else {}

    def _map(self, node: Schema, schema: Schema, path: str, above: tuple[str, ...]) -> Schema:
        values, rules = _values_of(node)
        below = self._bound(schema, "maxProperties", MAX_PROPERTIES)
        below["additionalProperties"] = self.whole(values, f"{path}{{}}", above)
        return below | ({RULES: [*schema.get(RULES, ()), *rules]} if rules else {})


def _refuse_the_unsayable(node: Schema, path: str) -> None:
    if "oneOf" in node or "allOf" in node:
        raise CannotSay(path, "is a union", "use one optional field per alternative and a CEL rule")
    if "prefixItems" in node:
        raise CannotSay(path, "is a tuple of fixed shape", "use a model with named fields, or tuple[X, ...]")
    if "type" not in node and not node.get(PRESERVE) and not node.get("x-kubernetes-int-or-string"):
        raise CannotSay(path, "has no type", "annotate it with one type")
    untyped_map = node.get("additionalProperties") is True and not node.get(PRESERVE)
    if untyped_map or (node.get("type") == "array" and not node.get("items")):
        raise CannotSay(path, "holds untyped values", "say what it holds, dict[str, str] for example")


def _is_map(node: Schema) -> bool:
    return any(isinstance(node.get(k), dict) for k in ("additionalProperties", "patternProperties"))


def _values_of(node: Schema) -> tuple[Schema, list[dict[str, str]]]:
    """The schema of a map's values, and CEL rules for its keys."""
    rules = []
    values = node.get("additionalProperties")
    patterns: dict[str, Schema] = node.get("patternProperties", {})
    names = node.get("propertyNames", {})
    if patterns:
        (pattern, values), *_ = patterns.items()
        rules.append(_key_rule(f"key.matches({_quoted(pattern)})", f"every key must match {pattern}"))
    if "pattern" in names:
        rule = f"key.matches({_quoted(names['pattern'])})"
        rules.append(_key_rule(rule, f"every key must match {names['pattern']}"))
    if "enum" in names:
        allowed = ", ".join(names["enum"])
        rules.append(_key_rule(f"key in [{', '.join(map(_quoted, names['enum']))}]", f"keys are among {allowed}"))
    if "maxLength" in names:
        limit = names["maxLength"]
        rules.append(_key_rule(f"size(key) <= {limit}", f"no key may be longer than {limit} characters"))
    return values or {}, rules


def _key_rule(claim: str, message: str) -> dict[str, str]:
    return {"rule": f"self.all(key, {claim})", "message": message}


def _quoted(text: str) -> str:
    """A CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _overlaid(below: Schema, above: Schema) -> Schema:
    """Two nodes as one: the upper one's words win, rules of both hold."""
    rules = [*below.get(RULES, ()), *above.get(RULES, ())]
    return {**below, **above, **({RULES: rules} if rules else {})}


def _exclusive_bounds(schema: Schema) -> None:
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(exclusive), int | float) and not isinstance(schema[exclusive], bool):
            schema[plain], schema[exclusive] = schema[exclusive], True


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
