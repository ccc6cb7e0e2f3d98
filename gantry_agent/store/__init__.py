"""What survives a restart: records to upload, settings that commands made, answers already given.

`Store` is the one door: every call is a transaction on the database's own thread, and what it wrote is on the disk
when it returns. Other storeys know it by the protocols they ask for (an outbox, a memory of repeats), not by name.
"""

import logging
import sqlite3
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Self

from gantry_agent.command import Card
from gantry_agent.core.audit import Anchor, Break, Entry
from gantry_agent.core.audit import Kept as Audited
from gantry_agent.core.ledger import Books, Schedule
from gantry_agent.model import Channel, Due, Record
from gantry_agent.store import audit, cards, ledger, outages, outbox, salvage, settings
from gantry_agent.store.cards import Cards
from gantry_agent.store.database import Database, StoreFault
from gantry_agent.store.outages import Hop, Outage
from gantry_agent.store.outbox import Bounds, Counts, Kept, Loss
from gantry_agent.store.salvage import Salvaged
from gantry_agent.text import Text

__all__ = ["Bounds", "Cards", "Counts", "Hop", "Kept", "Loss", "Outage", "Salvaged", "Store", "StoreFault"]

log = logging.getLogger(__name__)

IN_MEMORY = Bounds(records=5_000, size=20_000_000, where=" in memory, as the disk failed")  # a fortnight


