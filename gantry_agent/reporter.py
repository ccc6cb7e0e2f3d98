"""What is uploaded and when: events, ticks and updateNow → records → the outbox.

Every record is in the outbox before anything is sent (D16). Changes that come together go up as one record, and an
input that flaps is held down: `core.gather` decides both (D18). A record carries the whole cabinet as it is when the
record is built; its time is that instant. With it is kept what it tells (`core.told`), so that after a restart the
cloud hears of what differs, and of nothing twice.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from gantry_agent.cloud import protocol
from gantry_agent.core.alarms import Holds, Key
from gantry_agent.core.gather import Gathering
from gantry_agent.core.monitor import Watch
from gantry_agent.model import AgentError, Channel, Due, Event, Record, Role, Site

log = logging.getLogger(__name__)

RETRY_S = 1.0  # the disk was full or gone; the cabinet's state is built anew then

Wake = Callable[[Channel], None]
Look = Callable[[Collection[str]], None]  # read the alarm and door points of these devices now


class Put(Protocol):
    """Keeps a record, and with it what it tells of its cabinet; durable when it returns."""

    def __call__(self, record: Record, told: str | None = None, due: Due | None = None) -> Awaitable[Record]: ...


class Reporter:
    """Builds records from the current watch and hands them to the outbox."""

    def __init__(self, site: Site, watch: Callable[[], Watch], put: Put, wake: Wake, look: Look) -> None:
        self._site = site
        self._watch = watch
        self._put = put
        self._wake = wake
        self._look = look
        self._gathering = Gathering(Holds(site.flap_changes, site.hold_down_s), site.gather_ms / 1000)
        self._news = asyncio.Event()
        self._begun = asyncio.Event()

    def note(
        self,
        events: Sequence[Event],
        heard: Collection[tuple[Role, str]] = (),
        partial: Collection[tuple[Role, str]] = (),
    ) -> None:
        """Take in what has changed, and which fields were read, some in part; what changed goes up within its time."""
        found = self._gathering.absorb(self._watch(), events, heard, time.monotonic(), partial)
        for event in events:
            level = logging.INFO if event in found.pushed else logging.DEBUG
            log.log(level, "%s: %s.%s %s -> %s", *_shown(event))
        for key in found.held:
            text = "%s flaps: more than %d changes in %g s; it is held down, statuses tell how it is"
            log.warning(text, _named(key), self._site.flap_changes, self._site.hold_down_s)
        if found.asked:
            self._look(found.asked)
        if events or self._gathering.ready(0.0):
            self._news.set()

    def begin(self) -> None:
        """Let pushes go: the devices have been read once, so that no record tells half of a cabinet."""
        self._begun.set()

    async def run(self) -> None:
        """Push cabinets that changed, until cancelled."""
        await self._begun.wait()
        while True:
            self._news.clear()
            now = time.monotonic()
            self._summarise(now)
            for cabinet in self._gathering.ready(now):
                await self._push(cabinet)
            due = self._gathering.due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _summarise(self, now: float) -> None:
        """End the holds that are over; a cabinet with news for its summary is ready to be pushed then."""
        for hold in self._gathering.end_holds(self._watch(), now):
            if hold.again:
                log.debug("%s flaps still: %d changes in %g s", _named(hold.key), hold.changes, self._site.hold_down_s)
            else:
                log.info("%s is held down no more; %d changes were not pushed", _named(hold.key), hold.changes)

    async def _push(self, cabinet: int) -> None:
        try:
            await self._report_cabinet(cabinet)
        except AgentError as e:
            log.error("cannot keep an event of cabinet %d (%s); trying again", cabinet, e)  # noqa: TRY400
            await asyncio.sleep(RETRY_S)

    async def report(self, channel: Channel, due: Due | None = None) -> None:
        """Put the status of a channel into the outbox: one record of all computers, or one per cabinet.

        `due` is the tick that asks for it; the ledger hears of it with each record.
        """
        if channel == "computer":
            await self._report_computers(due)
        else:
            for cabinet in self._site.cabinets:
                await self._report_cabinet(cabinet.number, due)

    async def _report_cabinet(self, cabinet: int, due: Due | None = None) -> None:
        """Put a cabinet as it is now into the outbox; with its waiting events, if any, so that they go up once."""
        watch = self._watch()
        taken = self._gathering.take(watch, cabinet)
        business = protocol.build_cabinet(self._site, watch.snapshots[cabinet])
        try:
            await self._accept("cabinet", cabinet, business, urgent=taken.urgent, told=taken.told, due=due)
        except BaseException:
            self._gathering.put_back(taken, time.monotonic())  # what comes meanwhile goes with it
            self._news.set()
            raise
        self._gathering.kept(taken)

    async def _report_computers(self, due: Due | None) -> None:
        if self._site.computers:
            business = protocol.build_computers(self._site, self._watch().snapshots[0])
            await self._accept("computer", 0, business, urgent=False, due=due)

    async def _accept(
        self,
        channel: Channel,
        cabinet: int,
        business: object,
        *,
        urgent: bool,
        told: str | None = None,
        due: Due | None = None,
    ) -> None:
        now = time.time()
        body = protocol.envelope(self._site.gantry_id, protocol.METHOD[channel], now, business)
        await self._put(Record(channel, cabinet, urgent, now, body), told, due)
        self._wake(channel)


def _shown(event: Event) -> tuple[str, str, str, object, object]:
    role = event.role
    before, after = (r.value if r.quality == "ok" else r.quality.value for r in (event.before, event.after))
    return f"cabinet {role.cabinet}", f"{role.member} {role.number}", event.field, before, after


def _named(key: Key) -> str:
    role, field, text = key
    return f"cabinet {role.cabinet} {role.member} {role.number}.{field}" + (f" {text}" if text else "")
