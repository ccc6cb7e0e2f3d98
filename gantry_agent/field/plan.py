"""From a profile to requests: which points of a device are wanted, and how to read them in few requests.

Neighbouring registers of one lane are merged into blocks within the profile's limits; SNMP objects into GETs. Only what
a device is there for is read: its roles' fields, what the site maps, and what derived values and warnings need.
Rows of SNMP tables are located first, because their indexes say nothing (on a Huawei SMU11B row 28676 is "Rectifier2").
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from gantry_agent.field import codec, plan_controller, plan_serial, plan_zte
from gantry_agent.field.product import (
    Point,
    Profile,
    key_of,
    read_name,
)
from gantry_agent.field.product import Table as TableOfProfile
from gantry_agent.field.product_places import (
    InHost,
    InOid,
    InRegister,
    Space,
)
from gantry_agent.field.product_snmp import RowFilter
from gantry_agent.field.profile_links import plain
from gantry_agent.field.request import (
    AskText,
    AskYdt,
    Block,
    GetOids,
    HostValues,
    Mark,
    Placed,
    ReadBits,
    ReadHost,
    ReadRegisters,
    ReadRequest,
    Registers,
    Reply,
    Request,
    Rows,
    SetKind,
    SetOid,
    SnmpValue,
    Timing,
    Varbinds,
    WalkColumn,
    WriteBit,
    WriteRegisters,
    WriteRequest,
)
from gantry_agent.field.wanted import in_roles, wanted
from gantry_agent.model import Device, Lane, Value

__all__ = [
    "AskText", "AskYdt", "Block", "GetOids", "HostValues", "Located", "Mark", "Placed", "ReadBits", "ReadHost",
    "ReadRegisters", "ReadRequest", "Registers", "Reply", "Request", "Rows", "SetKind", "SetOid", "SnmpValue", "Table",
    "Timing", "Varbinds", "WalkColumn", "WriteBit", "WriteRegisters", "WriteRequest", "blocks", "locate",
    "located", "point_blocks", "split", "table", "tables", "walks",
]  # fmt: skip

FUNCTIONS: Mapping[Space, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
NO_ROWS: Mapping[str, tuple[str, ...]] = MappingProxyType({})
NO_MARKS: Mapping[tuple[str, str], tuple[Mark, ...]] = MappingProxyType({})
# sysUpTime, which every agent has: a device all of whose points stand in rows is asked this until they are found, and
# where it has none, so that it is asked at all and it shows whether it is there.
UPTIME = Block(GetOids(("1.3.6.1.2.1.1.3.0",)), (), "slow")
MOST_ROWS = 64  # of a table that belongs to no member; a longer one is not what the profile had in mind


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be located for one device: walk `requests`, hand the replies to `locate` in their order."""

    name: str
    requests: tuple[WalkColumn | AskYdt, ...]
    by_value: bool
    filters: tuple[RowFilter, ...]
    counted: plan_serial.Counted | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """The rows of a device's tables as they were found, and what tells them."""

    rows: Mapping[str, tuple[str, ...]]
    known_by: Mapping[tuple[str, str], tuple[Mark, ...]]


NOWHERE = Located(NO_ROWS, NO_MARKS)


# --- tables ---------------------------------------------------------------------------------------------------------


def tables(profile: Profile, device: Device) -> tuple[Table, ...]:
    """The tables whose rows have to be found before `blocks` can be complete."""
    needed = wanted(profile, device)
    parameters = profile.parameters_of(device)
    return tuple(
        _counted(table, profile, device) if table.rows else _table(table, parameters)
        for table in profile.tables.values()
        if any(plain(key) in needed for key in table.points)
    )


def table(profile: Profile, device: Device, name: str) -> Table:
    """One table, whether or not the device's fields need it."""
    known = profile.tables[name]
    return _counted(known, profile, device) if known.rows else _table(known, profile.parameters_of(device))


def _counted(table: TableOfProfile, profile: Profile, device: Device) -> Table:
    request, counted = plan_serial.located(table, profile, device)
    return Table(table.name, (request,), by_value=False, filters=(), counted=counted)


def _table(table: TableOfProfile, parameters: Mapping[str, Value]) -> Table:
    filters = tuple(_settled(one, parameters) for one in table.where)
    columns = dict.fromkeys([table.index, *(column for one in filters for column in one.columns)])
    return Table(table.name, tuple(WalkColumn(column) for column in columns), table.order == "value", filters)


