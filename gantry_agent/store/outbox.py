"""Upload records from the moment they are taken until the cloud has them (D16, D17).

Functions of a connection: what is in the outbox, whose turn it is, and what goes when it is full. A record waits, or
was set aside because the cloud will never take it. Age is told by number, not by time: numbers only grow, while the
clock of a roadside computer may jump.
"""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from gantry_agent.model import Channel, Record

ANSWER_LIMIT: Final = 1000  # enough to recognise what answered; a portal's page may have megabytes

_OLDEST_URGENT: Final = """
    SELECT number FROM records WHERE aside = 0 AND channel = :channel AND urgent = 1
    AND number NOT IN (SELECT value FROM json_each(:skip)) ORDER BY number LIMIT 1"""
# A status is the newest of its cabinet while nothing later of that cabinet has been delivered.
_NEWEST_STATUSES: Final = """
    SELECT max(records.number) AS newest FROM records
    LEFT JOIN progress ON progress.channel = records.channel AND progress.cabinet = records.cabinet
    WHERE aside = 0 AND records.channel = :channel AND urgent = 0
    AND records.number > coalesce(progress.number, 0)
    AND records.number NOT IN (SELECT value FROM json_each(:skip))
    GROUP BY records.cabinet ORDER BY newest DESC LIMIT 1"""
_OLDER_STATUSES: Final = """
    SELECT number FROM records WHERE aside = 0 AND channel = :channel AND urgent = 0
    AND number NOT IN (SELECT value FROM json_each(:skip)) ORDER BY number DESC LIMIT 1"""
_NEWEST: Final = """
    SELECT number FROM records WHERE aside = 0 AND channel = :channel
    AND number NOT IN (SELECT value FROM json_each(:skip)) ORDER BY number DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the outbox may hold: 4 months of two cabinets' statuses, in a tenth of the smallest disk."""

    records: int = 20_000
    size: int = 100_000_000  # bytes of bodies


@dataclass(frozen=True, slots=True)
class Counts:
    """`oldest_taken_at` is of the records that wait, None when none does; `lost` is since the database was begun."""

    waiting: int
    urgent: int  # of those waiting
    aside: int
    lost: int
    oldest_taken_at: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A record in the outbox; `code` and `answer` are those with which the cloud refused it."""

    record: Record
    aside: bool
    code: str
    answer: str


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that went without the cloud having them, by cause."""

    cause: str
    channel: str
    urgent: bool
    count: int
    first_taken_at: float
    last_taken_at: float


def put(connection: sqlite3.Connection, record: Record, bounds: Bounds) -> Record:
    cursor = connection.execute(
        "INSERT INTO records (channel, cabinet, urgent, taken_at, body, size) VALUES (?, ?, ?, ?, ?, ?)",
        (record.channel, record.cabinet, record.urgent, record.taken_at, record.body, len(record.body)),
    )
    number = cursor.lastrowid
    assert number is not None
    _keep_within(connection, bounds, newest=number)
    return replace(record, number=number)


def next_record(connection: sqlite3.Connection, channel: Channel, skip: Collection[int]) -> Record | None:
    """Whose turn it is (D17): urgent, oldest first; the newest status of each cabinet; older ones, newest first."""
    for turn in (_OLDEST_URGENT, _NEWEST_STATUSES, _OLDER_STATUSES):
        if (record := _pick(connection, turn, channel, skip)) is not None:
            return record
    return None


def newest_record(connection: sqlite3.Connection, channel: Channel, skip: Collection[int]) -> Record | None:
    """The record that was put last: the one most likely to pass when others do not."""
    return _pick(connection, _NEWEST, channel, skip)


def delivered(connection: sqlite3.Connection, number: int) -> None:
    row = connection.execute(
        "DELETE FROM records WHERE number = ? RETURNING channel, cabinet",
        (number,),
    ).fetchone()
    if row is not None:
        connection.execute(
            """INSERT INTO progress VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET number = max(number, excluded.number)""",
            (*row, number),
        )


def set_aside(connection: sqlite3.Connection, number: int, code: str, answer: str) -> None:
    connection.execute(
        "UPDATE records SET aside = 1, code = ?, answer = ? WHERE number = ?",
        (code, answer[:ANSWER_LIMIT], number),
    )


