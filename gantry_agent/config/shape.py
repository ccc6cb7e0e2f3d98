"""Checks a document against the schema and turns every mismatch into a Fault a technician can act on.

Pydantic finds the mismatches, all in one run; this module gives each its place in the file and its words. What the
message table does not know is passed on in pydantic's own words, so nothing is ever hidden.
"""

import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gantry_agent.config.schema import NO_IP, SiteFile
from gantry_agent.faults import ConfigFault, Document, Fault, Path_, suggest
from gantry_agent.text import Text

_SECRETS = frozenset({"auth", "password", "auth_key", "priv_key", "community", "write_community", "user", "proxy"})

MENDING_ROUNDS = 8  # each takes out every mismatch it finds; what is left after so many is not a site file

NO_ALARM: Mapping[str, Any] = {"point": "", "above": 0.0, "clear": 0.0, "text": "-"}
NO_RELAY: Mapping[str, Any] = {"ip": NO_IP, "port": 9, "host": True}
_STAND_IN: Mapping[str, Any] = {"gantry": {"id": "G"}, "cloud": {"server": "http://x/", "auth": "x"}}
_NOTHING: Mapping[str | int, Any] = {
    "cabinets": {"id": 999},
    "allow": "127.0.0.1",
    "skip": "",
    "alarms": NO_ALARM,
    "relays": NO_RELAY,
    1: "",
    2: "",
    3: "",
}

_PATTERNS: Mapping[str, Text] = {
    "id": Text(
        "门架编号应为 1–20 位大写字母和数字，以字母开头，例如 G000211001002110010",
        "a gantry id is 1 to 20 capital letters and digits, a letter first, like G000211001002110010",
    ),
    "auth": Text("应为一行 1–128 个字符", "valid: 1 to 128 characters in one line"),
    "server": Text("应为网址，例如 https://192.168.1.1/monitor.do", "valid: a URL like https://192.168.1.1/monitor.do"),
    "proxy": Text(
        "应为 http://主机:端口，或 environment（使用环境变量中的代理）",
        "valid: http://host:port, or environment to use the environment's proxy",
    ),
    "listen": Text("应为 地址:端口，例如 0.0.0.0:3699", "valid: address:port, like 0.0.0.0:3699"),
    "text": Text("应为 1–40 个字符，不含半角逗号", "must be 1 to 40 characters without a comma"),
    "host": Text("应为 IP 地址或主机名", "valid: an IP address or a host name"),
    "port": Text("串口应以 / 开头，例如 /dev/ttyS1", "a serial port begins with /, like /dev/ttyS1"),
    "snapshot": Text(
        "应为 http://… 或 https://… 网址，不含账号口令（写在 user 与 password 中）；路径中的 @ 写作 %40",
        "valid: http://… or https://…, the login not in it but in user and password; an @ in a path as %40",
    ),
    "stream": Text(
        "应为 rtsp://… 或 http://…（MJPEG）网址，不含账号口令（写在 user 与 password 中）；路径中的 @ 写作 %40",
        "valid: rtsp://… or http://… (MJPEG), the login not in it but in user and password; an @ in a path as %40",
    ),
    "user": Text("应为 1–128 个字符，不含冒号", "valid: 1 to 128 characters without a colon"),
    "password": Text("应为一行 1–128 个字符", "valid: 1 to 128 characters in one line"),
    "path": Text("应为以 / 开头的路径", "a path must begin with /, like /var/lib/gantry-agent"),
}
_SAID_OF_NUMBERS = ("id", "server", "proxy", "listen", "host", "port", "path")  # quotes around a number would not do
_FULL_WIDTH_QUOTES = Text(
    "值两边是全角引号，会成为值的一部分；请改为半角引号",
    'full-width quotes around the value would be a part of it; type " instead',
)
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
    empty = set(_empty(plain))
    quoted = [document.fault(path, _FULL_WIDTH_QUOTES) for path in _wide_quotes(plain)]
    faults: list[Fault] | None = None
    for _ in range(MENDING_ROUNDS):
        try:
            read = SiteFile.model_validate(plain)
        except ValidationError as e:
            errors = e.errors(include_url=False)
        else:
            return read, quoted + _empty_faults(document, empty, []) if faults is None else faults
        if faults is None:
            faults = quoted + _empty_faults(document, empty, errors)
            faults += [
                _fault(document, error)
                for error in errors
                if not _is_empty(document.root, error, empty) and not _is_misspelt(error, errors)
            ]
        for error in errors:
            _mend(plain, _document_path(plain, error["loc"]), error["type"])
    raise ConfigFault(faults or [])


