"""A damaged database file, read as far as it can be. It is never written, and nothing in it is trusted.

A flipped byte in one page costs SQLite every row behind that page, in whatever order they are asked for. So rows are
listed from both ends and by every index, and read one by one. Where even the header or the schema is damaged, a copy
is read whose header, or whole schema, is taken from a new database made by the same statements: these lay their tables
out in the same order every time. What the rows mean is `salvage`'s.
"""

import contextlib
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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
        self._connection, self.tables = self._best(file, schema)
        self.expected = _expected(self._connection, schema)
        self._connection.set_progress_handler(lambda: time.monotonic() > self._until, PROGRESS_STEPS)

    def close(self) -> None:
        self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            self._copy.with_name(self._copy.name + suffix).unlink(missing_ok=True)

    def _best(self, file: Path, schema: Statements) -> tuple[sqlite3.Connection, frozenset[str]]:
        """Open the file in the first way that shows all its tables, else in the one that shows most."""
        found: list[frozenset[str]] = []
        for way in WAYS:
            connection = self._open(file, schema, way)
            tables = _tables(connection, schema)
            if tables >= _expected(connection, schema):
                return connection, tables
            connection.close()
            found.append(tables)
        best = max(WAYS, key=lambda way: len(found[way]))
        return self._open(file, schema, best), found[best]

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
        template = _template(schema)
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

    def columns(self, table: str) -> set[str]:
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            return {row[1].decode() for row in self._connection.execute(f"PRAGMA table_info({table})")}
        return set()

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
        return traces

    def record(self, number: int, columns: Iterable[str]) -> Row | None:
        """Read one record; None if there is none. Raises Unreadable. Bytes and texts are bytes."""
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


def _template(schema: Statements) -> bytes:
    """Make the bytes of a new, empty database."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statements in schema:
            for statement in statements:
                connection.execute(statement)
        return connection.serialize()


def _schema_pages(content: bytes, page: int) -> list[int]:
    """List the pages that hold the schema, which is a table whose root is page 1."""
    if content[HEADER] == LEAF:
        return [1]
    cells = int.from_bytes(content[HEADER + 3 : HEADER + 5])
    places = [int.from_bytes(content[at : at + 2]) for at in range(HEADER + 12, HEADER + 12 + 2 * cells, 2)]
    children = [int.from_bytes(content[at : at + 4]) for at in (*places, HEADER + 8)]
    assert all(content[(number - 1) * page] == LEAF for number in children)
    return [1, *children]


def _tables(connection: sqlite3.Connection, schema: Statements) -> frozenset[str]:
    """Tell which tables can be asked for."""
    return frozenset(table for table in _named(schema) if _compiles(connection, f"SELECT * FROM {table} LIMIT 0"))  # noqa: S608


def _compiles(connection: sqlite3.Connection, query: str) -> bool:
    try:
        connection.execute(query).fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return True


def _expected(connection: sqlite3.Connection, schema: Statements) -> frozenset[str]:
    """Tell which tables a file of its version has; one whose version cannot be told has them all."""
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        version = len(schema)
    return _named(schema[:version] if 0 < version <= len(schema) else schema)


def _named(schema: Statements) -> frozenset[str]:
    words = (statement.split() for statements in schema for statement in statements)
    return frozenset({"sqlite_sequence", *(each[2] for each in words if each[:2] == ["CREATE", "TABLE"])})
