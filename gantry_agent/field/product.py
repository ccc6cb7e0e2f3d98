"""What is known about a product, as frozen values: its points, tables, derived fields, warnings and writes.

`profile` makes these from a YAML file, `plan` turns them into requests for one device, `codec` into readers of raw
words, `derive` into fields of the interface. Nothing here reads a file or knows where a device stands in a site.

Names: `elec.voltage` is a field of the interface, `rectifier[2].outputVoltage` the same of the second instance of a
list member, `module_status` a local name that only the profile knows. A key is a name written in full.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gantry_agent.field.product_battery import UNKNOWN, BatteryTesting
from gantry_agent.field.product_identity import Says
from gantry_agent.field.product_places import (
    AnswerLayout,
    Commands,
    InAnswer,
    InOid,
    InRegister,
    OpensDoor,
    Place,
    SetsRegister,
    Shows,
    Signals,
)
from gantry_agent.field.product_pulse import Pulse
from gantry_agent.field.product_snmp import RowFilter, SetsObject
from gantry_agent.field.request import Timing
from gantry_agent.model import Device, Lane, Quality, Value
from gantry_agent.text import Text
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD

Protocol = Literal[
    "modbus", "snmp", "host", "megatec", "ydt1363", "dlt645", "shengjiu", "uhppote", "zte", "zpta", "huazi"
]  # fmt: skip
Maturity = Literal["draft", "transcript", "simulated", "recorded"]
ByteOrder = Literal["big", "little", "swap-words", "swap-bytes"]
Amount = int | float | str  # str: the parameter of that name
Writing = InRegister | SetsRegister | SetsObject | Commands | OpensDoor | Signals

_NAME = re.compile(r"(?:([A-Za-z]\w*)(?:\[(\d+)\])?\.)?([A-Za-z]\w*)(?:\[(\d+)\])?")


# --- names ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A name as written; `number` is None where the writer gave no instance."""

    member: str  # '' for a local name
    number: int | None
    field: str


def read_name(text: str) -> Name | None:
    """Read `elec.voltage`, `rectifier[2].status`, `di0` or `load[3]`; None if it is no name."""
    found = _NAME.fullmatch(text)
    if not found:
        return None
    member, number, name, local_number = found.groups()
    if member and local_number:
        return None
    digits = number or local_number
    return Name(member or "", int(digits) if digits else None, name)


def key_of(member: str, number: int, name: str) -> str:
    """Write a name in full, the way readings are keyed: instance 1 carries no index."""
    place = f"[{number}]" if number > 1 else ""
    return f"{member}{place}.{name}" if member else f"{name}{place}"


# --- what a raw value means -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bound:
    """Below, above or both; strict."""

    below: Amount | None = None
    above: Amount | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """From the raw value: refuse (`none`, `absent`), cut out (`mask`, `bit`), then translate (`map`) or scale."""

    kind: str  # u16 … f64, text:N for registers; integer, u32, s32, decimal, text for SNMP; any for a host
    order: ByteOrder = "big"
    bit: int | None = None
    mask: int | None = None
    none: tuple[Value | Bound, ...] = ()  # there is no value now
    absent: tuple[Value | Bound, ...] = ()  # this unit has no such thing
    map: Mapping[Value, Value | Quality] | None = field(default=None, hash=False)  # of numbers, a text is a parameter
    otherwise: Value | Quality = Quality.NO_DATA  # a raw value that the map does not name
    scale: Amount = 1
    offset: Amount = 0


@dataclass(frozen=True, slots=True)
class Point:
    """One quantity of a product."""

    key: str
    place: Place
    encoding: Encoding
    unit: str
    lane: Lane
    inferred: bool
    write: Writing | None = None  # the site may name it as an output
    terminal: str = ""  # points of one terminal are one contact, set as input or as output
    pulse: Pulse | None = None  # of a point that is written: it ends even if this program does not live to see it
    shows: Shows | None = None  # a point that shows cards: the site may name it as a reader
    again: bool = False  # a value that means nothing here is asked for once more before it counts as none


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of an SNMP table; the k-th row in order is instance k of `member`, or of the local names."""

    name: str
    member: str
    index: str
    order: Literal["index", "value"]
    where: tuple[RowFilter, ...]
    points: Mapping[str, Point] = field(hash=False)  # by name within the row: 'rectifier.outputCurrent', 'status_code'
    rows: InAnswer | None = None  # of YD/T 1363: the counted group that the rows are


@dataclass(frozen=True, slots=True)
class Switched:
    """A point that a site may name as an output; one of a table is named with the number of its row."""

    name: str  # without that number
    point: Point
    table: Table | None = None
    number: int = 1


# --- what follows from readings -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Every:
    """All rows of a table's point."""

    name: str


Operand = int | float | str | Every  # str: the point, derived value or parameter of that name


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: the value is one of `values`, or is none of them, or within the bound."""

    subject: str | Every  # Every: any row will do
    values: tuple[Value, ...] | None = None
    unlike: tuple[Value, ...] | None = None
    bound: Bound | None = None


When = tuple[tuple[Comparison, ...], ...]  # any of (all of)


@dataclass(frozen=True, slots=True)
class Case:
    when: When
    then: Operand | Quality


@dataclass(frozen=True, slots=True)
class Derived:
    """A value that is calculated. `operation` is a key of `derive.OPERATIONS`."""

    name: Name
    operation: str
    operands: tuple[Operand, ...] = ()
    scale: Amount = 1
    offset: Amount = 0
    bits: int = 64  # width of the counter that `rate` differences
    cases: tuple[Case, ...] = ()
    otherwise: Operand | Quality = Quality.NO_DATA


@dataclass(frozen=True, slots=True)
class AlarmText:
    """A text that joins a member's alarm field while `when` holds; `number` limits it to one instance."""

    member: str
    text: str
    when: When
    number: int | None = None


