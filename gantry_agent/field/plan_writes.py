"""From a profile's writes to requests: what carries out an order on one device, and what shows that it was done.

What a write is made of is told in `plan_stages`; outputs, which a site names one by one, are `plan_outputs`' matter.
Reading is `plan`'s, and who orders what and waits for it, the actuator's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from gantry_agent.field import codec
from gantry_agent.field.plan import NOWHERE, Located, point_blocks, row_key
from gantry_agent.field.plan_outputs import (
    OUTPUT_WITHIN_S,
    can_pulse,
    in_row,
    preset,
    pulse,
    register_write,
    row,
    set_kind,
    set_value,
    switch,
)
from gantry_agent.field.plan_stages import (
    AsRead,
    Confirm,
    IfRow,
    InBlock,
    Mistimed,
    Ordered,
    Permit,
    Stage,
    UnknownWrite,
    Unless,
    WhileTimed,
    Write,
    finished,
)
from gantry_agent.field.product import (
    Amount,
    ByPoint,
    InRow,
    Profile,
    ReadBack,
    Span,
    Step,
    WriteOrder,
    amount,
    read_name,
)
from gantry_agent.field.product_places import InOid, InRegister
from gantry_agent.field.request import Block, GetOids, ReadRegisters, SetOid, WriteRequest
from gantry_agent.model import Device, Value
from gantry_agent.text import Text

__all__ = [
    "OUTPUT_WITHIN_S", "AsRead", "Confirm", "IfRow", "InBlock", "Mistimed", "Ordered", "Permit", "Stage", "Target",
    "UnknownWrite", "Unless", "WhileTimed", "Write", "can_pulse", "finished", "preset", "pulse", "reading", "settings",
    "targets", "together", "write",
]  # fmt: skip


# --- planning ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """An order of the interface for some of a device's instances, all done by one write."""

    name: str  # 'rectifier[2].onOff'
    numbers: tuple[int, ...]  # as the site gave them


def targets(profile: Profile, device: Device, member: str, field: str) -> tuple[Target, ...]:
    """What has to be ordered so that every instance of the device does it; () if it cannot."""
    numbers = device.roles.get(member, ())
    found: dict[int, list[int]] = {}
    for number in numbers:
        order = _order_of(profile, member, field, numbers.index(number) + 1)
        if order is not None:
            one_by_one = order.name.number is not None or _in_rows(order, profile)
            found.setdefault(number if one_by_one else numbers[0], []).append(number)
    return tuple(Target(f"{member}[{first}].{field}", tuple(mine)) for first, mine in found.items())


def write(profile: Profile, device: Device, target: str, value: Ordered, located: Located = NOWHERE) -> Write:
    """Turn an order into requests. Raises UnknownWrite.

    `target` is a writable point ('do0', value 0 or 1), or an order of the interface with the number the site gave the
    member ('airConditioners[2].airOperate', value as the interface has it). Rows are written as they were `located`.
    """
    if (output := switch(profile, device, target, value, located)) is not None:
        return output
    order, numbers = _order(profile, device, target)
    _check_value(order, target, value, profile, device)
    stages: list[Stage] = []
    written = _plain(Decimal(str(value)))
    for step in order.steps:
        if step.only in (None, value):
            stage, shown = _stage(step, value, numbers[0], profile, device, located)
            stages.append(stage)
            written = written if shown is None else shown
    permits: tuple[Permit, ...] = ()
    if order.permission is not None and order.permission.only in (None, value):
        blocks = point_blocks(profile, device, order.permission.point, numbers, located)
        permits = tuple(Permit(block, order.permission.values) for block in blocks)
    return Write(tuple(stages), _proofs(order, value, written, numbers, profile, device, located), permits)


def together(writes: Sequence[Write]) -> Write:
    """Several writes to one device as one: what goes into the same block of registers is written once."""
    stages: list[Stage] = []
    for stage in (stage for one in writes for stage in one.requests):
        before = next((k for k, one in enumerate(stages) if _same_block(one, stage)), None)
        if before is None:
            stages.append(stage)
            continue
        into = stages[before]
        assert isinstance(into, InBlock)
        assert isinstance(stage, InBlock)
        stages[before] = InBlock(into.first, (*into.changes, *stage.changes))
    permits = dict.fromkeys(permit for one in writes for permit in one.permits)
    return Write(tuple(stages), tuple(proof for one in writes for proof in one.proofs), tuple(permits))


