"""UHPPOTE / Weigeng door controllers behind one UDP address, usually one; one question at a time.

An answer is told by its function and the controller's serial number (`framing.uhppote`), and where a card or an event
was asked for, by that. One that comes late can only be mistaken for the answer to the same question asked again. What a
controller notes between two readings of its status is fetched with the next one, in the same transaction: the card that
opened a door and the door's opening follow each other within a second, and the status shows the newest event only.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from gantry_agent.field.bus.journal import Frame, Journal, UnitStatistics
from gantry_agent.field.bus.peer import Peer
from gantry_agent.field.framing import uhppote
from gantry_agent.field.request import AskController, ControllerState, ReadController, Reply, Request, Timing
from gantry_agent.model import Bus, NoReply

PORT: Final = 60000
MOST_EVENTS: Final = 8  # fetched with one status: more is no person at a door, and an order waits for all of it


class Controllers:
    """The link of a `uhppote` bus."""

    def __init__(self, bus: Bus) -> None:
        self._peer = Peer(bus, PORT, self._absorb, self._fail)
        self._turn = asyncio.Lock()
        self._journal = Journal()
        self._asked: tuple[AskController, asyncio.Future[bytes]] | None = None
        self._not_before = 0.0
        self._newest: dict[int, int] = {}  # by serial number, the event that was seen last
        self._swipes: dict[int, dict[int, tuple[int, int]]] = {}  # by serial number and door: event, card

    @property
    def journal(self) -> Journal:
        return self._journal

    @property
    def statistics(self) -> Mapping[int, UnitStatistics]:
        return self._journal.statistics

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self._journal.frames

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - answers are told apart by what they say
        return self._not_before - asyncio.get_running_loop().time()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        loop = asyncio.get_running_loop()
        if not isinstance(request, AskController | ReadController):
            raise TypeError(f"cannot ask {self._peer.where} for {request}: not for a UHPPOTE controller")
        async with self._turn:
            with self._journal.transaction(request.unit, seeking=timing.seeking):
                began = loop.time()
                reply: Reply
                if isinstance(request, ReadController):
                    reply = await self._read(request, timing)
                else:
                    reply = uhppote.check(request, await self._exchange(request, timing))
            if not timing.seeking:
                self._journal.answered(request.unit, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._peer.close()

    # --- status, and what happened since the last

    async def _read(self, request: ReadController, timing: Timing) -> ControllerState:
        unit, serial = request.unit, request.serial
        status = await self._exchange(AskController(unit, serial, uhppote.STATUS), timing)
        newest = uhppote.read_event(status)
        before = self._newest.get(serial)
        swipes = self._swipes.setdefault(serial, {})
        if before is not None and newest.index > before:  # what was there before the first look explains nothing
            for index in range(max(before + 1, newest.index - MOST_EVENTS + 1), newest.index):
                asked = AskController(unit, serial, uhppote.GET_EVENT, uhppote.number(index))
                _note(swipes, uhppote.read_event(await self._exchange(asked, timing)))
            _note(swipes, newest)
        self._newest[serial] = newest.index
        return ControllerState(status, dict(swipes))

    # --- one question

    async def _exchange(self, request: AskController, timing: Timing) -> bytes:
        loop = asyncio.get_running_loop()
        if (wait_s := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        transport = await self._peer.opened()
        datagram = uhppote.frame(request)
        waiter: asyncio.Future[bytes] = loop.create_future()
        self._asked = request, waiter
        self._journal.frame(loop.time(), "sent", datagram)
        transport.sendto(datagram)
        timer = loop.call_later(timing.response_s, self._expire, waiter, request, timing)
        try:
            answer = await waiter
        finally:
            timer.cancel()
            self._asked = None
            self._not_before = loop.time() + timing.gap_s
        self._peer.answered()
        return answer

    # --- what comes

    def _absorb(self, data: bytes) -> None:
        """Take a datagram of the address."""
        self._journal.frame(asyncio.get_running_loop().time(), "received", data)
        if self._asked is None:
            self._journal.came_late(0)
            return
        request, waiter = self._asked
        if waiter.done() or not uhppote.answers(request, data):
            self._journal.came_late(request.unit)
            return
        waiter.set_result(data)

    def _fail(self, error: NoReply) -> None:
        if self._asked is not None and not self._asked[1].done():
            self._asked[1].set_exception(error)

    def _expire(self, waiter: asyncio.Future[bytes], request: AskController, timing: Timing) -> None:
        if waiter.done():
            return
        if not timing.seeking:
            self._peer.silent()
        waiter.set_exception(
            NoReply(
                f"cannot get an answer from controller {request.serial} at {self._peer.where}:"
                f" nothing in {timing.response_s:g} s"
            )
        )


def _note(swipes: dict[int, tuple[int, int]], event: uhppote.Event) -> None:
    if event.kind == uhppote.SWIPE and event.granted and event.card and event.door in uhppote.DOORS:
        swipes[event.door] = event.index, event.card
