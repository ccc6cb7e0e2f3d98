"""What a profile says can be written: the interface's orders, and settings for a device that is back.

Verbs as in `profile_parts`; points that a site may name as outputs are read there, with the point. An order is one
write or several `steps`, each with a place and a value; what shows that it was done is its `confirm`. Whether the
points exist that an order names is checked at the end (`check_orders`), when all of the file is known.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gantry_agent.faults import suggest
from gantry_agent.field.product import (
    Amount,
    ByPoint,
    InRow,
    Name,
    Permission,
    Profile,
    ReadBack,
    Setting,
    Span,
    Step,
    Table,
    WriteOrder,
    read_name,
)
from gantry_agent.field.product_places import (
    InOid,
    InRegister,
)
from gantry_agent.field.profile_parts import PartReader, plain_scalar
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.model import Value

# Of the interface (§3.2.2), with the values they take; none: a measured value, in °C.
ORDERS: Mapping[str, Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "airConditioners": MappingProxyType(
            {"airOperate": (1, 2), "autoRefrigerationTemp": (), "autoHeatingTemp": ()},
        ),
        "rectifier": MappingProxyType({"onOff": (0, 1)}),
        "ups": MappingProxyType({"testStartStop": (0, 1)}),
    }
)
AS_READ = "as read"
TEXT_KINDS = frozenset({"octets", "oid"})
_SET_KINDS = ("integer", "unsigned", "octets", "oid")
WITHIN_S = 3.0


def order(
    parts: PartReader, key: str, parent: Entries, entries: Entries, tables: Mapping[str, Table]
) -> WriteOrder | None:
    """How an order of the interface is written; None when the interface has no such order."""
    name, values = _named(parts, key, parent)
    items = entries.list("steps") if entries.has("steps") else []
    steps = tuple(_step(parts, item, name, tables) for item in items or [entries])
    for item in items:
        item.finish()
    momentary = entries.flag("momentary")
    proof = _confirm(entries.entries("confirm")) if entries.has("confirm") else None
    if proof is None and len(steps) == 1 and isinstance(steps[0].place, ByPoint):
        proof = ReadBack(steps[0].place.name, WITHIN_S)
    if proof is None and not momentary:
        entries.complain(
            "confirm",
            zh="缺少这一项：指令须由某个点证实已执行；确实无从证实的写 momentary: true",
            en="is missing: some point must show that the order was done; if none can, say momentary: true",
        )
    low, high = (_bound(parts, entries, name, values, key) for key in ("low", "high"))
    if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
        entries.complain("high", zh=f"应大于 low（{low}）", en=f"cannot be {high}: it must be above low, {low}")
    permission = _permission(entries.entries("require"), values) if entries.has("require") else None
    _check_steps(entries, name, values, steps)
    entries.finish()
    return WriteOrder(name, steps, proof, low, high, permission) if name else None


def _named(parts: PartReader, key: str, parent: Entries) -> tuple[Name | None, tuple[int, ...]]:
    name = read_name(key)
    valid = {f"{member}.{one}" for member, orders in ORDERS.items() for one in orders if member in parts.members}
    if name is None or f"{name.member}.{name.field}" not in valid:
        near = suggest(key, valid)
        parent.complain(key, zh=f"接口中没有该指令{near.zh}", en=f"the interface has no such order{near.en}")
        return None, ()
    return name, ORDERS[name.member][name.field]


# --- one write --------------------------------------------------------------------------------------------------------


def _step(parts: PartReader, entries: Entries, name: Name | None, tables: Mapping[str, Table]) -> Step:
    place, kind, function = _place(parts, entries, name, tables)
    raw = entries.take("value") if entries.has("value") else None
    as_read = raw == AS_READ and isinstance(place, InOid)
    fixed = None if raw is None or as_read else entries.scalar("value")
    values = _by_value(entries, "map", single=True) if entries.has("map") else {}
    found = {k: _spelt(parts, one[0], kind) for k, one in values.items()}
    fixed = None if fixed is None else _spelt(parts, fixed, kind)
    if fixed is None and not as_read and kind not in TEXT_KINDS:
        scale = parts.amount(entries, "scale", entries.take("scale")) if entries.has("scale") else 1
        offset = parts.amount(entries, "offset", entries.take("offset")) if entries.has("offset") else 0
    else:
        scale, offset = 1, 0
    for key, value in [("map", one) for one in found.values()] + ([] if fixed is None else [("value", fixed)]):
        possible = parts.parameters[value].choices if isinstance(value, str) and value in parts.parameters else (value,)
        if not possible or not all(_fits(one, kind) for one in possible):
            entries.complain(
                key,
                zh=f"{value!r} 不能写为 {kind}（参数须列出 choices）",
                en=f"cannot be {value!r}: it must fit {kind}, or be a parameter with such choices",
            )
    return Step(
        place=place,
        function=function,
        kind=kind,
        order=entries.choice("order", ("big", "little", "swap-words", "swap-bytes"), "big")
        if isinstance(place, InRegister) and entries.has("order")
        else "big",
        map=MappingProxyType(found),
        scale=scale,
        offset=offset,
        value=fixed,
        as_read=as_read,
        only=entries.whole("for", 0, 0, 9) if entries.has("for") else None,
        block=_span(parts, entries, place) if isinstance(place, InRegister) and entries.has("block") else None,
    )


def _spelt(parts: PartReader, value: Value, kind: str) -> Value:
    """An OID that is a value may be shortened like any other."""
    head, dot, rest = str(value).partition(".")
    return parts.prefixes[head] + dot + rest if kind == "oid" and head in parts.prefixes else value


def _place(
    parts: PartReader, entries: Entries, name: Name | None, tables: Mapping[str, Table]
) -> tuple[InRegister | InOid | InRow | ByPoint, str, int]:
    if parts.protocol == "snmp" and entries.has("column"):
        return InRow(parts.oid(entries, "column"), _rows_of(entries, name, tables)), _set_kind(entries), 0
    if entries.has("point") or parts.protocol not in ("modbus", "snmp"):
        return ByPoint(entries.text("point")), "integer", 0
    return target(parts, entries)


def _rows_of(entries: Entries, name: Name | None, tables: Mapping[str, Table]) -> str:
    """The table whose rows are the instances of the order's member."""
    mine = [table.name for table in tables.values() if name and table.member == name.member]
    if entries.has("table") or len(mine) > 1:
        return str(entries.choice("table", tuple(mine), mine[0] if mine else ""))
    if name and not mine:
        entries.complain(
            "column",
            zh=f"没有 member 为 {name.member} 的表，行无从确定",
            en=f"cannot be used: no table has the member {name.member}, so nothing says which row is meant",
        )
    return mine[0] if mine else ""


