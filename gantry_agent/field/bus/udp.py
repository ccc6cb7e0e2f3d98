"""A device that is asked by datagrams of its maker's own: one question, one answer, one device behind each port.

How a question looks and what is its answer is `framing`; a new maker is one module there and one row here. What comes
and is no answer is counted and passed over. An answer that comes late can only be mistaken for the answer to the same
question asked again. Retrying is the poller's.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gantry_agent.field.bus.peer import Dialogue
from gantry_agent.field.framing import huazi
from gantry_agent.field.request import AskSurge, Reply, Request, Timing
from gantry_agent.model import Bus


@dataclass(frozen=True, slots=True)
class Framing:
    """What is asked of a maker's datagrams; both functions take the request first. An answer is given back whole."""

    frame: Callable[[Any], bytes]
    is_answer: Callable[[Any, bytes], bool]


FRAMINGS: Final[Mapping[type, Framing]] = {AskSurge: Framing(huazi.frame, huazi.is_answer)}


class Datagrams:
    """The link of a `udp` bus."""

    def __init__(self, bus: Bus) -> None:
        self._dialogue = Dialogue(bus, None)
        self.journal = self._dialogue.journal
        self._turn = asyncio.Lock()

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - there is one question
        return self._dialogue.held_s()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        loop = asyncio.get_running_loop()
        where = self._dialogue.where
        if not isinstance(request, AskSurge):
            raise TypeError(f"cannot ask {where} for {request}: not asked by datagrams")
        framing = FRAMINGS[type(request)]
        async with self._turn:
            with self.journal.transaction(request.unit, seeking=timing.seeking):
                began = loop.time()
                reply = await self._dialogue.ask(
                    request.unit,
                    framing.frame(request),
                    partial(framing.is_answer, request),
                    timing,
                    f"unit {request.unit} of {where}",
                )
            if not timing.seeking:
                self.journal.answered(request.unit, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._dialogue.close()
