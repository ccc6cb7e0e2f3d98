"""A technician's look at the hardware: one device raw and decoded, point by point; and who answers on a line.

Both ask through the bus's own poller, so they never fight with it for the port, and wait for their turn. What they
find they tell step by step, as plain values that go through a socket as JSON and are rendered elsewhere.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gantry_agent.field import codec, derive, plan
from gantry_agent.field.aside import Exchange
from gantry_agent.field.framing import uhppote
from gantry_agent.field.poller import GATEWAY_SILENT, Poller, lacks
from gantry_agent.field.product import Profile
from gantry_agent.field.profile_links import plain
from gantry_agent.field.request import (
    AskController,
    AskInputs,
    AskMeter,
    AskSurge,
    AskText,
    AskYdt,
    Block,
    GetOids,
    ReadAlarms,
    ReadBits,
    ReadController,
    ReadHost,
    ReadObject,
    ReadRegisters,
    Reply,
    Request,
    SnmpValue,
    Timing,
    WalkColumn,
)
from gantry_agent.field.tape import Tape
from gantry_agent.model import AgentError, BadReply, Bus, BusDown, Device, DeviceRefused, NoReply, Quality, Role, Value
from gantry_agent.text import Text, of_system
from gantry_agent.vocabulary import MEMBERS

Told = Mapping[str, Any]  # one step, as JSON has it


MODBUS = frozenset({"serial", "serial-tcp", "modbus-tcp"})  # kinds of bus whose units are scanned for
UNITS = range(1, 248)  # Modbus over Serial Line V1.02 §2.2
SCAN_S = 0.2  # how long a unit has to answer a scan; no table in the profiles asks longer for one register
FUNCTIONS = (3, 4)  # a unit that does not know a function says so; a few say nothing
ALL_FUNCTIONS = (3, 4, 1, 2)
AGENT_OIDS = ("1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0")  # SNMPv2-MIB: sysDescr, sysObjectID
AGENT_S = 3.0
MOST_FRAMES = 40  # shown of one question: a walk may take hundreds
DOWN_S = 40.0  # longer than the longest back-off of a link


# --- one device -----------------------------------------------------------------------------------------------------


async def probe(poller: Poller, profile: Profile, device: Device, tape: Tape | None = None) -> AsyncIterator[Told]:
    """Read everything of a device once: `table` and `block` steps with raw frames, then its `fields`; kept on tape.

    Of a device that fills nothing by itself every point is read: what it has is looked up before a site names any.
    """
    if not any(profile.members.values()):
        every = [*profile.points, *(name for table in profile.tables.values() for name in table.points)]
        roles = {member: numbers for member, numbers in device.roles.items() if numbers}
        device = replace(device, roles=roles, watched=device.watched.union(every))
    asked: dict[WalkColumn | AskYdt, Exchange] = {}
    found = plan.NOWHERE
    for table in plan.tables(profile, device):
        for request in table.requests:
            if request not in asked:
                asked[request] = await poller.examine(request, profile.timing)
                _keep(tape, request, asked[request])
        walked = {one: reply for one, exchange in asked.items() if (reply := _walked(exchange, profile)) is not None}
        found = plan.located(profile, device, walked)
        for request in table.requests:
            rows = list(found.rows.get(table.name, ()))
            yield {"table": table.name, "rows": rows, **_exchanged(request, asked[request])}
    values: dict[str, Value | Quality] = {}
    units = _units(profile)
    waiting = deque(plan.blocks(profile, device, found.rows, found.known_by))
    heard = False
    while waiting:
        block = waiting.popleft()
        exchange = await poller.examine(block.request, profile.timing)
        _keep(tape, block.request, exchange)
        read, error = _decoded(block, exchange, profile, device)
        if lacks(error, profile):
            parts = plan.split(block)
            waiting.extendleft(reversed(parts))
            read = {} if parts else dict.fromkeys(block.keys, Quality.NOT_SUPPORT)
        elif error is not None:
            read = dict.fromkeys(block.keys, Quality.GET_FAILED)
        heard |= error is None or lacks(error, profile)
        values |= read
        points = [{"point": key, **_value(value), "unit": units.get(plain(key), "")} for key, value in read.items()]
        yield {"block": block.lane, **_exchanged(block.request, exchange), "error": failure(error), "points": points}
    if heard:  # of rows that are not there it tells as well that there are none
        yield {"fields": [*_fields(profile, device, found.rows, values)]}
    poller.relearn(device.key)


def _walked(exchange: Exchange, profile: Profile) -> Reply | None:
    """What a walk gave; who does not know what is asked has no rows there."""
    return () if lacks(exchange.error, profile) else exchange.reply


def _keep(tape: Tape | None, request: Request, exchange: Exchange) -> None:
    if tape is not None and exchange.reply is not None:
        tape.note(request, exchange.reply, b"".join(one.data for one in exchange.frames if one.direction != "sent"))


def _decoded(
    block: Block, exchange: Exchange, profile: Profile, device: Device
) -> tuple[dict[str, Value | Quality], Exception | None]:
    if exchange.reply is None:
        return {}, exchange.error
    try:
        return codec.decode(block, exchange.reply, profile, device), None
    except BadReply as error:
        return {}, error


def _fields(
    profile: Profile, device: Device, rows: Mapping[str, tuple[str, ...]], values: Mapping[str, Value | Quality]
) -> Iterator[Told]:
    at = asyncio.get_running_loop().time()
    now = {key: derive.Sample(value, at) for key, value in values.items()}
    found = derive.Deriver(profile, device, rows).fields(now, {})
    for role, name in sorted(found, key=_place):
        value = found[role, name]
        yield {
            "member": role.member,
            "number": role.number,
            "field": name,
            **_value(value),
            "unit": MEMBERS[role.member].fields[name].unit,
        }


def _place(field: tuple[Role, str]) -> tuple[Role, int]:
    """Where a field stands in the interface."""
    role, name = field
    return role, list(MEMBERS[role.member].fields).index(name)


def _value(value: Value | Quality) -> Told:
    if isinstance(value, Quality):
        return {"value": None, "quality": str(value)}
    return {"value": value, "quality": str(Quality.OK)}


def _units(profile: Profile) -> dict[str, str]:
    points = [*profile.points.items()]
    for table in profile.tables.values():
        points += table.points.items()
    return {plain(key): point.unit for key, point in points}


def _exchanged(request: Request, exchange: Exchange) -> dict[str, Any]:
    return {
        "asked": _asked(request),
        "frames": [[frame.direction, frame.data.hex()] for frame in exchange.frames[:MOST_FRAMES]],
        "ms": round(1000 * exchange.took_s, 1),
        "error": failure(exchange.error),
        **({"values": _raw(exchange.reply)} if not exchange.frames and exchange.reply is not None else {}),
    }


def failure(error: Exception | None) -> dict[str, str] | None:
    """Why nothing came of a question, in both languages. Of frames that make no sense Chinese has the kind only."""
    match error:
        case None:
            return None
        case AgentError() if error.text.zh != error.text.en:
            return error.text.both()
        case BusDown():
            cause = error.__cause__
            why = of_system(cause).zh if isinstance(cause, OSError) and cause.errno else "连不上"
            return Text(f"总线不可用：{why}", str(error)).both()
        case NoReply():
            return Text("无应答", str(error)).both()
        case DeviceRefused(code=code):
            return Text(f"设备拒绝（{code}）", str(error)).both()
        case BadReply():
            return Text("应答有误，不是对所问的应答", str(error)).both()
        case _:
            return Text(str(error), str(error)).both()


def _raw(reply: Reply) -> Any:
    """What came back where there are no frames to show: SNMPv3 is encrypted, the host has no wire."""
    if isinstance(reply, Mapping):
        return {name: _plain(value) for name, value in reply.items()}
    return str(reply)


def _plain(value: SnmpValue | Value | None) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _asked(request: Request) -> str:
    """Say in a technician's words what was asked; the same in every language."""
    match request:
        case ReadRegisters() | ReadBits():
            last = request.address + request.count - 1
            return f"unit {request.unit} FC{request.function} 0x{request.address:04X}-0x{last:04X}"
        case GetOids(oids=oids):
            return f"GET {oids[0]}" + (f" (+{len(oids) - 1})" if len(oids) > 1 else "")
        case WalkColumn(oid=oid):
            return f"WALK {oid}"
        case ReadHost(names=names):
            return f"host {', '.join(names)}"
        case AskText(command=command):
            return command
        case ReadController(serial=serial):
            return f"controller {serial} status"
        case AskInputs(unit=unit):
            return f"board {unit} inputs"
        case AskSurge(unit=unit):
            return f"unit {unit} surge protector"
        case AskMeter(address=address, item=item):
            return f"meter {address} item {item:08X}"
        case AskYdt(unit=unit, cid1=cid1, cid2=cid2, info=info):
            return f"unit {unit} {cid1:02X}/{cid2:02X} {info.hex()}".rstrip()
        case ReadObject(object=number):
            return f"object {number}"
        case ReadAlarms():
            return "alarms"
        case _:
            return str(request)


