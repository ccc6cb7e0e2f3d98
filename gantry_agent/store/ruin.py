"""A damaged database file, read as far as it can be. It is never written, and nothing in it is trusted.

A flipped byte in one page costs SQLite every row behind that page, in whatever order they are asked for. So rows are
listed from both ends and by every index, and read one by one; those that an index knows and no b-tree leads to are
looked for page by page (`leaves`). Where even the header or the schema is damaged, a copy is read whose header, or
whole schema, is taken from a new database made by the same statements: these lay their tables out in the same order
every time. What the rows mean is `salvage`'s.
"""

import contextlib
import math
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gantry_agent.store.leaves import Leaves, Place

WAYS: Final = range(3)  # as it is; a copy with a new header; one with a new schema
COPY: Final = ".salvage"  # suffix of the copy that is mended to be read
HEADER: Final = 100  # bytes; https://www.sqlite.org/fileformat2.html, 1.3
SIZE_FIELD: Final = slice(28, 32)  # of the database in pages
WAL_MODE: Final = b"\2\2"
LEAF, INTERIOR = 13, 5  # kinds of a page of a table
MOST_ROWS: Final = 200_000  # of any table: ten times what they are bounded to
MOST_NUMBER: Final = 2**48  # a number over it was never given
LISTING_S: Final = 5.0  # for one listing, and
ALL_S: Final = 15.0  # for all of them; a b-tree whose pages point here and there may have no end
PROGRESS_STEPS: Final = 100_000  # of SQLite's machine between looks at the clock

Statements = Sequence[Sequence[str]]
Row = tuple[Any, ...]
Table = tuple[str, tuple[str, ...]]  # name, columns
Columns = dict[str, tuple[str, ...]]  # by table


@dataclass(slots=True)
class Trace:
    """What the indexes tell of a record whose row may be beyond reading."""

    channel: str | None = None
    urgent: int = 0
    cabinet: int = 0
    taken_at: float | None = None
    has_row: bool = False

    @property
    def is_sure(self) -> bool:
        """Whether two places tell of it: a number that only one knows may be a flipped bit."""
        return (self.channel is not None) + (self.taken_at is not None) + self.has_row > 1


class Unreadable(Exception):
    """A row cannot be read."""


