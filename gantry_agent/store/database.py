"""One SQLite file, the one thread that touches it, and its schema.

WAL, so that the command line may look while the daemon writes, with synchronous=FULL: with NORMAL the last commits are
lost when the power is cut, and a cut of mains is just the moment whose alarms the outbox holds. Each commit then costs
one flush, which a gantry's few records a minute can pay.

A file that SQLite calls damaged is renamed aside, a new one begun, and what can be read carried over (`salvage`): an
agent that cannot start for yesterday's records helps nobody. Files that were removed or replaced while they are open
are written anew from what the open handle holds. A disk that is full, read-only or gone is stood in for by memory
(`standin`) until it can be used again, if the owner asks for it. What the tables mean is known to the modules beside.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self, TypeVar

from gantry_agent.model import AgentError
from gantry_agent.store import files
from gantry_agent.store.ruin import damage, new
from gantry_agent.store.salvage import Salvage
from gantry_agent.store.standin import StandIn
from gantry_agent.text import Text, of_system

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_MS: Final = 5000  # the command line holds the file for milliseconds
# The version stands in `application_id` too, so that a flipped bit in `user_version` is not a newer agent's file.
SIGNATURE: Final = 0x47410000  # "GA", and the version
UNSIGNED: Final = 2  # up to this version files had no signature
FIRST_S, SLICE_S, LAST_S = 1.0, 0.25, 2.0  # for carrying over at once, between other work, and when it is closed
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
    }
)

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
    (
        "ALTER TABLE records ADD COLUMN crc INTEGER",  # of the body; SQLite itself notices no flipped bit in a blob
        "CREATE INDEX records_age ON records (aside, channel, urgent, number)",
        # How much there is, kept by triggers: counting it at each record would cost more the longer the link is down.
        "CREATE TABLE room (count INTEGER NOT NULL, size INTEGER NOT NULL)",
        "INSERT INTO room SELECT count(*), coalesce(sum(size), 0) FROM records",
        """CREATE TRIGGER room_taken AFTER INSERT ON records BEGIN
            UPDATE room SET count = count + 1, size = size + new.size; END""",
        """CREATE TRIGGER room_freed AFTER DELETE ON records BEGIN
            UPDATE room SET count = count - 1, size = size - old.size; END""",
        """CREATE TABLE tally (channel TEXT NOT NULL, urgent INTEGER NOT NULL, accepted INTEGER NOT NULL,
            delivered INTEGER NOT NULL, PRIMARY KEY (channel, urgent)) WITHOUT ROWID""",
        "INSERT INTO tally SELECT channel, urgent, count(*), 0 FROM records GROUP BY 1, 2",
        """CREATE TABLE lost (number INTEGER PRIMARY KEY AUTOINCREMENT, cause TEXT NOT NULL, channel TEXT NOT NULL,
            cabinet INTEGER NOT NULL, urgent INTEGER NOT NULL, count INTEGER NOT NULL, first_at REAL NOT NULL,
            last_at REAL NOT NULL)""",
        "CREATE INDEX lost_latest ON lost (cause, channel, cabinet, urgent, number)",
        # The key's columns come first: quick_check of SQLite 3.40 (Debian 12) calls it damaged otherwise.
        """CREATE TABLE accounts (channel TEXT NOT NULL, cabinet INTEGER NOT NULL, interval_s INTEGER NOT NULL,
            last INTEGER NOT NULL, first INTEGER NOT NULL,
            PRIMARY KEY (channel, cabinet, interval_s, last)) WITHOUT ROWID""",
        """CREATE TABLE stretches (number INTEGER PRIMARY KEY AUTOINCREMENT, began_at REAL NOT NULL,
            seen_at REAL NOT NULL, ended TEXT NOT NULL, boot TEXT NOT NULL, series TEXT NOT NULL)""",
        """CREATE TABLE marks (number INTEGER PRIMARY KEY AUTOINCREMENT, from_at REAL NOT NULL, until_at REAL NOT NULL,
            cause TEXT NOT NULL)""",
        """CREATE TABLE outages (number INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL,
            began_at REAL NOT NULL, ended_at REAL, hops TEXT NOT NULL,
            waited INTEGER NOT NULL DEFAULT 0, upto INTEGER NOT NULL DEFAULT 0,
            arrived_at REAL)""",
    ),
    (
        # What was carried over from files that were put aside: how far that has come, and what is still to be found.
        """CREATE TABLE salvages (file TEXT PRIMARY KEY, at REAL NOT NULL, upto INTEGER NOT NULL,
            saved INTEGER NOT NULL, lost INTEGER NOT NULL, expected TEXT NOT NULL, unread TEXT NOT NULL,
            done INTEGER NOT NULL) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE audit (number INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, via TEXT NOT NULL,
            what TEXT NOT NULL, digest TEXT NOT NULL, intent TEXT NOT NULL, steps TEXT NOT NULL, outcome TEXT NOT NULL,
            answer TEXT NOT NULL, mark TEXT NOT NULL)""",
        """CREATE TABLE audit_begun (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL,
            via TEXT NOT NULL, what TEXT NOT NULL, digest TEXT NOT NULL, intent TEXT NOT NULL)""",
        "CREATE TABLE audit_ends (name TEXT PRIMARY KEY, number INTEGER NOT NULL, mark TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE cards (list TEXT NOT NULL, place INTEGER NOT NULL, card TEXT NOT NULL, expires TEXT NOT NULL,
            PRIMARY KEY (list, place)) WITHOUT ROWID""",
        """CREATE TABLE card_list (one INTEGER PRIMARY KEY CHECK (one = 1), list TEXT NOT NULL, count INTEGER NOT NULL,
            at REAL NOT NULL)""",
    ),
)


