"""Checks a document against the schema and turns every mismatch into a Fault a technician can act on.

Pydantic finds the mismatches, all in one run; this module gives each its place in the file and its words. What the
message table does not know is passed on in pydantic's own words, so nothing is ever hidden.
"""

import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gantry_agent.config.schema import SiteFile
from gantry_agent.faults import ConfigFault, Document, Fault, Path_, suggest
from gantry_agent.text import Text

_SECRETS = frozenset({"auth", "auth_key", "priv_key", "community", "write_community", "user"})

MENDING_ROUNDS = 8  # each takes out every mismatch it finds; what is left after so many is not a site file

_STAND_IN: Mapping[str, Any] = {"gantry": {"id": "G"}, "cloud": {"server": "http://x/", "auth": "x"}}
_NOTHING: Mapping[str | int, Any] = {"cabinets": {"id": 999}, "allow": "127.0.0.1", "skip": ""}

_PATTERNS: Mapping[str, Text] = {
    "id": Text(
        "门架编号应为 1–20 位大写字母和数字，以字母开头，例如 G000211001002110010",
        "a gantry id is 1 to 20 capital letters and digits, a letter first, like G000211001002110010",
    ),
    "server": Text("应为网址，例如 https://192.168.1.1/monitor.do", "valid: a URL like https://192.168.1.1/monitor.do"),
    "listen": Text("应为 地址:端口，例如 0.0.0.0:3699", "valid: address:port, like 0.0.0.0:3699"),
    "host": Text("应为 IP 地址或主机名", "valid: an IP address or a host name"),
}
_NAME = Text(
    "名称应以字母开头，只含字母、数字、- 和 _，最长 32 个字符",
    "a name begins with a letter and has only letters, digits, - and _, at most 32",
)


def read_shape(document: Document) -> tuple[SiteFile, list[Fault]]:
    """Return the file as a value of the schema, and every mismatch.

    Where something mismatches, the smallest part around it is left out of the value, so that the rest can be checked
    in the same run; with any fault the value is for checking only. Raises ConfigFault when nothing is left to check.
    """
    plain = _plain(document.root)
    faults: list[Fault] | None = None
    for _ in range(MENDING_ROUNDS):
        try:
            return SiteFile.model_validate(plain), faults or []
        except ValidationError as e:
            errors = e.errors(include_url=False)
        if faults is None:
            faults = [_fault(document, error) for error in errors]
        for error in errors:
            _mend(plain, _document_path(plain, error["loc"]), error["type"])
    raise ConfigFault(faults or [])


def _mend(plain: Any, path: Path_, kind: str) -> None:
    """Take out the value that mismatches; of something required that is missing, take out what requires it."""
    match path:
        case ("gantry" | "cloud" as section, *rest):
            name = str(rest[0]) if rest else ""
            if not isinstance(plain.get(section), dict):
                plain[section] = dict(_STAND_IN[section])
            elif name in _STAND_IN[section]:
                plain[section][name] = _STAND_IN[section][name]
            else:
                plain[section].pop(name, None)
        case ("cabinets", int(i), "id", *_):
            plain["cabinets"][i]["id"] = 999 - i
        case _:
            _remove(plain, path[:-1] if kind == "missing" and len(path) > 1 else path)


def _remove(node: Any, path: Path_) -> None:
    for key in path[:-1]:
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            return  # taken out already with what it was part of
    last = path[-1]
    if isinstance(node, list) and isinstance(last, int):  # later items must keep their places
        node[last] = {"id": 999 - last, "source": "local"} if path[0] == "computers" else _NOTHING.get(path[-2], 999)
    elif isinstance(node, dict):
        node.pop(last, None)


