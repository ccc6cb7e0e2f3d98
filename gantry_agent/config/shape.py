"""Checks a document against the schema and turns every mismatch into a Fault a technician can act on.

Pydantic finds the mismatches, all in one run; this module gives each its place in the file and its words. What the
message table (`wording`) does not know is passed on in pydantic's own words, so nothing is ever hidden.
"""

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gantry_agent.config.schema import NO_IP, SiteFile
from gantry_agent.config.wording import MESSAGES, SECRETS, after_colon, as_pydantic_says, discriminator, typed_wide
from gantry_agent.faults import ConfigFault, Document, Fault, Path_, nearest, suggest
from gantry_agent.text import Text

SHOWN = 60  # characters of a value that is wrong
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
    meant: list[Path_] = []  # parts that are read under another name or form than they were written
    mended: set[Path_] = set()  # what was told, and taken out: that it is missing now is no fault of the file
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
        else:
            faults += [
                _fault(document, error)
                for error in errors
                if _is_in(path := _document_path(document.root, error["loc"]), meant) and path not in mended
            ]
        for error in errors:
            path = _document_path(plain, error["loc"])
            if (found := _read_as_meant(document.root, plain, path, error)) is not None:
                meant.append(found)
            elif not _is_misspelt(error, errors):
                mended.add(path)
                _mend(plain, path, error["type"])
    raise ConfigFault(faults or [])


def _is_in(path: Path_, parts: list[Path_]) -> bool:
    return any(path[: len(part)] == part for part in parts)


def _read_as_meant(root: Any, plain: Any, path: Path_, error: ErrorDetails) -> Path_ | None:
    """Take a misspelt key for the one that was probably meant, and one part for a list of it, where it stands.

    So that what is in it is checked in the same run, and what refers to it is no fault. Gives the part's path.
    """
    try:
        whole, mine = _node(root, path[:-1]), _node(plain, path[:-1])
    except (KeyError, IndexError, TypeError):
        return None  # taken out already with what it was part of
    key = path[-1]
    if not isinstance(whole, CommentedMap) or key not in whole or key not in mine:
        return None
    if error["type"] == "list_type" and isinstance(whole[key], CommentedMap):
        inner = CommentedSeq([whole[key]])
        inner.lc.data = {0: [*whole.lc.key(key)]}
        whole[key], mine[key] = inner, [mine[key]]
        return path
    meant = nearest(str(key), _keys_at(error["loc"][:-1])) if error["type"] == "extra_forbidden" else None
    if meant is None or meant in whole or whole[key] is None:
        return None
    whole[meant], mine[meant] = whole.pop(key), mine.pop(key)
    whole.lc.data[meant] = whole.lc.data[key]
    return (*path[:-1], meant)


def _node(node: Any, path: Path_) -> Any:
    for key in path:
        node = node[key]
    return node


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
        path = (*path, discriminator(error))
    return error["type"] != "extra_forbidden" and path in {(*one[:-1], _before_colon(one[-1])) for one in empty}


def _is_misspelt(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Tell whether what is missing stands there under a name that is told as unknown."""
    unknown = (e["loc"] for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == error["loc"][:-1])
    missing = str(error["loc"][-1])
    return error["type"] == "missing" and any(nearest(str(loc[-1]), [missing]) for loc in unknown)


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
        if path[-1] in _STAND_IN and len(path) == 1:
            example = {"gantry": "{id: G000211001002110010}", "cloud": '{server: "https://…", auth: "…"}'}[
                str(path[-1])
            ]
            said = Text(f"{where.zh} 没有内容，应如 {example}", f"{where.en} is empty; it must be like {example}")
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
        path = (*path, discriminator(error))
    where = spoken(document.root, path)
    said = MESSAGES.get(error["type"], as_pydantic_says)(error)
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "[key]":
        said = _NAME
    if typed := typed_wide(error):
        said = typed
    value = _shown(error)
    return document.fault(path, Text(f"{where.zh}{value}：{said.zh}", f"{where.en}{value}: {said.en}"))


def _unknown_key(key: str, valid: tuple[str, ...]) -> Text:
    if (name := _before_colon(key)) != key and name in valid:
        return after_colon(str(name))
    tail = suggest(key, valid, most=24)
    return Text(f"未知的键 {key}{tail.zh}", f"unknown key {key}{tail.en}")


def _shown(error: ErrorDetails) -> str:
    """Show the value that is wrong, unless it is a secret or a whole part."""
    value = error["input"]
    if error["type"] == "union_tag_invalid":
        value = str(error.get("ctx", {}).get("tag"))
    if isinstance(value, str):
        value = re.sub(r"//\S*@", "//…@", value)  # a URL's user and password
    if error["type"] == "missing" or isinstance(value, Mapping | list) or error["loc"][-1] in SECRETS:
        return ""
    shown = repr(value)
    return f" = {shown if len(shown) <= SHOWN else shown[:SHOWN] + '…'}"


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