def _empty(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """List the keys and list items that were left without a value."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _empty(value, (*path, key))
    elif node is None:
        yield path


def _wide_quotes(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """List the values in full-width quotes, which YAML takes for a part of the value."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _wide_quotes(value, (*path, key))
    elif isinstance(node, str) and node[:1] in {"“", "”"} and node[-1:] in {"“", "”"}:
        yield path


def _is_empty(root: Any, error: ErrorDetails, empty: set[Path_]) -> bool:
    """Tell whether a mismatch only follows from a value left empty, which is told by itself."""
    path = _document_path(root, error["loc"])
    if error["type"] == "union_tag_not_found":
        path = (*path, _discriminator(error))
    return error["type"] != "extra_forbidden" and path in {(*one[:-1], _before_colon(one[-1])) for one in empty}


def _is_misspelt(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Tell whether what is missing stands there under a name that is told as unknown."""
    unknown = (e["loc"] for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == error["loc"][:-1])
    missing = str(error["loc"][-1])
    return error["type"] == "missing" and any(
        suggest(str(loc[-1]), [missing]).en.startswith("; did") for loc in unknown
    )


def _before_colon(key: str | int) -> str | int:
    return re.split("[:：]", key)[0].strip() if isinstance(key, str) else key


def _empty_faults(document: Document, empty: set[Path_], errors: list[ErrorDetails]) -> list[Fault]:
    unknown = {_document_path(document.root, e["loc"]) for e in errors if e["type"] == "extra_forbidden"}
    faults = []
    for path in sorted(empty - unknown, key=str):
        where = spoken(document.root, path)
        said = Text(
            f"{where.zh} 没有值；请填写，或删去这一行", f"{where.en} is empty; give it a value or take the line out"
        )
        if (name := _before_colon(path[-1])) != path[-1]:
            said = _unknown_key(str(path[-1]), (str(name),))
        faults.append(document.fault(path, said, at_key=True))
    return faults


def spoken(root: Any, path: Path_) -> Text:
    """Name a place of the file as people do: `cabinet 1, meter, unit`."""
    match path:
        case ("cabinets", int(i), "devices" | "outputs" as section, name, *rest):
            kind = Text("", "") if section == "devices" else Text("输出 ", "output ")
            return _joined(root, "cabinets", i, Text(f"{kind.zh}{name}", f"{kind.en}{name}"), rest)
        case ("cabinets" | "computers" as section, int(i), *rest):
            return _joined(root, section, i, None, rest)
        case _:
            said = ".".join(map(str, path))
            return Text(said, said)


def _joined(root: Any, section: str, i: int, part: Text | None, rest: list[str | int]) -> Text:
    number = root[section][i].get("id") if isinstance(root[section][i], Mapping) else None
    kind = {"cabinets": Text("机柜", "cabinet"), "computers": Text("计算机", "computer")}[section]
    if isinstance(number, int) and not isinstance(number, bool):
        first = Text(f"{kind.zh} {number}", f"{kind.en} {number}")
    else:
        first = Text(f"第 {i + 1} 个{kind.zh}", f"{kind.en} number {i + 1} of the file")
    parts = [first, *([part] if part else [])]
    if rest:
        said = ".".join(map(str, rest))
        parts.append(Text(said, said))
    return Text("，".join(one.zh for one in parts), ", ".join(one.en for one in parts))


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
        return document.fault(path, _unknown_key(str(path[-1]), _keys_at(error["loc"][:-1])), at_key=True)
    if error["type"] == "union_tag_invalid":
        path = (*path, _discriminator(error))
    where = spoken(document.root, path)
    said = _MESSAGES.get(error["type"], _as_pydantic_says)(error)
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "[key]":
        said = _NAME
    value = _shown(error)
    return document.fault(path, Text(f"{where.zh}{value}：{said.zh}", f"{where.en}{value}: {said.en}"))


def _unknown_key(key: str, valid: tuple[str, ...]) -> Text:
    if (name := _before_colon(key)) != key and name in valid:
        return Text(
            f"{name} 后应为半角冒号和一个空格：“{name}: …”", f"after {name} a colon and a blank are wanted: '{name}: …'"
        )
    tail = suggest(key, valid, most=24)
    return Text(f"未知的键 {key}{tail.zh}", f"unknown key {key}{tail.en}")


def _discriminator(error: ErrorDetails) -> str:
    return str(error.get("ctx", {}).get("discriminator", "")).strip("'")


def _shown(error: ErrorDetails) -> str:
    """Show the value that is wrong, unless it is a secret or a whole part."""
    value = error["input"]
    if error["type"] == "union_tag_invalid":
        return f" = {error.get('ctx', {}).get('tag')!r}"
    if isinstance(value, str):
        value = re.sub(r"//\S*@", "//…@", value)  # a URL's user and password
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


def _text_wanted(error: ErrorDetails) -> Text:
    name = str(error["loc"][-1])
    return _PATTERNS[name] if name in _SAID_OF_NUMBERS else _QUOTED


def _choice(error: ErrorDetails) -> Text:
    """Name the valid words, and the one that was probably meant."""
    context = error.get("ctx", {})
    given = str(context.get("tag", error["input"]))
    expected = str(context.get("expected_tags", context.get("expected", "")))
    valid = [text or number for text, number in re.findall(r"'([^']+)'|(\d+)", expected)]
    if given in valid:
        unquoted = isinstance(error["input"], str)
        return Text(
            f"应写 {given}，{'不加' if unquoted else '加'}引号",
            f"write {given} {'without' if unquoted else 'in'} quotes",
        )
    tail = suggest(given, valid)
    return Text(_or(tail.zh.removeprefix("；"), " 或 "), _or(tail.en.removeprefix("; "), " or "))


def _or(words: str, word: str) -> str:
    head, _, last = words.rpartition(", ")
    return f"{head}{word}{last}" if head else last


def _context(zh: str, en: str, key: str) -> Callable[[ErrorDetails], Text]:
    def say(error: ErrorDetails) -> Text:
        value = error.get("ctx", {}).get(key)
        shown = f"{value:g}" if isinstance(value, float) else value
        return Text(zh.format(shown), en.format(shown))

    return say


def _always(zh: str, en: str) -> Callable[[ErrorDetails], Text]:
    return lambda _: Text(zh, en)


_QUOTED = Text('应为文字；数字请加引号，例如 "654321"', 'must be text; put quotes around digits, like "654321"')
_PART = _always("应由“键: 值”组成", "must consist of keys with values")

_MESSAGES: Mapping[str, Callable[[ErrorDetails], Text]] = {
    "missing": _always("缺少必填项", "is required and missing"),
    "string_type": _text_wanted,
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
    "literal_error": _choice,
    "union_tag_invalid": _choice,
    "host_address": _context("{} 不是 IP 地址", "{} is no IP address", "host"),
    "host_with_port": _context("端口请单独写成 port: {}", "give the port by itself, port: {}", "port"),
    "port_range": _context("端口 {} 应在 1–65535", "port {} must be from 1 to 65535", "port"),
    "value_error": _pattern,
    "union_tag_not_found": _context("缺少 {}", "has no {}", "discriminator"),
    "string_pattern_mismatch": _pattern,
    "string_too_short": _context("至少 {} 个字符", "must have at least {} characters", "min_length"),
    "string_too_long": _context("最多 {} 个字符", "must have at most {} characters", "max_length"),
}
