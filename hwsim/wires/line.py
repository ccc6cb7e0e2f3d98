"""A serial line and the units on it: silence between frames, turn-taking, bytes at the pace of the baud rate.

Theory: on a real line a frame is what stands between two silences of 3.5 characters; a byte takes its bits' time; a
unit answers after its own thinking time. A pty or a socket delivers at once, so the line plays the time: a request
counts as received when its bytes would have passed, the answer's bytes go out one by one. A request that begins less
than 3.5 characters after the frame before it, or while somebody is sending, is not understood – as units on a line that
only watch the silence would see it.

Units that are asked in characters (`spoken`) may share the line; their frames show where they end, so they need no
silence before them.

With `fast` the line keeps no time: requests are answered at once and several in one piece are all served. Only a
transmitter that is stuck on (fault `babble`) keeps the pace of the baud rate even then.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from hwsim.devices import PRODUCTS
from hwsim.devices.image import ModbusProduct
from hwsim.faults import Fault, Piece, Spoilt, spoil
from hwsim.site import DeviceSpec
from hwsim.wires.modbus import Frame, Units, checked, rebuilt, rtu, rtu_length
from hwsim.wires.spoken import CR, FLAGS, Talkers
from hwsim.wires.tasks import Tasks
from hwsim.world import World

GAP_CHARACTERS = 3.5
FAST_BAUD_GAP_S = 0.00175  # above 19200 baud the standard fixes the silence
TOLERANCE = 0.9  # of the silence: what scheduling may take from a correct master
BROKEN_S = 0.03  # how long a frame may stand still before it is given up: a pty's writer is not a UART
LONGEST = 256
TURN_S = 0.002  # bytes are written in turns of this length at high baud rates
BABBLE_TURN_S = 0.001  # shorter than any silence between frames
NEWS_TURN_S = 0.05  # how soon a unit says unasked what it has seen
CALM_TURN_S = 0.1  # how soon a line begins to babble

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a character takes."""

    character_s: float

    @property
    def gap_s(self) -> float:
        return GAP_CHARACTERS * self.character_s if self.character_s > 11 / 19200 else FAST_BAUD_GAP_S


def pace(baudrate: int, parity: str, stopbits: float, bytesize: int) -> Pace:
    bits = 1 + bytesize + (parity != "N") + stopbits
    return Pace(bits / baudrate)


