"""What can still be read of a damaged database, carried over into the one that took its place.

Nothing is lost: what waits in a damaged file is uploaded after all. The small tables and the highest number come first,
in one transaction, so that settings hold and a number is never used twice; then the records, in slices that other work
may come between, each with how far it has come: a process that dies goes on where it stopped. A record whose body is
not what was put is carried over set aside. What cannot be read is counted as lost with its cause: how many there must
be, the old tally tells.
"""

import contextlib
import json
import logging
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gantry_agent.store import ledger, outbox
from gantry_agent.store.ruin import MOST_ROWS, Row, Ruin, Statements, Trace, Unreadable
from gantry_agent.store.standin import MARGIN

log = logging.getLogger(__name__)

CAUSE: Final = "unreadable in a damaged database"
SMALL_S: Final = 5.0  # for all small tables together; those that were not reached are told as unread
LATEST: Final = 4e9  # Unix seconds; a time beyond it is damage
KEPT: Final = 100  # rows about salvages
_FIRST: Final = ("settings", "tally", "losses", "progress", "repeats", "accounts", "stretches", "marks")
_APART: Final = frozenset({"records", "room", "sqlite_sequence"})
_COLUMNS: Final = (
    *("number", "channel", "cabinet", "urgent", "taken_at", "body", "aside", "code", "answer"),
    "crc",  # the last: the first version had none
)

Key = tuple[str, int]  # channel, urgent


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of a damaged file: how many records were carried over, how many not, and which tables not wholly."""

    file: str
    at: float
    saved: int
    lost: int
    unread: tuple[str, ...]
    done: bool


def salvages(connection: sqlite3.Connection) -> tuple[Salvaged, ...]:
    """List what was carried over from damaged files, oldest first; nothing in a file of an older version."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'salvages'").fetchone():
        return ()
    rows = connection.execute("SELECT file, at, saved, lost, unread, done FROM salvages ORDER BY at")
    return tuple(
        Salvaged(file, at, saved, lost, tuple(json.loads(unread)), bool(done))
        for file, at, saved, lost, unread, done in rows
    )


