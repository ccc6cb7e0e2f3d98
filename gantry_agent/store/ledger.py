"""What the ledger of due uploads writes down; what it means is `core.ledger`.

Functions of a connection. In trouble-free running a tick costs one UPDATE inside its record's own transaction, and
the heartbeat one commit in half a minute. Every table is bounded by rows, never by the clock, which may jump.
"""

import json
import sqlite3
from typing import Final

from gantry_agent.core.ledger import DAMAGED, KILLED, POWER, Books, Mark, Schedule, Span, Stretch
from gantry_agent.model import Due

KEPT: Final = {"accounts": 20_000, "stretches": 5_000, "marks": 5_000}


def account(connection: sqlite3.Connection, channel: str, cabinet: int, due: Due) -> None:
    """Note that the record of a due tick is in the outbox."""
    place = (channel, cabinet, due.interval_s)
    known = "SELECT 1 FROM accounts WHERE channel = ? AND cabinet = ? AND interval_s = ? AND last >= ? AND first <= ?"
    if connection.execute(known, (*place, due.at, due.at)).fetchone():
        return  # a clock that was set back comes by twice
    longer = connection.execute(
        "UPDATE accounts SET last = ? WHERE channel = ? AND cabinet = ? AND interval_s = ? AND last = ?",
        (due.at, *place, due.at - due.interval_s),
    )
    if not longer.rowcount:
        connection.execute("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", (*place, due.at, due.at))
        _keep(connection, "accounts", "last")


def begin(connection: sqlite3.Connection, at: float, boot: str, schedule: Schedule) -> tuple[float, str] | None:
    """Begin a stretch of running; one that nobody ended was ended by a kill, or by the power if the host rebooted.

    Returns until when the stretch before was seen, and how it ended; None when it is the first.
    """
    connection.execute(
        "UPDATE stretches SET ended = CASE boot WHEN ? THEN ? ELSE ? END WHERE ended = ''", (boot, KILLED, POWER)
    )
    connection.execute(
        "INSERT INTO stretches (began_at, seen_at, ended, boot, series) VALUES (?, ?, '', ?, ?)",
        (at, at, boot, json.dumps([[*series, *times] for series, times in schedule.items()])),
    )
    _keep(connection, "stretches", "number")
    before = connection.execute("SELECT seen_at, ended FROM stretches ORDER BY number DESC LIMIT 1 OFFSET 1").fetchone()
    return None if before is None else (before[0], before[1])


def seen(connection: sqlite3.Connection, at: float) -> None:
    """Let the present stretch reach so far."""
    connection.execute(
        "UPDATE stretches SET seen_at = max(seen_at, ?)"
        " WHERE ended = '' AND number = (SELECT max(number) FROM stretches)",
        (at,),
    )


def end(connection: sqlite3.Connection, at: float, ended: str) -> None:
    seen(connection, at)
    connection.execute("UPDATE stretches SET ended = ? WHERE ended = ''", (ended,))


def mark(connection: sqlite3.Connection, from_at: float, until_at: float, cause: str) -> None:
    connection.execute("INSERT INTO marks (from_at, until_at, cause) VALUES (?, ?, ?)", (from_at, until_at, cause))
    _keep(connection, "marks", "number")


def distrust(connection: sqlite3.Connection, at: float) -> None:
    """Drop what makes no sense of rows from a damaged database, and let the damage explain what is missing."""
    connection.execute("DELETE FROM accounts WHERE interval_s <= 0 OR first < 0 OR last < first")
    connection.execute("UPDATE stretches SET seen_at = min(seen_at, ?)", (at,))
    for number, began, seen_at, series in connection.execute(
        "SELECT number, began_at, seen_at, series FROM stretches"
    ).fetchall():
        every = [times[0] for times in _schedule(series).values()]
        if not (0 <= began <= seen_at and all(isinstance(every_s, int) and every_s > 0 for every_s in every)):
            connection.execute("DELETE FROM stretches WHERE number = ?", (number,))
    mark(connection, 0.0, at, DAMAGED)


def books(connection: sqlite3.Connection) -> Books:
    stretches = connection.execute("SELECT began_at, seen_at, ended, series FROM stretches ORDER BY number")
    spans = connection.execute("SELECT channel, cabinet, interval_s, first, last FROM accounts ORDER BY last")
    marks = connection.execute("SELECT from_at, until_at, cause FROM marks ORDER BY number")
    return Books(
        tuple(Stretch(began, seen_at, ended, _schedule(series)) for began, seen_at, ended, series in stretches),
        tuple(Span((row[0], row[1]), *row[2:]) for row in spans),
        tuple(Mark(*row) for row in marks),
    )


def _schedule(series: str) -> Schedule:
    try:
        return {(channel, cabinet): (every_s, phase_s) for channel, cabinet, every_s, phase_s in json.loads(series)}
    except (ValueError, TypeError):  # the disk changed it
        return {}


def _keep(connection: sqlite3.Connection, table: str, newest: str) -> None:
    connection.execute(
        f"DELETE FROM {table} WHERE {newest} <= (SELECT {newest} FROM {table} ORDER BY {newest} DESC"  # noqa: S608
        f" LIMIT 1 OFFSET {KEPT[table]})"
    )
