"""The parts of a profile file, bottom up: addresses, encodings, points, tables, conditions, derived values, writes.

Each verb takes the mapping that holds a part and returns the part, or writes down what is wrong with it and returns a
stand-in or None. Whether the names that parts use exist is checked afterwards, in `profile_links`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gantry_agent.faults import suggest
from gantry_agent.field import profile_controller, profile_outputs, profile_serial, profile_zte
from gantry_agent.field.product import (
    Amount,
    Bound,
    Case,
    Comparison,
    Derived,
    Encoding,
    Every,
    Name,
    Operand,
    Parameter,
    Point,
    Protocol,
    Table,
    When,
    Writing,
    key_of,
    read_name,
)
from gantry_agent.field.product_places import (
    Address,
    AnswerLayout,
    InHost,
    InOid,
    InRegister,
    Place,
    Shows,
)
from gantry_agent.field.product_snmp import RowFilter
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.model import Lane, Quality, Value
from gantry_agent.vocabulary import MEMBERS, Form

OPERATIONS = (
    "value", "first", "positive", "negative", "sum", "difference", "product", "quotient", "shifted", "mean", "min",
    "max", "ratio", "rate", "case",
)  # fmt: skip

_WORDS = {"NoData": Quality.NO_DATA, "NotSupport": Quality.NOT_SUPPORT}
_SPACES = ("holding", "input", "coil", "discrete")
KINDS: Mapping[Protocol, tuple[str, ...]] = {
    "megatec": ("decimal", "text"),
    "ydt1363": ("any",),
    "dlt645": ("bcd", "signed"),
    "modbus": ("u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"),
    "snmp": ("integer", "u32", "s32", "decimal", "text", "date"),
    "host": ("any",),
    "shengjiu": profile_controller.KINDS,
    "uhppote": profile_controller.KINDS,
    "zte": profile_zte.KINDS,
    "zpta": profile_controller.KINDS,
    "huazi": profile_controller.KINDS,
}
_OID = re.compile(r"\d+(\.\d+)+")
_TERM = re.compile(r"(?:(\d\w*)\s*\*\s*)?([a-z]\w*)")


@dataclass(slots=True)
class PartReader:
    """What the parts of one file share: its protocol, parameters, members and OID prefixes."""

    protocol: Protocol
    parameters: Mapping[str, Parameter]
    members: Mapping[str, int]
    prefixes: Mapping[str, str]
    lanes_said: set[str] = field(default_factory=set)  # points whose lane the file states
    answers: Mapping[str, AnswerLayout] = field(default_factory=dict)  # of YD/T 1363

    # --- names and places

    def name(self, key: str, parent: Entries) -> Name | None:
        """A key that names a field of the interface or is a local name."""
        name = read_name(key)
        if name is None or (not name.member and name.field != name.field.lower()):
            parent.complain(
                key,
                zh="不能作名称：应为 成员.字段，或小写的名称",
                en="cannot be a name: write member.field, or a name of your own in lower case",
            )
        elif name.member and name.member not in self.members:
            near = suggest(name.member, self.members)
            parent.complain(
                key, zh=f"members 中没有成员 {name.member}{near.zh}", en=f"members has no {name.member}{near.en}"
            )
        elif name.member and name.field not in MEMBERS[name.member].fields:
            near = suggest(name.field, MEMBERS[name.member].fields)
            parent.complain(key, zh=f"接口中没有该字段{near.zh}", en=f"the interface has no such field{near.en}")
        else:
            return name
        return None

    def address(self, text: str) -> Address | None:
        """`0x2006`, `register`, `1000 + 10000*unit`."""
        fixed, terms = 0, []
        for part in (part.strip() for part in text.split("+")):
            if re.fullmatch(r"0x[0-9A-Fa-f]{1,8}|0|[1-9]\d{0,9}", part):  # 010 is none: 8 or 10, who knows
                fixed += int(part, 0)
            elif (found := _TERM.fullmatch(part)) and (found[2] == "unit" or found[2] in self.parameters):
                terms.append((int(found[1] or "1", 0), found[2]))
            else:
                return None
        return Address(fixed, tuple(terms))

    def register(self, entries: Entries, key: str, spaces: tuple[str, ...] = _SPACES) -> InRegister:
        space, _, rest = entries.text(key).partition(" ")
        address = self.address(rest)
        if space not in spaces or address is None:
            entries.complain(
                key,
                zh=f"无法解读；应写 {'|'.join(spaces)} 加地址，如 {spaces[0]} 0x2006",
                en=f"cannot be read: write {'|'.join(spaces)} and the address, like {spaces[0]} 0x2006",
            )
            return InRegister("holding", Address())
        return InRegister(space, address)  # type: ignore[arg-type]  # it is one of the spaces

    def oid(self, entries: Entries, key: str) -> str:
        text = entries.text(key)
        head, dot, rest = text.partition(".")
        if head in self.prefixes:
            text = self.prefixes[head] + dot + rest
        if not _OID.fullmatch(text):
            near = suggest(head, self.prefixes)
            entries.complain(key, zh=f"不是 OID{near.zh}", en=f"cannot be an OID: {text!r}{near.en}")
        return text

    def place(self, entries: Entries, *, row: bool) -> Place:
        if self.protocol == "modbus":
            return self.register(entries, "read")
        if self.protocol == "snmp":
            return InOid(self.oid(entries, "column" if row else "oid"))
        if self.protocol == "megatec":
            return profile_serial.text_place(entries)
        if self.protocol == "ydt1363":
            return profile_serial.answer_place(entries, "read", self.answers)
        if self.protocol == "dlt645":
            return profile_serial.item_place(entries, self.parameters)
        if self.protocol in ("shengjiu", "uhppote", "zpta", "huazi"):
            return profile_controller.place(entries, swipes=self.protocol == "uhppote")
        if self.protocol == "zte":
            return profile_zte.place(entries)
        name = entries.text("host")
        for parameter in re.findall(r"\{(\w*)\}", name):
            self.amount(entries, "host", parameter)
        return InHost(name)

    def amount(self, entries: Entries, key: str, value: Any) -> Amount:
        """A number, or the name of a parameter."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value in self.parameters:
            given = self.parameters[value]
            for one in (given.default, *given.choices) if key != "host" else ():
                if not isinstance(one, int | float):
                    entries.complain(
                        key,
                        zh=f"不能用参数 {value}：{one!r} 不是数字",
                        en=f"cannot use the parameter {value}: {one!r} is no number",
                    )
            return value
        near = suggest(str(value), self.parameters)
        entries.complain(
            key,
            zh=f"{value!r} 既非数字也非参数名{near.zh}",
            en=f"cannot be {value!r}: it must be a number or the name of a parameter{near.en}",
        )
        return 1

    # --- encodings

    def encoding(self, entries: Entries, place: Place) -> Encoding:
        kind = self.kind(entries, place)
        none, absent = tuple(self.none(entries, "none")), tuple(self.none(entries, "absent"))
        values = self.value_map(entries, kind) if entries.has("map") else None
        otherwise: Value | Quality = Quality.NO_DATA
        if entries.has("else"):
            otherwise = _word(entries.scalar("else"))
        for cut in ("bit", "mask"):
            if entries.has(cut) and kind in ("f32", "f64"):
                entries.complain(
                    cut, zh=f"不能用于 {kind}：浮点数没有位", en=f"cannot be used with {kind}: it has no bits"
                )
        return Encoding(
            kind=kind,
            order=entries.choice("order", ("big", "little", "swap-words", "swap-bytes"), "big")
            if entries.has("order")
            else "big",
            bit=entries.whole("bit", 0, 0, 63) if entries.has("bit") else None,
            mask=entries.whole("mask", 1, 1, 2**64 - 1) if entries.has("mask") else None,
            none=none,
            absent=absent,
            map=values,
            otherwise=otherwise,
            scale=self.amount(entries, "scale", entries.take("scale")) if entries.has("scale") else 1,
            offset=self.amount(entries, "offset", entries.take("offset")) if entries.has("offset") else 0,
        )

    def kind(self, entries: Entries, place: Place) -> str:
        valid = KINDS[self.protocol]
        if isinstance(place, InRegister) and place.space in ("coil", "discrete"):
            return "bit"
        if not entries.has("as"):
            return valid[0]
        kind = entries.text("as")
        if kind in valid or (self.protocol == "modbus" and re.fullmatch(r"text:[1-9]\d?", kind)):
            return kind
        near = suggest(kind, valid)
        entries.complain("as", zh=f"不能是 {kind!r}{near.zh}", en=f"cannot be {kind!r}{near.en}")
        return valid[0]

    def none(self, entries: Entries, key: str) -> list[Value | Bound]:
        """Raw values that mean no value: `[2147483647, {above: 1999}]`."""
        raw = entries.take(key)
        items = raw if isinstance(raw, CommentedSeq) else [] if raw is None else [raw]
        found: list[Value | Bound] = []
        for item in items:
            if isinstance(item, CommentedMap) and set(item) <= {"above", "below"} and item:
                found.append(Bound(item.get("below"), item.get("above")))
            elif isinstance(item, (int, float, str)) and not isinstance(item, bool):
                found.append(plain_scalar(item))
            else:
                entries.complain(
                    key,
                    zh=f"不能是 {item!r}，应为原始值，如 0xFFFF 或 {{above: 1999}}",
                    en=f"cannot be {item!r}: it must be raw values, like 0xFFFF or {{above: 1999}}",
                )
        return found

    def value_map(self, entries: Entries, kind: str) -> dict[Value, Value | Quality]:
        """`{raw: value}`; for the raw value of a register the name of a parameter may stand."""
        raw = entries.take("map")
        if not isinstance(raw, CommentedMap) or not raw:
            entries.complain("map", zh="应为 {原始值: 值}", en="it must be raw values with their meaning, {raw: value}")
            return {}
        for key in raw if self.protocol == "modbus" and kind in KINDS["modbus"] else ():
            if isinstance(key, str):
                self.amount(entries, "map", key)
        return {plain_scalar(key): _word(plain_scalar(value)) for key, value in raw.items()}

    # --- points and tables

    def point(self, key: str, parent: Entries, entries: Entries, *, row: bool = False) -> Point | None:
        name = self.name(key, parent)
        place = self.place(entries, row=row)
        encoding = self.encoding(entries, place)
        unit = self.unit(name, entries) if name else entries.text("unit", "")
        if entries.has("lane"):
            self.lanes_said.add(key)
        lane: Lane = entries.choice("lane", ("fast", "slow"), "slow") if entries.has("lane") else "slow"
        inferred = entries.flag("inferred")
        write = self.written(entries, row=row) if entries.has("write") else None
        terminal = entries.text("terminal") if entries.has("terminal") else ""
        pulse = profile_outputs.pulse(self, entries, self.protocol, row=row) if entries.has("pulse") else None
        if pulse and write is None:
            entries.complain("pulse", zh="须与 write 一起给出", en="cannot be given without write")
        shows = self.shows(entries.entries("shows")) if entries.has("shows") else None
        again = not row and entries.flag("again")
        entries.finish()
        if name is None:
            return None
        key = key_of(name.member, name.number or 1, name.field)
        return Point(key, place, encoding, unit, lane, inferred, write, terminal, pulse, shows, again)

    def shows(self, entries: Entries) -> Shows:
        """What tells that a point which shows cards shows one anew."""
        shows = Shows(entries.text("count", ""), entries.text("given", ""))
        entries.finish()
        return shows

    def written(self, entries: Entries, *, row: bool) -> Writing:
        if self.protocol == "snmp":
            return profile_outputs.sets_object(self, entries.entries("write"), row=row)
        if self.protocol == "uhppote":
            return profile_controller.opening(entries)
        if self.protocol == "shengjiu":
            return profile_controller.signals(entries)
        if self.protocol in ("megatec", "ydt1363"):
            return profile_serial.commands(entries, self.protocol, self.parameters, row=row)
        if isinstance(entries.take("write"), CommentedMap):
            return profile_outputs.sets_register(self, entries.entries("write"))
        return self.register(entries, "write", ("coil", "holding"))

    def unit(self, name: Name, entries: Entries) -> str:
        """The unit as written; for a field of the interface it has to be the interface's."""
        unit = entries.text("unit", "")
        wanted = MEMBERS[name.member].fields[name.field].unit if name.member else unit
        if unit != wanted:
            entries.complain(
                "unit",
                zh=f"不能是 {unit!r}：接口规定为 {wanted!r}",
                en=f"cannot be {unit!r}: the interface wants {wanted!r}",
            )
        return unit

    def table(self, name: str, entries: Entries) -> Table:
        member = entries.choice("member", tuple(self.members), "") if entries.has("member") else ""
        rows = profile_serial.answer_place(entries, "rows", self.answers, group=True) if self.answers else None
        index = "" if rows else self.oid(entries, "index")
        by: Literal["index", "value"] = "index"
        if entries.has("order"):
            by = entries.choice("order", ("index", "value"), "index")
        where = tuple(self.row_filter(item) for item in entries.list("where"))
        inner = entries.entries("points")
        points = {}
        for key in inner.keys():  # noqa: SIM118 - Entries is not a mapping
            point = self.point(key, inner, inner.entries(key), row=True)
            if point:
                points[key] = point
        entries.finish()
        return Table(name, member, index, by, where, points, rows)

    def row_filter(self, item: Entries) -> RowFilter:
        """`{column: …, equals: …}`, or `word:`, or `not:`; with `and:` another that the same row must pass."""
        column = self.oid(item, "column")
        how = next((one for one in ("word", "not") if item.has(one)), "equals")
        values = item.scalars(how)
        also = self.row_filter(item.entries("and")) if item.has("and") else None
        item.finish()
        parameter = str(values[0]) if len(values) == 1 and values[0] in self.parameters else ""
        return RowFilter(column, () if parameter else values, parameter, how == "word", how == "not", also)

    # --- conditions and derived values

    def when(self, entries: Entries, key: str) -> When:
        found = tuple(tuple(self.comparison(one, name) for name in one.keys()) for one in entries.list(key))  # noqa: SIM118
        if not found:
            entries.complain(key, zh="缺少条件", en="a condition is missing, like when: {alarm: 1}")
        return found

    def comparison(self, entries: Entries, key: str) -> Comparison:
        subject: str | Every = Every(key[4:]) if key.startswith("any ") else key
        raw = entries.take(key)
        if not isinstance(raw, CommentedMap):
            return Comparison(subject, values=entries.scalars(key))
        inner = entries.entries(key)
        given = [word for word in ("not", "below", "above") if inner.has(word)]
        if "not" in given:
            comparison = Comparison(subject, unlike=inner.scalars("not"))
        else:
            below, above = (self.amount(inner, k, inner.take(k)) if k in given else None for k in ("below", "above"))
            if below is None and above is None:
                entries.complain(
                    key, zh="应为值、below、above 或 not", en="it must be a value, a list, below, above or not"
                )
            comparison = Comparison(subject, bound=Bound(below, above))
        inner.finish()
        return comparison

    def derived(self, key: str, parent: Entries, entries: Entries) -> Derived | None:
        name = self.name(key, parent)
        chosen = [operation for operation in OPERATIONS if entries.has(operation)]
        if len(chosen) != 1:
            parent.complain(
                key,
                zh=f"应恰有一个运算：{'、'.join(OPERATIONS)}",
                en=f"give exactly one of {', '.join(OPERATIONS)}",
            )
            for other in (*chosen, "scale", "offset", "bits", "else", "unit"):
                entries.take(other)
            entries.finish()  # the operation may be there, misspelt
            return None
        operation = chosen[0]
        cases: tuple[Case, ...] = ()
        operands: tuple[Operand, ...] = ()
        if operation == "case":
            cases = tuple(self.case(item, name) for item in entries.list("case"))
            if name and entries.has("else"):
                self.check_code(name, entries, "else")
        else:
            operands = tuple(_operand(value) for value in entries.scalars(operation))
        otherwise = _choice_word(entries.scalar("else")) if entries.has("else") else Quality.NO_DATA
        found = Derived(
            name=name or Name("", None, key),
            operation=operation,
            operands=operands,
            scale=self.amount(entries, "scale", entries.take("scale")) if entries.has("scale") else 1,
            offset=self.amount(entries, "offset", entries.take("offset")) if entries.has("offset") else 0,
            bits=entries.whole("bits", 64, 8, 64) if entries.has("bits") else 64,
            cases=cases,
            otherwise=otherwise,
        )
        if name and entries.has("unit"):
            self.unit(name, entries)
        entries.finish()
        return found if name else None

    def case(self, item: Entries, name: Name | None) -> Case:
        case = Case(self.when(item, "when"), _choice_word(item.scalar("then")))
        if name:
            self.check_code(name, item, "then")
        item.finish()
        return case

    def check_code(self, name: Name, entries: Entries, key: str) -> None:
        """A number that stands for a field of codes must be one of the interface's codes."""
        field_ = MEMBERS[name.member].fields[name.field] if name.member else None
        value = entries.take(key)
        if field_ and field_.form is Form.CODE and not isinstance(value, str) and str(value) not in field_.values:
            valid = ", ".join(field_.values)
            entries.complain(
                key,
                zh=f"不能是 {value!r}：接口中 {name.member}.{name.field} 只有 {valid}",
                en=f"cannot be {value!r}: the interface's codes of {name.member}.{name.field} are {valid}",
            )


def plain_scalar(value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else str(value)


def _word(value: Value) -> Value | Quality:
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _operand(value: Value) -> Operand:
    return Every(value[6:]) if isinstance(value, str) and value.startswith("every ") else value


def _choice_word(value: Value) -> Operand | Quality:
    return _WORDS[value] if value in _WORDS and isinstance(value, str) else _operand(value)
