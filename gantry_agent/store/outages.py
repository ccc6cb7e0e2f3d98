"""When the cloud could not be reached, which hop failed, and whether what waited has arrived.

Functions of a connection. One row per outage and channel; a process that ends leaves its outage open, and the next one
goes on with it. That the agent itself did not run is read off the ledger's stretches (`pauses`).
"""

import itertools
import json
import sqlite3
from dataclasses import dataclass
from typing import Final

from gantry_agent.core.audit import Entry
from gantry_agent.core.ledger import CLOCK, KILLED, POWER, SCHEDULE, STOPPED, Books
from gantry_agent.text import Text, joined

KEPT: Final = 2000
AUDITED_S: Final = 60.0  # a link that is gone for less, over and over, must not push the requests out of the audit
HOPS_KEPT: Final = 20  # of one outage; a link that changes its mind more often is told by its first and last
OWN_POWER: Final = "own power"
_HOPS: Final = {
    "link": "链路",
    "gateway": "网关",
    "auth": "鉴权",
    "clock": "时钟",
    OWN_POWER: "本机断电或重启",
    "agent stopped": "程序被停止",
    "agent killed": "程序异常结束",
}
AGENT: Final = {STOPPED: "agent stopped", KILLED: "agent killed", POWER: OWN_POWER}


@dataclass(frozen=True, slots=True)
class Hop:
    """Which part of the way failed, since when (Unix seconds), and what was seen of it."""

    at: float
    name: str
    said: str


@dataclass(frozen=True, slots=True)
class Outage:
    """`waited` records waited when it ended, and all had arrived at `arrived_at`; an empty channel means both."""

    channel: str
    began_at: float
    ended_at: float | None
    hops: tuple[Hop, ...]
    waited: int = 0
    arrived_at: float | None = None


def trouble(connection: sqlite3.Connection, channel: str, hop: Hop) -> None:
    """Begin an outage, or note that another hop fails now."""
    row = _open(connection, channel)
    if row is None:
        connection.execute(
            "INSERT INTO outages (channel, began_at, hops) VALUES (?, ?, ?)",
            (channel, hop.at, _written([hop])),
        )
        connection.execute("DELETE FROM outages WHERE number <= (SELECT max(number) FROM outages) - ?", (KEPT,))
        return
    number, hops = row
    if not hops or hops[-1].name != hop.name:
        hops = [*hops[: HOPS_KEPT - 1], hop]
        connection.execute("UPDATE outages SET hops = ? WHERE number = ?", (_written(hops), number))


def over(connection: sqlite3.Connection, channel: str, at: float) -> Outage | None:
    """End the channel's outage, counting what waits; None when there was none."""
    row = _open(connection, channel)
    if row is None:
        return None
    waited, upto = connection.execute(
        "SELECT count(*), coalesce(max(number), 0) FROM records WHERE aside = 0 AND channel = ?", (channel,)
    ).fetchone()
    connection.execute(
        "UPDATE outages SET ended_at = ?, waited = ?, upto = ?, arrived_at = ? WHERE number = ?",
        (at, waited, upto, None if waited else at, row[0]),
    )
    return _read(connection.execute(f"{_SELECT} WHERE number = ?", (row[0],)).fetchone())


def arrivals(connection: sqlite3.Connection, channel: str, at: float) -> tuple[Outage, ...]:
    """Note which outages' records have all left the outbox by now, and return those."""
    rows = connection.execute(
        """SELECT number FROM outages WHERE channel = ?1 AND ended_at IS NOT NULL AND arrived_at IS NULL AND NOT EXISTS
           (SELECT 1 FROM records WHERE aside = 0 AND channel = ?1 AND number <= upto)""",
        (channel,),
    ).fetchall()
    for row in rows:
        connection.execute("UPDATE outages SET arrived_at = ? WHERE number = ?", (at, *row))
    return tuple(_read(connection.execute(f"{_SELECT} WHERE number = ?", row).fetchone()) for row in rows)


def outages(connection: sqlite3.Connection, since: float) -> tuple[Outage, ...]:
    rows = connection.execute(
        f"{_SELECT} WHERE ended_at IS NULL OR ended_at >= ? ORDER BY number",
        (since,),
    )
    return tuple(_read(row) for row in rows)


def pauses(books: Books, since: float) -> tuple[Outage, ...]:
    """When the agent itself did not run, between two stretches; from its last heartbeat or record on."""
    found = []
    for before, after in itertools.pairwise(books.stretches):
        if before.ended in {CLOCK, SCHEDULE} or after.began_at < since or after.began_at <= before.seen_at:
            continue
        last_sign = max([before.seen_at, *(span.last for span in books.spans if span.last < after.began_at)])
        hop = Hop(last_sign, AGENT.get(before.ended, before.ended), "")
        found.append(Outage("", last_sign, after.began_at, (hop,)))
    return tuple(found)


def told(hop: Hop) -> Text:
    """A hop for people; what it said is the system's own word."""
    name, more = named(hop.name), f" ({hop.said})" if hop.said else ""
    return Text(f"{name.zh}{more}", f"{name.en}{more}")


def named(hop: str) -> Text:
    """The name of a hop; protocols are called the same in both languages."""
    return Text(_HOPS.get(hop, hop), hop)


def as_entry(outage: Outage, at: float, *, arrived: bool = False) -> Entry | None:
    """What the audit says of an outage when it is over, or when its records have arrived; None of a short one."""
    lasted_s = (outage.ended_at or at) - outage.began_at
    if lasted_s < AUDITED_S or (arrived and not outage.waited):
        return None
    what, who = Text(f"{outage.channel} 状态", f"{outage.channel} status"), Text("上行", "uplink")
    hops = joined(map(told, outage.hops), " → ", ", then ")
    said = Text(
        f"断网 {lasted_s:.0f} 秒：{hops.zh}；积压 {outage.waited} 条",
        f"offline for {lasted_s:.0f} s: {hops.en}; records that waited: {outage.waited}",
    )
    if arrived:
        said = Text(f"积压的 {outage.waited} 条已全部补传", f"all {outage.waited} have arrived")
    return Entry(at, who.kept(), "site", what.kept(), "", outcome=said.kept())


_SELECT: Final = "SELECT channel, began_at, ended_at, hops, waited, arrived_at FROM outages"


def _open(connection: sqlite3.Connection, channel: str) -> tuple[int, list[Hop]] | None:
    row = connection.execute(
        "SELECT number, hops FROM outages WHERE channel = ? AND ended_at IS NULL ORDER BY number DESC LIMIT 1",
        (channel,),
    ).fetchone()
    return None if row is None else (row[0], list(_hops(row[1])))


def _read(row: tuple[str, float, float | None, str, int, float | None]) -> Outage:
    channel, began_at, ended_at, hops, waited, arrived_at = row
    return Outage(channel, began_at, ended_at, _hops(hops), waited, arrived_at)


def _hops(written: str) -> tuple[Hop, ...]:
    try:
        return tuple(Hop(*each) for each in json.loads(written))
    except (ValueError, TypeError):  # the disk changed it: better an outage without a reason than no uploads
        return ()


def _written(hops: list[Hop]) -> str:
    return json.dumps([[hop.at, hop.name, hop.said] for hop in hops], ensure_ascii=False)