def _settled(one: RowFilter, parameters: Mapping[str, Value]) -> RowFilter:
    """The filter with the site's values in place of parameters."""
    values = (parameters[one.parameter],) if one.parameter else one.values
    return replace(one, values=values, parameter="", also=_settled(one.also, parameters) if one.also else None)


def locate(table: Table, replies: Sequence[Reply]) -> tuple[str, ...]:
    """Find the indexes of the wanted rows, in the profile's order."""
    if table.counted is not None:
        return plan_serial.rows(table.counted, replies[0])
    columns = _columns(table, replies)
    indexed = columns[_walked(table)]
    rows = [index for index in indexed if not table.filters or _passes(table, columns, index)]
    if table.by_value:
        return tuple(sorted(rows, key=lambda index: (_sort_value(indexed[index]), _sort_index(index))))
    return tuple(sorted(rows, key=_sort_index))


def marks(table: Table, replies: Sequence[Reply], rows: Iterable[str]) -> dict[tuple[str, str], tuple[Mark, ...]]:
    """Tell by what the rows found are known again, by table and index.

    Rows that are told by their index alone have no mark: the column that was walked may be a measurement.
    """
    if table.counted is not None:
        return {}  # every answer counts anew
    columns = [column for one in table.filters for column in one.columns]
    columns += [_walked(table)] if table.by_value else []
    said = _columns(table, replies)
    return {
        (table.name, index): tuple(
            Mark(f"{column}.{index}", said[column][index]) for column in dict.fromkeys(columns) if index in said[column]
        )
        for index in rows
    }


def walks(profile: Profile, device: Device) -> tuple[WalkColumn | AskYdt, ...]:
    """What has to be asked before `located` can tell where a device's rows are; each question once."""
    return tuple(dict.fromkeys(request for table in tables(profile, device) for request in table.requests))


def located(profile: Profile, device: Device, walked: Mapping[WalkColumn | AskYdt, Reply]) -> Located:
    """Find the rows of a device's tables in the answers to `walks`; a table of which one is missing is left out."""
    rows: dict[str, tuple[str, ...]] = {}
    known_by: dict[tuple[str, str], tuple[Mark, ...]] = {}
    for table in tables(profile, device):
        if walked.keys() >= set(table.requests):
            replies = [walked[request] for request in table.requests]
            rows[table.name] = locate(table, replies)
            known_by |= marks(table, replies, rows[table.name])
    return Located(rows, known_by)


def _walked(table: Table) -> str:
    walk = table.requests[0]
    assert isinstance(walk, WalkColumn)
    return walk.oid


def _columns(table: Table, replies: Sequence[Reply]) -> dict[str, dict[str, SnmpValue]]:
    columns: dict[str, dict[str, SnmpValue]] = {}
    for request, reply in zip(table.requests, replies, strict=True):
        if isinstance(request, WalkColumn):
            rows = reply if isinstance(reply, tuple) else ()
            columns[request.oid] = {str(row[0]): row[1] for row in rows if isinstance(row, tuple)}
    return columns


def _passes(table: Table, columns: Mapping[str, Mapping[str, SnmpValue]], index: str) -> bool:
    """Tell whether a row passes any of the table's filters, with all that the filter asks for as well."""
    return any(all(_fits(part, columns[part.column].get(index)) for part in one.chain) for one in table.filters)


def _fits(one: RowFilter, raw: SnmpValue | None) -> bool:
    if raw is None:
        return False
    text = codec.plain_text(raw)
    alike = False
    for value in one.values:
        wanted_text = codec.plain_text(str(value))
        alike = alike or (
            (bool(wanted_text) or one.unlike)  # an empty parameter matches no row; `not: ""` is a text that is there
            and (text == wanted_text or (one.word and text.startswith(wanted_text + " ")))
        )
    return alike is not one.unlike


def _sort_index(index: str) -> tuple[int, ...]:
    return tuple(int(part) for part in index.split(".") if part.isdigit())


def _sort_value(value: SnmpValue) -> tuple[int, str]:
    if isinstance(value, int):
        return (value, "")
    # Octets in their own order: a DateAndTime has zeros in it, where a text would end.
    return (0, value.decode("latin-1") if isinstance(value, bytes) else codec.plain_text(value))


# --- blocks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A point that is to be read, under its key."""

    key: str
    point: Point
    oid: str = ""  # of a row's point, with the index
    table: str = ""
    marks: tuple[Mark, ...] = ()  # of the row


