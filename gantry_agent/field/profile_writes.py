"""What a profile says can be written: the interface's orders, and settings for a device that is back.

Verbs as in `profile_parts`; points that a site may name as outputs are read there, with the point.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ruamel.yaml.comments import CommentedMap

from gantry_agent.faults import suggest
from gantry_agent.field.product import InOid, InRegister, ReadBack, Setting, WriteOrder, read_name
from gantry_agent.field.profile_parts import PartReader, plain_scalar
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.model import Value

ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType({"airConditioners": ("airOperate",)})  # of the interface, §2.2


def order(parts: PartReader, key: str, parent: Entries, entries: Entries) -> WriteOrder | None:
    """How an order of the interface is written; None when the interface has no such order."""
    name = read_name(key)
    valid = {f"{member}.{one}" for member, orders in ORDERS.items() for one in orders if member in parts.members}
    if name is None or f"{name.member}.{name.field}" not in valid:
        near = suggest(key, valid)
        parent.complain(key, zh=f"接口中没有该指令{near.zh}", en=f"the interface has no such order{near.en}")
        name = None
    place, kind, function = target(parts, entries)
    values = {k: v for k, v in _by_value(entries, "map").items() if isinstance(v, int)}
    proof = _confirm(entries.entries("confirm")) if entries.has("confirm") else None
    entries.finish()
    return WriteOrder(name, place, function, kind, MappingProxyType(values), proof) if name else None


def target(parts: PartReader, entries: Entries) -> tuple[InRegister | InOid, str, int]:
    """Where and how something is written: place, encoding or SNMP type, function."""
    if parts.protocol == "snmp":
        kind = entries.choice("kind", ("integer", "unsigned", "octets", "oid"), "integer")
        return InOid(parts.oid(entries, "oid")), kind, 0
    place = parts.register(entries, "write", ("coil", "holding"))
    usual = 5 if place.space == "coil" else 6
    function = entries.choice("function", (5, 6, 16), usual) if entries.has("function") else usual
    return place, parts.kind(entries, place), function


def setting(parts: PartReader, entries: Entries) -> Setting:
    """One write of `on_return`; its value is a whole number that fits, or a parameter all of whose choices do."""
    if parts.protocol not in ("modbus", "snmp"):
        entries.complain("", zh=f"{parts.protocol} 设备不能写入", en=f"cannot be used: {parts.protocol} writes nothing")
        return Setting(InOid(""), 0, "integer", 0)
    place, kind, function = target(parts, entries)
    value = parts.amount(entries, "value", entries.take("value"))
    entries.finish()
    possible = parts.parameters[value].choices or ("",) if isinstance(value, str) else (value,)
    if not all(_fits(one, kind) for one in possible):
        entries.complain(
            "value",
            zh=f"{value!r} 不是可写为 {kind} 的整数（参数须列出 choices）",
            en=f"cannot be {value!r}: it must be a whole number that fits {kind}, or a parameter with such choices",
        )
    return Setting(place, function, kind, value)


def _confirm(entries: Entries) -> ReadBack:
    expect = _by_value(entries, "expect") if entries.has("expect") else None
    proof = ReadBack(entries.text("point"), entries.number("within_s", 3, above=0), expect)
    entries.finish()
    return proof


def _by_value(entries: Entries, key: str) -> dict[int, Value]:
    """`{1: 1, 2: 0}`: what an order's value becomes."""
    raw = entries.take(key)
    given = raw if isinstance(raw, CommentedMap) else {}
    found = {int(k): plain_scalar(v) for k, v in given.items() if isinstance(k, int)}
    if raw is not None and (len(found) < len(given) or not given):
        entries.complain(
            key, zh="应为 {指令的值: 值}，如 {1: 1, 2: 0}", en="it must be {order: value}, like {1: 1, 2: 0}"
        )
    return found


_WIDTHS = {"bit": 1, "u16": 16, "u32": 32, "u64": 64, "unsigned": 32}
_SIGNED_WIDTHS = {"s16": 16, "s32": 32, "s64": 64, "integer": 32}


def _fits(value: Value, kind: str) -> bool:
    if not isinstance(value, int):
        return False
    if kind in _WIDTHS:
        return 0 <= value < 1 << _WIDTHS[kind]
    return kind in _SIGNED_WIDTHS and -(1 << _SIGNED_WIDTHS[kind] - 1) <= value < 1 << _SIGNED_WIDTHS[kind] - 1
