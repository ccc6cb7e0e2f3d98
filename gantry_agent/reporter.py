"""What is uploaded and when: events, ticks and updateNow → records → the outbox.

Every record is in the outbox before anything is sent (D16). Changes that come together go up as one record: the first
event of a cabinet opens a window of 100 ms (D18). A record carries the whole cabinet as it is when the record is
built; its time is that instant.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from gantry_agent.cloud import protocol
from gantry_agent.core.monitor import Watch
from gantry_agent.model import AgentError, Channel, Event, Record, Site

log = logging.getLogger(__name__)

GATHER_S = 0.1  # D18
RETRY_S = 1.0  # the disk was full or gone; the cabinet's state is built anew then

Put = Callable[[Record], Awaitable[Record]]
Wake = Callable[[Channel], None]


class Reporter:
    """Builds records from the current watch and hands them to the outbox."""

    def __init__(self, site: Site, watch: Callable[[], Watch], put: Put, wake: Wake) -> None:
        self._site = site
        self._watch = watch
        self._put = put
        self._wake = wake
        self._changed: set[int] = set()
        self._any = asyncio.Event()

    def note(self, events: Iterable[Event]) -> None:
        """Take events in; their cabinets are reported within the gathering window."""
        for event in events:
            log.info("%s: %s.%s %s -> %s", *_told(event))
            if event.role.cabinet:  # of a computer: the interface has no push for it
                self._changed.add(event.role.cabinet)
                self._any.set()

    async def run(self) -> None:
        """Push cabinets that changed, until cancelled."""
        while True:
            await self._any.wait()
            await asyncio.sleep(GATHER_S)
            self._any.clear()
            while self._changed:
                await self._push(min(self._changed))

    async def _push(self, cabinet: int) -> None:
        try:
            await self._report_cabinet(cabinet)
        except AgentError as e:
            log.error("cannot keep an event of cabinet %d (%s); trying again", cabinet, e)  # noqa: TRY400
            await asyncio.sleep(RETRY_S)

    async def report(self, channel: Channel) -> None:
        """Put the periodic status of a channel into the outbox: one record of all computers, or one per cabinet."""
        if channel == "computer":
            await self._report_computers()
        else:
            for cabinet in self._site.cabinets:
                await self._report_cabinet(cabinet.number)

    async def _report_cabinet(self, cabinet: int) -> None:
        """Put a cabinet as it is now into the outbox; with its waiting events, if any, so that they go up once."""
        urgent = cabinet in self._changed
        self._changed.discard(cabinet)
        business = protocol.build_cabinet(self._site, self._watch().snapshots[cabinet])
        try:
            await self._accept("cabinet", cabinet, business, urgent=urgent)
        except BaseException:
            if urgent:  # what comes meanwhile goes with it
                self._changed.add(cabinet)
                self._any.set()
            raise

    async def _report_computers(self) -> None:
        if self._site.computers:
            business = protocol.build_computers(self._site, self._watch().snapshots[0])
            await self._accept("computer", 0, business, urgent=False)

    async def _accept(self, channel: Channel, cabinet: int, business: object, *, urgent: bool) -> None:
        now = time.time()
        body = protocol.envelope(self._site.gantry_id, protocol.METHOD[channel], now, business)
        await self._put(Record(channel, cabinet, urgent, now, body))
        self._wake(channel)


def _told(event: Event) -> tuple[str, str, str, object, object]:
    role = event.role
    before, after = (r.value if r.quality == "ok" else r.quality.value for r in (event.before, event.after))
    return f"cabinet {role.cabinet}", f"{role.member} {role.number}", event.field, before, after
