"""One SQLite file, the one thread that touches it, and its schema.

WAL, so that the command line may look while the daemon writes, with synchronous=FULL: with NORMAL the last commits are
lost when the power is cut, and a cut of mains is just the moment whose alarms the outbox holds. Each commit then costs
one flush, which a gantry's few records a minute can pay.

A file that SQLite calls damaged is renamed aside, never deleted, and a new one begun: an agent that cannot start for
yesterday's records helps nobody. What the tables mean is known to the modules beside this one.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TypeVar

from gantry_agent.model import AgentError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_MS: Final = 5000  # the command line holds the file for milliseconds
DAMAGED_KEPT: Final = 3  # a dying disk must not be filled with its own ruins
FILE_MODE: Final = 0o640  # bodies and answers are nobody else's business; the group may look
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# One entry per version of the schema, each a list of statements; `user_version` says how many have been done.
# An entry that was released is never edited: a change is a new entry.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # AUTOINCREMENT: a number is never used twice, so numbers tell which record is the older whatever the clock did
        """CREATE TABLE records (
            number INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, cabinet INTEGER NOT NULL,
            urgent INTEGER NOT NULL, taken_at REAL NOT NULL, body BLOB NOT NULL, size INTEGER NOT NULL,
            aside INTEGER NOT NULL DEFAULT 0, code TEXT NOT NULL DEFAULT '', answer TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX records_turn ON records (aside, channel, urgent, cabinet, number)",
        "CREATE INDEX records_bound ON records (aside DESC, urgent, number, size, taken_at)",
        """CREATE TABLE progress (channel TEXT NOT NULL, cabinet INTEGER NOT NULL, number INTEGER NOT NULL,
            PRIMARY KEY (channel, cabinet)) WITHOUT ROWID""",
        """CREATE TABLE losses (cause TEXT NOT NULL, channel TEXT NOT NULL, urgent INTEGER NOT NULL,
            count INTEGER NOT NULL, first_taken_at REAL NOT NULL, last_taken_at REAL NOT NULL,
            PRIMARY KEY (cause, channel, urgent)) WITHOUT ROWID""",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE repeats (md5 TEXT PRIMARY KEY, answer TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
        "CREATE INDEX repeats_at ON repeats (at)",
    ),
)


class StoreFault(AgentError):
    """The state database cannot be opened, read or written; the message says which and why."""


class Database:
    """An open state database. Work is given as a function of the connection and runs as one transaction."""

    def __init__(self, path: Path, begun_anew: Work[None], *, readonly: bool = False) -> None:
        """`begun_anew` is the first work done on a file that takes the place of a damaged one."""
        self.path = path
        self._begun_anew = begun_anew
        self._readonly = readonly
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._on_thread(self._open)
        except BaseException:
            await self._on_thread(self._close)
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._on_thread(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def run(self, work: Work[T]) -> T:
        """Do the work in a transaction; when this returns it is on the disk. Raises StoreFault.

        If the caller is cancelled meanwhile, the work may still be done.
        """
        return await self._on_thread(lambda: self._transaction(work))

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- on the thread ---

    def _transaction(self, work: Work[T]) -> T:
        try:
            return self._attempt(work)
        except sqlite3.Error as fault:
            if self._readonly or not _is_damage(fault):
                raise StoreFault(f"cannot use {self.path}: {fault}") from fault
            log.exception("%s is damaged", self.path)
        self._begin_anew()
        try:
            return self._attempt(work)
        except sqlite3.Error as fault:
            raise StoreFault(f"cannot use {self.path}: {fault}") from fault

    def _attempt(self, work: Work[T]) -> T:
        connection = self._connection
        if connection is None:
            raise StoreFault(f"cannot use {self.path}: it is not open")
        connection.execute("BEGIN" if self._readonly else "BEGIN IMMEDIATE")
        try:
            done = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # the first fault is the one to tell
                    connection.execute("ROLLBACK")
            raise
        return done

    def _open(self) -> None:
        try:
            self._connect()
        except sqlite3.Error as fault:
            self._close()
            if self._readonly or not _is_damage(fault):
                raise StoreFault(f"cannot open {self.path}: {fault}") from fault
            log.warning("%s is damaged: %s", self.path, fault)
        except OSError as fault:
            raise StoreFault(f"cannot open {self.path}: {fault.strerror or fault}") from fault
        else:
            return
        self._begin_anew()

    def _begin_anew(self) -> None:
        try:
            self._set_aside()
            self._connect()
            self._attempt(self._begun_anew)
        except (sqlite3.Error, OSError) as fault:
            self._close()
            raise StoreFault(f"cannot open {self.path}: {fault}") from fault

    def _connect(self) -> None:
        if not self._readonly:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # Made here rather than by SQLite, for its mode; -wal and -shm take theirs from it.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        mode = "ro" if self._readonly else "rw"
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        self._connection = connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if self._readonly:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 256")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            damage = sqlite3.DatabaseError(verdict)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
        self._migrate(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreFault(
                f"cannot use {self.path}: it was written by a newer version"
                f" (schema {version}; this one knows up to {len(MIGRATIONS)})"
            )
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.execute("BEGIN EXCLUSIVE")
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _set_aside(self) -> None:
        """Rename the damaged file and what belongs to it by the time, and forget the oldest such."""
        self._close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        log.error("the damaged state database is kept as %s; a new one is begun", aside)
        kept = sorted(aside.parent.glob(f"{self.path.name}.damaged-*Z"))
        for old in kept[:-DAMAGED_KEPT]:
            for suffix in ("", "-wal", "-shm"):
                old.with_name(old.name + suffix).unlink(missing_ok=True)


def _is_damage(fault: sqlite3.Error) -> bool:
    # The low byte is the primary code; the rest says where.
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGE
