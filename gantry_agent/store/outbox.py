"""Upload records from the moment they are taken until the cloud has them (D16, D17).

Functions of a connection: what is in the outbox, whose turn it is, and what goes when it is full. A record waits, or
was set aside because the cloud will never take it. Older and newer are told by number, not by time: numbers only grow,
while the clock of a roadside computer may jump; only `too_old` looks at the clock, and its caller must trust it.

Double entry: `tally` counts what was accepted and what was delivered, so that accepted = delivered + waiting + set
aside + lost can be checked at any time. `losses` counts by cause, `lost` keeps the intervals.
"""

import json
import logging
import sqlite3
import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from gantry_agent.model import Channel, Record
from gantry_agent.store.ruin import damage

log = logging.getLogger(__name__)

DAMAGED: Final = "damaged"  # set aside with this code: the body on the disk is not the one that was put
SAME_LOSS_S: Final = 2 * 3600.0  # losses of one cause so near each other are one interval
LOST_KEPT: Final = 2000  # intervals
ANSWER_LIMIT: Final = 1000  # enough to recognise what answered; a portal's page may have megabytes

_OLDEST_URGENT: Final = """
    SELECT number FROM records WHERE aside = 0 AND channel = :channel AND urgent = 1
    AND number NOT IN (SELECT value FROM json_each(:skip)) ORDER BY number LIMIT 1"""
# A status is the newest of its cabinet while nothing later of that cabinet has been delivered. The cabinets are found
# by leaping over the index from one to the next, so that a turn costs the same however long the backlog.
_NEWEST_STATUSES: Final = """
    WITH RECURSIVE cabinets (cabinet) AS (
        SELECT min(cabinet) FROM records WHERE aside = 0 AND channel = :channel AND urgent = 0
        UNION ALL
        SELECT (SELECT min(cabinet) FROM records
                WHERE aside = 0 AND channel = :channel AND urgent = 0 AND cabinet > cabinets.cabinet)
        FROM cabinets WHERE cabinet IS NOT NULL)
    SELECT (SELECT number FROM records
            WHERE aside = 0 AND channel = :channel AND urgent = 0 AND cabinet = cabinets.cabinet
            AND number > coalesce((SELECT number FROM progress
                                   WHERE channel = :channel AND cabinet = cabinets.cabinet), 0)
            AND number NOT IN (SELECT value FROM json_each(:skip))
            ORDER BY number DESC LIMIT 1) AS newest
    FROM cabinets WHERE newest IS NOT NULL ORDER BY newest DESC LIMIT 1"""
_OLDER_STATUSES: Final = """
    SELECT number FROM records WHERE aside = 0 AND channel = :channel AND urgent = 0
    AND number NOT IN (SELECT value FROM json_each(:skip)) ORDER BY number DESC LIMIT 1"""
_NEWEST: Final = """
    SELECT number FROM records WHERE aside = 0 AND channel = :channel
    AND number NOT IN (SELECT value FROM json_each(:skip)) ORDER BY number DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the outbox may hold: 4 months of two cabinets' statuses, in a tenth of the smallest disk.

    `where` goes into the cause of a loss.
    """

    records: int = 20_000
    size: int = 100_000_000  # bytes of bodies
    age_s: float = 90 * 86_400.0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """`oldest_taken_at` is of the records that wait, None when none does; `lost` is since the database was begun."""

    waiting: int
    urgent: int  # of those waiting
    aside: int
    lost: int
    oldest_taken_at: float | None
    accepted: int = 0  # since the database was begun, as `lost`
    delivered: int = 0

    @property
    def unaccounted(self) -> int:
        """Accepted records that nobody can tell the end of; anything but 0 is a bug of ours."""
        return self.accepted - self.delivered - self.waiting - self.aside - self.lost


