"""The parts of a profile file that only Megatec, YD/T 1363 and DL/T 645 products have.

Megatec (`protocol: megatec`): a point stands in the answer to a command, `read: Q1 field 3` (between blanks, the mark
`(` or `#` not counted), `read: Q1 field 8 char 2`, or as vendors' tables count characters, `read: Q1 chars 28-31` (the
mark is character 0); `read: I` is the whole answer.

YD/T 1363 (`protocol: ydt1363`): `answers` names what can be asked and how the answer is laid out, points and the rows
of tables are paths through it:

    answers:
      modules:
        ask: 41/41 group
        layout: [{flag: u8, if: data_flag}, {volts: f32}, {module: [{amps: f32}, {own: [f32]}]}]
    points:
      output_voltage: {read: modules volts, unit: V}
      second: {read: "modules module[2].own[1]"}
    tables:
      rectifiers: {member: rectifier, rows: modules module, points: {amps: {read: modules module.amps}}}

`ask` is CID1/CID2 and the bytes of INFO: two hex digits, or a parameter. A layout is a list of `name: kind` in the
order of the bytes; `name: [kind]` is a counted run of values, `name: [{…}, {…}]` a counted group; `if` names a
parameter that is 0 where the maker leaves the value out. The parameter `version` is VER.

DL/T 645 (`protocol: dlt645`): a point is an item, `read: item 02010100`; `as: bcd` (default), or `signed` where the
highest bit is the sign. The parameter `address` is the meter's number.

The first two: `write: {1: T, 0: CT}` (or `{1: 41/45 20 row}`) makes a point writable, by the command for each value;
in one of Megatec `{name}` is a parameter in two digits (`T{test_minutes}`).
"""

import re
from collections.abc import Iterator, Mapping

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gantry_agent.faults import suggest
from gantry_agent.field.framing.counted import KINDS, Cell, Group, Layout, Run, paths
from gantry_agent.field.product import (
    Parameter,
)
from gantry_agent.field.product_places import (
    AnswerLayout,
    Commands,
    InAnswer,
    InItem,
    InText,
    Question,
    Term,
)
from gantry_agent.field.profile_yaml import Entries

ROW = "row"
VERSION = "version"
ADDRESS = "address"  # of a DL/T 645 meter
_TEXT = re.compile(
    r"(?P<command>[A-Z][A-Z0-9]*)"
    r"(?: field (?P<field>[1-9]\d?)(?: char (?P<char>[1-9]\d?))?| chars? (?P<first>\d{1,3})(?:-(?P<last>\d{1,3}))?)?"
)
_ITEM = re.compile(r"item ([0-9A-F]{8})")
_COMMAND = re.compile(r"[A-Z][A-Z0-9.]{0,15}")
FILLED_IN = re.compile(r"\{(\w+)\}")
_QUESTION = re.compile(r"([0-9A-Fa-f]{2})/([0-9A-Fa-f]{2})((?: +\S+)*)")
_STEP = re.compile(r"([a-z][a-z0-9_]*)(?:\[([1-9]\d?)\])?")


# --- Megatec --------------------------------------------------------------------------------------------------------


def text_place(entries: Entries) -> InText:
    """`read: Q1 field 8 char 2`."""
    found = _TEXT.fullmatch(entries.text("read"))
    if not found:
        entries.complain(
            "read",
            zh="无法解读；应为“命令 field N”“命令 field N char M”或“命令 chars A-B”，如 Q1 field 3",
            en="cannot be read: write 'COMMAND field N', 'COMMAND field N char M' or 'COMMAND chars A-B'",
        )
        return InText("Q1", 1)
    first, last = found["first"] or found["char"], found["last"] or found["first"] or found["char"]
    return InText(
        found["command"],
        int(found["field"] or 0),
        int(first) if first else None,
        int(last) if last else None,
    )


# --- YD/T 1363 ------------------------------------------------------------------------------------------------------


def answers(entries: Entries, parameters: Mapping[str, Parameter]) -> dict[str, AnswerLayout]:
    """The section `answers`."""
    found = {}
    for name in entries.keys():  # noqa: SIM118 - Entries is not a mapping
        one = entries.entries(name)
        asked = question(one, "ask", one.text("ask"), parameters)
        found[name] = AnswerLayout(asked, _layout(one, "layout", parameters))
        one.finish()
    if found and VERSION not in parameters:
        entries.complain(
            next(iter(found)),
            zh=f"parameters 中缺少 {VERSION}（VER）",
            en=f"cannot be asked without a parameter {VERSION} (VER)",
        )
    return found


def question(
    entries: Entries, key: str, text: str, parameters: Mapping[str, Parameter], *, row: bool = False
) -> Question:
    """`41/41 group`; where rows are written, `row` is the number of the row."""
    found = _QUESTION.fullmatch(text)
    if not found:
        entries.complain(
            key,
            zh="无法解读；应为 CID1/CID2 和字节，如 41/41 FF",
            en="cannot be read: write CID1/CID2 and the bytes, like 41/41 FF",
        )
        return Question(0, 0, ())
    terms: list[Term] = []
    for word in found[3].split():
        if re.fullmatch(r"[0-9A-Fa-f]{2}", word):
            terms.append(int(word, 16))
        elif word in parameters or (row and word == ROW):
            terms.append(word)
        else:
            near = suggest(word, [*parameters, *([ROW] if row else [])])
            entries.complain(
                key,
                zh=f"{word!r} 既非两位十六进制数也非参数{near.zh}",
                en=f"cannot be {word!r}: it must be two hex digits or a parameter{near.en}",
            )
    return Question(int(found[1], 16), int(found[2], 16), tuple(terms))