class StoreFault(AgentError):
    """The state database cannot be opened, read or written; the message says which and why."""


class DiskFault(StoreFault):
    """The same, and it is the disk: full, read-only, busy or gone. It may work again without anybody's doing."""


class Database:
    """An open state database. Work is given as a function of the connection and runs as one transaction."""

    def __init__(self, path: Path, *, readonly: bool = False, stand_in: bool = False) -> None:
        """With `stand_in` a disk that cannot be used is no fault: the work is done in memory meanwhile."""
        self.path = path
        self._readonly = readonly
        self._may_stand_in = stand_in
        self._stand_in: StandIn | None = None
        self._last_number = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._identity: files.Identity = ()
        self._salvage: Salvage | None = None

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
            await self._on_thread(self._end)
        finally:
            self._thread.shutdown(wait=False)

    async def run(self, work: Work[T]) -> T:
        """Do the work in a transaction; when this returns it is on the disk. Raises StoreFault.

        If the caller is cancelled meanwhile, the work may still be done.
        """
        return await self._on_thread(lambda: self._transaction(work))

    async def checkpoint(self) -> bool:
        """Put what is only in the log into the file itself, for a power cut that is about to be ordered.

        Every transaction is safe before that; this spares the next start its recovery. False if it cannot be done now.
        """
        return await self._on_thread(self._checkpoint)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def stand_in(self) -> StandIn | None:
        """What stands in for the disk just now; None while the disk works."""
        return self._stand_in

    # --- on the thread ---

    def _transaction(self, work: Work[T]) -> T:
        if self._stand_in is not None and not self._come_back(self._stand_in):
            return self._stand_in.run(work)
        try:
            return self._on_file(work)
        except DiskFault as fault:
            if not self._may_stand_in:
                raise
            self._fall_back(fault)
        assert self._stand_in is not None
        return self._stand_in.run(work)

    def _checkpoint(self) -> bool:
        if self._connection is None or self._stand_in is not None:
            return False
        try:
            (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as fault:
            log.warning("cannot write out the log of %s: %s", self.path, fault)
            return False
        return not busy

    def _on_file(self, work: Work[T]) -> T:
        self._stay()
        try:
            return self._attempt(work)
        except (sqlite3.Error, UnicodeDecodeError) as fault:
            if self._readonly or not _is_damage(fault):
                raise _fault(f"cannot use {self.path}: {fault}", fault) from fault
            log.exception("%s is damaged", self.path)
        self._begin_anew()
        try:
            return self._attempt(work)
        except sqlite3.Error as fault:
            raise _fault(f"cannot use {self.path}: {fault}", fault) from fault

    def _fall_back(self, fault: StoreFault) -> None:
        log.error("%s; what happens is kept in memory until the disk can be used again", fault)
        self._stand_in = StandIn(MIGRATIONS, self._connection, self._last_number or self._peek())

    def _peek(self) -> int:
        """About the newest number of a file that cannot be opened properly; its log may hold newer ones."""
        uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
                found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        except sqlite3.Error:
            return 0
        return int(found[0]) if found else 0

    def _come_back(self, stand_in: StandIn) -> bool:
        """Write what the stand-in holds to the disk, if it can be used again."""
        if not stand_in.may_try():
            return False
        try:
            self._stay()
            self._close()
            self._open_file()
            self._carry_over(files.WRITE_OUT_S)  # before it learns what was delivered meanwhile
            self._attempt(stand_in.hand_over)
        except (StoreFault, sqlite3.Error, UnicodeDecodeError) as fault:
            log.debug("%s cannot be used yet: %s", self.path, fault)
            if _is_damage(fault):  # met only now; the next try finds a new one
                with contextlib.suppress(StoreFault):
                    self._begin_anew()
            return False
        log.warning("%s can be used again, after %.0f s; nothing is kept in memory any more", self.path, stand_in.age_s)
        stand_in.close()
        self._stand_in = None
        return True

    def _attempt(self, work: Work[T]) -> T:
        connection = self._connection
        if connection is None:
            raise DiskFault(f"cannot use {self.path}: it is not open")
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
            self._open_file()
        except DiskFault as fault:
            if not self._may_stand_in:
                raise
            self._fall_back(fault)

    def _open_file(self) -> None:
        try:
            if not self._readonly:
                files.put_in_place(self.path)  # of a process that ended in the middle of `_stay`
            self._connect()
        except (sqlite3.Error, UnicodeDecodeError) as fault:
            self._close()
            # What opening asks for is always there: where SQLite does not understand it, the file is not as we left it.
            strange = getattr(fault, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_ERROR
            if self._readonly or not (strange or _is_damage(fault)):
                raise _fault(f"cannot open {self.path}: {fault}", fault) from fault
            log.warning("%s is damaged: %s", self.path, fault)
        except OSError as fault:
            why = of_system(fault)
            raise DiskFault(Text(f"无法打开 {self.path}：{why.zh}", f"cannot open {self.path}: {why.en}")) from fault
        else:
            if not self._readonly:
                self._carry_over(FIRST_S)
            return
        self._begin_anew()

    def _begin_anew(self) -> None:
        try:
            self._close()
            aside = files.put_aside(self.path, files.UNREAD)
            log.error("the damaged state database is put aside as %s and a new one is begun", aside)
            self._connect()
        except (sqlite3.Error, OSError) as fault:
            self._close()
            raise DiskFault(f"cannot open {self.path}: {fault}") from fault
        self._carry_over(FIRST_S)

    def _stay(self) -> None:
        """If somebody took the files away or put others there, write what the open handle holds to the path again."""
        if self._connection is None or self._readonly:
            return
        now = files.identity(self.path)
        if all(mine is None or mine == there for mine, there in zip(self._identity, now, strict=True)):
            return
        log.error("%s was removed or replaced while it is open; it is written anew from what was in it", self.path)
        try:
            files.write_out(self._connection, self.path)
            if any(now):
                log.error("what is in its place is kept as %s", files.put_aside(self.path, files.FOREIGN))
            self._close()  # which removes a -wal of this name: before there is a new one
            self._open_file()
        except (sqlite3.Error, OSError) as fault:
            raise DiskFault(f"cannot write {self.path} anew: {fault}") from fault

    # --- what damaged files still hold

    def _carry_over(self, seconds: float) -> None:
        """Carry over for about so long what damaged files still hold, and the rest between other work."""
        until = time.monotonic() + seconds
        try:
            for file in files.unread(self.path):
                salvage = self._salvage = self._salvage or Salvage(file, MIGRATIONS, self._last_number)
                while not self._attempt(lambda db, s=salvage: s.step(db, SLICE_S)):  # type: ignore[misc]
                    if time.monotonic() > until:
                        self._thread.submit(self._carry_on)
                        return
                self._let_go(salvage)
                log.warning("%s; the file is kept as %s", salvage.told, files.mark_read(self.path, salvage.file))
        except (StoreFault, sqlite3.Error, OSError, ValueError, ArithmeticError):  # it must not keep us from starting
            log.exception("cannot carry over all of a damaged state database now; the next start goes on with it")
            if self._salvage is not None:
                self._let_go(self._salvage)

    def _carry_on(self) -> None:
        if self._salvage is not None:
            self._carry_over(0.0)

    def _let_go(self, salvage: Salvage) -> None:
        self._salvage = None
        with contextlib.suppress(sqlite3.Error, OSError):
            salvage.close()

    def _connect(self) -> None:
        if not self._readonly:
            files.make(self.path)
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
        # quick_check does not see an index that lost a row, which would never have its turn; 93 MB take 0.07 s instead
        # of 0.02 s.
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise damage(verdict)
        self._migrate(connection)
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        self._last_number = found[0] if found else 0
        self._identity = files.identity(self.path)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (signature,) = connection.execute("PRAGMA application_id").fetchone()
        if signature != SIGNATURE + version and not (signature == 0 and 0 <= version <= UNSIGNED):
            raise damage(f"its schema has version {version}, its signature is {signature:#x}")
        if version > len(MIGRATIONS):
            raise StoreFault(
                Text(
                    f"无法使用 {self.path}：它由更新的版本写成（格式 {version}，本版本到 {len(MIGRATIONS)}）",
                    f"cannot use {self.path}: it was written by a newer version"
                    f" (schema {version}; this one knows up to {len(MIGRATIONS)})",
                )
            )
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.execute("BEGIN EXCLUSIVE")
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {SIGNATURE + number}")
            connection.execute("COMMIT")
        with contextlib.closing(new(MIGRATIONS)) as model:  # a flipped bit may rename a column
            if connection.execute(_SCHEMA).fetchall() != model.execute(_SCHEMA).fetchall():
                raise damage("its schema is not the one that was written")

    def _end(self) -> None:
        if (stand_in := self._stand_in) is not None:
            stand_in.try_at_once()
            if not self._come_back(stand_in):
                log.error("%s cannot be used; what was kept in memory only is lost", self.path)
                stand_in.close()
                self._stand_in = None
        else:
            with contextlib.suppress(StoreFault):
                self._stay()
        if self._salvage is not None:
            self._carry_over(LAST_S)
        self._close()

    def _close(self) -> None:
        if self._salvage is not None:
            self._let_go(self._salvage)
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # a disk that is full cannot take the last checkpoint
                self._connection.close()
            self._connection = None


def _is_damage(fault: Exception) -> bool:
    # Text that is not UTF-8, in a row or in SQLite's own message about a broken schema: nobody wrote it so.
    if isinstance(fault, UnicodeDecodeError) or str(fault).startswith("Could not decode to UTF-8"):
        return True
    # The low byte is the primary code; the rest says where.
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _fault(said: str, fault: Exception) -> StoreFault:
    return (DiskFault if getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DISK else StoreFault)(said)
