"""Modbus TCP: one connection to one device or gateway, one transaction at a time.

Answers are matched by transaction id, so one that comes late is dropped and the next question need not wait for it.
A loss fails the question in flight at once. After three timeouts in a row the connection is taken for half-open and
made anew. Frames are `framing.modbus`; the connection itself is `stream`.
"""

import asyncio
from collections import deque

from gantry_agent.core.stethoscope import Ending, Trouble
from gantry_agent.field.bus.journal import Backoff, Journal, number_setting, text_setting
from gantry_agent.field.bus.stream import Stream, connect
from gantry_agent.field.framing import modbus
from gantry_agent.field.request import Reply, Request, Timing
from gantry_agent.model import BadReply, Bus, BusDown, NoReply

PORT = 502
TIMEOUTS_TO_RECONNECT = 3


class ModbusTcp:
    """The link of a `modbus-tcp` bus."""

    def __init__(self, bus: Bus) -> None:
        self._host = text_setting(bus.settings, "host")
        self._port = int(number_setting(bus.settings, "port", PORT))
        self._where = f"{self._host} port {self._port}"
        self._turn = asyncio.Lock()
        self.journal = Journal()
        self._backoff = Backoff()
        self._down_why = ""  # why there is no connection, for those who ask during the back-off
        self._stream: Stream | None = None
        self._received = bytearray()
        self._transaction = 0
        self._waiter: asyncio.Future[modbus.Mbap] | None = None
        self._not_before = 0.0
        self._timeouts = 0
        self._expired: deque[tuple[int, float]] = deque(maxlen=8)  # transactions without an answer, and when sent
        self._closed = asyncio.Event()

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - answers are told apart by their number
        return self._not_before - asyncio.get_running_loop().time()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        if not isinstance(request, modbus.ModbusRequest):
            raise TypeError(f"cannot ask {self._where} for {request}: not a Modbus request")
        pdu = modbus.encode(request)
        async with self._turn:
            with self.journal.transaction(request.unit, seeking=timing.seeking):
                stream = await self._connected()
                answer, latency_s = await self._exchange(stream, request.unit, pdu, timing)
                reply = self._judge(request, answer)
            if not timing.seeking:
                self.journal.answered(request.unit, latency_s)
            return reply

    async def close(self) -> None:
        self._closed.set()
        stream, self._stream = self._stream, None
        self._fail("bus closed")
        if stream is not None:
            await stream.close()

    async def _connected(self) -> Stream:
        if self._stream is not None:
            return self._stream
        loop = asyncio.get_running_loop()
        if self._closed.is_set():
            raise NoReply(f"cannot ask {self._where}: bus closed")
        if (wait_s := self._backoff.remaining_s(loop.time())) > 0:
            why = f" ({self._down_why})" if self._down_why else ""
            raise BusDown(f"cannot reach {self._where}: connection is down{why}, next attempt in {wait_s:.1f} s")
        self._down_why = ""
        try:
            stream = await connect(self._host, self._port, self._on_bytes, self._on_lost)
        except NoReply as error:
            self._down_why = str(error)
            self._backoff.failed(loop.time())
            raise
        if self._closed.is_set():
            await stream.close()
        if stream.lost:
            self._backoff.failed(loop.time())
            raise BusDown(f"cannot ask {self._where}: connection closed at once")
        self._received.clear()
        self._timeouts = 0
        self._stream = stream
        return stream

    async def _exchange(self, stream: Stream, unit: int, pdu: bytes, timing: Timing) -> tuple[modbus.Mbap, float]:
        loop = asyncio.get_running_loop()
        if (wait_s := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        if stream.lost:
            raise NoReply(f"cannot ask {self._where}: connection lost")
        self._transaction = self._transaction % 0xFFFF + 1
        frame = modbus.mbap_frame(self._transaction, unit, pdu)
        self._received.clear()  # half an answer whose rest never came
        waiter = self._waiter = loop.create_future()
        sent = loop.time()
        stream.write(frame)
        self.journal.frame(sent, "sent", frame)
        timer = loop.call_at(sent + timing.response_s, self._expire, waiter, unit, timing)
        try:
            answer = await waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._not_before = loop.time() + timing.gap_s
        return answer, loop.time() - sent

    def _judge(self, request: modbus.ModbusRequest, answer: modbus.Mbap) -> Reply:
        self._timeouts = 0
        self._backoff.worked()
        if answer.unit != request.unit:
            self.journal.ended(Trouble(Ending.FOREIGN))
            raise BadReply(f"cannot use the answer of {self._where}: unit {answer.unit} instead of {request.unit}")
        return modbus.decode(request, answer.pdu)

    def _expire(self, waiter: asyncio.Future[modbus.Mbap], unit: int, timing: Timing) -> None:
        if waiter.done():
            return
        self._expired.append((self._transaction, asyncio.get_running_loop().time() - timing.response_s))
        self._timeouts += not timing.seeking
        if self._timeouts >= TIMEOUTS_TO_RECONNECT and self._stream is not None:
            # No back-off: it may be that three of a gateway's units are dead, and the fourth is not to suffer for it.
            self._stream.abort()
            self._stream = None
        waiter.set_exception(
            NoReply(f"cannot get an answer from unit {unit} of {self._where} in {timing.response_s:g} s")
        )

    def _on_bytes(self, data: bytes) -> None:
        self.journal.frame(asyncio.get_running_loop().time(), "received", data)
        self._received += data
        try:
            while (frame := modbus.take_mbap(self._received)) is not None:
                del self._received[: frame.size]
                self._absorb(frame)
        except BadReply as error:
            self._drop()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(error)

    def _absorb(self, frame: modbus.Mbap) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done() or frame.transaction != self._transaction:
            now = asyncio.get_running_loop().time()
            took_s = next((now - sent for number, sent in self._expired if number == frame.transaction), None)
            self.journal.came_late(frame.unit, took_s)
            return
        waiter.set_result(frame)

    def _on_lost(self, why: str) -> None:
        self._down_why = why
        self.journal.lost(asyncio.get_running_loop().time())
        self._drop()
        self._fail(why)

    def _drop(self) -> None:
        """Give the connection up; the next question opens another after the back-off."""
        if self._stream is not None:
            self._stream.abort()
            self._stream = None
            self._backoff.failed(asyncio.get_running_loop().time())

    def _fail(self, why: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoReply(f"cannot get an answer from {self._where}: {why}"))