def blocks(
    profile: Profile,
    device: Device,
    rows: Mapping[str, tuple[str, ...]] = NO_ROWS,
    known_by: Mapping[tuple[str, str], tuple[Mark, ...]] = NO_MARKS,
) -> tuple[Block, ...]:
    """The reads that keep a device's fields up to date, fast ones first; rows not yet located are left out.

    `known_by` is what `marks` told of the rows.
    """
    needed = wanted(profile, device)
    chosen = [
        _Chosen(key, point) for key, point in profile.points.items() if plain(key) in needed and in_roles(key, device)
    ]
    chosen += _row_points(profile, device, rows, known_by, needed)
    lanes: tuple[Lane, ...] = ("fast", "slow")
    if profile.protocol in plan_serial.PROTOCOLS:
        asked = tuple(plan_serial.blocks((_picked(one) for one in chosen), profile, device))
        return tuple(block for lane in lanes for block in asked if block.lane == lane)
    if profile.protocol == plan_zte.PROTOCOL:
        asked = tuple(plan_zte.blocks(((one.key, one.point) for one in chosen), profile, device))
        return tuple(block for lane in lanes for block in asked if block.lane == lane)
    found = tuple(
        block
        for lane in lanes
        for block in _blocks([one for one in chosen if one.point.lane == lane], lane, profile, device)
    )
    return found or ((UPTIME,) if tables(profile, device) else ())


def _row_points(
    profile: Profile,
    device: Device,
    rows: Mapping[str, tuple[str, ...]],
    known_by: Mapping[tuple[str, str], tuple[Mark, ...]],
    needed: frozenset[str],
) -> Iterator[_Chosen]:
    for table in profile.tables.values():
        most = len(device.roles.get(table.member, ())) or MOST_ROWS  # no role: rows that feed another member
        for number, index in enumerate(rows.get(table.name, ())[:most], 1):
            row = known_by.get((table.name, index), ())
            for name, point in table.points.items():
                if plain(name) in needed:
                    oid = f"{point.place.oid}.{index}" if isinstance(point.place, InOid) else index
                    yield _Chosen(row_key(table, name, number), point, oid, table.name, row)


def point_blocks(
    profile: Profile, device: Device, name: str, numbers: Iterable[int], located: Located = NOWHERE
) -> tuple[Block, ...]:
    """The reads that show one point now; where it stands in a table's rows, of these rows, as far as they are found."""
    if name in profile.points:
        chosen = [_Chosen(name, profile.points[name])]
    else:
        table = next(one for one in profile.tables.values() if name in one.points)
        known, rows = table.points[name], located.rows.get(table.name, ())
        chosen = []
        for number in numbers:
            if number <= len(rows):
                index = rows[number - 1]
                oid = f"{known.place.oid}.{index}" if isinstance(known.place, InOid) else index
                row = located.known_by.get((table.name, index), ())
                chosen.append(_Chosen(row_key(table, name, number), known, oid, table.name, row))
    if profile.protocol in plan_serial.PROTOCOLS:
        return tuple(plan_serial.blocks((_picked(one) for one in chosen), profile, device))
    if profile.protocol == plan_zte.PROTOCOL:
        return tuple(plan_zte.blocks(((one.key, one.point) for one in chosen), profile, device))
    return tuple(_blocks(chosen, "fast", profile, device))


def _picked(chosen: _Chosen) -> plan_serial.Pick:
    return plan_serial.Pick(chosen.key, chosen.point, chosen.table, int(chosen.oid) if chosen.table else None)


def row_key(table: TableOfProfile, name: str, number: int) -> str:
    """The key of a table's point in its row: local names belong to the table's member."""
    found = read_name(name)
    assert found is not None
    return key_of(table.member, number, found.field)


def _blocks(chosen: list[_Chosen], lane: Lane, profile: Profile, device: Device) -> Iterator[Block]:
    if profile.protocol == "modbus":
        yield from _register_blocks(chosen, lane, profile, device)
        return
    if profile.protocol in plan_controller.PROTOCOLS:
        yield from plan_controller.blocks(((one.key, one.point) for one in chosen), lane, profile, device)
        return
    parameters = profile.parameters_of(device)
    if profile.protocol == "host":
        yield from _host_blocks(chosen, lane, parameters)
        return
    for part in _parts(chosen, profile.limits.oids):
        placed = tuple(
            Placed(one.key, codec.value_reader(one.point.encoding, parameters), name=_oid(one), table=one.table)
            for one in part
        )
        known_by = tuple(dict.fromkeys(mark for one in part for mark in one.marks))
        yield Block(_get(placed, known_by), placed, lane, known_by)


