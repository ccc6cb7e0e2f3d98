"""What is well written and still makes no sense: no such register, bit or code, a value made of nothing or of itself.

Works on a whole Profile whose names hold together (`profile_links`); the file only says where a fault is. What is left
out here would first show at the cabinet, as a reading that never comes.
"""

from collections.abc import Iterator, Mapping

from gantry_agent.field.product import Encoding, Point, Profile, read_name
from gantry_agent.field.product_places import InRegister
from gantry_agent.field.profile_links import derived_by_name, plain, used_by_derived
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.model import Quality
from gantry_agent.vocabulary import MEMBERS, Form

BITS = {"u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64, "f32": 32, "f64": 64, "u8": 8, "bit": 1}
NUMBERS = frozenset({*BITS, "integer", "signed", "bcd"})  # encodings that never give a text
LAST_REGISTER = 0xFFFF
OPERANDS: Mapping[str, tuple[int, int]] = {  # the fewest and the most; any number of all others
    "value": (1, 1), "positive": (1, 1), "negative": (1, 1), "rate": (1, 1),
    "quotient": (2, 2), "shifted": (2, 2), "ratio": (2, 2), "difference": (2, 64),
}  # fmt: skip
TUNNELLED = frozenset({"zte", "shengjiu", "dlt645"})  # what a ZTE site unit lists as its objects


def check_sense(profile: Profile, root: Entries) -> None:
    """Complain of what could never be read, or never be what the interface wants."""
    for entries, point in _points(profile, root):
        _check_place(point, entries)
        _check_map(profile, point, entries)
    _check_derived(profile, root.entries("derived"))
    for name, parameter in profile.parameters.items():
        if parameter.choices and parameter.default not in parameter.choices:
            valid = ", ".join(map(str, parameter.choices))
            root.entries("parameters").entries(name).complain(
                "default", zh=f"不在 choices 之中；可用：{valid}", en=f"is none of the choices; valid: {valid}"
            )
    if profile.objects and profile.protocol not in TUNNELLED:
        valid = ", ".join(sorted(TUNNELLED))
        root.complain("objects", zh=f"只用于 {valid}", en=f"cannot be used with {profile.protocol}: it is for {valid}")


def unfilled(profile: Profile) -> list[str]:
    """Members that nothing in the profile fills, orders or warns of: a site would have to `map` all of their fields."""
    keys = [*profile.points, *(key for table in profile.tables.values() for key in table.points)]
    filled = {found.member for key in keys if (found := read_name(key))}
    filled |= {one.name.member for one in profile.derived} | {one.name.member for one in profile.writes}
    filled |= {one.member for one in profile.warnings}
    return [member for member in profile.members if member not in filled]


def _points(profile: Profile, root: Entries) -> Iterator[tuple[Entries, Point]]:
    entries = root.entries("points")
    yield from zip((entries.entries(key) for key in entries.keys()), profile.points.values(), strict=True)  # noqa: SIM118
    for table in profile.tables.values():
        entries = root.entries("tables").entries(table.name).entries("points")
        yield from ((entries.entries(key), point) for key, point in table.points.items())


def _check_place(point: Point, entries: Entries) -> None:
    kind = point.encoding.kind
    bits = BITS.get(kind, 64)
    if isinstance(point.place, InRegister):
        count = (int(kind[5:]) + 1) // 2 if kind.startswith("text:") else max(1, bits // 16)
        if point.place.address.fixed + count - 1 > LAST_REGISTER:
            entries.complain("read", zh="地址超过 0xFFFF", en="cannot be read: the last address is 0xFFFF")
    cut = point.encoding
    for key, value in (("bit", cut.bit), ("mask", (cut.mask or 1).bit_length() - 1)):
        if value is not None and value >= bits:
            entries.complain(key, zh=f"{kind} 只有 {bits} 位", en=f"cannot be cut out: {kind} has {bits} bits")


def _check_map(profile: Profile, point: Point, entries: Entries) -> None:
    encoding: Encoding = point.encoding
    for raw in encoding.map or ():
        if isinstance(raw, str) and encoding.kind in NUMBERS and profile.protocol != "modbus":
            entries.complain(
                "map", zh=f"不能有 {raw!r}：读到的是数", en=f"cannot have {raw!r}: what is read here is a number"
            )
    name = read_name(point.key)
    field = MEMBERS[name.member].fields[name.field] if name and name.member else None
    if field is None or field.form is not Form.CODE:
        return
    meant = [*(encoding.map or {}).values(), encoding.otherwise]
    wrong = [value for value in meant if not isinstance(value, Quality) and str(value) not in field.values]
    if wrong:
        valid = ", ".join(field.values)
        entries.complain(
            "map",
            zh=f"不能得出 {wrong[0]!r}：接口中只有 {valid}",
            en=f"cannot give {wrong[0]!r}: the interface's codes of {point.key} are {valid}",
        )


def _check_derived(profile: Profile, entries: Entries) -> None:
    by_name = derived_by_name(profile)
    for key, one in zip(entries.keys(), profile.derived, strict=True):
        low, high = OPERANDS.get(one.operation, (0 if one.operation == "case" else 1, 64))
        if not low <= len(one.operands) <= high:
            few = f"{low}" if low == high else f"{low} – {high}"
            entries.entries(key).complain(
                one.operation, zh=f"应有 {few} 个值", en=f"cannot be of {len(one.operands)} values: it takes {few}"
            )
        seen: set[str] = set()
        waiting = [*used_by_derived(one)]
        while waiting:
            used = plain(waiting.pop())
            if used not in seen:
                seen.add(used)
                waiting += (name for other in by_name.get(used, ()) for name in used_by_derived(other))
        if plain(key) in seen and plain(key) not in {plain(point) for point in profile.points}:
            entries.complain(key, zh="由自身算出", en="cannot be calculated: it is made of itself")