def requeue(connection: sqlite3.Connection, number: int) -> bool:
    """Let a record that was set aside wait again; False if there is no such."""
    cursor = connection.execute("UPDATE records SET aside = 0 WHERE number = ? AND aside = 1", (number,))
    return cursor.rowcount == 1


def discard(connection: sqlite3.Connection, number: int) -> bool:
    """Remove a record because a person says so; it is counted as lost. False if there is no such."""
    return _lose(connection, number, "discarded")


def counts(connection: sqlite3.Connection) -> Counts:
    waiting, urgent, oldest = connection.execute(
        "SELECT count(*), total(urgent), min(taken_at) FROM records WHERE aside = 0"
    ).fetchone()
    (aside,) = connection.execute("SELECT count(*) FROM records WHERE aside = 1").fetchone()
    (lost,) = connection.execute("SELECT total(count) FROM losses").fetchone()
    return Counts(waiting, int(urgent), aside, int(lost), oldest)


def records(connection: sqlite3.Connection, limit: int) -> tuple[Kept, ...]:
    """The newest records, waiting and set aside, newest first."""
    rows = connection.execute(
        """SELECT channel, cabinet, urgent, taken_at, body, number, aside, code, answer
           FROM records ORDER BY number DESC LIMIT ?""",
        (limit,),
    )
    return tuple(Kept(_from_row(row[:6]), bool(row[6]), row[7], row[8]) for row in rows)


def losses(connection: sqlite3.Connection) -> tuple[Loss, ...]:
    rows = connection.execute(
        "SELECT cause, channel, urgent, count, first_taken_at, last_taken_at FROM losses ORDER BY 1, 2, 3"
    )
    return tuple(Loss(row[0], row[1], bool(row[2]), *row[3:]) for row in rows)


def note_damage(connection: sqlite3.Connection, at: float) -> None:
    """Count a database that was renamed aside; how many records it held nobody can tell."""
    _count_loss(connection, "database damaged", "", urgent=False, taken_at=at)


def _keep_within(connection: sqlite3.Connection, bounds: Bounds, newest: int) -> None:
    """Make room: records set aside go before those that wait, statuses before events, the oldest first."""
    count, size = connection.execute("SELECT count(*), total(size) FROM records").fetchone()
    while (count > bounds.records or size > bounds.size) and count > 1:
        cause = "too many records" if count > bounds.records else "too many bytes"
        order = "SELECT number, size FROM records WHERE number != ? ORDER BY aside DESC, urgent, number LIMIT 1"
        number, freed = connection.execute(order, (newest,)).fetchone()
        _lose(connection, number, cause)
        count, size = count - 1, size - freed


def _lose(connection: sqlite3.Connection, number: int, cause: str) -> bool:
    row = connection.execute(
        "DELETE FROM records WHERE number = ? RETURNING channel, urgent, taken_at", (number,)
    ).fetchone()
    if row is None:
        return False
    channel, urgent, taken_at = row
    _count_loss(connection, cause, channel, urgent=bool(urgent), taken_at=taken_at)
    return True


def _count_loss(connection: sqlite3.Connection, cause: str, channel: str, *, urgent: bool, taken_at: float) -> None:
    connection.execute(
        """INSERT INTO losses VALUES (?1, ?2, ?3, 1, ?4, ?4) ON CONFLICT DO UPDATE SET count = count + 1,
           first_taken_at = min(first_taken_at, ?4), last_taken_at = max(last_taken_at, ?4)""",
        (cause, channel, urgent, taken_at),
    )


def _pick(connection: sqlite3.Connection, turn: str, channel: Channel, skip: Collection[int]) -> Record | None:
    found = connection.execute(turn, {"channel": channel, "skip": json.dumps(list(skip))}).fetchone()
    if found is None:
        return None
    row = connection.execute(
        "SELECT channel, cabinet, urgent, taken_at, body, number FROM records WHERE number = ?", found
    ).fetchone()
    return _from_row(row)


def _from_row(row: tuple[Channel, int, int, float, bytes, int]) -> Record:
    channel, cabinet, urgent, taken_at, body, number = row
    return Record(channel, cabinet, bool(urgent), taken_at, body, number)