def _parts(chosen: list[_Chosen], most: int) -> Iterator[list[_Chosen]]:
    """Cut points so that the OIDs of each part, those of the marks included, fit one question."""
    part: list[_Chosen] = []
    oids: set[str] = set()
    for one in chosen:
        more = {_oid(one), *(mark.oid for mark in one.marks)}
        if part and len(oids | more) > most:
            yield part
            part, oids = [], set()
        part.append(one)
        oids |= more
    if part:
        yield part


def _oid(chosen: _Chosen) -> str:
    if chosen.oid:
        return chosen.oid
    assert isinstance(chosen.point.place, InOid)
    return chosen.point.place.oid


def _get(points: Iterable[Placed], known_by: Iterable[Mark] = ()) -> GetOids:
    """Marks come last: an agent that takes little is asked in several questions, and rows may move between them."""
    return GetOids(tuple(dict.fromkeys([*(point.name for point in points), *(mark.oid for mark in known_by)])))


def _host_blocks(chosen: list[_Chosen], lane: Lane, parameters: Mapping[str, Value]) -> Iterator[Block]:
    placed = []
    for one in chosen:
        assert isinstance(one.point.place, InHost)
        name = re.sub(r"\{(\w+)\}", lambda found: _plain_number(parameters[found[1]]), one.point.place.name)
        placed.append(Placed(one.key, codec.value_reader(one.point.encoding, parameters), name=name))
    if placed:
        yield Block(ReadHost(tuple(dict.fromkeys(one.name for one in placed))), tuple(placed), lane)


def _plain_number(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _register_blocks(chosen: list[_Chosen], lane: Lane, profile: Profile, device: Device) -> Iterator[Block]:
    by_space: dict[Space, list[Placed]] = {}
    parameters = profile.parameters_of(device)
    for one in chosen:
        assert isinstance(one.point.place, InRegister)
        place, encoding = one.point.place, one.point.encoding
        read = codec.register_reader(encoding, parameters)
        at = place.address.at(parameters, device.unit)
        by_space.setdefault(place.space, []).append(Placed(one.key, read, at, codec.width(encoding.kind)))
    for space, placed in by_space.items():
        bits = space in ("coil", "discrete")
        most = profile.limits.bits if bits else profile.limits.registers
        placed.sort(key=lambda one: one.at)
        for run in _runs(placed, most, profile.limits.hole):
            yield _register_block(device.unit, FUNCTIONS[space], run, lane)


def _runs(placed: list[Placed], most: int, hole: int) -> Iterator[list[Placed]]:
    """Cut points, sorted by address, where the gap or the length is too much for one request."""
    run: list[Placed] = []
    end = 0
    for one in placed:
        if run and (one.at - end > hole or one.at + one.width - run[0].at > most):
            yield run
            run = []
        end = max(end, one.at + one.width) if run else one.at + one.width
        run.append(one)
    if run:
        yield run


def _register_block(unit: int, function: int, run: Sequence[Placed], lane: Lane) -> Block:
    """One read over absolute addresses; the points then count from its start."""
    start = run[0].at
    count = max(one.at + one.width for one in run) - start
    request: ReadRequest
    if function in (3, 4):
        request = ReadRegisters(unit, 3 if function == 3 else 4, start, count)
    else:
        request = ReadBits(unit, 1 if function == 1 else 2, start, count)
    return Block(request, tuple(replace(one, at=one.at - start) for one in run), lane)


def split(block: Block) -> tuple[Block, ...]:
    """Halve a block that is refused or has to wait as a whole, between two points; () for a single point."""
    if len(block.points) < 2:
        return ()
    middle = len(block.points) // 2
    halves = (block.points[:middle], block.points[middle:])
    request = block.request
    if not isinstance(request, ReadRegisters | ReadBits | GetOids | ReadHost):
        return ()  # one answer for all of them: who does not know the command has none of them
    if isinstance(request, GetOids):
        return tuple(Block(_get(half, block.marks), half, block.lane, block.marks) for half in halves)
    if isinstance(request, ReadHost):
        return tuple(Block(ReadHost(tuple(one.name for one in half)), half, block.lane) for half in halves)
    absolute = ([replace(one, at=one.at + request.address) for one in half] for half in halves)
    return tuple(_register_block(request.unit, request.function, half, block.lane) for half in absolute)
