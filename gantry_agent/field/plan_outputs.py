"""Outputs, the points that a site may name: the requests that switch one, or have the device pulse it, and their proof.

An output may stand in the rows of an SNMP table; it is then written as its row was located. A pulse that the device
times by itself is one write, after what has to be set or compared first (`product_pulse`).
"""

from collections.abc import Mapping

from gantry_agent.field import codec, plan_controller, plan_serial
from gantry_agent.field.plan import NOWHERE, Located, point_blocks
from gantry_agent.field.plan_stages import Confirm, IfRow, Ordered, Stage, UnknownWrite, Unless, WhileTimed, Write
from gantry_agent.field.product import Profile, Switched
from gantry_agent.field.product_places import InRegister, OpensDoor, SetsRegister, Signals
from gantry_agent.field.product_pulse import SetsPulse
from gantry_agent.field.product_snmp import SetsObject
from gantry_agent.field.request import Block, GetOids, PulseBit, SetKind, SetOid, WriteBit, WriteRegisters, WriteRequest
from gantry_agent.model import Device, Value
from gantry_agent.text import Text

OUTPUT_WITHIN_S = 2.0  # a relay reads back in the next transaction; longer and it is not the relay we think it is
WIDTH_WITHIN_S = 3.0  # a setting reads as it was set in the next transaction, unless the agent's table lags behind


def switch(profile: Profile, device: Device, target: str, value: Ordered, located: Located = NOWHERE) -> Write | None:
    """The write of a point that the profile says can be written; read back by itself. None if it is no such point."""
    whole = int(value)
    if (spoken := plan_serial.write(profile, device, target, whole)) is not None:
        command, block = spoken
        return Write((command,), (Confirm(block, target, whole, OUTPUT_WITHIN_S),))
    found = profile.switched(target)
    if found is None:
        return None
    how = found.point.write
    if isinstance(how, InRegister):
        request = register_write(how, 5 if how.space == "coil" else 6, "u16", whole, profile, device)
        return Write((request,), _proofs(found, target, whole, OUTPUT_WITHIN_S, profile, device))
    if isinstance(how, SetsRegister):
        raw = how.by_value.get(whole)
        if raw is None:
            raise _no_such_value(value, target, device, how.by_value)
        request = register_write(how.place, 5 if how.place.space == "coil" else 6, "u16", raw, profile, device)
        return Write((request,), _proofs(found, target, whole, how.within_s, profile, device))
    if isinstance(how, OpensDoor | Signals):
        requests = plan_controller.written(how, whole, profile, device)
        return Write(requests, _proofs(found, target, whole, OUTPUT_WITHIN_S, profile, device) if requests else ())
    if isinstance(how, SetsObject):
        return _set_object(how, found, target, whole, profile, device, located)
    return None


def _set_object(
    how: SetsObject, found: Switched, target: str, value: int, profile: Profile, device: Device, located: Located
) -> Write:
    if how.returns and not value:
        return Write(())  # the device does that by itself
    raw = how.raw(value)
    if raw is None:
        raise _no_such_value(value, target, device, how.by_value)
    setting = SetOid(_at(how.oid, found, located), set_kind(how.kind), set_value(how.kind, raw))
    proofs = _proofs(found, target, value, how.within_s, profile, device, located)
    return Write((_in_its_row(setting, found, located),), proofs)


def _no_such_value(value: Ordered, target: str, device: Device, by_value: Mapping[int, Value]) -> UnknownWrite:
    valid = sorted(by_value)
    return UnknownWrite(
        Text(
            f"{device.key} 的 {target} 不能写 {value}：可用 {valid}",
            f"cannot write {value} to {target} on {device.key}: {valid} are valid",
        )
    )


def _invalid(value: int, target: str, device: Device, valid: list[int]) -> UnknownWrite:
    return UnknownWrite(
        Text(
            f"{device.key} 的 {target} 不能写 {value}：可用 {valid}",
            f"cannot write {value} to {target} on {device.key}: {valid} are valid",
        )
    )


def can_pulse(profile: Profile, target: str, value: int, seconds: float) -> bool:
    """Tell whether the device itself can hold a point at 0 or 1 for so long, as far as its profile says."""
    found = profile.switched(target)
    timed = found.point.pulse if found else None
    return timed is not None and timed.place(value) is not None and timed.steps(seconds) is not None


