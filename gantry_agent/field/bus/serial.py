"""A line: Modbus RTU on a tty, or through a transparent TCP converter, with its turn-taking.

RTU answers carry no number, so nothing but discipline tells whose they are. Before each question the line has been
silent for 3.5 characters; an answer is complete when its length says so; and after a question that got no good
answer – timeout, broken frame, cancellation – the line is held until the answer can no longer come, or has come and
been thrown away. What arrives while nobody waits is never looked at as an answer.

For some seconds more the unit stays in doubt: converters on radio links deliver answers seconds late. While a unit
owes an answer of the same shape from another address, an answer is only believed if no second one follows it.

Frames are `framing.modbus`; the port is `tty`, the connection `stream`.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gantry_agent.field.bus.journal import Backoff, Frame, Journal, UnitStatistics, number_setting, text_setting
from gantry_agent.field.bus.stream import connect
from gantry_agent.field.bus.tty import open_tty
from gantry_agent.field.framing import modbus
from gantry_agent.field.request import ReadBits, ReadRegisters, Reply, Request, Timing
from gantry_agent.model import BadReply, Bus, NoReply, Value

FAST_SILENCE_S = 0.00175  # Modbus over Serial Line V1.02 §2.5.1.1, above 19200 baud
BABBLE_S = 1.0  # a line that is not silent for a moment in this long is not worth waiting for
DOUBT_S = 5.0
LEAST_LISTENING_S = 0.02
LEAST_REST_S = 0.002  # below this, asking for a rest costs more than it saves
SILENT_TO_RECONNECT = 5  # only converters: one that restarted may keep a dead connection
KEPT_BYTES = 1024  # four of the longest frames; of a line that babbles only the latest bytes matter


class Wire(Protocol):
    """What carries the bytes: a tty or a TCP connection."""

    lost: bool

    def write(self, data: bytes) -> None: ...
    def rest(self, seconds: float) -> None: ...
    def abort(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a character takes on the line, and how long the silence between frames is at least."""

    character_s: float
    silence_s: float


def pace(settings: Mapping[str, Value | None]) -> Pace:
    """Work out the pace of a line from its settings."""
    baudrate = number_setting(settings, "baudrate", 9600)
    parity_bits = 0 if text_setting(settings, "parity", "N") == "N" else 1
    bits = 1 + number_setting(settings, "bytesize", 8) + parity_bits + number_setting(settings, "stopbits", 1)
    return Pace(bits / baudrate, FAST_SILENCE_S if baudrate > 19200 else 3.5 * bits / baudrate)


@dataclass(frozen=True, slots=True)
class _Owed:
    """A question whose answer may still come until `until`."""

    request: modbus.ModbusRequest
    until: float


