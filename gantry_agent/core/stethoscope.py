"""What is heard on a bus, as frozen figures: how questions end, how long answers take, where broken ones break.

The technician's first question is "is it the cable?". Every transaction ends in one of `Ending`; the latest endings of
each unit, where its broken answers broke, and what was heard when nobody had asked are enough to tell. Who listens and
counts is `field.bus.journal`; what the figures mean is `core.wiring`. Pure: no bytes, no medium, no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from gantry_agent.text import Text

DEAD = 3  # so many failures in a row, and nothing else since
SEVERAL = 3  # fewer broken answers than this are chance
SHARE = 0.05  # of the latest questions; a line that loses less needs no technician


class Ending(StrEnum):
    """How one question ended."""

    GOOD = "good"
    ECHOED = "echoed"  # good, behind our own question
    NOISY = "noisy"  # good, behind bytes that belong to nobody
    REFUSED = "refused"
    GATEWAY = "gateway"  # a gateway says that the unit behind it is silent
    SILENT = "silent"
    ECHO_ONLY = "echo only"
    HEAD = "head"  # the first bytes are missing
    TAIL = "tail"  # the last bytes are missing
    CRC = "crc"  # right length, wrong checksum
    LONG = "long"  # more bytes than the answer has
    GARBLED = "garbled"  # nothing in it is recognizable
    FOREIGN = "foreign"  # a sound frame of another unit or function
    TWOFOLD = "twofold"  # two answers
    BAD = "bad"
    LOST = "lost"  # the connection or port went away before an answer


WORKING = frozenset({Ending.GOOD, Ending.ECHOED, Ending.NOISY, Ending.REFUSED})
HUSHED = frozenset({Ending.SILENT, Ending.ECHO_ONLY})
BROKEN = frozenset(Ending) - WORKING - HUSHED - {Ending.GATEWAY, Ending.LOST}


class Stray(StrEnum):
    """What was heard when nobody had asked."""

    QUESTION = "question"  # of another master
    ANSWER = "answer"  # sound, to a question that was answered already or was not ours
    NOISE = "noise"
    BABBLE = "babble"  # the line did not fall silent


class Trouble(NamedTuple):
    """One broken answer: how, at which byte (None: cannot be told), and how long it should have been."""

    ending: Ending
    at: int | None = None
    length: int = 0


@dataclass(frozen=True, slots=True)
class UnitStatistics:
    """Counts since the start, and of the latest questions their times and how they ended, oldest first."""

    ok: int
    refused: int
    timeouts: int
    bad: int
    late: int  # answers that came when nobody waited for them any more
    latencies_s: tuple[float, ...]  # from question to whole answer
    silences_s: tuple[float, ...] = ()  # from the question's last byte to the answer's first
    late_s: tuple[float, ...] = ()  # of the late answers: from question to answer
    recent: tuple[Ending, ...] = ()
    troubles: tuple[Trouble, ...] = ()  # of `recent`
    endings: Mapping[Ending, int] = field(default_factory=dict)  # of the whole time, without the good ones
    broken_at: Mapping[int, int] = field(default_factory=dict)  # byte position: broken answers, of the whole time


DownKind = Literal["missing", "forbidden", "busy", "refused", "unreachable", "unknown name", "other"]


@dataclass(frozen=True, slots=True)
class Down:
    """Why the medium cannot be opened at present."""

    kind: DownKind
    why: str


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """Everything one bus has counted. `strays` and `losses` (of an open medium) are of the last minutes."""

    units: Mapping[int, UnitStatistics]
    down: Down | None = None
    strays: Mapping[Stray, int] = field(default_factory=dict)
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Hint:
    """What is suspected and why. A note is worth knowing and no fault."""

    rule: str
    text: Text
    units: tuple[int, ...] = ()
    note: bool = False


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Tell the value that `percent` of the values do not exceed (nearest rank), None without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


# --- what a rule sees -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listened:
    """One unit as configured and as heard."""

    unit: int
    name: str  # the device's key in the site file
    response_s: float
    figures: UnitStatistics

    @property
    def asked(self) -> int:
        return len(self.figures.recent)

    def count(self, endings: frozenset[Ending]) -> int:
        return sum(ending in endings for ending in self.figures.recent)

    @property
    def works(self) -> bool:
        """Has answered lately, and is not dead by now."""
        return not self.dead and self.count(WORKING) > 0

    @property
    def dead(self) -> bool:
        """Has given nothing usable for some questions in a row."""
        return self.asked >= DEAD and not any(ending in WORKING for ending in self.figures.recent[-DEAD:])

    @property
    def silent(self) -> bool:
        """Dead, and without a byte."""
        return self.dead and all(ending in HUSHED for ending in self.figures.recent[-DEAD:])

    def suffers(self, endings: frozenset[Ending]) -> bool:
        """Tell whether so ends a share of the latest questions that needs mending."""
        found = self.count(endings)
        return found >= SEVERAL and found >= SHARE * self.asked

    @property
    def label(self) -> Text:
        if self.unit == 0:
            return Text(self.name, self.name)
        return Text(f"{self.name}（地址 {self.unit}）", f"{self.name} (unit {self.unit})")


@dataclass(frozen=True, slots=True)
class Look:
    """One bus: its kind and place as configured, its figures, and its units in the order of their numbers."""

    kind: str
    place: str  # the port path, or host and port
    figures: BusStatistics
    units: tuple[Listened, ...]

    @property
    def line(self) -> bool:
        return self.kind in {"serial", "serial-tcp"}

    @property
    def asked(self) -> tuple[Listened, ...]:
        return tuple(unit for unit in self.units if unit.asked)


Finding = tuple[Text, tuple[Listened, ...]]  # what a rule says, and of whom


def listed(units: Sequence[Listened]) -> Text:
    return Text("、".join(u.label.zh for u in units), ", ".join(u.label.en for u in units))


def shares(units: Sequence[Listened], endings: frozenset[Ending]) -> str:
    """The evidence in figures: `3/128` per unit."""
    return ", ".join(f"{u.unit}: {u.count(endings)}/{u.asked}" for u in units)
