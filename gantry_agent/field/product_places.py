"""Where the values of a product stand: registers, objects, parts of answers; and what is written to switch a point.

One class for each way of saying a place. A profile's points name these, `plan` and its helpers turn them into requests.
Nothing here knows what a value means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gantry_agent.field.framing.counted import Layout
from gantry_agent.model import Value

Space = Literal["holding", "input", "coil", "discrete"]


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
    """A value in an answer that is kept whole, of a door controller, lock or surge monitor, by the vendor's byte."""

    at: int


@dataclass(frozen=True, slots=True)
class InSwipe:
    """Of the newest card that a UHPPOTE controller let in at a door: its number, or that of the event."""

    door: int
    what: Literal["card", "event"]


@dataclass(frozen=True, slots=True)
class SetsRegister:
    """A point that a register or coil makes, but not by the point's own 1 and 0: what is written, by what is wanted."""

    place: InRegister
    by_value: Mapping[int, int] = field(hash=False)
    within_s: float  # until the point reads so: a breaker's motor takes its time


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


@dataclass(frozen=True, slots=True)
class InObject:
    """A value of an object of a ZTE site unit, by the number of its point: the first of these that it has."""

    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InAlarms:
    """Whether an object of a ZTE site unit has an active alarm: 1 or 0."""


Place = InRegister | InOid | InHost | InText | InAnswer | InItem | InStatus | InSwipe | InObject | InAlarms
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