# --- what can be ordered --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InRow:
    """A column of the table whose rows are a member's instances; instance k is written in row k."""

    oid: str
    table: str


@dataclass(frozen=True, slots=True)
class ByPoint:
    """A writable point of the profile, which knows itself how it is written."""

    name: str


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring registers that a device takes only all together: they are read, changed and written back.

    `pad` is what every second register, from the second on, is written as: where values stand in the first of two.
    """

    first: InRegister
    count: int
    pad: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One write of an order: what is ordered, by `map` or by scale and offset, or always `value`."""

    place: InRegister | InOid | InRow | ByPoint
    function: int  # 5, 6 or 16; 0 where no register is written
    kind: str  # encoding of the written value, or the SNMP type
    order: ByteOrder = "big"
    map: Mapping[int, Value] = field(hash=False, default_factory=dict)  # a text may be a parameter's name
    scale: Amount = 1
    offset: Amount = 0
    value: Value | None = None
    as_read: bool = False  # what stands there is written back: a lock that counts on
    only: int | None = None  # of the order's values, the one that this step is for
    block: Span | None = None


@dataclass(frozen=True, slots=True)
class ReadBack:
    """The order is done when `point` reads what was ordered, within the time.

    `expect` says which readings show an order's value; without it, the value that was written. `tolerance`, in the
    point's unit, is how far a measured value may be off; None is half of the smallest step that can be written.
    """

    point: str
    within_s: float
    expect: Mapping[int, tuple[Value, ...]] | None = field(default=None, hash=False)
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """What a point must read before anything is written: a controller that is set to local control refuses, or lies."""

    point: str
    values: tuple[Value, ...]
    only: int | None = None  # for this value of the order: a start may have to be allowed, a stop not


@dataclass(frozen=True, slots=True)
class WriteOrder:
    """How an order of the interface is written and what shows that it was done.

    An order without `confirm` cannot be shown to be done (`momentary`). One that is written to a single place and
    names no instance concerns every instance of the device.
    """

    name: Name
    steps: tuple[Step, ...]
    confirm: ReadBack | None = None
    low: Amount | None = None
    high: Amount | None = None
    permission: Permission | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What a device forgets when it loses power and needs to be told again; `kind` and `function` as in WriteOrder."""

    place: InRegister | InOid
    function: int
    kind: str
    value: Amount


# --- the profile ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Where a product's numbers were read."""

    document: str
    page: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number or text that differs from one installation to the next."""

    default: Value
    choices: tuple[Value, ...] = ()
    title: Text | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest request, and how many unwanted registers may be read to merge two."""

    registers: int = 60
    bits: int = 200
    hole: int = 8
    oids: int = 30


@dataclass(frozen=True)
class Profile:
    """All that is known about a product."""

    name: str
    title: Text
    protocol: Protocol
    maturity: Maturity
    sources: tuple[Source, ...]
    caveats: tuple[Text, ...]
    timing: Timing
    limits: Limits
    parameters: Mapping[str, Parameter]
    members: Mapping[str, int]
    points: Mapping[str, Point]
    tables: Mapping[str, Table]
    derived: tuple[Derived, ...]
    warnings: tuple[AlarmText, ...]
    writes: tuple[WriteOrder, ...]
    on_return: tuple[Setting, ...] = ()  # written, in this order, when a device that was lost answers again
    answers: Mapping[str, AnswerLayout] = field(default_factory=dict)
    battery_test: BatteryTesting = UNKNOWN
    identity: tuple[tuple[Point, Says], ...] = ()  # what tells the product
    was: tuple[str, ...] = ()  # names that the profile had
    renamed: Mapping[str, str] = field(default_factory=dict)  # what points were called: what they are called now
    objects: tuple[str, ...] = ()  # names under which a ZTE site unit lists what this product is

    def provides(self, member: str) -> frozenset[str]:
        """Fields of the interface that a device of this product fills, without what the site maps to it."""
        if member not in self.members:
            return frozenset()
        names = [read_name(key) for key in self.points]
        names += [read_name(key) for table in self.tables.values() for key in table.points]
        names += [derived.name for derived in self.derived]
        fields = {name.field for name in names if name and name.member == member}
        if "status" in MEMBERS[member].fields:
            fields.add("status")
        if any(warning.member == member for warning in self.warnings):
            fields.add(WARNING_FIELD[member])
        return frozenset(fields)

    @cached_property
    def writable(self) -> frozenset[str]:
        """Points that a site may name as outputs; those of tables without their rows' numbers."""
        keys = [*self.points, *(key for table in self.tables.values() for key in table.points)]
        return frozenset(key for key in keys if self.switched(key))

    def switched(self, target: str) -> Switched | None:
        """Find what a site names as an output: `do0`, or `outlet[3]` of the third row."""
        if target in self.points:
            return Switched(target, self.points[target]) if self.points[target].write else None
        name = read_name(target)
        if name is None or name.member:
            return None
        rows = (table for table in self.tables.values() if name.field in table.points and not table.member)
        table = next(rows, None)
        if table is None or not isinstance(table.points[name.field].write, SetsObject):
            return None
        return Switched(name.field, table.points[name.field], table, name.number or 1)

    def parameters_of(self, device: Device) -> dict[str, Value]:
        """The parameters as this device has them."""
        return {name: device.parameters.get(name, known.default) for name, known in self.parameters.items()}


def amount(value: Amount, parameters: Mapping[str, Value]) -> float | int:
    """A number as written, or the parameter of that name."""
    return float(parameters[value]) if isinstance(value, str) else value