class Ruin:
    """The damaged file, open to be read."""

    def __init__(self, file: Path, schema: Statements) -> None:
        self._copy = file.with_name(file.name + COPY)
        self._until, self._last = math.inf, time.monotonic() + ALL_S
        self._connection, self.columns, self.expected = self._best(file, schema)
        self._leaves = Leaves(file)
        self._places: dict[int, list[Place]] = {}
        self._connection.set_progress_handler(lambda: time.monotonic() > self._until, PROGRESS_STEPS)

    def close(self) -> None:
        self._connection.close()
        self._leaves.close()
        for suffix in ("", "-wal", "-shm"):
            self._copy.with_name(self._copy.name + suffix).unlink(missing_ok=True)

    def _best(self, file: Path, schema: Statements) -> tuple[sqlite3.Connection, Columns, Columns]:
        """Open the file in the first way that shows all its tables, else in the one that shows most."""
        found: list[int] = []
        for way in (*WAYS, None):
            connection = self._open(file, schema, max(WAYS, key=found.__getitem__) if way is None else way)
            tables, expected = _tables(connection), _expected(connection, schema)
            if way is None or tables >= expected:
                return connection, dict(tables), dict(expected)
            connection.close()
            found.append(len(tables & expected))
        raise AssertionError("the last way is always taken")

    def _open(self, file: Path, schema: Statements, way: int) -> sqlite3.Connection:
        if way > WAYS[0]:
            self._mend(file, schema, whole_schema=way == WAYS[-1])
            file = self._copy
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        connection.text_factory = bytes
        with contextlib.suppress(sqlite3.Error):  # with it, a damaged line of the schema costs one table, not all
            connection.execute("PRAGMA writable_schema = ON")
        return connection

    def _mend(self, file: Path, schema: Statements, *, whole_schema: bool) -> None:
        """Copy the file, with a header as a new one has it, and with its schema if that is asked for."""
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(file.with_name(file.name + "-wal"), self._copy.with_name(self._copy.name + "-wal"))
        shutil.copyfile(file, self._copy)
        with contextlib.closing(new(schema)) as model:
            template = model.serialize()
        page = int.from_bytes(template[16:18])
        header = bytearray(template[:HEADER])
        header[18:20] = WAL_MODE
        header[SIZE_FIELD] = max(1, self._copy.stat().st_size // page).to_bytes(4)
        with self._copy.open("r+b") as copy:
            if whole_schema:
                for number in _schema_pages(template, page):
                    copy.seek((number - 1) * page)
                    copy.write(template[(number - 1) * page : number * page])
            copy.seek(0)
            copy.write(header)
            copy.flush()
            os.fsync(copy.fileno())

    # --- rows

    def rows(self, table: str, types: dict[str, str], keys: Sequence[str]) -> tuple[list[Row], bool]:
        """Give a table's rows that are sound, in the columns of `types`, and tell whether that is all of it."""
        sound: dict[Row, Row] = {}
        whole = True
        columns = ", ".join((*keys, *types))
        for direction in ("ASC", "DESC"):
            order = ", ".join(f"{key} {direction}" for key in keys)
            listed, to_the_end = self._list(f"SELECT {columns} FROM {table} NOT INDEXED ORDER BY {order}")  # noqa: S608
            for row in listed:
                try:
                    read = tuple(map(_typed, types.values(), row[len(keys) :]))
                except Unreadable:
                    whole = False
                else:
                    sound.setdefault(row[: len(keys)], read)
            if to_the_end:
                break
            whole = False
        return list(sound.values()), whole

    def numbers(self) -> dict[int, Trace]:
        """List the records that there are, by whatever still tells, and what the indexes know of each."""
        traces: dict[int, Trace] = {}
        for direction, other in (("", "DESC"), ("DESC", "")):
            turn = ", ".join(f"{name} {direction}" for name in ("aside", "channel", "urgent", "cabinet", "number"))
            for number, channel, urgent, cabinet in self._listed(
                f"SELECT number, channel, urgent, cabinet FROM records INDEXED BY records_turn ORDER BY {turn}"  # noqa: S608
            ):
                with contextlib.suppress(Unreadable):
                    trace = traces.setdefault(_number(number), Trace())
                    trace.channel, trace.urgent, trace.cabinet = _typed("TEXT", channel), urgent, cabinet
            bound = f"aside {other}, urgent {direction}, number {direction}"
            for number, taken_at in self._listed(
                f"SELECT number, taken_at FROM records INDEXED BY records_bound ORDER BY {bound}"  # noqa: S608
            ):
                with contextlib.suppress(Unreadable):
                    traces.setdefault(_number(number), Trace()).taken_at = _typed("REAL", taken_at)
        for number in self._walk():
            traces.setdefault(number, Trace()).has_row = True
        hidden = {number for number in traces if not self._leads_to(number)}
        for number, place in self._leaves.find(hidden, self._last + ALL_S) if hidden else ():
            self._places.setdefault(number, []).append(place)
        return traces

    def _leads_to(self, number: int) -> bool:
        """Tell whether the table's b-tree leads to a row, which is more than that a walk comes by it."""
        self._until = min(self._last, time.monotonic() + LISTING_S)
        try:
            query = "SELECT 1 FROM records NOT INDEXED WHERE number = ?"
            return self._connection.execute(query, (number,)).fetchone() is not None
        except sqlite3.Error:
            return False

    def hidden(self, number: int) -> Iterator[dict[str, Any]]:
        """Give what pages say of a record that no b-tree leads to, the latest first."""
        for place in reversed(self._places.get(number, ())):
            if (values := self._leaves.row(place)) is not None:
                names = self.columns["records"]
                yield dict(zip(names, (number, *values[1:]), strict=False))

    def record(self, number: int, columns: Iterable[str]) -> Row | None:
        """Read one record; None if no b-tree leads to it. Raises Unreadable. Texts are bytes."""
        if number in self._places:
            return None
        self._until = time.monotonic() + LISTING_S
        query = f"SELECT {', '.join(columns)} FROM records NOT INDEXED WHERE number = ?"  # noqa: S608
        try:
            row: Row | None = self._connection.execute(query, (number,)).fetchone()
        except sqlite3.Error as fault:
            raise Unreadable(str(fault)) from fault
        return row

    def newest(self) -> int | None:
        """Tell the highest number ever given; None if that cannot be told."""
        try:
            found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        except sqlite3.Error:
            return None
        return found[0] if found and isinstance(found[0], int) and 0 <= found[0] < MOST_NUMBER else None

    def _walk(self) -> Iterator[int]:
        """List the numbers in the table itself: from both ends, then by halves of what lies between."""
        query = "SELECT number FROM records NOT INDEXED WHERE number BETWEEN ? AND ? ORDER BY number"
        up, whole = self._list(query, (0, MOST_NUMBER))
        down, _ = ([], True) if whole else self._list(query + " DESC", (0, MOST_NUMBER))
        yield from (row[0] for row in (*up, *down))
        until = time.monotonic() + LISTING_S
        between = [(up[-1][0] + 1, down[-1][0] - 1)] if up and down else []
        while between and time.monotonic() < until:
            first, last = between.pop()
            if first > last:
                continue
            found, whole = self._list(query, (first, last))
            yield from (row[0] for row in found)
            if not whole and first < last:
                first, middle = (found[-1][0] + 1 if found else first), (first + last) // 2
                between += [(max(first, middle + 1), last), (first, max(first, middle))]

    def _listed(self, query: str) -> list[Row]:
        return self._list(query)[0]

    def _list(self, query: str, arguments: Row = ()) -> tuple[list[Row], bool]:
        """Fetch rows until there are no more or SQLite stumbles; tell whether it was the end."""
        listed: list[Row] = []
        self._until = min(self._last, time.monotonic() + LISTING_S)
        try:
            for row in self._connection.execute(query, arguments):
                listed.append(row)
                if len(listed) >= MOST_ROWS:
                    return listed, False
        except sqlite3.Error:
            return listed, False
        return listed, True


def _typed(kind: str, value: Any) -> Any:
    """Check that a value is what its column holds."""
    match kind, value:
        case "TEXT", bytes():
            try:
                return value.decode()
            except UnicodeDecodeError as fault:
                raise Unreadable(str(fault)) from fault
        case ("INTEGER", int()) | ("BLOB", bytes()) | (_, None):
            return value
        case "REAL", int() | float() if math.isfinite(value):
            return value
    raise Unreadable(f"not {kind}")


def _number(value: Any) -> int:
    if isinstance(value, int) and 0 < value < MOST_NUMBER:
        return value
    raise Unreadable("no number of a record")


def damage(said: str) -> sqlite3.DatabaseError:
    """Make the fault that SQLite would raise, for damage that it does not see."""
    fault = sqlite3.DatabaseError(said)
    fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return fault


def new(schema: Statements) -> sqlite3.Connection:
    """Make a new, empty database in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statements in schema:
        for statement in statements:
            connection.execute(statement)
    return connection


def _schema_pages(content: bytes, page: int) -> list[int]:
    """List the pages that hold the schema, which is a table whose root is page 1."""
    if content[HEADER] == LEAF:
        return [1]
    cells = int.from_bytes(content[HEADER + 3 : HEADER + 5])
    places = [int.from_bytes(content[at : at + 2]) for at in range(HEADER + 12, HEADER + 12 + 2 * cells, 2)]
    children = [int.from_bytes(content[at : at + 4]) for at in (*places, HEADER + 8)]
    assert all(content[(number - 1) * page] == LEAF for number in children)
    return [1, *children]


def _expected(connection: sqlite3.Connection, schema: Statements) -> frozenset[Table]:
    """Tell which tables a file of its version has; one whose version cannot be told has them all."""
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        version = len(schema)
    with contextlib.closing(new(schema[:version] if 0 < version <= len(schema) else schema)) as template:
        template.text_factory = bytes
        return _tables(template)


def _tables(connection: sqlite3.Connection) -> frozenset[Table]:
    """Tell which tables there are, and their columns."""
    try:
        names = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return frozenset((name, _columns(connection, name)) for name in names)
    except (sqlite3.Error, UnicodeDecodeError):
        return frozenset()


def _columns(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    if not re.fullmatch(r"\w+", table):  # a flipped bit
        return ()
    return tuple(row[1].decode() for row in connection.execute(f"PRAGMA table_info({table})"))