def _same_block(one: Stage, other: Stage) -> bool:
    return isinstance(one, InBlock) and isinstance(other, InBlock) and one.first == other.first


def reading(profile: Profile, device: Device, target: str, located: Located = NOWHERE) -> tuple[Block, ...]:
    """What to read to know what an order would change: the points that confirm it. Raises UnknownWrite."""
    order, numbers = _order(profile, device, target)
    return point_blocks(profile, device, order.confirm.point, numbers, located) if order.confirm else ()


def _order(profile: Profile, device: Device, target: str) -> tuple[WriteOrder, tuple[int, ...]]:
    """Find the order, and the instances of the device that it is for, counted from 1."""
    name = read_name(target)
    if name and name.member and (name.number or 1) in (numbers := device.roles.get(name.member, ())):
        instance = numbers.index(name.number or 1) + 1
        order = _order_of(profile, name.member, name.field, instance)
        if order is not None:
            alone = order.name.number is not None or _in_rows(order, profile)
            return order, (instance,) if alone else tuple(range(1, len(numbers) + 1))
    valid = [*sorted(profile.writable), *(f"{one.name.member}.{one.name.field}" for one in profile.writes)]
    can = ", ".join(valid)
    raise UnknownWrite(
        Text(
            f"{device.key} 不能写 {target}：可写 {can or '（无）'}",
            f"cannot write {target} on {device.key}: {can or 'nothing'} can be written",
        )
    )


def _order_of(profile: Profile, member: str, field: str, instance: int) -> WriteOrder | None:
    """The order for one instance: the one that names it, else the one that names none."""
    mine = [one for one in profile.writes if (one.name.member, one.name.field) == (member, field)]
    named = (one for one in mine if one.name.number == instance)
    return next(named, next((one for one in mine if one.name.number is None), None))


def _in_rows(order: WriteOrder, profile: Profile) -> bool:
    return any(
        isinstance(step.place, InRow) or (isinstance(step.place, ByPoint) and step.place.name not in profile.points)
        for step in order.steps
    )


def _check_value(order: WriteOrder, target: str, value: Ordered, profile: Profile, device: Device) -> None:
    for step in order.steps:
        if step.map and step.only in (None, value) and value not in step.map:
            can = sorted(step.map)
            said = Text(f"{target} 不能写 {value}：可用 {can}", f"cannot write {value} to {target}: {can} are valid")
            raise UnknownWrite(said)
    parameters = profile.parameters_of(device)
    low, high = (None if one is None else amount(one, parameters) for one in (order.low, order.high))
    if (low is not None and value < low) or (high is not None and value > high):
        valid = "~".join("" if one is None else f"{one:g}" for one in (low, high))
        said = Text(f"{target} 不能写 {value}：可用 {valid}", f"cannot write {value} to {target}: {valid} is valid")
        raise UnknownWrite(said, f"超出{valid}")


def _stage(
    step: Step, value: Ordered, instance: int, profile: Profile, device: Device, located: Located
) -> tuple[Stage, Value | None]:
    """One write, and what a point that shows it reads then; None where the step does not carry the order."""
    place = step.place
    if step.as_read:
        assert isinstance(place, InOid)
        return AsRead(GetOids((place.oid,)), set_kind(step.kind)), None
    raw, shown = _raw(step, value, profile, device)
    match place:
        case InOid(oid):
            return SetOid(oid, set_kind(step.kind), set_value(step.kind, raw)), shown
        case InRow(oid, table):
            cell = f"{oid}.{row(table, instance, located)}"
            setting = SetOid(cell, set_kind(step.kind), set_value(step.kind, raw))
            return in_row(setting, table, instance, located), shown
        case ByPoint(name):
            output = switch(profile, device, _key(name, instance, profile), int(raw), located)
            if output is None or not output.requests:
                said = Text(f"不能写 {value}：{name} 不接受 {raw}", f"cannot write {value}: {name} does not take {raw}")
                raise UnknownWrite(said)
            return output.requests[0], shown
        case InRegister():
            if step.block is None:
                return register_write(place, step.function, step.kind, raw, profile, device, step.order), shown
            return _in_block(place, step.block, codec.encode(step.kind, raw, step.order), profile, device), shown
        case never:
            assert_never(never)