def target(parts: PartReader, entries: Entries) -> tuple[InRegister | InOid, str, int]:
    """Where and how something is written: place, encoding or SNMP type, function."""
    if parts.protocol == "snmp":
        kind = _set_kind(entries)
        return InOid(parts.oid(entries, "oid")), kind, 0
    place = parts.register(entries, "write", ("coil", "holding"))
    usual = 5 if place.space == "coil" else 16 if entries.has("block") else 6
    function = entries.choice("function", (5, 6, 16), usual) if entries.has("function") else usual
    return place, parts.kind(entries, place), function


def _set_kind(entries: Entries) -> str:
    return str(entries.choice("kind", _SET_KINDS, "integer")) if entries.has("kind") else "integer"


def _span(parts: PartReader, entries: Entries, place: InRegister) -> Span | None:
    """`holding 0x0700 x4`, in which the order's own register must lie."""
    text, _, count = entries.text("block").rpartition(" x")
    space, _, rest = text.partition(" ")
    first = parts.address(rest)
    if space != "holding" or place.space != "holding" or first is None or not count.isdigit() or int(count) > 123:
        entries.complain(
            "block",
            zh="无法解读；应写首个寄存器与个数（最多 123），如 holding 0x0700 x4",
            en="cannot be read: write the first register and how many (123 at most), like holding 0x0700 x4",
        )
        return None
    inside = place.address.fixed - first.fixed
    if place.address.terms != first.terms or not 0 <= inside < int(count):
        entries.complain(
            "block", zh="write 的寄存器不在此块内", en="cannot be used: the register of `write` does not lie in it"
        )
    pad = entries.whole("pad", 0, 0, 0xFFFF) if entries.has("pad") else None
    if pad is not None and inside % 2:
        entries.complain(
            "pad",
            zh="write 的寄存器正是被 pad 覆盖的（块内第二、第四…个）",
            en="cannot be used: the register of `write` is one of those that it fills, the second, fourth …",
        )
    return Span(InRegister("holding", first), int(count), pad)


