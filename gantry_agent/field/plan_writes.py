"""From a profile's writes to requests: what carries out an order on one device, and what shows that it was done.

Most orders are known in full beforehand. Some have to look first, because what is written depends on what stands there:
a block that is taken only whole, a lock that counts on, a row that may have moved. Those are `Looking` stages:
`finished` makes the request of them, once the answer is there. Reading is `plan`'s matter, and who orders what and
waits for it, the actuator's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from gantry_agent.field import codec, plan_controller, plan_serial
from gantry_agent.field.plan import NOWHERE, Located, point_blocks, row_key
from gantry_agent.field.product import (
    Amount,
    ByPoint,
    InOid,
    InRegister,
    InRow,
    OpensDoor,
    Profile,
    ReadBack,
    Signals,
    Span,
    Step,
    WriteOrder,
    amount,
    read_name,
)
from gantry_agent.field.product_snmp import SetsObject
from gantry_agent.field.request import (
    Block,
    GetOids,
    Mark,
    PulseBit,
    ReadRegisters,
    Reply,
    SetKind,
    SetOid,
    WriteBit,
    WriteRegisters,
    WriteRequest,
)
from gantry_agent.model import AgentError, BadReply, Device, Quality, Value

OUTPUT_WITHIN_S = 2.0  # a relay reads back in the next transaction; longer and it is not the relay we think it is
TEXT_KINDS = frozenset({"octets", "oid"})
Ordered = int | float | Decimal


class UnknownWrite(AgentError):
    """The device has no such order or output, or does not take this value; `why` is for the cloud's `msg`."""

    def __init__(self, message: str, why: str = "设备不支持") -> None:
        super().__init__(message)
        self.why = why


# --- what a write is made of ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InBlock:
    """Registers that are taken only all together: words are put in at their places, and all of them written back."""

    first: ReadRegisters
    changes: tuple[tuple[int, int], ...]  # register from the first, word


@dataclass(frozen=True, slots=True)
class AsRead:
    """What stands there is written back (TestAndIncr of RFC 2579: who writes another value came too late)."""

    first: GetOids
    kind: SetKind


@dataclass(frozen=True, slots=True)
class IfRow:
    """A row is written only while it is the row that was found."""

    first: GetOids
    marks: tuple[Mark, ...]
    then: SetOid


Looking = InBlock | AsRead | IfRow
Stage = WriteRequest | Looking


@dataclass(frozen=True, slots=True)
class Confirm:
    """Read `block` until every point in it shows the order; after `within_s` the order has failed."""

    block: Block
    point: str  # as the profile names it
    expected: Value
    within_s: float
    others: tuple[Value, ...] = ()  # readings that show it as well
    tolerance: float = 0.0

    def shown_by(self, reading: Value | Quality | None) -> bool:
        """Tell whether this reading shows that the order was done."""
        if isinstance(reading, Quality) or reading is None:
            return False
        return any(self._same(reading, one) for one in (self.expected, *self.others))

    def _same(self, reading: Value, wanted: Value) -> bool:
        if isinstance(reading, str) or isinstance(wanted, str):
            return reading == wanted
        return abs(reading - wanted) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Permit:
    """Nothing is written unless `block` reads one of `values` everywhere."""

    block: Block
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """What carries out an order, in this order, and what proves it: all of `proofs`; none if nothing can."""

    requests: tuple[Stage, ...]
    proofs: tuple[Confirm, ...] = ()
    permits: tuple[Permit, ...] = ()

    @property
    def confirm(self) -> Confirm | None:
        """The first proof."""
        return self.proofs[0] if self.proofs else None


def finished(stage: Looking, reply: Reply) -> WriteRequest:
    """Make the request of what was read. Raises BadReply when the answer is not one, or the row has moved."""
    match stage:
        case InBlock(first, changes):
            held = [word for word in reply if isinstance(word, int)] if isinstance(reply, tuple) else []
            if len(held) != first.count:
                raise BadReply(f"cannot use the reply: {first.count} registers are wanted")
            for at, word in changes:
                held[at] = word
            return WriteRegisters(first.unit, 16, first.address, tuple(held))
        case AsRead(first, kind):
            (oid,) = first.oids
            found = reply.get(oid) if isinstance(reply, Mapping) else None
            if found is None or isinstance(found, float):
                raise BadReply(f"cannot use the reply: there is no {oid}")
            return SetOid(oid, kind, found)
        case IfRow(_, marks, then):
            for mark in marks:
                if not isinstance(reply, Mapping) or reply.get(mark.oid) != mark.value:
                    raise codec.RowsMoved(f"cannot write {then.oid}: {mark.oid} is not {mark.value!r} any more")
            return then
        case never:
            assert_never(never)


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
    if (output := _output(profile, device, target, value)) is not None:
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
    if order.permission is not None:
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


