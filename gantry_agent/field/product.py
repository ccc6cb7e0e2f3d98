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

from gantry_agent.field.framing.counted import Layout
from gantry_agent.field.product_battery import UNKNOWN, BatteryTesting
from gantry_agent.field.product_identity import Says
from gantry_agent.field.product_snmp import RowFilter, SetsObject
from gantry_agent.field.request import Timing
from gantry_agent.model import Device, Lane, Quality, Value
from gantry_agent.text import Text
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD

Protocol = Literal["modbus", "snmp", "host", "megatec", "ydt1363", "dlt645", "shengjiu", "uhppote"]
Maturity = Literal["draft", "transcript", "simulated", "recorded"]
Space = Literal["holding", "input", "coil", "discrete"]
ByteOrder = Literal["big", "little", "swap-words", "swap-bytes"]
Amount = int | float | str  # str: the parameter of that name

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


# --- where a value stands -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """A sum of numbers, parameters and multiples of the unit: `1000 + 10000*unit`."""

    fixed: int = 0
    terms: tuple[tuple[int, str], ...] = ()

    def at(self, parameters: Mapping[str, Value], unit: int) -> int:
        return self.fixed + sum(
            factor * (unit if name == "unit" else int(parameters[name])) for factor, name in self.terms
        )


@dataclass(frozen=True, slots=True)
class InRegister:
    """A register or a bit of one of the four Modbus spaces."""

    space: Space
    address: Address


@dataclass(frozen=True, slots=True)
class InOid:
    """A scalar of SNMP, or a column of a table's rows."""

    oid: str


@dataclass(frozen=True, slots=True)
class InHost:
    """A value of a host by name; `{nic}` stands for a parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class InText:
    """A part of the answer to a Megatec command: a field between blanks, characters of it, or of the whole answer."""

    command: str
    field: int = 0  # from 1, after the mark; 0: the whole answer, where the mark is character 0
    first: int | None = None  # characters of a field count from 1
    last: int | None = None


@dataclass(frozen=True, slots=True)
class InAnswer:
    """A value in an answer of YD/T 1363, by its path through the layout of that answer."""

    answer: str
    path: str
    row: int | None = None  # of the innermost group, from 1; None: the table's row, or the first
    place: int | None = None  # in a run, from 1


@dataclass(frozen=True, slots=True)
class InStatus:
    """A value in the status of a UHPPOTE controller or a Shengjiu lock; bytes count as in the vendor's table."""

    at: int


@dataclass(frozen=True, slots=True)
class InSwipe:
    """Of the newest card that a UHPPOTE controller let in at a door: its number, or that of the event."""

    door: int
    what: Literal["card", "event"]


@dataclass(frozen=True, slots=True)
class OpensDoor:
    """A point that a UHPPOTE controller switches on for the time that is set in it."""

    door: int


@dataclass(frozen=True, slots=True)
class Signals:
    """A point that a Shengjiu lock makes of a signal: which one, by the value that is wanted."""

    by_value: Mapping[int, int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Shows:
    """Of a point that shows cards: what tells a new showing, and what is 0 while there is no card; points, or ''."""

    count: str = ""
    given: str = ""


@dataclass(frozen=True, slots=True)
class InItem:
    """An item of a DL/T 645 meter, by its eight digits."""

    item: int


Place = InRegister | InOid | InHost | InText | InAnswer | InItem | InStatus | InSwipe
Term = int | str  # str: the parameter of that name, or `row`


@dataclass(frozen=True, slots=True)
class Question:
    """A command of YD/T 1363: CID1, CID2 and the bytes of INFO."""

    cid1: int
    cid2: int
    info: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class AnswerLayout:
    """What is asked, and how the answer is laid out."""

    question: Question
    layout: Layout


@dataclass(frozen=True, slots=True)
class Commands:
    """A point that is written by commands: which one, by the value that is wanted."""

    by_value: Mapping[int, str | Question] = field(hash=False)  # str: of Megatec


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
    map: Mapping[Value, Value | Quality] | None = field(default=None, hash=False)
    otherwise: Value | Quality = Quality.NO_DATA  # a raw value that the map does not name
    scale: Amount = 1
    offset: Amount = 0


@dataclass(frozen=True, slots=True)
class Pulse:
    """A write by which the device itself holds an output on, or off, for a time: a number of steps of `step_ms`."""

    on: InRegister
    off: InRegister | None
    step_ms: int
    most: int  # steps

    def steps(self, seconds: float) -> int | None:
        """The number to be written; None where the device cannot count so far."""
        steps = max(1, round(seconds * 1000 / self.step_ms))
        return steps if steps <= self.most else None


@dataclass(frozen=True, slots=True)
class Point:
    """One quantity of a product."""

    key: str
    place: Place
    encoding: Encoding
    unit: str
    lane: Lane
    inferred: bool
    write: InRegister | SetsObject | Commands | OpensDoor | Signals | None = None  # the site may name it as an output
    terminal: str = ""  # points of one terminal are one contact, set as input or as output
    pulse: Pulse | None = None  # of a point that is written: it ends even if this program does not live to see it
    shows: Shows | None = None  # a point that shows cards: the site may name it as a reader


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
    """Neighbouring registers that a device takes only all together: they are read, changed and written back."""

    first: InRegister
    count: int


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
        """Points that a site may name as outputs."""
        return frozenset(key for key, point in self.points.items() if point.write)

    def parameters_of(self, device: Device) -> dict[str, Value]:
        """The parameters as this device has them."""
        return {name: device.parameters.get(name, known.default) for name, known in self.parameters.items()}


def amount(value: Amount, parameters: Mapping[str, Value]) -> float | int:
    """A number as written, or the parameter of that name."""
    return float(parameters[value]) if isinstance(value, str) else value
