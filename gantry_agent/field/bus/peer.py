"""One far end over UDP: the socket of the links that ask one device or gateway by datagrams.

It is opened at the first question, and anew after some silence, since the name may mean another address by then. It is
connected, so that the kernel lets only that address's datagrams through and tells when the host says that nobody
listens there. While it cannot be had, those who ask in between are told why, and when the next attempt is due. What is
sent, and what an answer is, is not known here. A `Dialogue` is one question and its answer at a time with such a peer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gantry_agent.field.bus.journal import Backoff, Journal, number_setting, text_setting
from gantry_agent.field.request import Timing
from gantry_agent.model import Bus, BusDown, NoReply

OPEN_S: Final = 3.0
TIMEOUTS_TO_REOPEN: Final = 3


class Peer:
    """`take` gets every datagram that comes, `fail` why none will come for the question that waits, if any."""

    def __init__(
        self, bus: Bus, port: int | None, take: Callable[[bytes], None], fail: Callable[[NoReply], None]
    ) -> None:
        self._host = text_setting(bus.settings, "host")
        self._port = int(number_setting(bus.settings, "port", port or 0))
        self.where = f"{self._host} port {self._port}"
        self._take, self._fail = take, fail
        self._backoff = Backoff()
        self._down_why = ""  # why there is no socket, for those who ask during the back-off
        self._transport: asyncio.DatagramTransport | None = None
        self._protocol: _Datagrams | None = None
        self._silences = 0
        self._closed = asyncio.Event()

    async def opened(self) -> asyncio.DatagramTransport:
        """Give the socket. Raises BusDown while it cannot be had, NoReply once this is closed."""
        loop = asyncio.get_running_loop()
        self._check_open()
        if self._silences >= TIMEOUTS_TO_REOPEN:
            await self._give_up()
            self._silences = 0
        if self._transport is not None:
            return self._transport
        if (wait_s := self._backoff.remaining_s(loop.time())) > 0:
            raise BusDown(f"cannot reach {self.where}: {self._down_why}, next attempt in {wait_s:.1f} s")
        try:
            async with asyncio.timeout(OPEN_S):
                transport, protocol = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._take, self._refused), remote_addr=(self._host, self._port)
                )
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError; UnicodeError: a name that is no name
            self._backoff.failed(loop.time())
            self._down_why = str(error) or f"name not resolved within {OPEN_S:g} s"
            raise BusDown(f"cannot reach {self.where}: {self._down_why}") from error
        self._transport, self._protocol = transport, protocol
        if self._closed.is_set():
            await self._give_up()
        self._check_open()
        return transport

    def answered(self) -> None:
        """Note that a question got its answer."""
        self._silences = 0
        self._backoff.worked()

    def silent(self) -> None:
        """Note that a question got none."""
        self._silences += 1

    async def close(self) -> None:
        """Give the socket back; a question that waits fails."""
        self._closed.set()
        self._fail(NoReply(f"cannot get an answer from {self.where}: bus closed"))
        await self._give_up()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise NoReply(f"cannot ask {self.where}: bus closed")

    def _refused(self, error: Exception) -> None:
        """The host, or a router on the way, says that there is nobody: it is the way there, not the device."""
        down = BusDown(f"cannot get an answer from {self.where}: {error}")
        down.__cause__ = error
        self._fail(down)

    async def _give_up(self) -> None:
        transport, protocol = self._transport, self._protocol
        self._transport = self._protocol = None
        if transport is not None and protocol is not None:
            transport.abort()
            await asyncio.shield(protocol.gone)


@dataclass(frozen=True, slots=True)
class _Question:
    unit: int
    is_answer: Callable[[bytes], bool]
    waiter: asyncio.Future[bytes]


class Dialogue:
    """One question at a time; what comes and is no answer to it is counted and passed over."""

    def __init__(self, bus: Bus, port: int | None) -> None:
        self._peer = Peer(bus, port, self._absorb, self._fail)
        self.where = self._peer.where
        self.journal = Journal()
        self._asked: _Question | None = None
        self._not_before = 0.0

    def held_s(self) -> float:
        """Tell how long the pause after the last answer still lasts."""
        return self._not_before - asyncio.get_running_loop().time()

    async def ask(
        self, unit: int, datagram: bytes, is_answer: Callable[[bytes], bool], timing: Timing, whom: str
    ) -> bytes:
        """Ask and give the answer whole. Raises NoReply, which names `whom`, or BusDown."""
        loop = asyncio.get_running_loop()
        if (wait_s := self.held_s()) > 0:
            await asyncio.sleep(wait_s)
        transport = await self._peer.opened()
        waiter: asyncio.Future[bytes] = loop.create_future()
        self._asked = _Question(unit, is_answer, waiter)
        self.journal.frame(loop.time(), "sent", datagram)
        transport.sendto(datagram)
        timer = loop.call_later(timing.response_s, self._expire, waiter, timing, whom)
        try:
            answer = await waiter
        finally:
            timer.cancel()
            self._asked = None
            self._not_before = loop.time() + timing.gap_s
        self._peer.answered()
        return answer

    async def close(self) -> None:
        """Give the socket back; a question that waits fails."""
        await self._peer.close()

    def _absorb(self, data: bytes) -> None:
        self.journal.frame(asyncio.get_running_loop().time(), "received", data)
        asked = self._asked
        if asked is None or asked.waiter.done() or not asked.is_answer(data):
            self.journal.came_late(asked.unit if asked else 0)
            return
        asked.waiter.set_result(data)

    def _fail(self, error: NoReply) -> None:
        if self._asked is not None and not self._asked.waiter.done():
            self._asked.waiter.set_exception(error)

    def _expire(self, waiter: asyncio.Future[bytes], timing: Timing, whom: str) -> None:
        if waiter.done():
            return
        if not timing.seeking:
            self._peer.silent()
        waiter.set_exception(NoReply(f"cannot get an answer from {whom}: nothing in {timing.response_s:g} s"))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes], None], refused: Callable[[Exception], None]) -> None:
        self._take, self._refused = take, refused
        self.gone = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        self._take(data)

    def error_received(self, exc: Exception) -> None:
        self._refused(exc)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.gone.set_result(None)