class Line:
    """The link of a `serial` or `serial-tcp` bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._where = bus.name
        self._pace = pace(bus.settings)
        self._turn = asyncio.Lock()
        self._journal = Journal()
        self._backoff = Backoff()
        self._wire: Wire | None = None
        self._received = b""
        self._heard_at = 0.0  # when the line was last busy
        self._not_before = 0.0
        self._deadline = 0.0
        self._asked: modbus.ModbusRequest | None = None
        self._waiter: asyncio.Future[modbus.RtuFound | None] | None = None
        self._pause: asyncio.Future[None] | None = None
        self._owed: _Owed | None = None
        self._doubts: deque[_Owed] = deque(maxlen=64)
        self._echoes: bool | None = None  # unknown until an answer has shown it
        self._silent = 0
        self._closed = asyncio.Event()

    @property
    def statistics(self) -> Mapping[int, UnitStatistics]:
        return self._journal.statistics

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self._journal.frames

    async def transact(self, request: Request, timing: Timing) -> Reply:
        if not isinstance(request, modbus.ModbusRequest):
            raise TypeError(f"cannot ask {request} on {self._where}: not a Modbus request")
        if request.unit == 0:
            raise ValueError(f"cannot ask {request} on {self._where}: nobody answers to unit 0")
        frame = modbus.rtu_request(request)
        async with self._turn:
            with self._journal.transaction(request.unit):
                wire = await self._opened()
                await self._silence()
                if wire.lost:
                    raise NoReply(f"cannot ask on {self._where}: port lost")
                pdu, latency_s = await self._exchange(wire, request, frame, timing)
                reply = modbus.decode(request, pdu)
            self._journal.answered(request.unit, latency_s)
            return reply

    async def close(self) -> None:
        self._closed.set()
        wire, self._wire = self._wire, None
        self._fail("bus closed")
        if wire is not None:
            await wire.close()

    # --- the wire ---------------------------------------------------------------------------------------------------

    async def _opened(self) -> Wire:
        loop = asyncio.get_running_loop()
        if self._wire is not None and not self._wire.lost:
            return self._wire
        if self._closed.is_set():
            raise NoReply(f"cannot ask on {self._where}: bus closed")
        if (wait_s := self._backoff.remaining_s(loop.time())) > 0:
            raise NoReply(f"cannot ask on {self._where}: port is down, next attempt in {wait_s:.1f} s")
        if self._wire is not None:
            await self._wire.close()  # never two openings of one port
            self._wire = None
        try:
            wire = await self._open()
        except NoReply:
            self._backoff.failed(loop.time())
            raise
        if self._closed.is_set():
            await wire.close()
        self._silent = 0
        self._heard_at = loop.time()  # what is on the line now is somebody's unfinished talk
        self._wire = wire
        return wire

    async def _open(self) -> Wire:
        settings = self._bus.settings
        if self._bus.kind == "serial":
            return await open_tty(settings, self._on_bytes, self._on_lost)
        port = int(number_setting(settings, "port", 4001))
        return await connect(text_setting(settings, "host"), port, self._on_bytes, self._on_lost)

    def _on_lost(self, why: str) -> None:
        self._backoff.failed(asyncio.get_running_loop().time())
        self._fail(why)

    def _fail(self, why: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoReply(f"cannot get an answer on {self._where}: {why}"))

    # --- turn-taking ------------------------------------------------------------------------------------------------

    async def _silence(self) -> None:
        """Wait until the line has been silent long enough and no answer is owed any more."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # what already waits in the kernel is heard before the clock is read
        patience = loop.time() + BABBLE_S
        while True:
            now = loop.time()
            owed_s = self._owed.until - now if self._owed is not None else 0.0
            wait_s = max(self._heard_at + self._pace.silence_s - now, self._not_before - now, owed_s)
            if wait_s <= 0:
                self._owed = None
                self._received = b""
                return
            if owed_s > 0 or self._not_before > now:
                patience = now + wait_s + BABBLE_S
            elif now > patience:
                raise NoReply(f"cannot ask on {self._where}: the line has not been silent for {BABBLE_S:g} s")
            await self._rest(wait_s)

    async def _rest(self, wait_s: float) -> None:
        """Wait, or until an owed answer has come."""
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        timer = loop.call_later(wait_s, _release, self._pause)
        try:
            await self._pause
        finally:
            timer.cancel()
            self._pause = None

    async def _exchange(
        self, wire: Wire, request: modbus.ModbusRequest, frame: bytes, timing: Timing
    ) -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        on_wire_s = (len(frame) + modbus.reply_size(request) + 3) * self._pace.character_s
        self._owed = _Owed(request, sent + on_wire_s + 2 * timing.response_s)  # stands unless the answer is good
        self._asked = request
        self._waiter = loop.create_future()
        self._heard_at = sent + len(frame) * self._pace.character_s
        wire.write(frame)
        self._journal.frame(sent, "sent", frame)
        self._deadline = sent + on_wire_s + timing.response_s
        timer = loop.call_at(self._deadline, self._expire)
        try:
            found = await self._waiter
            latency_s = loop.time() - sent
            if found is None:
                raise self._no_answer(request, timing)
            await self._believe(request, found, sent, on_wire_s, timing)
            self._owed = None
        except NoReply:
            self._note_silence(wire)
            raise
        finally:
            timer.cancel()
            self._waiter = None
            self._asked = None
            if self._received:
                self._journal.frame(loop.time(), "received", self._received)
            if self._owed is not None:
                self._doubts.append(_Owed(request, self._owed.until + DOUBT_S))
        self._silent = 0
        self._backoff.worked()
        self._not_before = loop.time() + timing.gap_s
        return found.pdu, latency_s

    async def _believe(
        self, request: modbus.ModbusRequest, found: modbus.RtuFound, sent: float, on_wire_s: float, timing: Timing
    ) -> None:
        """Hold an answer against the one the unit may still owe: if two come, it cannot be told which is which."""
        if found.echoed or not modbus.repeats_request(request):
            self._echoes = found.echoed
        if not self._doubtful(request):
            return
        loop = asyncio.get_running_loop()
        slowest_s = self._journal.slowest_s(request.unit)
        listen_s = timing.response_s if slowest_s is None else max(2 * slowest_s, LEAST_LISTENING_S)
        await asyncio.sleep(max(sent + min(listen_s, on_wire_s + timing.response_s) - loop.time(), 0))
        if modbus.find_rtu_reply(request, self._received[found.end :]) is not None:
            self._owed = None
            self._journal.came_late(request.unit)
            raise BadReply(
                f"cannot tell which of two answers of unit {request.unit} on {self._where} is the one asked for"
            )

    def _doubtful(self, request: modbus.ModbusRequest) -> bool:
        """Tell whether the unit may still owe an answer that looks like one to `request` and is none."""
        now = asyncio.get_running_loop().time()
        while self._doubts and self._doubts[0].until < now:
            self._doubts.popleft()
        if not isinstance(request, ReadRegisters | ReadBits):
            return False  # answers to writes repeat the address
        return any(owed.request != request and _shape(owed.request) == _shape(request) for owed in self._doubts)

    def _no_answer(self, request: modbus.ModbusRequest, timing: Timing) -> NoReply | BadReply:
        received = self._received
        if not received or received == modbus.rtu_request(request):
            heard = "only our own echo" if received else "nothing"
            return NoReply(
                f"cannot get an answer from unit {request.unit} on {self._where}: {heard} in {timing.response_s:g} s"
            )
        what = modbus.explain_rtu(request, received)
        return BadReply(f"cannot use the answer of unit {request.unit} on {self._where}: {what}")

    def _note_silence(self, wire: Wire) -> None:
        self._silent += 1
        if self._bus.kind == "serial-tcp" and self._silent >= SILENT_TO_RECONNECT and not wire.lost:
            wire.abort()
            self._backoff.failed(asyncio.get_running_loop().time())

    # --- what arrives -----------------------------------------------------------------------------------------------

    def _on_bytes(self, data: bytes) -> None:
        self._heard_at = max(self._heard_at, asyncio.get_running_loop().time())
        self._received = (self._received + data)[-KEPT_BYTES:]
        if self._waiter is not None:
            # Whether the line echoes is unknown until a read has shown it. Till then an answer that is the request's
            # own bytes might be an echo: it is believed only when no second copy has come in the whole time.
            self._offer(echoes=self._echoes is not False)
            self._rest_wire()
        elif (owed := self._owed) is not None:
            if modbus.find_rtu_reply(owed.request, self._received, echoes=bool(self._echoes)) is not None:
                self._journal.frame(self._heard_at, "received", self._received)
                self._journal.came_late(owed.request.unit)
                self._owed = None
                self._doubts.pop()
                if self._pause is not None:
                    _release(self._pause)
        elif self._pause is None:
            self._journal.frame(self._heard_at, "received", data)

    def _offer(self, *, echoes: bool) -> None:
        if self._waiter is None or self._waiter.done() or self._asked is None:
            return
        if (found := modbus.find_rtu_reply(self._asked, self._received, echoes=echoes)) is not None:
            self._waiter.set_result(found)

    def _rest_wire(self) -> None:
        """Let the rest of the answer come before looking again: at 9600 baud a byte takes a millisecond."""
        if self._waiter is None or self._waiter.done() or self._asked is None or self._wire is None:
            return
        length = modbus.rtu_reply_length(self._asked, self._received[:2]) or modbus.RTU_EXCEPTION_LENGTH
        rest_s = (length - len(self._received) - 2) * self._pace.character_s  # the last two wake us in good time
        if rest_s >= LEAST_REST_S and self._heard_at + rest_s < self._deadline:
            self._wire.rest(rest_s)

    def _expire(self) -> None:
        if self._echoes is None:
            self._offer(echoes=False)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _release(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)


def _shape(request: modbus.ModbusRequest) -> tuple[int, int, int]:
    """Tell what answers to this request look like: two of one shape cannot be told apart."""
    return request.unit, modbus.function(request), modbus.reply_size(request)
