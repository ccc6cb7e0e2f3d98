"""What must agree once every part of the site file is read: devices, outputs, terminals, registers, and this PC.

Each check takes the whole and yields what is wrong, with its place. A part that was faulty itself is passed over, so
that one slip is told once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gantry_agent.config import roles, schema
from gantry_agent.config.complaints import Complaints
from gantry_agent.faults import Path_
from gantry_agent.field import codec, plan_serial
from gantry_agent.field.framing import dlt645
from gantry_agent.field.product import (
    Profile,
)
from gantry_agent.field.product_places import (
    Address,
    InRegister,
    SetsRegister,
)
from gantry_agent.model import Device, Role
from gantry_agent.text import Text

Problem = tuple[Path_, Text, bool]  # where, what, and whether the key itself is wrong


@dataclass(frozen=True, slots=True)
class Whole:
    """All that was read of one file; `profiles` and `filled` have the devices whose profile is known."""

    shape: schema.SiteFile
    complaints: Complaints  # to tell what the file has, be it faulty
    devices: Mapping[str, Device]
    profiles: Mapping[str, Profile]
    filled: Mapping[str, frozenset[tuple[Role, str]]]
    where: Mapping[str, Path_]  # of each device, by key


def problems(whole: Whole) -> Iterator[Problem]:
    """List everything that does not go together."""
    yield from _same_address(whole)
    yield from _meter_numbers(whole)
    yield from _filled_twice(whole)
    yield from _idle(whole)
    for i, cabinet in enumerate(whole.shape.cabinets):
        yield from _terminals(whole, i, cabinet)
        yield from _unlocking(whole, i, cabinet)
    for key in whole.profiles:
        yield from _registers(whole, key)


# --- between devices


NAMELESS = frozenset({"megatec", "huazi"})  # protocols whose answers do not tell whose they are


def _same_address(whole: Whole) -> Iterator[Problem]:
    taken: dict[tuple[str, int, str], str] = {}
    nameless: dict[str, str] = {}
    for key, profile in whole.profiles.items():
        device, path = whole.devices[key], whole.where[key]
        if profile.protocol == "host":
            continue
        unit, part = (0, _part(profile, device)) if profile.protocol == "snmp" else (device.unit, "")
        if profile.protocol in NAMELESS and (other := nameless.setdefault(device.bus, key)) != key:
            said = Text(
                f"{profile.protocol} 设备的应答不含地址，同一总线只能接一台：{device.bus} 已有 {other}",
                f"cannot put a second {profile.protocol} device on {device.bus}: their answers name no address,"
                f" {other} is there",
            )
            yield (*path, "bus"), said, False
        if (other := taken.setdefault((device.bus, unit, part), key)) != key:
            where = f"{device.bus} unit {unit}" if unit else device.bus
            said = Text(f"地址重复：{where} 已是 {other}", f"duplicate address: {where} is {other} already")
            yield (*path, "unit") if unit and unit != 1 else (*path, "bus"), said, False


def _part(profile: Profile, device: Device) -> str:
    """What of an SNMP agent a device is: it has no units, and may speak for several devices behind one card."""
    if "computerStatus" in profile.members:
        return ""
    return f"{profile.name} {sorted(device.parameters.items())}"


def _meter_numbers(whole: Whole) -> Iterator[Problem]:
    """DL/T 645: the wire has a meter's number; without one, every meter of the line answers at once."""
    meters = {key: profile for key, profile in whole.profiles.items() if profile.protocol == "dlt645"}
    taken: dict[tuple[str, str], str] = {}
    for key, profile in meters.items():
        device, place = whole.devices[key], (*whole.where[key], "parameters")
        number = plan_serial.meter_number(profile, device)
        try:
            dlt645.address(number)
        except ValueError:
            said = Text(
                f"address 不能是 {number}：表号应为 12 位数字",
                f"address cannot be {number}: a meter's number has 12 digits",
            )
            yield place, said, False
            continue
        same = next((one for one in meters if one != key and whole.devices[one].bus == device.bus), None)
        if number == dlt645.ANY and same:
            said = Text(
                f"address 缺少：{device.bus} 上还有电表 {same}，须写出各自的表号",
                f"address is missing: meter {same} is on {device.bus} too, so each needs its number",
            )
            yield place, said, False
        elif (other := taken.setdefault((device.bus, number), key)) != key:
            said = Text(f"address 重复：{number} 已是 {other}", f"address {number} is {other} already")
            yield place, said, False


def _filled_twice(whole: Whole) -> Iterator[Problem]:
    known = {key: device for key, device in whole.devices.items() if key in whole.filled}
    clashes: dict[tuple[str, str, Role], list[str]] = {}
    for key, other, role, name in roles.twice_filled(known, whole.filled):
        clashes.setdefault((key, other, role), []).append(name)
    for (key, other, role), names in clashes.items():
        what, shown = f"{role.member} {role.number}", ", ".join(names)
        said = Text(
            f"{what} 的 {shown} 已由 {other} 提供；用 ids 另编号，或用 skip 去掉一方",
            f"{shown} of {what} filled twice: {other} gives it already; number it otherwise with ids, or skip one",
        )
        yield whole.where[key], said, False