# --- what an order takes, and what shows that it was done -------------------------------------------------------------


def _bound(parts: PartReader, entries: Entries, name: Name | None, values: tuple[int, ...], key: str) -> Amount | None:
    if not entries.has(key):
        return None
    bound = parts.amount(entries, key, entries.take(key))
    if name and values:
        entries.complain(
            key,
            zh=f"{name.field} 没有量程，只有 {list(values)}",
            en=f"cannot be given: {name.field} has no range, only the values {list(values)}",
        )
    return bound


def _confirm(entries: Entries) -> ReadBack:
    expect = _by_value(entries, "expect") if entries.has("expect") else None
    tolerance = entries.number("tolerance", 0, least=0) if entries.has("tolerance") else None
    proof = ReadBack(entries.text("point"), entries.number("within_s", WITHIN_S, above=0), expect, tolerance)
    entries.finish()
    return proof


def _permission(entries: Entries, values: tuple[int, ...]) -> Permission:
    only = entries.whole("for", 0, 0, 9) if entries.has("for") else None
    permission = Permission(entries.text("point"), entries.scalars("is"), only)
    if not permission.values:
        entries.complain("is", zh="缺少这一项：应为允许写入时的值", en="is missing: the values that permit a write")
    if only is not None and only not in values:
        shown = ", ".join(map(str, values))
        entries.complain("for", zh=f"不是该指令的值；可用：{shown}", en=f"is no value of this order; valid: {shown}")
    entries.finish()
    return permission


def _check_steps(entries: Entries, name: Name | None, values: tuple[int, ...], steps: tuple[Step, ...]) -> None:
    """Complain unless every value of the order is written, each in its own way, and nothing else."""
    if name is None:
        return
    shown = ", ".join(map(str, values))
    for step in steps:
        strange = [one for one in (*step.map, step.only) if one is not None and one not in values]
        if strange:
            entries.complain(
                "map" if step.map else "for",
                zh=f"{name.field} 没有 {strange} 这样的值{f'，只有 {shown}' if values else '，它是量值'}",
                en=f"cannot be for {strange}: {name.field} {f'takes {shown}' if values else 'is a measured value'}",
            )
    for value in values or (None,):
        mine = [step for step in steps if step.only in (None, value)]
        written = [step for step in mine if step.only is not None or (step.value is None and not step.as_read)]
        gaps = [step for step in mine if step.map and value not in step.map]
        if gaps or not written:
            what = "" if value is None else f"={value}"
            entries.complain(
                "map" if gaps else "steps",
                zh=f"没有说明 {name.field}{what} 写什么",
                en=f"must say what is written for {name.field}{what}",
            )


