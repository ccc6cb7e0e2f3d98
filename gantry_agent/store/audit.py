"""The audit as it is kept: entries in a chain (`core.audit`), those of requests under way, and where the chain ends.

Functions of a connection. A request that moves something is written down before it does (`begin`) and enters the chain
when it has ended (`end`); what a process left behind that died in between enters it at the next start, as interrupted.
So each request is one entry, and none is ever changed.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gantry_agent.core.audit import START, Anchor, Break, Entry, Kept, mark, verify
from gantry_agent.text import Text

KEPT: Final = 50_000  # some 20 MB; a gantry is asked a few dozen times a day. Never to be more: see `breaks`
INTERRUPTED: Final = Text(
    "被中断：执行中程序停止或断电", "interrupted: the agent stopped or lost power meanwhile"
).kept()

_SELECT: Final = "SELECT number, at, who, via, what, digest, intent, steps, outcome, answer, mark FROM audit"


def append(connection: sqlite3.Connection, entries: Iterable[Entry], most: int = KEPT) -> Anchor:
    """Put entries at the end of the chain, forgetting the oldest; return number and mark of the newest."""
    newest = _last(connection)
    for entry in entries:
        number = newest.number + 1
        newest = Anchor(number, mark(newest.mark, number, entry))
        said = (entry.at, entry.who, entry.via, entry.what, entry.digest, entry.intent, _written(entry.steps))
        connection.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, *said, entry.outcome, entry.answer, newest.mark),
        )
    _set_end(connection, "newest", newest)
    _forget(connection, newest.number - most)
    return newest


def begin(connection: sqlite3.Connection, entry: Entry) -> int:
    """Write down a request that will move something; the token ends it."""
    row = (entry.at, entry.who, entry.via, entry.what, entry.digest, entry.intent)
    cursor = connection.execute(
        "INSERT INTO audit_begun (at, who, via, what, digest, intent) VALUES (?, ?, ?, ?, ?, ?)", row
    )
    return int(cursor.lastrowid or 0)


def end(connection: sqlite3.Connection, token: int, entry: Entry) -> None:
    """Let a request enter the chain, now that it has ended."""
    connection.execute("DELETE FROM audit_begun WHERE number = ?", (token,))
    append(connection, (entry,))


def interrupted(connection: sqlite3.Connection) -> int:
    """Let enter the chain what another process began and never ended; return how many there were."""
    rows = connection.execute("SELECT at, who, via, what, digest, intent FROM audit_begun ORDER BY number").fetchall()
    if rows:
        append(connection, [replace(Entry(*row), outcome=INTERRUPTED) for row in rows])
        connection.execute("DELETE FROM audit_begun")
    return len(rows)


def entries(connection: sqlite3.Connection, since: float, until: float, limit: int) -> tuple[Kept, ...]:
    """The newest entries of that time (Unix seconds), oldest first."""
    rows = connection.execute(
        f"{_SELECT} WHERE at >= ? AND at <= ? ORDER BY number DESC LIMIT ?", (since, until, limit)
    ).fetchall()
    return tuple(_read(row) for row in reversed(rows))


def breaks(connection: sqlite3.Connection, most: int = KEPT) -> tuple[Break, ...]:
    """Say where the chain does not hold. What was forgotten though there was room for it was taken out by hand."""
    rows = connection.execute(f"{_SELECT} ORDER BY number")
    anchor, newest = _end(connection, "anchor"), _end(connection, "newest")
    early = anchor.number - max(0, newest.number - most)
    taken = (Break("missing", anchor.number + 1, early),) if early > 0 else ()
    return (*taken, *verify(anchor, (_read(row) for row in rows), newest))


def newest(connection: sqlite3.Connection) -> Anchor:
    """Number and mark of the newest entry, as noted beside the chain."""
    return _end(connection, "newest")


def carry_over(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Put the entries that memory kept for a while at the end of the disk's chain."""
    append(target, (_read(row).entry for row in source.execute(f"{_SELECT} ORDER BY number")))


def _forget(connection: sqlite3.Connection, last: int) -> None:
    """Forget the entries up to `last`; its mark is where the chain begins from then on."""
    row = connection.execute("SELECT mark FROM audit WHERE number = ?", (last,)).fetchone() if last > 0 else None
    if row is not None:
        connection.execute("DELETE FROM audit WHERE number <= ?", (last,))
        _set_end(connection, "anchor", Anchor(last, str(row[0])))


def _last(connection: sqlite3.Connection) -> Anchor:
    """Where the chain goes on. A note of its end that was lost or changed keeps no later entry out."""
    noted = _end(connection, "newest")
    row = connection.execute(
        "SELECT number, mark FROM audit WHERE number > ? ORDER BY number DESC LIMIT 1", (noted.number,)
    ).fetchone()
    return noted if row is None else Anchor(int(row[0]), str(row[1]))


def _end(connection: sqlite3.Connection, name: str) -> Anchor:
    row = connection.execute("SELECT number, mark FROM audit_ends WHERE name = ?", (name,)).fetchone()
    return Anchor(0, START) if row is None else Anchor(int(row[0]), str(row[1]))


def _set_end(connection: sqlite3.Connection, name: str, end_: Anchor) -> None:
    connection.execute("INSERT OR REPLACE INTO audit_ends VALUES (?, ?, ?)", (name, end_.number, end_.mark))


def _written(steps: tuple[str, ...]) -> str:
    return json.dumps(steps, ensure_ascii=False)


def _read(row: tuple[int, float, str, str, str, str, str, str, str, str, str]) -> Kept:
    number, at, who, via, what, digest, intent, steps, outcome, answer, its_mark = row
    try:
        said = tuple(str(step) for step in json.loads(steps))
    except (ValueError, TypeError):  # an edited row: its mark will not fit, and it is still to be shown
        said = (steps,)
    entry = Entry(at, who, via, what, digest, intent, said, outcome, answer)
    return Kept(number, entry, its_mark)