def _layout(entries: Entries, key: str, parameters: Mapping[str, Parameter]) -> Layout:
    items: list[Cell | Run | Group] = []
    for one in entries.list(key):
        given = one.text("if", "")
        if given and given not in parameters:
            near = suggest(given, parameters)
            one.complain("if", zh=f"没有参数 {given!r}{near.zh}", en=f"cannot find parameter {given!r}{near.en}")
        names = [name for name in one.keys() if name != "if"]  # noqa: SIM118
        if len(names) != 1 or not _STEP.fullmatch(names[0]):
            entries.complain(key, zh="每项应恰有一个名称", en="each item must have exactly one name")
            continue
        items.append(_item(one, names[0], given, parameters))
        one.finish()
    if not items:
        entries.complain(
            key,
            zh="不能为空；按字节顺序列出 名称: 类型",
            en="cannot be empty: list 'name: kind' in the order of the bytes",
        )
    return tuple(items)


def _item(one: Entries, name: str, given: str, parameters: Mapping[str, Parameter]) -> Cell | Run | Group:
    raw = one.take(name)
    listed = raw if isinstance(raw, CommentedSeq) else None
    if listed is not None and (len(listed) != 1 or isinstance(listed[0], CommentedMap)):
        return Group(name, _layout(one, name, parameters))
    kind = str(raw if listed is None else listed[0])
    if kind not in KINDS:
        near = suggest(kind, KINDS)
        one.complain(name, zh=f"不能是 {kind!r}{near.zh}", en=f"cannot be {kind!r}{near.en}")
        kind = "u8"
    return Cell(name, kind, given) if listed is None else Run(name, kind)


def answer_place(entries: Entries, key: str, known: Mapping[str, AnswerLayout], *, group: bool = False) -> InAnswer:
    """`modules module[2].own[1]`; with `group` the path of a counted group, whose rows a table has."""
    name, _, text = entries.text(key).partition(" ")
    if name not in known:
        near = suggest(name, known)
        entries.complain(key, zh=f"answers 中没有 {name!r}{near.zh}", en=f"cannot find answer {name!r}{near.en}")
        return InAnswer(name, "")
    steps = [_STEP.fullmatch(step) for step in text.strip().split(".")]
    path = ".".join(step[1] for step in steps if step)
    parts = dict(paths(known[name].layout))
    part = parts.get(path)
    if part is None or None in steps or isinstance(part, Group) is not group:
        valid = [path for path, part in parts.items() if isinstance(part, Group) is group]
        near = suggest(path, valid)
        entries.complain(key, zh=f"{name} 中没有 {text!r}{near.zh}", en=f"cannot find {text!r} in {name}{near.en}")
        return InAnswer(name, "")
    numbers = [int(step[2]) if step and step[2] else None for step in steps]
    *outer, row, place = None, *numbers
    if any(outer) or (group and (row or place)) or (not group and (place is None) is isinstance(part, Run)):
        entries.complain(
            key,
            zh=f"不能读取 {text!r}: 序号只用于一列值 (own[1], 必须有) 和值所在的那一组 (module[2])",
            en=f"cannot read {text!r}: a run of values needs a number (own[1]), one value takes none, groups that"
            " hold groups take none",
        )
    return InAnswer(name, path, row, place if isinstance(part, Run) else None)


# --- DL/T 645 -------------------------------------------------------------------------------------------------------


def item_place(entries: Entries, parameters: Mapping[str, Parameter]) -> InItem:
    """`read: item 02010100`."""
    found = _ITEM.fullmatch(entries.text("read"))
    if not found:
        entries.complain(
            "read",
            zh="无法解读；应为 item 加 8 位数据标识，如 item 02010100",
            en="cannot be read: write 'item' and the eight digits of the item, like item 02010100",
        )
    elif ADDRESS not in parameters:
        entries.complain(
            "read",
            zh=f"parameters 中缺少 {ADDRESS}（电表表号）",
            en=f"cannot be asked without a parameter {ADDRESS} (the meter's number)",
        )
    return InItem(int(found[1], 16) if found else 0)


# --- commands that write --------------------------------------------------------------------------------------------


def _numbers(parameter: Parameter | None) -> Iterator[int]:
    """The values that a parameter may have; -1 for what is no whole number, or not limited to some."""
    possible = (parameter.default, *parameter.choices) if parameter and parameter.choices else (-1,)
    return (one if isinstance(one, int) else -1 for one in possible)


def commands(entries: Entries, protocol: str, parameters: Mapping[str, Parameter], *, row: bool) -> Commands:
    """`write: {1: T, 0: CT}`; in a command of Megatec `{name}` stands for a parameter, in two digits."""
    raw = entries.take("write")
    given = raw if isinstance(raw, CommentedMap) else {}
    found: dict[int, str | Question] = {}
    for value, text in given.items():
        if protocol == "ydt1363" and isinstance(value, int):
            found[int(value)] = question(entries, "write", str(text), parameters, row=row)
        elif isinstance(value, int) and _COMMAND.fullmatch(FILLED_IN.sub("00", str(text))):
            for name in FILLED_IN.findall(str(text)):
                if not all(0 <= one < 100 for one in _numbers(parameters.get(name))):
                    entries.complain(
                        "write",
                        zh=f"{{{name}}} 应为参数名，其 default 和 choices 均为 0 到 99 的整数",
                        en=f"cannot use {{{name}}}: it must be a parameter whose default and choices are 0 to 99",
                    )
            found[int(value)] = str(text)
    if not found or len(found) < len(given):
        entries.complain(
            "write", zh="应为 {值: 命令}，如 {1: T, 0: CT}", en="it must be {value: command}, like {1: T, 0: CT}"
        )
    return Commands(found)
