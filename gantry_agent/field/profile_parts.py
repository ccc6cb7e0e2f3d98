"""The parts of a profile file, bottom up: addresses, encodings, points, tables, conditions, derived values, writes.

Each verb takes the mapping that holds a part and returns the part, or writes down what is wrong with it and returns a
stand-in or None. Whether the names that parts use exist is checked afterwards, in `profile_links`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gantry_agent.faults import suggest
from gantry_agent.field.product import (
    Address,
    Amount,
    Bound,
    Case,
    Comparison,
    Derived,
    Encoding,
    Every,
    InHost,
    InOid,
    InRegister,
    Name,
    Operand,
    Parameter,
    Place,
    Point,
    Protocol,
    ReadBack,
    RowFilter,
    Table,
    When,
    WriteOrder,
    key_of,
    read_name,
)
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.model import Lane, Quality, Value
from gantry_agent.vocabulary import MEMBERS

OPERATIONS = (
    "value", "first", "positive", "negative", "sum", "difference", "product", "mean", "min", "max", "ratio", "rate",
    "case",
)  # fmt: skip
ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType({"airConditioners": ("airOperate",)})  # of the interface, §2.2

_WORDS = {"NoData": Quality.NO_DATA, "NotSupport": Quality.NOT_SUPPORT}
_SPACES = ("holding", "input", "coil", "discrete")
_KINDS: Mapping[Protocol, tuple[str, ...]] = {
    "modbus": ("u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"),
    "snmp": ("integer", "u32", "s32", "decimal", "text"),
    "host": ("any",),
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

    # --- names and places

    def name(self, key: str, parent: Entries) -> Name | None:
        """A key that names a field of the interface or is a local name."""
        name = read_name(key)
        if name is None:
            parent.complain(key, zh="不是合法的名称", en="cannot be a name: write member.field or a lower_snake word")
        elif name.member and name.member not in self.members:
            near = suggest(name.member, self.members)
            parent.complain(key, zh=f"members 中没有该成员{near.zh}", en=f"cannot be: not among members{near.en}")
        elif name.member and name.field not in MEMBERS[name.member].fields:
            near = suggest(name.field, MEMBERS[name.member].fields)
            parent.complain(key, zh=f"接口中没有该字段{near.zh}", en=f"cannot be: no field of the interface{near.en}")
        else:
            return name
        return None

    def address(self, text: str) -> Address | None:
        """`0x2006`, `register`, `1000 + 10000*unit`."""
        fixed, terms = 0, []
        for part in (part.strip() for part in text.split("+")):
            if re.fullmatch(r"0x[0-9A-Fa-f]+|\d+", part):
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
                zh=f"应为 '{'|'.join(spaces)} 地址', 如 '{spaces[0]} 0x2006'",
                en=f"cannot be read: write '{'|'.join(spaces)} ADDRESS', such as '{spaces[0]} 0x2006'",
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
        name = entries.text("host")
        for parameter in re.findall(r"\{(\w*)\}", name):
            self.amount(entries, "host", parameter)
        return InHost(name)

    def amount(self, entries: Entries, key: str, value: Any) -> Amount:
        """A number, or the name of a parameter."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value in self.parameters:
            return value
        near = suggest(str(value), self.parameters)
        entries.complain(
            key, zh=f"{value!r} 既非数字也非参数{near.zh}", en=f"cannot be {value!r}: no number, no parameter{near.en}"
        )
        return 1

    # --- encodings

    def encoding(self, entries: Entries, place: Place) -> Encoding:
        kind = self.kind(entries, place)
        none = tuple(self.none(entries))
        values = self.value_map(entries) if entries.has("map") else None
        otherwise: Value | Quality = Quality.NO_DATA
        if entries.has("else"):
            otherwise = _word(entries.scalar("else"))
        return Encoding(
            kind=kind,
            order=entries.choice("order", ("big", "little", "swap-words", "swap-bytes"), "big")
            if entries.has("order")
            else "big",
            bit=entries.whole("bit", 0, 0, 63) if entries.has("bit") else None,
            mask=entries.whole("mask", 1, 1, 2**64 - 1) if entries.has("mask") else None,
            none=none,
            map=values,
            otherwise=otherwise,
            scale=self.amount(entries, "scale", entries.take("scale")) if entries.has("scale") else 1,
            offset=self.amount(entries, "offset", entries.take("offset")) if entries.has("offset") else 0,
        )

    def kind(self, entries: Entries, place: Place) -> str:
        valid = _KINDS[self.protocol]
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

    def none(self, entries: Entries) -> list[Value | Bound]:
        """Raw values that mean no value: `[2147483647, {above: 1999}]`."""
        raw = entries.take("none")
        items = raw if isinstance(raw, CommentedSeq) else [] if raw is None else [raw]
        found: list[Value | Bound] = []
        for item in items:
            if isinstance(item, CommentedMap) and set(item) <= {"above", "below"} and item:
                found.append(Bound(item.get("below"), item.get("above")))
            elif isinstance(item, (int, float, str)) and not isinstance(item, bool):
                found.append(_plain_scalar(item))
            else:
                entries.complain("none", zh=f"不能是 {item!r}", en=f"cannot be {item!r}: raw values are wanted")
        return found

    def value_map(self, entries: Entries) -> dict[Value, Value | Quality]:
        raw = entries.take("map")
        if not isinstance(raw, CommentedMap) or not raw:
            entries.complain("map", zh="应为 {原始值: 值}", en="cannot be used: {raw: value} is wanted")
            return {}
        return {_plain_scalar(key): _word(_plain_scalar(value)) for key, value in raw.items()}

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
        write = self.register(entries, "write", ("coil", "holding")) if entries.has("write") else None
        entries.finish()
        if name is None:
            return None
        return Point(key_of(name.member, name.number or 1, name.field), place, encoding, unit, lane, inferred, write)

    def unit(self, name: Name, entries: Entries) -> str:
        """The unit as written; for a field of the interface it has to be the interface's."""
        unit = entries.text("unit", "")
        wanted = MEMBERS[name.member].fields[name.field].unit if name.member else unit
        if unit != wanted:
            entries.complain(
                "unit", zh=f"接口规定单位为 {wanted!r}", en=f"cannot be {unit!r}: the interface wants {wanted!r}"
            )
        return unit

    def table(self, name: str, entries: Entries) -> Table:
        member = entries.choice("member", tuple(self.members), "") if entries.has("member") else ""
        index = self.oid(entries, "index")
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
        return Table(name, member, index, by, where, points)

    def row_filter(self, item: Entries) -> RowFilter:
        column = self.oid(item, "column")
        word = item.has("word")
        values = item.scalars("word" if word else "equals")
        item.finish()
        if len(values) == 1 and values[0] in self.parameters:
            return RowFilter(column, (), str(values[0]), word)
        return RowFilter(column, values, "", word)

    # --- conditions and derived values

    def when(self, entries: Entries, key: str) -> When:
        found = tuple(tuple(self.comparison(one, name) for name in one.keys()) for one in entries.list(key))  # noqa: SIM118
        if not found:
            entries.complain(key, zh="缺少条件", en="cannot be missing: a condition is wanted")
        return found

    def comparison(self, entries: Entries, key: str) -> Comparison:
        subject: str | Every = Every(key[4:]) if key.startswith("any ") else key
        raw = entries.take(key)
        if not isinstance(raw, CommentedMap):
            return Comparison(subject, values=entries.scalars(key))
        inner = entries.entries(key)
        if inner.has("not"):
            comparison = Comparison(subject, unlike=inner.scalars("not"))
        else:
            below, above = (self.amount(inner, k, inner.take(k)) if inner.has(k) else None for k in ("below", "above"))
            if below is None and above is None:
                entries.complain(
                    key, zh="应为值, below, above 或 not", en="cannot be empty: a value, below, above or not"
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
                zh=f"应恰有一个运算: {', '.join(OPERATIONS)}",
                en=f"cannot be: exactly one of {', '.join(OPERATIONS)}",
            )
            return None
        operation = chosen[0]
        cases: tuple[Case, ...] = ()
        operands: tuple[Operand, ...] = ()
        if operation == "case":
            cases = tuple(self.case(item) for item in entries.list("case"))
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

    def case(self, item: Entries) -> Case:
        case = Case(self.when(item, "when"), _choice_word(item.scalar("then")))
        item.finish()
        return case

    # --- writes

    def order(self, key: str, parent: Entries, entries: Entries) -> WriteOrder | None:
        name = read_name(key)
        valid = {f"{member}.{order}" for member, orders in ORDERS.items() for order in orders if member in self.members}
        if name is None or f"{name.member}.{name.field}" not in valid:
            near = suggest(key, valid)
            parent.complain(key, zh=f"接口中没有该指令{near.zh}", en=f"cannot be: no order of the interface{near.en}")
            name = None
        place: InRegister | InOid
        if self.protocol == "snmp":
            place = InOid(self.oid(entries, "oid"))
            kind = entries.choice("kind", ("integer", "unsigned", "octets", "oid"), "integer")
            function = 0
        else:
            place = self.register(entries, "write", ("coil", "holding"))
            kind = self.kind(entries, place)
            usual = 5 if place.space == "coil" else 6
            function = entries.choice("function", (5, 6, 16), usual) if entries.has("function") else usual
        raw = entries.take("map")
        values = {int(k): int(v) for k, v in raw.items()} if isinstance(raw, CommentedMap) else {}
        confirm = self.confirm(entries.entries("confirm")) if entries.has("confirm") else None
        entries.finish()
        return WriteOrder(name, place, function, kind, MappingProxyType(values), confirm) if name else None

    def confirm(self, entries: Entries) -> ReadBack:
        raw = entries.take("expect")
        expect = {int(k): _plain_scalar(v) for k, v in raw.items()} if isinstance(raw, CommentedMap) else None
        confirm = ReadBack(entries.text("point"), entries.number("within_s", 3), expect)
        entries.finish()
        return confirm


def _plain_scalar(value: Any) -> Value:
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