# --- who is there ---------------------------------------------------------------------------------------------------


async def scan(
    poller: Poller, bus: Bus, known: Mapping[int, str], units: Iterable[int] = UNITS, *, thorough: bool = False
) -> AsyncIterator[Told]:
    """Ask who answers: a `found` step for each, `progress` in between. `known` names the units of the site file."""
    if bus.kind == "snmp":
        async for step in _greet(poller):
            yield step
    elif bus.kind == "uhppote":
        async for step in _discover(poller):
            yield step
    elif bus.kind == "udp":
        said = "cannot scan a bus of type udp: there is one device behind its port, and nothing that all of them answer"
        yield {"failed": Text("udp 总线不能扫描：每个端口后只有一台设备，且没有通用的询问", said).both()}
    elif bus.kind in ("zte-http", "zte-serial"):
        said = f"cannot scan a bus of type {bus.kind}: gantry-agent identify lists what the site unit looks after"
        yield {"failed": Text(f"{bus.kind} 总线不能扫描：gantry-agent identify 可列出动环监控单元的对象", said).both()}
    elif bus.kind in MODBUS:
        functions = ALL_FUNCTIONS if thorough else FUNCTIONS
        async for step in _call(poller, known, list(units), functions):
            yield step


async def _call(
    poller: Poller, known: Mapping[int, str], units: list[int], functions: tuple[int, ...]
) -> AsyncIterator[Told]:
    """Ask every unit for one register, and those that said nothing for another kind."""
    timing = Timing(SCAN_S, 0.0, seeking=True)
    silent, done, total = units, 0, len(units) * len(functions)
    for function in functions:
        left = []
        for unit in silent:
            exchange = await patiently(poller, _smallest(unit, function), timing)
            done += 1
            yield {"progress": done, "of": total}
            if isinstance(exchange.error, BusDown):
                yield {"failed": failure(exchange.error)}
                return
            if somebody_there(exchange):
                yield {"found": unit, "function": function, "device": known.get(unit), **_heard(exchange)}
            else:
                left.append(unit)
        total -= (len(silent) - len(left)) * (len(functions) - functions.index(function) - 1)
        silent = left
    for unit in silent:
        if unit in known:
            yield {"missing": unit, "device": known[unit]}