class Salvage:
    """A file that was put aside, on its way into the database that took its place. `step` until it says it is done."""

    def __init__(self, file: Path, schema: Statements, newest: int) -> None:
        """`newest` is the highest number of a record that its owner remembers, or 0."""
        self.file = file
        self._ruin = Ruin(file, schema)
        traces = self._ruin.numbers() if "records" in self._ruin.columns else {}
        self._newest = self._highest(traces, newest)
        self._traces = {number: trace for number, trace in traces.items() if number <= self._newest}
        self._there = self._ruin.columns.get("records", ())
        self._left: list[int] | None = None
        self.told = f"nothing was carried over of {file.name}"
        self._expected: Counter[Key] | None = None  # None: the tally does not tell

    def close(self) -> None:
        self._ruin.close()

    def step(self, connection: sqlite3.Connection, seconds: float) -> bool:
        """Carry over about so many seconds' worth, as part of one transaction; tell whether all is done."""
        until = time.monotonic() + seconds
        found = connection.execute(
            "SELECT upto, saved, lost, expected, unread, done FROM salvages WHERE file = ?", (self.file.name,)
        )
        if (row := found.fetchone()) is None:
            self._begin(connection)
            return False
        upto, saved, lost, expected, tables, done = row
        if done:
            return True
        if (counts := json.loads(expected)) is not None:
            self._expected = Counter({(channel, urgent): count for channel, urgent, count in counts})
        if self._left is None:
            self._left = sorted((number for number in self._traces if number > upto), reverse=True)
        while self._left and time.monotonic() < until:
            upto = self._left.pop()
            match self._carry_over(connection, upto):
                case True:
                    saved += 1
                case False:
                    lost += 1
        if done := not self._left:
            lost += self._count_the_rest(connection)
        connection.execute(
            "UPDATE salvages SET upto = ?, saved = ?, lost = ?, expected = ?, done = ? WHERE file = ?",
            (upto, saved, lost, self._written(), done, self.file.name),
        )
        unread = f"; tables not wholly read: {', '.join(json.loads(tables))}" if tables != "[]" else ""
        self.told = f"of {self.file.name} {saved} records were carried over, {lost} could not be read{unread}"
        return bool(done)

    def _written(self) -> str:
        return json.dumps(self._expected if self._expected is None else [[*k, n] for k, n in self._expected.items()])

    # --- small tables

    def _begin(self, connection: sqlite3.Connection) -> None:
        at, until = time.time(), time.monotonic() + SMALL_S
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in found} - _APART
        unread = [
            table
            for table in (*_FIRST, *sorted(tables - {*_FIRST}))
            if time.monotonic() > until or not self._copy(connection, table)
        ]
        ledger.distrust(connection, at)
        self._expect(connection, known="tally" not in unread and "losses" not in unread)
        if self._expected is None:
            outbox.note_damage(connection, at)
        self._go_on_counting(connection)
        connection.execute(
            "INSERT INTO salvages VALUES (?, ?, 0, 0, 0, ?, ?, 0)",
            (self.file.name, at, self._written(), json.dumps(unread)),
        )
        connection.execute(
            "DELETE FROM salvages WHERE file NOT IN (SELECT file FROM salvages ORDER BY at DESC LIMIT ?)", (KEPT,)
        )

    def _copy(self, connection: sqlite3.Connection, table: str) -> bool:
        """Copy what is sound in a table; tell whether that is all of it. What is there already is newer."""
        info = connection.execute(f"PRAGMA table_info({table})").fetchall()
        there = self._ruin.columns.get(table, ())
        types = {name: kind for _, name, kind, *_ in info if name in there}
        keys = [name for _, name, *_, key in sorted(info, key=lambda column: column[5]) if key] or ["rowid"]
        if not types:
            return table not in self._ruin.expected
        rows, whole = self._ruin.rows(table, types, keys)
        marks = ", ".join("?" * len(types))
        connection.executemany(
            f"INSERT OR IGNORE INTO {table} ({', '.join(types)}) VALUES ({marks})",  # noqa: S608
            rows,
        )
        return whole

    def _expect(self, connection: sqlite3.Connection, *, known: bool) -> None:
        """Reckon how many records there must be, and count them as not accepted until each is found."""
        lost, expected = Counter[Key](), Counter[Key]()
        for channel, urgent, count in connection.execute("SELECT channel, urgent, count FROM losses"):
            if channel:
                lost[channel, urgent] += count
        for *key, accepted, done in connection.execute("SELECT * FROM tally").fetchall():
            channel, urgent = key
            gone = done + lost[channel, urgent]
            expected[channel, urgent] = min(max(0, accepted - gone), MOST_ROWS)
            connection.execute("UPDATE tally SET accepted = ? WHERE channel = ? AND urgent = ?", (gone, *key))
        for (channel, urgent), count in lost.items():
            connection.execute("INSERT OR IGNORE INTO tally VALUES (?, ?, ?, 0)", (channel, urgent, count))
        self._expected = expected if known else None

    def _highest(self, traces: Mapping[int, Trace], known: int) -> int:
        """Tell the highest number that was ever given, or one that is safely over it."""
        upto = max((known, *(number for number, trace in traces.items() if trace.is_sure)))
        newest = self._ruin.newest()
        return upto + MARGIN if newest is None or newest < upto else newest

    def _go_on_counting(self, connection: sqlite3.Connection) -> None:
        """Let numbers go on after the highest: one is never used twice."""
        connection.execute("DELETE FROM progress WHERE number > ?", (self._newest,))
        now = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
        newest = max(self._newest, now[0] if now else 0)
        connection.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (newest,))

    # --- records

    def _carry_over(self, connection: sqlite3.Connection, number: int) -> bool | None:
        """Carry one record over; False if it is lost, None if there is none of this number."""
        trace = self._traces[number]
        try:
            row = self._ruin.record(number, [name if name in self._there else "NULL" for name in _COLUMNS])
            if row is None and (row := self._hidden(number, trace)) is None and not trace.is_sure:
                return None  # only one index has it: it is that index which is damaged
            values = _sound(row)
        except Unreadable as fault:
            log.debug("record %d of %s cannot be read: %s", number, self.file, fault)
            return self._lose(connection, trace)
        names = (*_COLUMNS, "size")
        done = connection.execute(
            f"INSERT OR IGNORE INTO records ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608
            values,
        )
        if not done.rowcount:
            return None
        channel, urgent = values[1], values[3]
        outbox.tally(connection, channel, urgent=bool(urgent), accepted=1)
        if self._expected is not None:
            self._expected[channel, urgent] -= 1
        return True

    def _hidden(self, number: int, trace: Trace) -> Row | None:
        """Find a record in the pages. They also hold what is deleted: it must be what an index says, and whole."""
        for found in self._ruin.hidden(number):
            row = tuple(found.get(name) for name in _COLUMNS)
            with contextlib.suppress(Unreadable):
                number, channel, cabinet, urgent, taken_at, *_ = values = _sound(row)
                by_turn = (channel, cabinet, urgent) == (trace.channel, trace.cabinet, trace.urgent)
                if (by_turn or taken_at == trace.taken_at) and values[7] != outbox.DAMAGED and row[-1] is not None:
                    return row
        return None

    def _lose(self, connection: sqlite3.Connection, trace: Trace) -> bool | None:
        if not _is_sound(trace.channel, trace.cabinet, trace.urgent, trace.taken_at):
            return None  # it is counted with the rest in the end
        key = trace.channel or "", trace.urgent
        if self._expected is not None:
            if self._expected[key] <= 0:
                return None
            self._expected[key] -= 1
        outbox.count_unread(connection, CAUSE, key, trace.cabinet, trace.taken_at or 0.0)
        return False

    def _count_the_rest(self, connection: sqlite3.Connection) -> int:
        """Count as lost what must have been there and did not turn up."""
        missing = {key: count for key, count in (self._expected or {}).items() if count > 0}
        for key, count in missing.items():
            outbox.count_unread(connection, CAUSE, key, 0, time.time(), count)
        return sum(missing.values())


def _is_sound(channel: object, cabinet: object, urgent: object, taken_at: object) -> bool:
    return (
        channel in {"cabinet", "computer"}
        and isinstance(cabinet, int)
        and 0 <= cabinet < 2**31
        and urgent in {0, 1}
        and isinstance(taken_at, int | float)
        and 0 <= taken_at < LATEST
    )


def _sound(row: Row | None) -> Sequence[Any]:
    """Check what was read of a record, and make of it what is to be written."""
    if row is None:
        raise Unreadable("its row is gone")
    number, channel, cabinet, urgent, taken_at, body, aside, code, answer, crc = row
    try:
        channel, code, answer = channel.decode(), code.decode(), answer.decode("utf-8", "replace")
    except (UnicodeDecodeError, AttributeError) as fault:
        raise Unreadable(str(fault)) from fault
    if not (_is_sound(channel, cabinet, urgent, taken_at) and isinstance(body, bytes) and aside in {0, 1}):
        raise Unreadable("it makes no sense")
    if crc is not None and crc != zlib.crc32(body):
        aside, code = 1, outbox.DAMAGED
    return number, channel, cabinet, urgent, taken_at, body, aside, code, answer, crc, len(body)
