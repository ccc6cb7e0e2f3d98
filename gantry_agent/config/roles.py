"""Who fills what: gives every device its numbers in the payloads and finds the fields that two devices would fill.

Numbers of list members (`elec` 1, 2 …) count up over a cabinet's devices in the order of the file, unless the device
says `ids`. Two devices may share one number, if they fill different fields of it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gantry_agent.config import schema
from gantry_agent.faults import suggest
from gantry_agent.field.product import read_name
from gantry_agent.field.profile import Profile
from gantry_agent.model import Device, MappedPoint, Role
from gantry_agent.text import Text
from gantry_agent.vocabulary import CABINET, Shape

Problem = tuple[tuple[str | int, ...], Text, bool]  # where below the device, what, and whether the key itself is wrong

_TARGET = re.compile(r"([A-Za-z]+)(?:\[(\d{1,3})\])?\.([A-Za-z]+)")
_DERIVED = re.compile(
    r"(front|back)Door(UnlockType|UnlockCardId|OpenIllegally|ChangeTime)|warningChangeTime|defendMode"
)


@dataclass(frozen=True, slots=True)
class Target:
    """`member[instance].field`, as the site file writes it."""

    member: str
    instance: int
    field: str


def read_target(text: str) -> Target | Text:
    """Read the left side of a `map` line, or say what is wrong with it."""
    match = _TARGET.fullmatch(text)
    if match is None:
        return Text("应写成 成员.字段，例如 doors.frontDoorClosed", "must be member.field, like doors.frontDoorClosed")
    member, instance, field = match[1], int(match[2] or 1), match[3]
    if member not in CABINET:
        tail = suggest(member, CABINET)
        return Text(f"没有成员 {member}{tail.zh}", f"there is no member {member}{tail.en}")
    fields = [name for name in CABINET[member].fields if not _DERIVED.fullmatch(name)]
    if field not in fields:
        tail = suggest(field, fields)
        return Text(f"{member} 没有可映射的字段 {field}{tail.zh}", f"{member} has no field {field} to map{tail.en}")
    if CABINET[member].shape is Shape.SINGLE and instance != 1:
        return Text(f"{member} 只有一个", f"there is only one {member}")
    return Target(member, instance, field)


class Numbers:
    """Counts the numbers given out in one cabinet."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def give(self, member: str, count: int, asked: list[int] | None) -> tuple[int, ...]:
        """Return the numbers of `count` instances: those asked for, or the next free ones."""
        if CABINET[member].shape is Shape.SINGLE:
            return (1,) if count or asked else ()  # 0: only where the site asks for it
        first = self._next.get(member, 1)
        numbers = tuple(asked) if asked else tuple(range(first, first + count))
        self._next[member] = max(first, max(numbers, default=0) + 1)
        return numbers


def assign(
    given: schema.Device, profile: Profile, cabinet: int, numbers: Numbers
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[tuple[Role, str], MappedPoint], list[Problem]]:
    """Return a device's roles and its mapped fields, with the problems found on the way."""
    problems: list[Problem] = []
    mapped: list[tuple[Target, MappedPoint]] = []
    for key, value in given.map.items():
        target = read_target(key)
        if isinstance(target, Text):
            problems.append((("map", key), target, True))
            continue
        point = MappedPoint(value.point, value.invert)
        known = [*profile.points, *_in_rows(profile)]
        if point.point not in known and not _is_row(point.point, profile):
            tail = suggest(point.point, known)
            text = Text(
                f"{profile.name} 没有点 {point.point}{tail.zh}", f"{profile.name} has no point {point.point}{tail.en}"
            )
            problems.append((("map", key), text, False))
            continue
        mapped.append((target, point))
    counts = {member: count for member, count in profile.members.items() if member not in given.skip}
    for target, _ in mapped:
        counts[target.member] = max(counts.get(target.member, 0), target.instance)
    problems += _check_ids(given, counts) + _check_skip(given, profile)
    roles = {member: numbers.give(member, count, given.ids.get(member)) for member, count in counts.items()}
    mapping = {
        (Role(cabinet, t.member, roles[t.member][t.instance - 1]), t.field): point
        for t, point in mapped
        if t.instance <= len(roles[t.member])
    }
    return roles, mapping, problems


def _in_rows(profile: Profile) -> list[str]:
    """The local points of tables: a site may map the first row by the name, others by `name[2]`."""
    return [name for table in profile.tables.values() for name in table.points if "." not in name]


def _is_row(point: str, profile: Profile) -> bool:
    name = read_name(point)
    return name is not None and not name.member and name.field in _in_rows(profile)


def _check_ids(given: schema.Device, counts: Mapping[str, int]) -> list[Problem]:
    problems: list[Problem] = []
    for member, ids in given.ids.items():
        single = member in CABINET and CABINET[member].shape is Shape.SINGLE
        if member not in counts or (single and (ids != [1] or counts[member] > 0)):
            lists = [m for m in counts if CABINET[m].shape is Shape.LIST]
            tail = suggest(member, lists)
            text = Text(f"此设备没有可编号的 {member}{tail.zh}", f"this device has no {member} to number{tail.en}")
            problems.append((("ids", member), text, True))
        elif not ids or len(set(ids)) != len(ids):
            text = Text("编号不能为空，也不能重复", "the ids must not be empty, and no id given twice")
            problems.append((("ids", member), text, True))
    return problems


def _check_skip(given: schema.Device, profile: Profile) -> list[Problem]:
    offered = set(profile.members) | {f"{m}.{field}" for m in profile.members for field in profile.provides(m)}
    problems: list[Problem] = []
    for i, name in enumerate(given.skip):
        if name not in offered:
            tail = suggest(name, offered)
            text = Text(f"{profile.name} 不提供 {name}{tail.zh}", f"{profile.name} does not give {name}{tail.en}")
            problems.append((("skip", i), text, False))
    return problems


def filled(device: Device, profile: Profile) -> frozenset[tuple[Role, str]]:
    """List every field of the payloads that a device gives, `status` of each of its roles included."""
    fields = set(device.mapping)
    for member, numbers in device.roles.items():
        offered = profile.provides(member) if member in profile.members else frozenset()
        for number in numbers:
            role = Role(device.cabinet, member, number)
            fields |= {(role, name) for name in offered if f"{member}.{name}" not in device.skip}
            if member != "computerStatus":
                fields.add((role, "status"))
    return frozenset(fields)


def twice_filled(
    devices: Mapping[str, Device], fields: Mapping[str, frozenset[tuple[Role, str]]]
) -> Iterator[tuple[str, str, Role, str]]:
    """Yield (device, earlier device, role, field) for every field that has two givers; `status` may have several."""
    owner: dict[tuple[Role, str], str] = {}
    for key in devices:
        for role, name in sorted(fields[key]):
            earlier = owner.setdefault((role, name), key)
            if earlier != key and name != "status":
                yield key, earlier, role, name