def _output(profile: Profile, device: Device, target: str, value: Ordered) -> Write | None:
    """The write of a point that the profile says can be written; read back by itself."""
    point = profile.points.get(target)
    whole = int(value)
    if point and isinstance(point.write, InRegister):
        request = _register_write(point.write, 5 if point.write.space == "coil" else 6, "u16", whole, profile, device)
        (block,) = point_blocks(profile, device, target, ())
        return Write((request,), (Confirm(block, target, whole, OUTPUT_WITHIN_S),))
    if point and isinstance(point.write, SetsObject):
        known, raw = point.write, point.write.raw(whole)
        if raw is None:
            raise UnknownWrite(f"cannot write {value} to {target} on {device.key}: {sorted(known.by_value)} are valid")
        setting = SetOid(known.oid, _set_kind(known.kind), _set_value(known.kind, raw))
        (block,) = point_blocks(profile, device, target, ())
        return Write((setting,), (Confirm(block, target, whole, known.within_s),))
    if point and isinstance(point.write, OpensDoor | Signals):
        requests = plan_controller.written(point.write, whole, profile, device)
        blocks = point_blocks(profile, device, target, ()) if requests else ()
        return Write(requests, tuple(Confirm(block, target, whole, OUTPUT_WITHIN_S) for block in blocks))
    if (spoken := plan_serial.write(profile, device, target, whole)) is not None:
        command, block = spoken
        return Write((command,), (Confirm(block, target, whole, OUTPUT_WITHIN_S),))
    return None


def pulse(profile: Profile, device: Device, target: str, value: int, seconds: float) -> Write:
    """Have the device itself hold a point at 0 or 1 for so long; proven when it shows that. Raises UnknownWrite."""
    point = profile.points.get(target)
    timed = point.pulse if point else None
    steps = timed.steps(seconds) if timed else None
    place = (timed.on if value else timed.off) if timed else None
    if place is None or steps is None:
        raise UnknownWrite(f"cannot have {device.key} hold {target} at {value} for {seconds:g} s by itself")
    address = place.address.at(profile.parameters_of(device), device.unit)
    request = (
        PulseBit(device.unit, address, steps)
        if place.space == "coil"
        else WriteRegisters(device.unit, 6, address, (steps,))
    )
    return Write((request,), write(profile, device, target, value).proofs)


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
    raise UnknownWrite(f"cannot write {target} on {device.key}: {', '.join(valid) or 'nothing'} can be written")


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
            raise UnknownWrite(f"cannot write {value} to {target}: {sorted(step.map)} are valid")
    parameters = profile.parameters_of(device)
    low, high = (None if one is None else amount(one, parameters) for one in (order.low, order.high))
    if (low is not None and value < low) or (high is not None and value > high):
        valid = "~".join("" if one is None else f"{one:g}" for one in (low, high))
        raise UnknownWrite(f"cannot write {value} to {target}: {valid} is valid", f"超出{valid}")


def _stage(
    step: Step, value: Ordered, instance: int, profile: Profile, device: Device, located: Located
) -> tuple[Stage, Value | None]:
    """One write, and what a point that shows it reads then; None where the step does not carry the order."""
    place = step.place
    if step.as_read:
        assert isinstance(place, InOid)
        return AsRead(GetOids((place.oid,)), _set_kind(step.kind)), None
    raw, shown = _raw(step, value, profile, device)
    match place:
        case InOid(oid):
            return SetOid(oid, _set_kind(step.kind), _set_value(step.kind, raw)), shown
        case InRow(oid, table):
            index = _row(table, instance, located)
            setting = SetOid(f"{oid}.{index}", _set_kind(step.kind), _set_value(step.kind, raw))
            marks = located.known_by.get((table, index), ())
            return (IfRow(GetOids(tuple(mark.oid for mark in marks)), marks, setting) if marks else setting), shown
        case ByPoint(name):
            output = _output(profile, device, _key(name, instance, profile), int(raw))
            if output is None:
                raise UnknownWrite(f"cannot write {value}: {name} does not take {raw}")
            return output.requests[0], shown
        case InRegister():
            if step.block is None:
                return _register_write(place, step.function, step.kind, raw, profile, device, step.order), shown
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
        raise UnknownWrite(
            f"cannot write {value}: the device takes steps of {scale.normalize():f}", f"设备步长{scale.normalize():f}"
        )
    return int(whole), _plain(Decimal(str(value)))


def _plain(value: Decimal) -> Value:
    return int(value) if value == value.to_integral_value() else float(value)


def _row(table: str, instance: int, located: Located) -> str:
    rows = located.rows.get(table, ())
    if instance > len(rows):
        raise UnknownWrite(f"cannot write to row {instance} of {table}: {len(rows)} were found", "设备上没有该单元")
    return rows[instance - 1]


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
        raise UnknownWrite(f"cannot confirm by {proof.point}: no row was found", "设备上没有该单元")
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
            yield SetOid(one.place.oid, _set_kind(one.kind), value)
        else:
            yield _register_write(one.place, one.function, one.kind, value, profile, device)


def _set_kind(kind: str) -> SetKind:
    kinds: Mapping[str, SetKind] = {"unsigned": "unsigned", "octets": "octets", "oid": "oid"}
    return kinds.get(kind, "integer")


def _set_value(kind: str, raw: Value) -> int | bytes | str:
    if kind == "octets":
        return str(raw).encode()
    return str(raw) if kind == "oid" else int(raw)


def _register_write(
    place: InRegister, function: int, kind: str, value: Value, profile: Profile, device: Device, order: str = "big"
) -> WriteRequest:
    address = place.address.at(profile.parameters_of(device), device.unit)
    if function == 5:
        return WriteBit(device.unit, address, bool(value))
    return WriteRegisters(device.unit, 6 if function == 6 else 16, address, codec.encode(kind, value, order))


def _in_block(place: InRegister, span: Span, words: tuple[int, ...], profile: Profile, device: Device) -> InBlock:
    parameters = profile.parameters_of(device)
    start = span.first.address.at(parameters, device.unit)
    first = ReadRegisters(device.unit, 3, start, span.count)
    at = place.address.at(parameters, device.unit) - start
    return InBlock(first, tuple(enumerate(words, at)))