def _raw(step: Step, value: Ordered, profile: Profile, device: Device) -> tuple[Value, Value | None]:
    """What goes into the register or object, and what a point in the order's own unit reads afterwards."""
    parameters = profile.parameters_of(device)
    chosen = step.value if step.value is not None else step.map.get(int(value)) if step.map else None
    if chosen is not None:
        raw = parameters.get(chosen, chosen) if isinstance(chosen, str) else chosen
        return raw, None if step.value is not None else raw
    scale, offset = (Decimal(str(amount(one, parameters))) for one in (step.scale, step.offset))
    exact = (Decimal(str(value)) - offset) / scale
    if step.kind in ("f32", "f64"):
        return float(exact), float(value)
    whole = exact.to_integral_value()
    if whole != exact:
        step_size = f"{scale.normalize():f}"
        said = Text(
            f"不能写 {value}：设备步长为 {step_size}", f"cannot write {value}: the device takes steps of {step_size}"
        )
        raise UnknownWrite(said, f"设备步长{step_size}")
    return int(whole), _plain(Decimal(str(value)))


def _plain(value: Decimal) -> Value:
    return int(value) if value == value.to_integral_value() else float(value)


def _key(name: str, instance: int, profile: Profile) -> str:
    """The key of a point, or of its instance in a table's row."""
    table = next((one for one in profile.tables.values() if name in one.points), None)
    return name if table is None or name in profile.points else row_key(table, name, instance)


# --- what shows it ----------------------------------------------------------------------------------------------------


def _proofs(
    order: WriteOrder,
    value: Ordered,
    written: Value,
    numbers: tuple[int, ...],
    profile: Profile,
    device: Device,
    located: Located,
) -> tuple[Confirm, ...]:
    proof = order.confirm
    if proof is None:
        return ()
    blocks = point_blocks(profile, device, proof.point, numbers, located)
    if not blocks:
        said = Text(f"无法由 {proof.point} 证实：没有找到行", f"cannot confirm by {proof.point}: no row was found")
        raise UnknownWrite(said, "设备上没有该单元")
    accepted = proof.expect.get(int(value), (written,)) if proof.expect is not None else (written,)
    tolerance = _tolerance(order, proof, profile, device)
    return tuple(Confirm(block, proof.point, accepted[0], proof.within_s, accepted[1:], tolerance) for block in blocks)


def _tolerance(order: WriteOrder, proof: ReadBack, profile: Profile, device: Device) -> float:
    """How far a measured value may be off; a code is never off."""
    steps = [step for step in order.steps if not step.map and step.value is None and not step.as_read]
    coded = any(step.map or step.only is not None for step in order.steps)
    if proof.tolerance is not None or coded or not steps:
        return proof.tolerance or 0.0
    return abs(_number(steps[0].scale, profile, device)) / 2


def _number(value: Amount, profile: Profile, device: Device) -> float:
    return float(amount(value, profile.parameters_of(device)))


# --- requests ---------------------------------------------------------------------------------------------------------


def settings(profile: Profile, device: Device) -> tuple[WriteRequest, ...]:
    """What a device that was lost and is back is told first, in this order."""
    parameters = profile.parameters_of(device)
    return tuple(_settings(profile, device, parameters))


def _settings(profile: Profile, device: Device, parameters: Mapping[str, Value]) -> Iterator[WriteRequest]:
    for one in profile.on_return:
        value = int(amount(one.value, parameters))
        if isinstance(one.place, InOid):
            yield SetOid(one.place.oid, set_kind(one.kind), value)
        else:
            yield register_write(one.place, one.function, one.kind, value, profile, device)


def _in_block(place: InRegister, span: Span, words: tuple[int, ...], profile: Profile, device: Device) -> InBlock:
    parameters = profile.parameters_of(device)
    start = span.first.address.at(parameters, device.unit)
    first = ReadRegisters(device.unit, 3, start, span.count)
    at = place.address.at(parameters, device.unit) - start
    pads = ((odd, span.pad) for odd in range(1, span.count, 2)) if span.pad is not None else ()
    return InBlock(first, (*pads, *enumerate(words, at)))