def _plain(node: Any) -> Any:
    """Drop the YAML library's types from containers; strict checking wants the plain ones."""
    if isinstance(node, Mapping):
        return {k: _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    return node


def _fault(document: Document, error: ErrorDetails) -> Fault:
    path = _document_path(document.root, error["loc"])
    if error["type"] == "extra_forbidden":
        key = str(path[-1])
        tail = suggest(key, _keys_at(error["loc"][:-1]))
        return document.fault(path, Text(f"未知的键 {key}{tail.zh}", f"unknown key {key}{tail.en}"), at_key=True)
    where = ".".join(str(part) for part in path)
    said = _MESSAGES.get(error["type"], _as_pydantic_says)(error)
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "[key]":
        said, where = _NAME, ".".join(str(part) for part in path)
    value = _shown(error)
    return document.fault(path, Text(f"{where}{value}：{said.zh}", f"{where}{value}: {said.en}"))


def _shown(error: ErrorDetails) -> str:
    """Show the value that is wrong, unless it is a secret or a whole part."""
    value = error["input"]
    if error["type"] == "missing" or isinstance(value, Mapping | list) or error["loc"][-1] in _SECRETS:
        return ""
    return f" = {value!r}"


def _document_path(root: Any, loc: tuple[int | str, ...]) -> Path_:
    """Drop what pydantic adds to a location: the tag of a tagged union, the mark of a key."""
    node, path = root, []
    for i, key in enumerate(loc):
        if key == "[key]" or (isinstance(node, Mapping) and key not in node and i + 1 < len(loc)):
            continue
        path.append(key)
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            node = None
    return tuple(path)


def _keys_at(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """List the keys that the schema knows at a location."""
    model: Any = SiteFile
    for key in loc:
        model = _step(model, key)
        if model is None:
            return ()
    model = _model(model)
    return tuple(model.model_fields) if model else ()


def _step(annotation: Any, key: int | str) -> Any:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        info = annotation.model_fields.get(str(key))
        return info.annotation if info else None
    if get_origin(annotation) in {dict, list}:
        return get_args(annotation)[-1]
    for choice in get_args(annotation):  # a union: by tag
        model = _model(choice)
        if model is not None and any(
            key in get_args(f.annotation) for n, f in model.model_fields.items() if n in {"type", "source"}
        ):
            return model
    return annotation if get_args(annotation) else None


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _model(annotation: Any) -> type[BaseModel] | None:
    annotation = _bare(annotation)
    if get_origin(annotation) in {typing.Union, types.UnionType}:
        return next((m for m in map(_model, get_args(annotation)) if m), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _as_pydantic_says(error: ErrorDetails) -> Text:
    return Text(error["msg"], error["msg"])


def _pattern(error: ErrorDetails) -> Text:
    known = _PATTERNS.get(str(error["loc"][-1]))
    pattern = error.get("ctx", {}).get("pattern", "")
    return known or Text(f"格式不符（{pattern}）", f"it does not have the form {pattern}")


def _context(zh: str, en: str, key: str) -> Callable[[ErrorDetails], Text]:
    return lambda error: Text(zh.format(error.get("ctx", {}).get(key)), en.format(error.get("ctx", {}).get(key)))


def _always(zh: str, en: str) -> Callable[[ErrorDetails], Text]:
    return lambda _: Text(zh, en)


_QUOTED = _always('应为文字；数字请加引号，例如 "123456"', 'must be text; put quotes around digits, like "123456"')
_PART = _always("应由“键: 值”组成", "must consist of keys with values")

_MESSAGES: Mapping[str, Callable[[ErrorDetails], Text]] = {
    "missing": _always("缺少必填项", "is required and missing"),
    "string_type": _QUOTED,
    "int_type": _always("应为整数，不加引号", "must be a whole number without quotes"),
    "int_from_float": _always("应为整数", "must be a whole number"),
    "float_type": _always("应为数字，不加引号", "must be a number without quotes"),
    "bool_type": _always("应为 true 或 false", "must be true or false"),
    "scalar_type": _always("应为数字或文字", "must be a number or text"),
    "list_type": _always("应为列表，例如 [a, b]", "must be a list, like [a, b]"),
    "dict_type": _PART,
    "model_type": _PART,
    "greater_than_equal": _context("不得小于 {}", "must be at least {}", "ge"),
    "less_than_equal": _context("不得大于 {}", "must be at most {}", "le"),
    "greater_than": _context("必须大于 {}", "must be greater than {}", "gt"),
    "literal_error": _context("可用：{}", "valid: {}", "expected"),
    "union_tag_invalid": _context("类型未知；可用：{}", "unknown type; valid: {}", "expected_tags"),
    "union_tag_not_found": _context("缺少 {}", "has no {}", "discriminator"),
    "string_pattern_mismatch": _pattern,
    "string_too_short": _context("至少 {} 个字符", "must have at least {} characters", "min_length"),
    "string_too_long": _context("最多 {} 个字符", "must have at most {} characters", "max_length"),
}
