"""A device that is asked by datagrams of its maker's own: one question, one answer, one device behind each port.

How a question looks and what is its answer is `framing`; a new maker is one module there and one row here. What comes
and is no answer is counted and passed over. An answer that comes late can only be mistaken for the answer to the same
question asked again. Retrying is the poller's.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gantry_agent.field.bus.journal import Frame, Journal, UnitStatistics
from gantry_agent.field.bus.peer import Peer
from gantry_agent.field.framing import huazi
from gantry_agent.field.request import AskSurge, Reply, Request, Timing
from gantry_agent.model import Bus, NoReply


@dataclass(frozen=True, slots=True)
class Framing:
    """What is asked of a maker's datagrams; both functions take the request first. An answer is given back whole."""

    frame: Callable[[Any], bytes]
    is_answer: Callable[[Any, bytes], bool]


FRAMINGS: Final[Mapping[type, Framing]] = {AskSurge: Framing(huazi.frame, huazi.is_answer)}


class Datagrams:
    """The link of a `udp` bus."""

    def __init__(self, bus: Bus) -> None:
        self._peer = Peer(bus, None, self._absorb, self._fail)
        self._turn = asyncio.Lock()
        self._journal = Journal()
        self._asked: tuple[AskSurge, asyncio.Future[bytes]] | None = None
        self._not_before = 0.0

    @property
    def journal(self) -> Journal:
        return self._journal

    @property
    def statistics(self) -> Mapping[int, UnitStatistics]:
        return self._journal.statistics

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self._journal.frames

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - there is one question
        return self._not_before - asyncio.get_running_loop().time()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        loop = asyncio.get_running_loop()
        if not isinstance(request, AskSurge):
            raise TypeError(f"cannot ask {self._peer.where} for {request}: not asked by datagrams")
        async with self._turn:
            with self._journal.transaction(request.unit, seeking=timing.seeking):
                began = loop.time()
                reply = await self._exchange(request, timing)
            if not timing.seeking:
                self._journal.answered(request.unit, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._peer.close()

    async def _exchange(self, request: AskSurge, timing: Timing) -> bytes:
        loop = asyncio.get_running_loop()
        if (wait_s := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        transport = await self._peer.opened()
        datagram = FRAMINGS[type(request)].frame(request)
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

    def _absorb(self, data: bytes) -> None:
        """Take a datagram of the device's address."""
        self._journal.frame(asyncio.get_running_loop().time(), "received", data)
        if self._asked is None:
            self._journal.came_late(0)
            return
        request, waiter = self._asked
        if waiter.done() or not FRAMINGS[type(request)].is_answer(request, data):
            self._journal.came_late(request.unit)
            return
        waiter.set_result(data)

    def _fail(self, error: NoReply) -> None:
        if self._asked is not None and not self._asked[1].done():
            self._asked[1].set_exception(error)

    def _expire(self, waiter: asyncio.Future[bytes], request: AskSurge, timing: Timing) -> None:
        if waiter.done():
            return
        if not timing.seeking:
            self._peer.silent()
        waiter.set_exception(
            NoReply(
                f"cannot get an answer from unit {request.unit} of {self._peer.where}:"
                f" nothing in {timing.response_s:g} s"
            )
        )