def _idle(whole: Whole) -> Iterator[Problem]:
    """A device that nothing of the payloads and no output comes from was forgotten half-way."""
    used = set()
    for i, cabinet in enumerate(whole.shape.cabinets):
        written = whole.complaints.written("outputs", "cabinets", i)
        outputs = whole.complaints.node("cabinets", i, "outputs") if written else None
        raw = outputs.values() if isinstance(outputs, Mapping) else ()
        used |= {f"{cabinet.id}.{one['device']}" for one in raw if isinstance(one, Mapping) and "device" in one}
        doors = (cabinet.doors.front, cabinet.doors.back)
        used |= {f"{cabinet.id}.{door.reader.device}" for door in doors if door and door.reader}
    for key, profile in whole.profiles.items():
        path = whole.where[key]
        if whole.filled[key] or key in used or whole.complaints.written("map", *path):
            continue
        ways = (["ids"] if 0 in profile.members.values() else []) + (["outputs"] if profile.writable else [])
        zh, en = " 或 ".join(["map", *ways]), " or ".join(["map", *ways])
        yield path, Text(f"{key} 不提供任何数据；请给出 {zh}", f"{key} fills nothing; give {en}"), False


# --- inputs and outputs


def _terminals(whole: Whole, i: int, cabinet: schema.Cabinet) -> Iterator[Problem]:
    """One contact has one meaning: as an output, or as an input of one field."""
    taken: dict[tuple[str, str], tuple[str, str]] = {}  # device, terminal -> point, output
    for name, output in cabinet.outputs.items():
        place = (output.device, _terminal(whole, cabinet, output.device, output.point))
        _, other = taken.setdefault(place, (output.point, name))
        if other != name:
            said = Text(
                f"{output.device} 的 {output.point} 已是输出 {other}",
                f"{output.point} of {output.device} is output {other} already",
            )
            yield ("cabinets", i, "outputs", name, "point"), said, False
    for name, device in cabinet.devices.items():
        inputs: dict[str, str] = {}
        for target, given in device.map.items():
            path = ("cabinets", i, "devices", name, "map", target)
            if (other := inputs.setdefault(given.point, target)) != target:
                said = Text(f"{given.point} 已对应 {other}", f"{given.point} is mapped to {other} already")
                yield path, said, False
            point, output_name = taken.get((name, _terminal(whole, cabinet, name, given.point)), (given.point, ""))
            if point != given.point:
                said = Text(
                    f"{given.point} 与 {point} 是同一端子，已用作输出 {output_name}",
                    f"{given.point} is the same terminal as {point}, which is output {output_name}",
                )
                yield path, said, False


def _terminal(whole: Whole, cabinet: schema.Cabinet, device: str, point: str) -> str:
    """Name the terminal that a point stands for: what the profile says, or the point itself."""
    profile = whole.profiles.get(f"{cabinet.id}.{device}")
    known = profile.points.get(point) if profile else None
    return (known.terminal if known else "") or point


def _unlocking(whole: Whole, i: int, cabinet: schema.Cabinet) -> Iterator[Problem]:
    for side, door in (("front", cabinet.doors.front), ("back", cabinet.doors.back)):
        name = door.unlock if door else None
        path: Path_ = ("cabinets", i, "outputs", name or "")
        if name in cabinet.outputs and not whole.complaints.written("pulse_s", *path):
            zh = {"front": "前门", "back": "后门"}[side]
            said = Text(
                f"{name} 用于打开{zh}，须给出 pulse_s，例如 pulse_s: 3：否则锁一直通电",
                f"{name} unlocks the {side} door and needs pulse_s, like pulse_s: 3; without it the lock stays open",
            )
            yield path, said, False


# --- registers


def _registers(whole: Whole, key: str) -> Iterator[Problem]:
    """Where a device's registers come to lie with its parameters and unit; Modbus has 65536 of each kind."""
    profile, device = whole.profiles[key], whole.devices[key]
    parameters = profile.parameters_of(device)
    for name, place, kind in _places(profile):
        unmeant = [one for _, one in place.address.terms if one != "unit" and not _is_whole(parameters[one])]
        if unmeant:
            said = Text(f"{unmeant[0]} 应为整数", f"{unmeant[0]} must be a whole number")
            yield (*whole.where[key], "parameters", unmeant[0]), said, False
            return
        first = place.address.at(parameters, device.unit)
        last = first + codec.width(kind) - 1
        if first < 0 or last > 0xFFFF:
            shown = str(first) if first == last else f"{first}–{last}"
            said = Text(
                f"{profile.name} 的 {name} 落在寄存器 {shown}，超出 0–65535",
                f"{name} of {profile.name} would be at register {shown}, outside 0–65535",
            )
            yield _cause(whole, key, place.address), said, False
            return  # the others are out by the same


def _places(profile: Profile) -> Iterator[tuple[str, InRegister, str]]:
    for name, point in profile.points.items():
        written = point.write.place if isinstance(point.write, SetsRegister) else point.write
        for place in (point.place, written):
            if isinstance(place, InRegister):
                yield name, place, point.encoding.kind
        for begin in (point.pulse.on, point.pulse.off) if point.pulse else ():
            if isinstance(begin, InRegister):
                yield name, begin, "u16"
    for order in profile.writes:
        for step in order.steps:
            if isinstance(step.place, InRegister):
                yield f"{order.name.member}.{order.name.field}", step.place, step.kind
            if step.block is not None:
                yield f"{order.name.member}.{order.name.field}", step.block.first, f"text:{step.block.count}"
    for setting in profile.on_return:
        if isinstance(setting.place, InRegister):
            yield "on_return", setting.place, setting.kind


def _is_whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _cause(whole: Whole, key: str, address: Address) -> Path_:
    """Find what the site file says that an address is made of."""
    path = whole.where[key]
    for _, name in address.terms:
        above = () if name == "unit" else ("parameters",)
        if whole.complaints.written(name, *path, *above):
            return (*path, *above, name)
    return path