@dataclass(frozen=True, slots=True)
class Kept:
    """A record in the outbox; `code` and `answer` are those with which the cloud refused it."""

    record: Record
    aside: bool
    code: str
    answer: str


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that went without the cloud having them, by cause: in all, or in one interval of one cabinet."""

    cause: str
    channel: str
    urgent: bool
    count: int
    first_taken_at: float
    last_taken_at: float
    cabinet: int | None = None  # None: of all


def put(connection: sqlite3.Connection, record: Record, bounds: Bounds) -> Record:
    cursor = connection.execute(
        "INSERT INTO records (channel, cabinet, urgent, taken_at, body, size, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(record.channel, record.cabinet, record.urgent, record.taken_at, record.body, len(record.body)),
            zlib.crc32(record.body),
        ),
    )
    number = cursor.lastrowid
    assert number is not None
    tally(connection, record.channel, urgent=record.urgent, accepted=1)
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


def delivered(connection: sqlite3.Connection, number: int) -> Channel | None:
    """Remove a record that the cloud has; tell its channel, None if it was not there."""
    row = connection.execute(
        "DELETE FROM records WHERE number = ? RETURNING channel, cabinet, urgent",
        (number,),
    ).fetchone()
    if row is None:
        return None
    channel: Channel
    channel, cabinet, urgent = row
    connection.execute(
        """INSERT INTO progress VALUES (?1, ?2, ?3)
           ON CONFLICT DO UPDATE SET number = max(number, excluded.number)""",
        (channel, cabinet, number),
    )
    tally(connection, channel, urgent=urgent, delivered=1)
    return channel


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
    (lost,) = connection.execute("SELECT total(count) FROM losses WHERE channel != ''").fetchone()
    accepted, done = connection.execute("SELECT total(accepted), total(delivered) FROM tally").fetchone()
    return Counts(waiting, int(urgent), aside, int(lost), oldest, int(accepted), int(done))


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


def intervals(connection: sqlite3.Connection, since: float) -> tuple[Loss, ...]:
    """The intervals in which records were lost, of those taken at `since` or later."""
    rows = connection.execute(
        """SELECT cause, channel, urgent, count, first_at, last_at, cabinet FROM lost WHERE last_at >= ?
           ORDER BY first_at, number""",
        (since,),
    )
    return tuple(Loss(row[0], row[1], bool(row[2]), *row[3:]) for row in rows)


def too_old(connection: sqlite3.Connection, bounds: Bounds, now: float) -> int:
    """Lose what is older than the bound, and tell how many; `now` must come from a clock that is trusted."""
    rows = connection.execute(
        "SELECT number FROM records WHERE taken_at < ? ORDER BY number", (now - bounds.age_s,)
    ).fetchall()
    for (number,) in rows:
        _lose(connection, number, "too old" + bounds.where)
    return len(rows)


def note_damage(connection: sqlite3.Connection, at: float) -> None:
    """Count a database that was renamed aside, if nobody can tell how many records it held."""
    _count_loss(connection, "database damaged", "", urgent=False, taken_at=at)


def count_unread(
    connection: sqlite3.Connection, cause: str, key: tuple[str, int], cabinet: int, taken_at: float, count: int = 1
) -> None:
    """Count records that were accepted once and cannot be read any more; cabinet 0 if that cannot be told."""
    channel, urgent = key
    tally(connection, channel, urgent=bool(urgent), accepted=count)
    _count_loss(connection, cause, channel, urgent=bool(urgent), taken_at=taken_at, count=count)
    _note_interval(connection, cause, channel, cabinet, urgent, taken_at, count)


def _keep_within(connection: sqlite3.Connection, bounds: Bounds, newest: int) -> None:
    """Make room: records set aside go before those that wait, statuses before events, the oldest first."""
    count, size = connection.execute("SELECT count, size FROM room").fetchone()
    while (count > bounds.records or size > bounds.size) and count > 1:
        cause = ("too many records" if count > bounds.records else "too many bytes") + bounds.where
        order = "SELECT number, size FROM records WHERE number != ? ORDER BY aside DESC, urgent, number LIMIT 1"
        number, freed = connection.execute(order, (newest,)).fetchone()
        _lose(connection, number, cause)
        count, size = count - 1, size - freed


def _lose(connection: sqlite3.Connection, number: int, cause: str) -> bool:
    row = connection.execute(
        "DELETE FROM records WHERE number = ? RETURNING channel, urgent, taken_at, cabinet", (number,)
    ).fetchone()
    if row is None:
        return False
    channel, urgent, taken_at, cabinet = row
    _count_loss(connection, cause, channel, urgent=bool(urgent), taken_at=taken_at)
    _note_interval(connection, cause, channel, cabinet, urgent, taken_at)
    return True


def _note_interval(
    connection: sqlite3.Connection,
    cause: str,
    channel: str,
    cabinet: int,
    urgent: int,
    taken_at: float,
    count: int = 1,
) -> None:
    latest = connection.execute(
        """SELECT number, first_at, last_at FROM lost WHERE cause = ? AND channel = ? AND cabinet = ? AND urgent = ?
           ORDER BY number DESC LIMIT 1""",
        (cause, channel, cabinet, urgent),
    ).fetchone()
    if latest and latest[1] <= taken_at <= latest[2] + SAME_LOSS_S:
        connection.execute(
            "UPDATE lost SET count = count + ?, last_at = max(last_at, ?) WHERE number = ?",
            (count, taken_at, latest[0]),
        )
        return
    connection.execute(
        """INSERT INTO lost (cause, channel, cabinet, urgent, count, first_at, last_at)
           VALUES (?1, ?2, ?3, ?4, ?6, ?5, ?5)""",
        (cause, channel, cabinet, urgent, taken_at, count),
    )
    connection.execute("DELETE FROM lost WHERE number <= (SELECT max(number) FROM lost) - ?", (LOST_KEPT,))


def tally(connection: sqlite3.Connection, channel: str, *, urgent: bool, accepted: int = 0, delivered: int = 0) -> None:
    """Count records accepted or delivered."""
    connection.execute(
        """INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
           SET accepted = accepted + excluded.accepted, delivered = delivered + excluded.delivered""",
        (channel, urgent, accepted, delivered),
    )


def _count_loss(
    connection: sqlite3.Connection, cause: str, channel: str, *, urgent: bool, taken_at: float, count: int = 1
) -> None:
    connection.execute(
        """INSERT INTO losses VALUES (?1, ?2, ?3, ?5, ?4, ?4) ON CONFLICT DO UPDATE SET count = count + ?5,
           first_taken_at = min(first_taken_at, ?4), last_taken_at = max(last_taken_at, ?4)""",
        (cause, channel, urgent, taken_at, count),
    )


def _pick(connection: sqlite3.Connection, turn: str, channel: Channel, skip: Collection[int]) -> Record | None:
    while found := connection.execute(turn, {"channel": channel, "skip": json.dumps(list(skip))}).fetchone():
        row = connection.execute(
            "SELECT channel, cabinet, urgent, taken_at, body, number, crc FROM records WHERE number = ?", found
        ).fetchone()
        if row is None:
            raise damage(f"record {found[0]} is in an index and not in its table")
        if row[6] is None or row[6] == zlib.crc32(row[4]):
            return _from_row(row[:6])
        log.error("record %d is damaged on the disk; it is set aside", row[5])
        set_aside(connection, row[5], DAMAGED, "")
    return None


def _from_row(row: tuple[Channel, int, int, float, bytes, int]) -> Record:
    channel, cabinet, urgent, taken_at, body, number = row
    return Record(channel, cabinet, bool(urgent), taken_at, body, number)