def pulse(
    profile: Profile, device: Device, target: str, value: int, seconds: float, located: Located = NOWHERE
) -> Write:
    """Have the device itself hold a point at 0 or 1 for so long; proven when it shows that. Raises UnknownWrite."""
    found = profile.switched(target)
    timed = found.point.pulse if found else None
    steps, place = (timed.steps(seconds), timed.place(value)) if timed else (None, None)
    if found is None or timed is None or steps is None or place is None:
        raise UnknownWrite(
            Text(
                f"{device.key} 不能自行将 {target} 保持为 {value} {seconds:g} 秒",
                f"cannot have {device.key} hold {target} at {value} for {seconds:g} s by itself",
            )
        )
    written = switch(profile, device, target, value, located)
    proofs = written.proofs if written else ()
    if isinstance(place, InRegister):
        return Write((_pulse_register(place, steps, profile, device),), proofs)
    begin = _pulse_object(place, steps, found, located)
    width = timed.width
    if width is None:
        return Write((_in_its_row(begin, found, located),), proofs)
    oid = _at(width.oid, found, located)
    first, within_s = GetOids((oid,)), WIDTH_WITHIN_S if width.settable else 0.0
    stages: tuple[Stage, ...] = (WhileTimed(first, steps, timed.step_ms, within_s, begin),)
    if width.settable:
        stages = (Unless(first, SetOid(oid, set_kind(width.kind), steps)), *stages)
    return Write(stages, proofs)


def preset(write: Write) -> WhileTimed | None:
    """What has to be as it is in the device, since nobody sets it, for a pulse to last as it is meant."""
    return next((one for one in write.requests if isinstance(one, WhileTimed) and not one.within_s), None)


def _pulse_register(place: InRegister, steps: int, profile: Profile, device: Device) -> WriteRequest:
    address = place.address.at(profile.parameters_of(device), device.unit)
    if place.space == "coil":
        return PulseBit(device.unit, address, steps)
    return WriteRegisters(device.unit, 6, address, (steps,))


def _pulse_object(place: SetsPulse, steps: int, found: Switched, located: Located) -> SetOid:
    return SetOid(_at(place.oid, found, located), set_kind(place.kind), steps if place.value is None else place.value)


# --- rows -------------------------------------------------------------------------------------------------------------


def _at(oid: str, found: Switched, located: Located) -> str:
    """An object of its own, or the cell of a column in the output's row."""
    return oid if found.table is None else f"{oid}.{row(found.table.name, found.number, located)}"


def row(table: str, instance: int, located: Located) -> str:
    """The index of a table's row. Raises UnknownWrite."""
    rows = located.rows.get(table, ())
    if instance > len(rows):
        said = Text(
            f"{table} 没有第 {instance} 行：只找到 {len(rows)} 行",
            f"cannot write to row {instance} of {table}: {len(rows)} were found",
        )
        raise UnknownWrite(said, "设备上没有该单元")
    return rows[instance - 1]


def _in_its_row(setting: SetOid, found: Switched, located: Located) -> SetOid | IfRow:
    return setting if found.table is None else in_row(setting, found.table.name, found.number, located)


def in_row(setting: SetOid, table: str, instance: int, located: Located) -> SetOid | IfRow:
    """Set a cell only while its row is the one that was found, where there is something to tell it by."""
    marks = located.known_by.get((table, row(table, instance, located)), ())
    return IfRow(GetOids(tuple(mark.oid for mark in marks)), marks, setting) if marks else setting


def _proofs(
    found: Switched,
    target: str,
    value: int,
    within_s: float,
    profile: Profile,
    device: Device,
    located: Located = NOWHERE,
) -> tuple[Confirm, ...]:
    blocks: tuple[Block, ...] = point_blocks(profile, device, found.name, (found.number,), located)
    return tuple(Confirm(block, target, value, within_s) for block in blocks)


# --- requests ---------------------------------------------------------------------------------------------------------


def set_kind(kind: str) -> SetKind:
    """The type of an object that is set, by the profile's word for it."""
    kinds: Mapping[str, SetKind] = {"unsigned": "unsigned", "octets": "octets", "oid": "oid"}
    return kinds.get(kind, "integer")


def set_value(kind: str, raw: Value) -> int | bytes | str:
    """A value as an object of that type takes it."""
    if kind == "octets":
        return str(raw).encode()
    return str(raw) if kind == "oid" else int(raw)


def register_write(
    place: InRegister, function: int, kind: str, value: Value, profile: Profile, device: Device, order: str = "big"
) -> WriteRequest:
    """The write of a coil or of registers."""
    address = place.address.at(profile.parameters_of(device), device.unit)
    if function == 5:
        return WriteBit(device.unit, address, bool(value))
    return WriteRegisters(device.unit, 6 if function == 6 else 16, address, codec.encode(kind, value, order))