async def patiently(poller: Poller, request: Request, timing: Timing) -> Exchange:
    """Ask, and again when the link was opening; a link that stays down is told as it is."""
    loop = asyncio.get_running_loop()
    until, wait_s = loop.time() + DOWN_S, 0.25
    while True:
        exchange = await poller.examine(request, timing)
        if not isinstance(exchange.error, BusDown) or exchange.error.__cause__ is not None or loop.time() > until:
            return exchange
        await asyncio.sleep(wait_s)
        wait_s = min(4.0, wait_s * 2)


def _smallest(unit: int, function: int) -> ReadRegisters | ReadBits:
    match function:
        case 3 | 4:
            return ReadRegisters(unit, function, 0, 1)
        case 1 | 2:
            return ReadBits(unit, function, 0, 1)
    raise ValueError(f"cannot ask by function {function}: 1, 2, 3 or 4")


def somebody_there(exchange: Exchange) -> bool:
    """Tell whether somebody answered: a refusal is an answer, unless it is the gateway's, and so is a broken frame."""
    if isinstance(exchange.error, DeviceRefused):
        return exchange.error.code not in GATEWAY_SILENT
    return exchange.error is None or isinstance(exchange.error, BadReply)


def _heard(exchange: Exchange) -> Told:
    broken = isinstance(exchange.error, BadReply)
    return {
        "ms": round(1000 * exchange.took_s, 1),
        "broken": str(exchange.error) if broken else None,
        "frames": [[frame.direction, frame.data.hex()] for frame in exchange.frames],
    }


async def _discover(poller: Poller) -> AsyncIterator[Told]:
    """Ask a UHPPOTE controller for its serial number, which the site file needs."""
    asked = AskController(1, uhppote.ANYBODY, uhppote.DISCOVER)
    exchange = await patiently(poller, asked, Timing(AGENT_S, 0.0, seeking=True))
    if isinstance(exchange.reply, bytes):
        said = f"serial {uhppote.read_serial(exchange.reply)}"
        yield {"agent": said, "identity": f"firmware {uhppote.read_version(exchange.reply)}", **_heard(exchange)}
    else:
        yield {"failed": failure(exchange.error)}


async def _greet(poller: Poller) -> AsyncIterator[Told]:
    """Ask an SNMP agent who it is."""
    exchange = await patiently(poller, GetOids(AGENT_OIDS), Timing(AGENT_S, 0.0))
    if isinstance(exchange.reply, Mapping):
        description, identity = (exchange.reply.get(oid) for oid in AGENT_OIDS)
        said = description.decode("utf-8", "replace") if isinstance(description, bytes) else str(description)
        yield {"agent": said, "identity": str(identity), **_heard(exchange)}
    elif isinstance(exchange.error, DeviceRefused):
        yield {"agent": str(exchange.error), "identity": None, **_heard(exchange)}
    else:
        yield {"failed": failure(exchange.error)}
