"""UHPPOTE / Weigeng door controllers behind one UDP address, usually one; one question at a time.

An answer is told by its function and the controller's serial number (`framing.uhppote`), and where a card or an event
was asked for, by that. One that comes late can only be mistaken for the answer to the same question asked again. What a
controller notes between two readings of its status is fetched with the next one, in the same transaction: the card that
opened a door and the door's opening follow each other within a second, and the status shows the newest event only.
"""

import asyncio
from functools import partial
from typing import Final

from gantry_agent.field.bus.peer import Dialogue
from gantry_agent.field.framing import uhppote
from gantry_agent.field.request import AskController, ControllerState, ReadController, Reply, Request, Timing
from gantry_agent.model import Bus

PORT: Final = 60000
MOST_EVENTS: Final = 8  # fetched with one status: more is no person at a door, and an order waits for all of it


class Controllers:
    """The link of a `uhppote` bus."""

    def __init__(self, bus: Bus) -> None:
        self._dialogue = Dialogue(bus, PORT)
        self.journal = self._dialogue.journal
        self._turn = asyncio.Lock()
        self._newest: dict[int, int] = {}  # by serial number, the event that was seen last
        self._swipes: dict[int, dict[int, tuple[int, int]]] = {}  # by serial number and door: event, card

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - answers are told apart by what they say
        return self._dialogue.held_s()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        loop = asyncio.get_running_loop()
        if not isinstance(request, AskController | ReadController):
            raise TypeError(f"cannot ask {self._dialogue.where} for {request}: not for a UHPPOTE controller")
        async with self._turn:
            with self.journal.transaction(request.unit, seeking=timing.seeking):
                began = loop.time()
                reply: Reply
                if isinstance(request, ReadController):
                    reply = await self._read(request, timing)
                else:
                    reply = uhppote.check(request, await self._exchange(request, timing))
            if not timing.seeking:
                self.journal.answered(request.unit, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._dialogue.close()

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

    async def _exchange(self, request: AskController, timing: Timing) -> bytes:
        return await self._dialogue.ask(
            request.unit,
            uhppote.frame(request),
            partial(uhppote.answers, request),
            timing,
            f"controller {request.serial} at {self._dialogue.where}",
        )


def _note(swipes: dict[int, tuple[int, int]], event: uhppote.Event) -> None:
    if event.kind == uhppote.SWIPE and event.granted and event.card and event.door in uhppote.DOORS:
        swipes[event.door] = event.index, event.card
