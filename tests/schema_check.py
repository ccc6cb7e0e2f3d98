"""A JSON Schema validator just large enough for the schema of profile files; the editor's own is no dependency here.

It refuses keywords that it does not know, so that no part of the schema goes unchecked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KINDS = {"object": Mapping, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
SILENT = {"$schema", "$defs", "title", "description"}


def problems(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str = "") -> list[str]:
    """Everything of `value` that the schema does not allow."""
    return [
        fault
        for keyword, wanted in schema.items()
        if keyword not in SILENT
        for fault in _RULES[keyword](value, wanted, schema, root, path)
    ]


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _type(value, wanted, schema, root, path) -> Iterator[str]:
    kinds = wanted if isinstance(wanted, list) else [wanted]
    if not any(_is(value, kind) for kind in kinds):
        yield f"{path}: {value!r} is no {' or '.join(kinds)}"


def _properties(value, wanted, schema, root, path) -> Iterator[str]:
    for key, inner in wanted.items():
        if isinstance(value, Mapping) and key in value:
            yield from problems(value[key], inner, root, f"{path}.{key}")


def _additional(value, wanted, schema, root, path) -> Iterator[str]:
    for key in value if isinstance(value, Mapping) else ():
        if key not in schema.get("properties", {}):
            if wanted is False:
                yield f"{path}: no key {key}"
            else:
                yield from problems(value[key], wanted, root, f"{path}.{key}")


def _names(value, wanted, schema, root, path) -> Iterator[str]:
    for key in value if isinstance(value, Mapping) else ():
        yield from problems(str(key), wanted, root, f"{path}.{key}")


def _required(value, wanted, schema, root, path) -> Iterator[str]:
    missing = [key for key in wanted if isinstance(value, Mapping) and key not in value]
    yield from (f"{path}: lacks {key}" for key in missing)


def _items(value, wanted, schema, root, path) -> Iterator[str]:
    for at, item in enumerate(value if isinstance(value, list) else ()):
        yield from problems(item, wanted, root, f"{path}[{at}]")


def _any(value, wanted, schema, root, path) -> Iterator[str]:
    tried = [problems(value, one, root, path) for one in wanted]
    if all(tried):
        yield from min(tried, key=len)


def _one(value, wanted, schema, root, path) -> Iterator[str]:
    fitting = sum(not problems(value, one, root, path) for one in wanted)
    if fitting != 1:
        yield f"{path}: {fitting} of the alternatives fit, not one"


def _ref(value, wanted, schema, root, path) -> Iterator[str]:
    found = root
    for step in wanted.removeprefix("#/").split("/"):
        found = found[step]
    yield from problems(value, found, root, path)


def _when(test):
    def rule(value, wanted, schema, root, path) -> Iterator[str]:
        if not test(value, wanted):
            yield f"{path}: {value!r} is not as wanted, {wanted!r}"

    return rule


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size(value: Any) -> int | None:
    return len(value) if isinstance(value, Mapping | Sequence) else None


_RULES = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "required": _required,
    "items": _items,
    "anyOf": _any,
    "oneOf": _one,
    "$ref": _ref,
    "enum": _when(lambda value, wanted: value in wanted),
    "const": _when(lambda value, wanted: value is wanted),
    "pattern": _when(lambda value, wanted: not isinstance(value, str) or re.search(wanted, value)),
    "minimum": _when(lambda value, wanted: not _number(value) or value >= wanted),
    "maximum": _when(lambda value, wanted: not _number(value) or value <= wanted),
    "exclusiveMinimum": _when(lambda value, wanted: not _number(value) or value > wanted),
    "minLength": _when(lambda value, wanted: not isinstance(value, str) or len(value) >= wanted),
    "minItems": _when(lambda value, wanted: not isinstance(value, list) or len(value) >= wanted),
    "maxItems": _when(lambda value, wanted: not isinstance(value, list) or len(value) <= wanted),
    "minProperties": _when(lambda value, wanted: not isinstance(value, Mapping) or _size(value) >= wanted),
    "maxProperties": _when(lambda value, wanted: not isinstance(value, Mapping) or _size(value) <= wanted),
}
