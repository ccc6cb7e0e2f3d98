"""How a profile says that a point is switched, and that the device times a pulse of it by itself.

Verbs as in `profile_parts`, which has the point; here are registers with values of their own, the objects of SNMP, and
the pulses. What pulses there are is told in `product_pulse`.
"""

from typing import Protocol

from ruamel.yaml.comments import CommentedMap

from gantry_agent.field.product_places import InRegister, SetsRegister
from gantry_agent.field.product_pulse import Pulse, PulseWidth, SetsPulse
from gantry_agent.field.product_snmp import OBJECT_WITHIN_S, SetsObject
from gantry_agent.field.profile_yaml import Entries

SPACES = ("coil", "holding")
SET_KINDS = ("integer", "unsigned")
REGISTER_WITHIN_S = 2.0  # as a relay; what moves a mechanism says more


class Places(Protocol):
    """What reads places; in a table an object is a column."""

    def oid(self, entries: Entries, key: str) -> str: ...
    def register(self, entries: Entries, key: str, spaces: tuple[str, ...]) -> InRegister: ...


def sets_object(places: Places, entries: Entries, *, row: bool) -> SetsObject:
    """`{oid: P.5.0, kind: integer, map: {1: 1, 0: 2}, within_s: 5}`; without a map the value itself is set."""
    oid, kind = _object(places, entries, row=row)
    returns = entries.flag("returns")
    wanted = {1} if returns else {0, 1}
    raw = entries.take("map") if entries.has("map") else {one: one for one in wanted}
    given = raw if isinstance(raw, CommentedMap | dict) else {}
    by_value = {int(k): int(v) for k, v in given.items() if isinstance(k, int) and isinstance(v, int)}
    if set(by_value) != wanted or len(given) != len(wanted):
        entries.complain(
            "map",
            zh="应说明 0 和 1 各写什么整数，如 {1: 1, 0: 2}；有 returns 时只写 1",
            en="must say which whole numbers 0 and 1 are set as, like {1: 1, 0: 2}; only 1 with `returns`",
        )
    within_s = entries.number("within_s", OBJECT_WITHIN_S, above=0)
    entries.finish()
    return SetsObject(oid, kind, by_value, within_s, returns)


def sets_register(places: Places, entries: Entries) -> SetsRegister:
    """`{to: holding 0x6802, map: {1: 0x13, 0: 0x33}, within_s: 5}`: what is written for 1 and for 0."""
    place = places.register(entries, "to", SPACES)
    raw = entries.take("map")
    given = raw if isinstance(raw, CommentedMap) else {}
    most = 1 if place.space == "coil" else 0xFFFF
    by_value = {k: v for k, v in given.items() if isinstance(v, int) and k in (0, 1) and 0 <= v <= most}
    if set(by_value) != {0, 1} or len(given) != len(by_value):
        entries.complain(
            "map",
            zh="应说明 0 和 1 各写什么，如 {1: 0x13, 0: 0x33}；线圈只能写 0 或 1",
            en="must say what 0 and 1 are written as, like {1: 0x13, 0: 0x33}; a coil takes 0 and 1 only",
        )
    within_s = entries.number("within_s", REGISTER_WITHIN_S, above=0)
    entries.finish()
    return SetsRegister(place, by_value, within_s)


def pulse(places: Places, point: Entries, protocol: str, *, row: bool) -> Pulse:
    """How the device is told to time a pulse by itself."""
    entries = point.entries("pulse")
    if protocol not in ("modbus", "snmp"):
        entries.complain("", zh="只用于 modbus 和 snmp", en="cannot be used: it is for modbus and snmp only")
    on, off = (_begin(places, entries, key, protocol, row=row) for key in ("on", "off"))
    if on is None and off is None:
        entries.complain("on", zh="on 与 off 至少给出一个", en="is missing: give on, off or both")
    width = _width(places, entries.entries("width"), row=row) if protocol == "snmp" and entries.has("width") else None
    step_ms, most = entries.whole("step_ms", 1000, 1, 60_000), entries.whole("most", 0xFFFF, 1, 0xFFFF)
    for key, one in (("on", on), ("off", off)):
        if isinstance(one, SetsPulse) and (one.value is None) is (width is not None):
            entries.complain(
                key,
                zh="有 width 时须给出 value，没有则写入的就是时长",
                en="needs value where there is a width; without one, what is set is how long",
            )
    entries.finish()
    return Pulse(on, off, step_ms, most, width)


def _begin(places: Places, entries: Entries, key: str, protocol: str, *, row: bool) -> InRegister | SetsPulse | None:
    if not entries.has(key):
        return None
    if protocol != "snmp":
        return places.register(entries, key, SPACES)
    inner = entries.entries(key)
    oid, kind = _object(places, inner, row=row)
    value = inner.whole("value", 0, -(2**31), 2**31 - 1) if inner.has("value") else None
    inner.finish()
    return SetsPulse(oid, kind, value)


def _width(places: Places, entries: Entries, *, row: bool) -> PulseWidth:
    oid, kind = _object(places, entries, row=row)
    given = entries.scalars("choices") if entries.has("choices") else ()
    choices = tuple(one for one in given if isinstance(one, int) and one > 0)
    if len(choices) != len(given):
        entries.complain("choices", zh="应为正整数（步数）", en="must be whole numbers above 0, of steps")
    settable = entries.flag("set")
    entries.finish()
    return PulseWidth(oid, kind, choices, settable)


def _object(places: Places, entries: Entries, *, row: bool) -> tuple[str, str]:
    oid = places.oid(entries, "column" if row else "oid")
    kind = str(entries.choice("kind", SET_KINDS, SET_KINDS[0])) if entries.has("kind") else SET_KINDS[0]
    return oid, kind
