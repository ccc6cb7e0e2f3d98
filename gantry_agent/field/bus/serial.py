"""A line: Modbus RTU on a tty, or through a transparent TCP converter, with its turn-taking.

RTU answers carry no number, so nothing but discipline tells whose they are. Before each question the line has been
silent for 3.5 characters; an answer is complete when its length says so; and a unit that gave no good answer –
timeout, broken frame, cancellation – is asked nothing more until its answer can no longer come, or has come and been
thrown away. What arrives while nobody waits is never looked at as an answer.

Other units need not wait for that: an answer carries its unit's address under the CRC, so one that comes late while
another unit is asked is known for what it is and cut out. All it can do is collide with that question, which then
fails its CRC and is asked again; no value is ever at stake. A unit whose answers do come late is found out by the
first of them, and for an hour the whole line is held for it, or until that was in vain three times. So a dead unit
costs one response time, not two.

For some seconds more its answer is in doubt: `debts` has the rule by which it is never taken for another's. What no
master can tell on RTU: an answer later than that, a second copy of one that came, one to another master that asked the
same unit for as much. Then a value may stand at a wrong point until the next reading of it.

Units of all framings may share the line: turns, silences and what is owed are the same for YD/T 1363 and Megatec units.
Only what a frame looks like differs, and that is `framing.speech`; the port is `tty`, the connection `stream`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gantry_agent.core.stethoscope import Ending, Stray
from gantry_agent.field.bus.debts import Debts
from gantry_agent.field.bus.journal import Backoff, Journal, number_setting, text_setting
from gantry_agent.field.bus.stream import connect
from gantry_agent.field.bus.tty import open_tty
from gantry_agent.field.framing import autopsy, modbus, speech
from gantry_agent.field.framing.found import Found
from gantry_agent.field.request import Reply, Request, Timing
from gantry_agent.model import BadReply, Bus, BusDown, DeviceRefused, NoReply, Value

FAST_SILENCE_S = 0.00175  # Modbus over Serial Line V1.02 §2.5.1.1, above 19200 baud
BABBLE_S = 1.0  # a line that is not silent for a moment in this long is not worth waiting for
KEPT_ANSWERS = 512  # to tell where a broken one broke; a site has tens of blocks
PIECES_S = 0.1  # converters hand a long answer over in pieces, with pauses between them
LEAST_REST_S = 0.002  # below this, asking for a rest costs more than it saves
SILENT_TO_RECONNECT = 3  # only converters: one that restarted may keep a dead connection
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


class Line:
    """The link of a `serial` or `serial-tcp` bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._where = bus.name
        self._pace = pace(bus.settings)
        self._turn = asyncio.Lock()
        self.journal = Journal()
        self._backoff = Backoff()
        self._down_why = ""  # why the port is not open, for those who ask during the back-off
        self._wire: Wire | None = None
        self._received = b""
        self._heard_at = 0.0  # when the line was last busy
        self._calm_at = 0.0  # when it last was silent between frames, or had an answer of ours to carry
        self._not_before = 0.0
        self._deadline = 0.0
        self._latest = 0.0  # no answer is waited for any longer, whatever length it promises
        self._expiry: asyncio.TimerHandle | None = None
        self._asked: speech.LineRequest | None = None
        self._waiter: asyncio.Future[Found | None] | None = None
        self._pause: asyncio.Future[None] | None = None
        self._debts = Debts()
        self._echoes: bool | None = None  # unknown until an answer has shown it
        self._silent = 0
        self._first_at: float | None = None  # when the answer began
        self._silence_s: float | None = None  # before it
        self._last_unit = 0
        self._ending = Ending.GOOD
        self._earlier: dict[bytes, bytes] = {}  # by question: the latest good answer
        self._told = 0  # so many of the bytes received belong to a question that failed
        self._closed = asyncio.Event()

    def held_s(self, request: Request | None = None) -> float:
        now = asyncio.get_running_loop().time()
        asked = request if isinstance(request, speech.LineRequest) else None
        # A line that babbles is never silent: it is called ready, since only `transact` says what is wrong with it.
        silent_at = self._heard_at + self._pace.silence_s if now - self._calm_at < BABBLE_S else now
        return max(silent_at, self._not_before, self._debts.held_until(asked, now)) - now

    async def transact(self, request: Request, timing: Timing) -> Reply:
        if not isinstance(request, speech.LineRequest):
            raise TypeError(f"cannot ask {request} on {self._where}: nothing that is spoken on a line")
        if request.unit == 0:
            raise ValueError(f"cannot ask {request} on {self._where}: nobody answers to unit 0")
        frame = speech.frame(request)
        async with self._turn:
            with self.journal.transaction(request.unit, seeking=timing.seeking):
                wire = await self._opened()
                await self._silence(request)
                if wire.lost:
                    raise NoReply(f"cannot ask on {self._where}: port lost")
                reply, latency_s = await self._exchange(wire, request, frame, timing)
            if not timing.seeking:
                self.journal.answered(request.unit, latency_s, self._silence_s, self._ending)
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
            why = f" ({self._down_why})" if self._down_why else ""
            raise BusDown(f"cannot ask on {self._where}: port is down{why}, next attempt in {wait_s:.1f} s")
        if self._wire is not None:
            await self._wire.close()  # never two openings of one port
            self._wire = None
        self._down_why = ""
        try:
            wire = await self._open()
        except NoReply as error:
            self._down_why = str(error)
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
        self._down_why = why
        self.journal.lost(asyncio.get_running_loop().time())
        self._backoff.failed(asyncio.get_running_loop().time())
        self._fail(why)

    def _fail(self, why: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoReply(f"cannot get an answer on {self._where}: {why}"))

    # --- turn-taking ------------------------------------------------------------------------------------------------

    async def _silence(self, request: speech.LineRequest) -> None:
        """Wait until the line has been silent long enough and no answer is owed that hurts this question."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # what already waits in the kernel is heard before the clock is read
        patience = loop.time() + BABBLE_S
        while True:
            now = loop.time()
            owed_s = self._debts.held_until(request, now) - now
            wait_s = max(self._heard_at + self._pace.silence_s - now, self._not_before - now, owed_s)
            if wait_s <= 0:
                if len(self._received) > self._told:
                    self._overhear(self._received[self._told :])
                self._received = b""
                return
            if owed_s > 0 or self._not_before > now:
                patience = now + wait_s + BABBLE_S
            elif now > patience:
                self.journal.stray(Stray.BABBLE, now)
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
        self, wire: Wire, request: speech.LineRequest, frame: bytes, timing: Timing
    ) -> tuple[Reply, float]:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        on_wire_s = (len(frame) + speech.answer_length(request)) * self._pace.character_s
        due = sent + on_wire_s + timing.response_s
        self._debts.asked(request, sent, due, timing.response_s)  # stands unless the answer is good
        self._asked = request
        self._last_unit = request.unit
        self._waiter = loop.create_future()
        self._heard_at = sent + len(frame) * self._pace.character_s
        self._first_at = None
        wire.write(frame)
        self.journal.frame(sent, "sent", frame)
        self._deadline = due
        self._latest = due + speech.framing(request).kept_bytes * self._pace.character_s
        self._expiry = loop.call_at(self._deadline, self._expire)
        try:
            found = await self._waiter
            latency_s = loop.time() - sent
            if found is None:
                silent_reply = self._without_answer(request, timing)
            else:
                self._believe(request, found)
            self._debts.paid(request)
        except DeviceRefused:  # by a silence that says no
            self._debts.paid(request)
            raise
        except NoReply:
            if not timing.seeking:
                self._note_silence(wire)
            raise
        finally:
            if self._expiry is not None:
                self._expiry.cancel()
            self._waiter = None
            self._asked = None
            if self._received:
                self.journal.frame(loop.time(), "received", self._received)
            self._told = len(self._received)
        if found is None:
            self._ending, self._silence_s = Ending.GOOD, None
        else:
            self._note_answer(found, frame, sent)
        self._silent = 0
        self._backoff.worked()
        self._not_before = loop.time() + timing.gap_s
        return silent_reply if found is None else speech.decode(request, found.pdu), latency_s

    def _believe(self, request: speech.LineRequest, found: Found) -> None:
        """Note what the answer shows of the line; a refusal is not believed while it may be another question's."""
        if found.echoed:
            self._echoes = True
        elif not speech.repeats_request(request) and not self._debts.repeated(request):
            self._echoes = False  # not so after an older answer: it may have come before the echo
        if self._debts.disputed(request, self._heard_at) and _says_no(request, found):
            raise BadReply(f"cannot tell what unit {request.unit} on {self._where} refused: it may be something older")

    def _without_answer(self, request: speech.LineRequest, timing: Timing) -> Reply:
        """Take silence for the answer where it is one, else raise why there is none."""
        heard = self._received.removeprefix(speech.frame(request)) if self._echoes else self._received
        if (reply := speech.silence(request, heard)) is not None:
            return reply
        raise self._no_answer(request, timing)

    def _no_answer(self, request: speech.LineRequest, timing: Timing) -> NoReply | BadReply:
        received = self._received
        if isinstance(request, modbus.ModbusRequest):
            frame = speech.frame(request)
            self.journal.ended(autopsy.dissect(request, received, self._earlier.get(frame, b"")))
            if autopsy.overheard(received.removeprefix(frame)) is Stray.QUESTION:
                self.journal.stray(Stray.QUESTION, self._heard_at)
        if not received or received == speech.frame(request):
            heard = "only our own echo" if received else "nothing"
            return NoReply(
                f"cannot get an answer from unit {request.unit} on {self._where}: {heard} in {timing.response_s:g} s"
            )
        what = speech.explain(request, received)
        return BadReply(f"cannot use the answer of unit {request.unit} on {self._where}: {what}")

    def _note_answer(self, found: Found, frame: bytes, sent: float) -> None:
        """Keep what the stethoscope wants to know of a good answer, and only what came behind it as received."""
        self._ending = Ending.ECHOED if found.echoed else Ending.NOISY if found.start else Ending.GOOD
        if self._ending is Ending.NOISY and autopsy.overheard(self._received[: found.start]) is Stray.QUESTION:
            self.journal.stray(Stray.QUESTION, self._heard_at)
        asked_s = len(frame) * self._pace.character_s
        silent = found.echoed or self._first_at is None
        self._silence_s = None if silent or self._first_at is None else self._first_at - sent - asked_s
        if len(self._earlier) >= KEPT_ANSWERS:
            self._earlier.clear()
        self._earlier[frame] = self._received[found.start : found.end]
        self._received, self._told = self._received[found.end :], 0

    def _overhear(self, heard: bytes) -> None:
        """Note what came when nobody had asked; a second answer of the unit asked last makes its first doubtful."""
        kind = autopsy.overheard(heard)
        self.journal.stray(kind, self._heard_at)
        if kind is Stray.ANSWER and heard[0] == self._last_unit:
            self.journal.twofold(heard[0])

    def _note_silence(self, wire: Wire) -> None:
        self._silent += 1
        if self._bus.kind == "serial-tcp" and self._silent >= SILENT_TO_RECONNECT and not wire.lost:
            wire.abort()  # without a back-off: it may be that only the units asked are dead

    # --- what arrives -----------------------------------------------------------------------------------------------

    def _on_bytes(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self._waiter is not None or now - self._heard_at > self._pace.silence_s:
            self._calm_at = now
        self._heard_at = max(self._heard_at, now)
        if self._first_at is None and self._waiter is not None:
            self._first_at = self._heard_at
        kept = KEPT_BYTES if self._asked is None else speech.framing(self._asked).kept_bytes
        self._received = (self._received + data)[-kept:]
        settled = self._settle()
        if self._waiter is not None:
            # Whether the line echoes is unknown until a read has shown it. Till then an answer that is the request's
            # own bytes might be an echo: it is believed only when no second copy has come in the whole time.
            self._offer(echoes=self._echoes is not False)
            self._rest_wire()
        elif self._pause is None and not self._debts.holding and not settled:
            self.journal.frame(self._heard_at, "received", data)

    def _settle(self) -> bool:
        """Look for answers that are owed from before, and cut them out of what came; tell whether there was one."""
        settled = False
        for request in self._debts.owed:
            if self._waiter is not None and self._asked is not None and request.unit == self._asked.unit:
                continue  # that one is not late
            found = speech.find(request, self._received, echoes=bool(self._echoes))
            if found is None:
                continue
            settled = True
            self.journal.frame(self._heard_at, "received", self._received)
            self._received = self._received[: found.start] + self._received[found.end :]
            self._told = len(self._received)
            if self._debts.disputed(request, self._heard_at) and _says_no(request, found):
                continue  # whose refusal it is cannot be told
            self.journal.came_late(request.unit, self._debts.came_late(request, self._heard_at))
            if self._pause is not None:
                _release(self._pause)
        return settled

    def _offer(self, *, echoes: bool) -> None:
        if self._waiter is None or self._waiter.done() or self._asked is None:
            return
        if (found := speech.find(self._asked, self._received, echoes=echoes)) is not None:
            self._waiter.set_result(found)

    def _rest_wire(self) -> None:
        """Let the rest of the answer come before looking again: at 9600 baud a byte takes a millisecond."""
        if self._waiter is None or self._waiter.done() or self._asked is None or self._wire is None:
            return
        missing = speech.to_come(self._asked, self._received)
        rest_s = (missing - 2) * self._pace.character_s  # the last two wake us in good time
        if rest_s >= LEAST_REST_S and self._heard_at + rest_s < self._deadline:
            self._wire.rest(rest_s)

    def _expire(self) -> None:
        """Give the answer up, unless it is still coming: how long one of YD/T 1363 is, only its own LENGTH says."""
        loop = asyncio.get_running_loop()
        promised = 0 if self._asked is None else speech.promised(self._asked, self._received)
        until = min(self._heard_at + promised * self._pace.character_s + PIECES_S, self._latest)
        if promised and loop.time() < until:
            self._deadline = until
            self._expiry = loop.call_at(until, self._expire)
            return
        if self._echoes is None:
            self._offer(echoes=False)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _says_no(request: speech.LineRequest, found: Found) -> bool:
    try:
        speech.decode(request, found.pdu)
    except (DeviceRefused, BadReply):
        return True
    return False


def _release(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
