"""What survives a restart: records to upload, settings that commands made, answers already given.

`Store` is the one door: every call is a transaction on the database's own thread, and what it wrote is on the disk
when it returns. Other storeys know it by the protocols they ask for (an outbox, a memory of repeats), not by name.
"""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Self

from gantry_agent.model import Channel, Record
from gantry_agent.store import outbox, settings
from gantry_agent.store.database import Database, StoreFault
from gantry_agent.store.outbox import Bounds, Counts, Kept, Loss

__all__ = ["Bounds", "Counts", "Kept", "Loss", "Store", "StoreFault"]


class Store:
    """An open state database, as an async context manager. Every method may raise StoreFault.

    `path` is the file. With `readonly` it must exist and is only looked at, which is safe beside a running daemon.
    """

    def __init__(self, path: Path, *, bounds: Bounds | None = None, readonly: bool = False) -> None:
        self._database = Database(path, lambda db: outbox.note_damage(db, time.time()), readonly=readonly)
        self._bounds = bounds or Bounds()

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._database.__aexit__(*exception)

    # --- outbox ---

    async def put(self, record: Record) -> Record:
        """Accept a record; what comes back carries its number, and is safe from a power cut."""
        return await self._database.run(lambda db: outbox.put(db, record, self._bounds))

    async def next_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None:
        """The record whose turn it is (D17), leaving out the numbers in `skip`; None when there is none."""
        return await self._database.run(lambda db: outbox.next_record(db, channel, skip))

    async def newest_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None:
        """The record that was put last, whatever its turn."""
        return await self._database.run(lambda db: outbox.newest_record(db, channel, skip))

    async def delivered(self, number: int) -> None:
        """The cloud has it: it leaves the outbox. A number that is not there (any more) is in order."""
        await self._database.run(lambda db: outbox.delivered(db, number))

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

    # --- settings ---

    async def settings(self) -> dict[str, str]:
        return await self._database.run(settings.settings)

    async def set_setting(self, name: str, value: str | None) -> None:
        """Keep a setting, or with None drop it."""
        await self._database.run(lambda db: settings.set_setting(db, name, value))

    # --- repeats (D6) ---

    async def recall(self, md5: str, since: float) -> str | None:
        """The answer given to the request of this MD5, if it was given at `since` (Unix seconds) or later."""
        return await self._database.run(lambda db: settings.recall(db, md5, since))

    async def remember(self, md5: str, answer: str, at: float) -> None:
        await self._database.run(lambda db: settings.remember(db, md5, answer, at))
