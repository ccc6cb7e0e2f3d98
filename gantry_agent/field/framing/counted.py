"""Answers that count within themselves, as INFO of YD/T 1363 does: "n, then n items; p, then p own values".

A layout says how the bytes follow one another; `unpack` takes them apart, to the last byte: an answer that is shorter
or longer than its own counts say does not have this layout, and none of its values can be trusted. Numbers of two bytes
are high byte first, floats IEEE 754 low byte first (fuhoo/ydn23 and the PSM-A gatherer both read them so). Not known
here: frames, and what a value means.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gantry_agent.model import BadReply

KINDS: Mapping[str, struct.Struct] = {
    "u8": struct.Struct("B"),
    "u16": struct.Struct(">H"),
    "s16": struct.Struct(">h"),
    "f32": struct.Struct("<f"),
}
Number = int | float


@dataclass(frozen=True, slots=True)
class Cell:
    """One value. Makers differ in whether it is there at all: `given` names the parameter that is not 0 if it is."""

    name: str
    kind: str
    given: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A byte that counts, then so many values."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Group:
    """A byte that counts, then so many times all of `items`."""

    name: str
    items: "Layout"


Layout = tuple[Cell | Run | Group, ...]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The values by path (`module.current`), one per row of the innermost group; a run's are a tuple of them."""

    values: Mapping[str, list[Number | tuple[Number, ...]]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)  # of each group, by path

    def value(self, path: str, row: int, place: int | None) -> Number | None:
        """The value of a row, and in a run at a place, both from 1; None for what is not there."""
        found = self.values.get(path, [])
        if row > len(found):
            return None
        one = found[row - 1]
        if not isinstance(one, tuple):
            return one
        return one[place - 1] if place is not None and place <= len(one) else None


def unpack(layout: Layout, info: bytes, absent: frozenset[str] = frozenset()) -> Unpacked:
    """Take an answer apart. `absent` names the parameters that are 0. Raises BadReply when it has not this layout."""
    reader = _Reader(info, absent)
    reader.read(layout, "")
    if reader.at != len(info):
        raise BadReply(f"cannot use the answer: its counts make {reader.at} bytes, it has {len(info)}")
    return Unpacked(reader.values, reader.rows)


def paths(layout: Layout, before: str = "") -> Iterator[tuple[str, Cell | Run | Group]]:
    """Every part of a layout with its path."""
    for item in layout:
        yield before + item.name, item
        if isinstance(item, Group):
            yield from paths(item.items, f"{before}{item.name}.")


@dataclass(slots=True)
class _Reader:
    """How far an answer has been read."""

    info: bytes
    absent: frozenset[str]
    at: int = 0
    values: dict[str, list[Number | tuple[Number, ...]]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def read(self, layout: Layout, before: str) -> None:
        for item in layout:
            path = before + item.name
            if isinstance(item, Group):
                count = int(self.number("u8", path))
                self.rows[path] = self.rows.get(path, 0) + count
                for _ in range(count):
                    self.read(item.items, path + ".")
            elif isinstance(item, Run):
                count = int(self.number("u8", path))
                run = tuple(self.number(item.kind, path) for _ in range(count))
                self.values.setdefault(path, []).append(run)
            elif item.given not in self.absent:
                self.values.setdefault(path, []).append(self.number(item.kind, path))

    def number(self, kind: str, path: str) -> Number:
        form = KINDS[kind]
        if self.at + form.size > len(self.info):
            raise BadReply(f"cannot use the answer: it ends after {len(self.info)} bytes, within {path}")
        number: Number = form.unpack_from(self.info, self.at)[0]
        self.at += form.size
        return number