class Store:
    """An open state database, as an async context manager. Every method may raise StoreFault.

    `path` is the file. With `readonly` it must exist and is only looked at, which is safe beside a running daemon.
    With `stand_in` it goes on in memory while the disk is full, read-only or gone, and comes back by itself.
    """

    def __init__(
        self, path: Path, *, bounds: Bounds | None = None, readonly: bool = False, stand_in: bool = False
    ) -> None:
        self._database = Database(path, readonly=readonly, stand_in=stand_in)
        self._bounds = bounds or Bounds()

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._database.__aexit__(*exception)

    @property
    def in_memory(self) -> bool:
        """Whether the disk fails just now, so that what is accepted is not safe from a power cut."""
        return self._database.stand_in is not None

    async def checkpoint(self) -> bool:
        """Write everything into the file itself, before a power cut; False if the disk does not take it now."""
        return await self._database.checkpoint()

    def _bounds_of(self, db: sqlite3.Connection) -> Bounds:
        stand_in = self._database.stand_in
        return IN_MEMORY if stand_in is not None and db is stand_in.connection else self._bounds

    # --- outbox ---

    async def put(self, record: Record, told: str | None = None, due: Due | None = None) -> Record:
        """Accept a record; what comes back carries its number, and is safe from a power cut.

        `told` is what the record tells of its cabinet. It is kept in the same transaction, so that after a power cut
        the two agree, and takes the place of what was told before. `due` is the tick that asked for the record.
        """

        def accept(db: sqlite3.Connection) -> Record:
            accepted = outbox.put(db, record, self._bounds_of(db))
            if due is not None:
                ledger.account(db, record.channel, record.cabinet, due)
            if told is not None:
                settings.tell(db, record.cabinet, told)
            return accepted

        return await self._database.run(accept)

    async def told(self) -> dict[int, str]:
        """What the newest record of each cabinet told."""
        return await self._database.run(settings.told)

    async def next_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None:
        """The record whose turn it is (D17), leaving out the numbers in `skip`; None when there is none."""
        return await self._database.run(lambda db: outbox.next_record(db, channel, skip))

    async def newest_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None:
        """The record that was put last, whatever its turn."""
        return await self._database.run(lambda db: outbox.newest_record(db, channel, skip))

    async def delivered(self, number: int) -> None:
        """The cloud has it: it leaves the outbox. A number that is not there (any more) is in order."""
        at = time.time()

        def work(db: sqlite3.Connection) -> tuple[Outage, ...]:
            channel = outbox.delivered(db, number)
            arrived = outages.arrivals(db, channel, at) if channel else ()
            if entries := [one for outage in arrived if (one := outages.as_entry(outage, at, arrived=True))]:
                audit.append(db, entries)
            return arrived

        for outage in await self._database.run(work):
            log.info("all %d records of %s status that had waited have arrived", outage.waited, outage.channel)

    async def set_aside(self, number: int, code: str, answer: str) -> None:
        """The cloud will never take it: it is kept to be looked at, and its turn does not come again."""
        await self._database.run(lambda db: outbox.set_aside(db, number, code, answer))

    async def requeue(self, number: int) -> bool:
        """Let a record that was set aside wait again; False if there is no such."""
        return await self._database.run(lambda db: outbox.requeue(db, number))

    async def discard(self, number: int) -> bool:
        """Remove a record because a person says so, counted as lost; False if there is no such."""
        return await self._database.run(lambda db: outbox.discard(db, number))

    async def counts(self) -> Counts:
        return await self._database.run(outbox.counts)

    async def records(self, limit: int = 50) -> tuple[Kept, ...]:
        """The newest records, waiting and set aside, newest first."""
        return await self._database.run(lambda db: outbox.records(db, limit))

    async def losses(self) -> tuple[Loss, ...]:
        return await self._database.run(outbox.losses)

    async def intervals(self, since: float) -> tuple[Loss, ...]:
        """The intervals in which records were lost, by cause and cabinet."""
        return await self._database.run(lambda db: outbox.intervals(db, since))

    async def salvages(self) -> tuple[Salvaged, ...]:
        """What became of databases that were found damaged, oldest first."""
        return await self._database.run(salvage.salvages)

    async def forget_too_old(self, now: float) -> int:
        """Lose what is older than the bound; `now` must come from a clock that is trusted."""
        return await self._database.run(lambda db: outbox.too_old(db, self._bounds_of(db), now))

    # --- the ledger of due uploads ---

    async def begin_stretch(self, at: float, boot: str, schedule: Schedule) -> None:
        """Begin a stretch of running: one process, on one clock, with one schedule."""

        def work(db: sqlite3.Connection) -> tuple[float, str] | None:
            before = ledger.begin(db, at, boot, schedule)
            if before and (name := outages.AGENT.get(before[1])) and at - before[0] >= outages.AUDITED_S:
                away_s = f"{at - before[0]:.0f}"
                why = outages.named(name)
                said = Text(
                    f"停了 {away_s} 秒，期间无应传数据：{why.zh}", f"uploads were not due for {away_s} s: {why.en}"
                )
                who, what = Text("门架程序", "agent").kept(), Text("启动", "started").kept()
                audit.append(db, (Entry(at, who, "site", what, "", outcome=said.kept()),))
            return before

        before = await self._database.run(work)
        if before and (name := outages.AGENT.get(before[1])) and at > before[0]:
            log.warning("uploads were not due for %.0f s before this: %s", at - before[0], name)

    async def seen(self, at: float) -> None:
        """Heartbeat: every tick until then is in the outbox."""
        await self._database.run(lambda db: ledger.seen(db, at))

    async def end_stretch(self, at: float, ended: str) -> None:
        await self._database.run(lambda db: ledger.end(db, at, ended))

    async def mark(self, from_at: float, until_at: float, cause: str) -> None:
        """Say what kept the ticks of that time from being taken."""
        await self._database.run(lambda db: ledger.mark(db, from_at, until_at, cause))

    async def books(self) -> Books:
        return await self._database.run(ledger.books)

    # --- outages ---

    async def trouble(self, channel: Channel, at: float, hop: str, said: str) -> None:
        """The cloud cannot be reached: an outage begins, or goes on with another hop failing."""
        await self._database.run(lambda db: outages.trouble(db, channel, Hop(at, hop, said)))

    async def over(self, channel: Channel, at: float) -> None:
        """The channel's outage, if there was one, is over; log and audit say what failed and what waits."""

        def work(db: sqlite3.Connection) -> Outage | None:
            outage = outages.over(db, channel, at)
            if outage and (entry := outages.as_entry(outage, at)):
                audit.append(db, (entry,))
            return outage

        if outage := await self._database.run(work):
            hops = ", then ".join(f"{hop.name} ({hop.said})" for hop in outage.hops)
            text = "%s status was offline for %.0f s: %s; records that waited: %d"
            log.warning(text, channel, at - outage.began_at, hops, outage.waited)

    async def outages(self, since: float) -> tuple[Outage, ...]:
        """Outages that had not ended by `since` (Unix seconds), oldest first, the agent's own absences among them."""

        def work(db: sqlite3.Connection) -> tuple[Outage, ...]:
            own = outages.pauses(ledger.books(db), since)
            return tuple(sorted((*outages.outages(db, since), *own), key=lambda each: each.began_at))

        return await self._database.run(work)

    # --- settings ---

    async def settings(self) -> dict[str, str]:
        return await self._database.run(settings.settings)

    async def set_setting(self, name: str, value: str | None) -> None:
        """Keep a setting, or with None drop it."""
        await self._database.run(lambda db: settings.set_setting(db, name, value))

    # --- the whitelist (D12) ---

    async def cards(self) -> Cards | None:
        """The whitelist; None when none was ever ordered."""
        return await self._database.run(cards.read)

    async def replace_cards(self, listed: Iterable[Card]) -> None:
        """Put a list of cards in the place of the one before."""
        at = time.time()
        await self._database.run(lambda db: cards.replace(db, listed, at))

    # --- repeats (D6) ---

    async def recall(self, md5: str, since: float) -> str | None:
        """The answer given to the request of this MD5, if it was given at `since` (Unix seconds) or later."""
        return await self._database.run(lambda db: settings.recall(db, md5, since))

    async def remember(self, md5: str, answer: str, at: float) -> None:
        await self._database.run(lambda db: settings.remember(db, md5, answer, at))

    # --- requests and the audit ---

    async def begin_request(self, entry: Entry, repeat: tuple[str, str] | None, at: float) -> int:
        """Write down a request before it moves anything; `repeat` is its MD5, and what a repeat hears until it ends."""

        def work(db: sqlite3.Connection) -> int:
            if repeat is not None:
                settings.remember(db, *repeat, at)
            return audit.begin(db, entry)

        return await self._database.run(work)

    async def end_request(self, token: int, entry: Entry, repeat: tuple[str, str] | None, at: float) -> None:
        """Let a request that was begun enter the audit, and keep its answer for repeats."""

        def work(db: sqlite3.Connection) -> None:
            if repeat is not None:
                settings.remember(db, *repeat, at)
            audit.end(db, token, entry)

        await self._database.run(work)

    async def note_requests(self, entries: Iterable[Entry]) -> None:
        """Put requests that moved nothing into the audit."""
        await self._database.run(lambda db: audit.append(db, entries))

    async def interrupted_requests(self) -> int:
        """For the start: let enter the audit what another process began and never ended."""
        return await self._database.run(audit.interrupted)

    async def audit_entries(self, since: float, until: float, limit: int) -> tuple[Audited, ...]:
        """The newest entries of that time (Unix seconds), oldest first."""
        return await self._database.run(lambda db: audit.entries(db, since, until, limit))

    async def audit_breaks(self) -> tuple[Break, ...]:
        return await self._database.run(audit.breaks)

    async def audit_newest(self) -> Anchor:
        """Number and mark of the newest entry; what is logged of it is out of reach of whoever edits the file."""
        return await self._database.run(audit.newest)