class Line:
    """The units of one line. `feed` what arrives; answers go out through `send`. `run` is the line's own task."""

    def __init__(self, world: World, specs: Mapping[int, DeviceSpec], pace: Pace, *, fast: bool) -> None:
        modbus = {unit: spec for unit, spec in specs.items() if isinstance(PRODUCTS[spec.profile], ModbusProduct)}
        self._units = Units(world, modbus)
        self._talkers = Talkers(world, specs)
        self._world = world
        self._pace = pace
        self._fast = fast
        self._arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._quiet_since = 0.0
        self._sending = asyncio.Lock()
        self._tasks = Tasks()
        self._specs = tuple(specs.values())
        self._babble_percent = 0
        self.broken = 0  # frames that were not understood

    def feed(self, data: bytes) -> None:
        self._arrived.put_nowait((asyncio.get_running_loop().time(), data))

    async def run(self, send: Send) -> None:
        self._tasks.start(self._babble(send))
        if self._talkers.unasked:
            self._tasks.start(self._tell(send))
        try:
            while True:
                for request in await self._requests():
                    if isinstance(request, bytes):
                        await self._serve_spoken(request, send)
                    else:
                        await self._serve(request, send)
        finally:
            await self._tasks.cancel()

    # --- receiving ---

    async def _requests(self) -> list[Frame] | list[bytes]:
        """What was asked between two silences: one frame, or none if it was broken; when fast, perhaps several."""
        began, data = await self._arrived.get()
        early = began - self._quiet_since < self._pace.gap_s * TOLERANCE
        data = await self._rest(began, data)
        if random.randrange(100) < self._babble_percent:
            self.broken += 1
            return []
        if self._talkers.concerns(data):
            return self._questions(began, data)
        if self._fast:
            return self._split(data)
        self._quiet_since = began + len(data) * self._pace.character_s
        frame = None if early or self._sending.locked() else checked(data)
        if frame is None:
            self.broken += 1
            return []
        return [frame]

    def _questions(self, began: float, data: bytes) -> list[bytes]:
        """What was asked in characters, each with its CR; what has none is broken, and so is what met an answer."""
        if not self._fast:
            self._quiet_since = began + len(data) * self._pace.character_s
        if self._talkers.counted(data):
            return [] if self._sending.locked() else [data]
        ends = FLAGS if data.endswith(FLAGS) else CR  # the flags of a lock's frame; there may be any byte inside
        *whole, rest = (data[: -len(FLAGS)], b"") if ends is FLAGS else data.split(CR)
        self.broken += bool(rest)
        if self._sending.locked():
            self.broken += len(whole)
            return []
        return [question + ends for question in whole]

    async def _rest(self, began: float, data: bytes) -> bytes:
        """Collect until the silence after the frame, or until a half frame has stood still."""
        while len(data) <= LONGEST:
            more = await self._next(self._patience(began, data))
            if not more:
                break
            data += more
        return data

    def _patience(self, began: float, data: bytes) -> float:
        now = asyncio.get_running_loop().time()
        if self._talkers.concerns(data) and self._talkers.whole(data):
            return 0.0 if self._fast else began + len(data) * self._pace.character_s - now
        length = 0 if self._talkers.concerns(data) else rtu_length(data)
        if length and len(data) >= length:
            return 0.0 if self._fast else began + len(data) * self._pace.character_s + self._pace.gap_s - now
        return BROKEN_S + len(data) * self._pace.character_s

    async def _next(self, patience_s: float) -> bytes:
        if not self._arrived.empty():
            return self._arrived.get_nowait()[1]
        if patience_s <= 0.0:
            return b""
        try:
            async with asyncio.timeout(patience_s):
                return (await self._arrived.get())[1]
        except TimeoutError:
            return b""

    def _split(self, data: bytes) -> list[Frame]:
        frames = []
        while data:
            length = rtu_length(data) or len(data)
            frame = checked(data[:length])
            if frame is None:
                self.broken += 1
                break
            frames.append(frame)
            data = data[length:]
        return frames

    # --- answering ---

    async def _serve(self, frame: Frame, send: Send) -> None:
        answer = self._units.answer(frame)
        if answer is None:
            return
        spec = self._units.specs[frame.unit]
        fault = self._world.faults.take(spec.key)
        sent = spoil(fault, rtu(frame), rtu(answer), rebuilt(frame, answer, rtu))
        await self._put(sent, self._world.modbus(spec).response_s, send)

    async def _serve_spoken(self, question: bytes, send: Send) -> None:
        exchange = self._talkers.answer(question)
        if exchange is None:
            return
        fault = self._world.faults.take(exchange.spec.key)
        if fault is not None and fault.kind == "bad_crc":  # its last character is no checksum
            sent = Spoilt((Piece(0.0, exchange.changed(fault)),))
        else:
            sent = spoil(fault, exchange.request, exchange.answer, exchange.changed)
        await self._put(sent, exchange.response_s, send)

    async def _put(self, sent: Spoilt, response_s: float, send: Send) -> None:
        if not self._fast:
            await asyncio.sleep(response_s)
        if sent.aside:
            self._tasks.start(self._send(sent, send))
        else:
            await self._send(sent, send)
        if sent.close:
            raise ConnectionAbortedError("dropped by a fault")

    async def _send(self, sent: Spoilt, send: Send) -> None:
        for piece in sent.pieces:
            await asyncio.sleep(piece.wait_s)
            async with self._sending:
                await self._paced(piece.data, send)

    async def _paced(self, data: bytes, send: Send) -> None:
        """Byte n leaves when its last bit has passed; what arrives meanwhile is a collision and lost."""
        loop = asyncio.get_running_loop()
        if self._fast:
            await send(data)
            return
        began, gone = loop.time(), 0
        while gone < len(data):
            await asyncio.sleep(max(TURN_S, began + (gone + 1) * self._pace.character_s - loop.time()))
            due = min(len(data), int((loop.time() - began) / self._pace.character_s))
            if due > gone:
                await send(data[gone:due])
                gone = due
        self._quiet_since = loop.time()
        while not self._arrived.empty():
            self._arrived.get_nowait()
            self.broken += 1

    # --- unasked ---

    async def _tell(self, send: Send) -> None:
        """What units say of their own accord goes out between answers; it may well meet a question."""
        while True:
            await asyncio.sleep(NEWS_TURN_S)
            for frame in self._talkers.news():
                async with self._sending:
                    await self._paced(frame, send)

    # --- babbling ---

    async def _babble(self, send: Send) -> None:
        """While a transmitter is stuck on: random bytes at the pace of the line, over whatever else is sent."""
        loop = asyncio.get_running_loop()
        last, owed = loop.time(), 0.0
        while True:
            self._babble_percent = max(
                (fault.percent for spec in self._specs if (fault := self._stuck(spec)) is not None), default=0
            )
            await asyncio.sleep(max(BABBLE_TURN_S, self._pace.character_s / 2) if self._babble_percent else CALM_TURN_S)
            now = loop.time()
            owed += (now - last) / self._pace.character_s * self._babble_percent / 100
            last, count = now, min(int(owed), LONGEST)
            owed -= int(owed)
            if count:
                await send(random.randbytes(count))
                self._quiet_since = loop.time()

    def _stuck(self, spec: DeviceSpec) -> Fault | None:
        fault = self._world.faults.of(spec.key)
        return fault if fault is not None and fault.kind == "babble" else None