def _by_value(entries: Entries, key: str, *, single: bool = False) -> dict[int, tuple[Value, ...]]:
    """`{1: 1, 2: 0}`: what an order's value becomes; where several readings will do, `{1: [1, 2]}`."""
    raw = entries.take(key)
    given: Mapping[Any, Any] = raw if isinstance(raw, CommentedMap) else {}
    found = {}
    for k, v in given.items():
        items = list(v) if isinstance(v, CommentedSeq) and not single else [v]
        if isinstance(k, int) and items and all(isinstance(one, int | float | str) for one in items):
            found[int(k)] = tuple(plain_scalar(one) for one in items)
    if raw is not None and (len(found) < len(given) or not given):
        entries.complain(
            key, zh="应为 {指令的值: 值}，如 {1: 1, 2: 0}", en="it must be {order: value}, like {1: 1, 2: 0}"
        )
    return found


def check_orders(profile: Profile, root: Entries) -> None:
    """Complain of every point that an order names and that is not there, or is not what the order needs."""
    writes = root.entries("writes")
    for key, one in zip(writes.keys(), profile.writes, strict=True):
        entries = writes.entries(key)
        mine = [table for table in profile.tables.values() if table.member == one.name.member]
        rows = {name: point for table in mine for name, point in table.points.items()}
        named = [("confirm", one.confirm.point)] if one.confirm else []
        named += [("require", one.permission.point)] if one.permission else []
        for part, name in named:
            if name not in profile.points and name not in rows:
                near = suggest(name, [*profile.points, *rows])
                entries.complain(part, zh=f"没有名为 {name} 的点{near.zh}", en=f"there is no point {name}{near.en}")
        writable = [name for name, point in (*profile.points.items(), *rows.items()) if point.write]
        for name in _by_points(one):
            if name not in writable:
                near = suggest(name, writable)
                part = "point" if entries.has("point") else "steps"
                entries.complain(
                    part, zh=f"没有可写的点 {name}{near.zh}", en=f"there is no writable point {name}{near.en}"
                )


def _by_points(one: WriteOrder) -> Iterator[str]:
    for step in one.steps:
        if isinstance(step.place, ByPoint):
            yield step.place.name


# --- settings ---------------------------------------------------------------------------------------------------------


def setting(parts: PartReader, entries: Entries) -> Setting:
    """One write of `on_return`; its value is a whole number that fits, or a parameter all of whose choices do."""
    if parts.protocol not in ("modbus", "snmp"):
        entries.complain("", zh=f"{parts.protocol} 设备不能写入", en=f"cannot be used: {parts.protocol} writes nothing")
        return Setting(InOid(""), 0, "integer", 0)
    place, kind, function = target(parts, entries)
    value = parts.amount(entries, "value", entries.take("value"))
    entries.finish()
    possible = parts.parameters[value].choices or ("",) if isinstance(value, str) else (value,)
    if not all(isinstance(one, int) and _fits(one, kind) for one in possible):
        entries.complain(
            "value",
            zh=f"{value!r} 不是可写为 {kind} 的整数（参数须列出 choices）",
            en=f"cannot be {value!r}: it must be a whole number that fits {kind}, or a parameter with such choices",
        )
    return Setting(place, function, kind, value)


_WIDTHS = {"bit": 1, "u16": 16, "u32": 32, "u64": 64, "unsigned": 32}
_SIGNED_WIDTHS = {"s16": 16, "s32": 32, "s64": 64, "integer": 32}


def _fits(value: Value, kind: str) -> bool:
    if kind in TEXT_KINDS:
        return isinstance(value, str) and (kind == "octets" or all(part.isdigit() for part in value.split(".")))
    if kind in ("f32", "f64"):
        return isinstance(value, int | float)
    if not isinstance(value, int):
        return False
    if kind in _WIDTHS:
        return 0 <= value < 1 << _WIDTHS[kind]
    return kind in _SIGNED_WIDTHS and -(1 << _SIGNED_WIDTHS[kind] - 1) <= value < 1 << _SIGNED_WIDTHS[kind] - 1
