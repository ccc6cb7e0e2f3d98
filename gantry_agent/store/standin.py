"""What stands in for the disk while it is full, read-only or gone: the same tables in memory.

It begins as a copy of what the agent needs to go on (what waits, newest and urgent first, and every small table), so
that uploads, settings and alarm state behave as before; counters begin at nought. When the disk can be used again,
one transaction brings it up to date: what was delivered meanwhile leaves it, what is new comes in under the numbers it
already has, small tables take the place of the disk's, counters are added. A power cut meanwhile loses what is only
in memory: it was never accepted as durable, and the ledger says so.

Knows tables by kind, not by meaning. Lives on the database's thread.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from gantry_agent.store import audit

T = TypeVar("T")

COPIED: Final = 1000  # records taken along from the disk; what is older waits there
FIRST_TRY_S, LONGEST_TRY_S = 2.0, 30.0  # between looks at the disk
MARGIN: Final = 1_000_000  # over the last known number, when the disk cannot even tell its newest

# table: what tells its rows apart, what is added up, and what keeps the older or the newer of two
_COUNTERS: Final = {
    "tally": (("channel", "urgent"), ("accepted", "delivered"), {}),
    "losses": (
        ("cause", "channel", "urgent"),
        ("count",),
        {"first_taken_at": "min", "last_taken_at": "max"},
    ),
}
_LOGS: Final = ("lost",)  # only ever added to
_APART: Final = frozenset({"records", "room", "salvages", "audit", "audit_ends", *_COUNTERS, *_LOGS})


class StandIn:
    """The memory in place of a disk that failed; `hand_over` is to be run on the disk's own connection."""

    def __init__(
        self,
        schema: Iterable[Iterable[str]],
        disk: sqlite3.Connection | None,
        last_number: int,
    ) -> None:
        self._began = time.monotonic()
        self._wait_s = FIRST_TRY_S
        self._next_try = self._began + self._wait_s
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for statements in schema:
            for statement in statements:
                self.connection.execute(statement)
        self._originals: frozenset[int] = frozenset()
        self._copied = False
        if disk is not None:
            self._copy(disk)
        newest = self._sequence(disk) or last_number + MARGIN
        self._set_sequence(newest)
        self._first_own = newest + 1

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began

    def may_try(self) -> bool:
        """Tell whether it is time to look at the disk again; the wait doubles each time."""
        now = time.monotonic()
        if now < self._next_try:
            return False
        self._wait_s = min(LONGEST_TRY_S, self._wait_s * 2)
        self._next_try = now + self._wait_s
        return True

    def try_at_once(self) -> None:
        self._next_try = 0.0

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work in memory, as one transaction."""
        self.connection.execute("BEGIN")
        try:
            done = work(self.connection)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return done

    def close(self) -> None:
        self.connection.close()

    # --- there

    def _copy(self, disk: sqlite3.Connection) -> None:
        try:
            self.connection.execute("BEGIN")
            for table in _plain_tables(disk):
                _copy_rows(disk, self.connection, table, "INSERT OR REPLACE", f"SELECT * FROM {table}")  # noqa: S608
            waiting = f"SELECT * FROM records WHERE aside = 0 ORDER BY urgent DESC, number DESC LIMIT {COPIED}"  # noqa: S608
            _copy_rows(disk, self.connection, "records", "INSERT", waiting)
            self.connection.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError):  # it cannot even be read
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            return
        self._copied = True
        self._originals = frozenset(number for (number,) in self.connection.execute("SELECT number FROM records"))

    @staticmethod
    def _sequence(disk: sqlite3.Connection | None) -> int | None:
        if disk is None:
            return None
        try:
            found = disk.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        except sqlite3.Error:
            return None
        return int(found[0]) if found else 0

    def _set_sequence(self, newest: int) -> None:
        self.connection.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
        self.connection.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (newest,))

    # --- and back

    def hand_over(self, disk: sqlite3.Connection) -> None:
        """Bring the disk up to date. A fault leaves the disk as it was: this is one transaction of its owner."""
        for table in _plain_tables(self.connection):
            columns = _columns(self.connection, table)
            if self._copied:
                disk.execute(f"DELETE FROM {table}")  # noqa: S608
            elif "number" in columns and table != "progress":  # the numbers of rows that nobody could read are taken
                columns.remove("number")
            query = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608
            _copy_rows(self.connection, disk, table, "INSERT OR REPLACE", query, columns)
        for table, (keys, sums, picks) in _COUNTERS.items():
            _add_up(self.connection, disk, table, keys, sums, picks)
        for table in _LOGS:
            columns = [name for name in _columns(self.connection, table) if name != "number"]
            _copy_rows(self.connection, disk, table, "INSERT", f"SELECT {', '.join(columns)} FROM {table}", columns)  # noqa: S608
        audit.carry_over(self.connection, disk)
        self._hand_over_records(disk)

    def _hand_over_records(self, disk: sqlite3.Connection) -> None:
        here = {number for (number,) in self.connection.execute("SELECT number FROM records")}
        disk.executemany("DELETE FROM records WHERE number = ?", [(n,) for n in self._originals - here])
        aside = self.connection.execute("SELECT code, answer, number FROM records WHERE aside = 1")
        disk.executemany("UPDATE records SET aside = 1, code = ?, answer = ? WHERE number = ?", aside)
        newest = self._sequence(disk) or 0
        columns = list(_columns(self.connection, "records"))
        if newest >= self._first_own:  # the disk had numbers that nobody could read
            columns.remove("number")
        own = f"SELECT {', '.join(columns)} FROM records WHERE number >= {self._first_own} ORDER BY number"  # noqa: S608
        _copy_rows(self.connection, disk, "records", "INSERT", own, columns)
        # Numbers given here and already delivered must not be given again.
        latest = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()[0]
        disk.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
        disk.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (max(newest, latest),))


def _plain_tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in rows if name not in _APART]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _copy_rows(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: str,
    verb: str,
    query: str,
    columns: Iterable[str] | None = None,
) -> None:
    names = list(columns or _columns(source, table))
    marks = ", ".join("?" * len(names))
    target.executemany(f"{verb} INTO {table} ({', '.join(names)}) VALUES ({marks})", source.execute(query))


def _add_up(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: str,
    keys: tuple[str, ...],
    sums: tuple[str, ...],
    picks: dict[str, str],
) -> None:
    names = (*keys, *sums, *picks)
    changes = [f"{name} = {name} + excluded.{name}" for name in sums]
    changes += [f"{name} = {pick}({name}, excluded.{name})" for name, pick in picks.items()]
    target.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(changes)}",
        source.execute(f"SELECT {', '.join(names)} FROM {table}"),  # noqa: S608
    )
