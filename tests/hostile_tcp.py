"""The worst Modbus TCP device there is: late, truncated and merged frames, wrong numbers, rubbish, lost connections.

Values say whose they are, as in `hostile`. What TCP rules out is not played: bytes changed or
missing inside a stream that goes on.
"""

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable

from hostile import STALE, UNITS, Tally, answer, is_right

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.request import ReadBits, ReadRegisters, Timing
from gantry_agent.model import BadReply, Bus, DeviceRefused, NoReply

RESPONSE_S = 0.05
CALM = 3
KINDS = (
    *("noisy",) * 30, *("pieces",) * 8, *("instead",) * 5, *("late",) * 2,
    "half", "silent", "refused", "dropped", "rubbish",
)  # fmt: skip


class Device:
    """One device; its connections come and go."""

    def __init__(self, fate: random.Random, tally: Tally) -> None:
        self.fate, self.tally = fate, tally
        self.number = self.besieging = 0
        self._in_frame = False
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def calm(self) -> bool:
        return not self.besieging and not self._timers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while request := await reader.read(4096):
                self._play(request, writer)
        writer.close()

    def _later(self, delay_s: float, writer: asyncio.StreamWriter, data: bytes, *, rest: bool = False) -> None:
        def deliver() -> None:
            self._timers.discard(timer)
            if self._in_frame and not rest:  # nothing is sent into the middle of a frame
                self._later(0.3 * RESPONSE_S, writer, data)
                return
            self._in_frame = False
            if not writer.is_closing():
                writer.write(data)

        timer = asyncio.get_running_loop().call_later(delay_s, deliver)
        self._timers.add(timer)

    def _play(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        self.number += 1
        good = mbap(request[:2], answer(request[6:], self.number))
        if not self.besieging:
            writer.write(good)
            return
        self.besieging -= 1
        fate, kind = self.fate, self.fate.choice(KINDS)
        self.tally.kinds[kind] += 1
        self.tally.hostile += 1
        match kind:
            case "noisy":
                before = [self.noise(request, good) for _ in range(fate.randrange(1, 5))]
                self.tally.hostile += len(before) - 1
                writer.write(b"".join(before) + good)
            case "pieces":
                cut = fate.randrange(1, len(good))
                writer.write(self.noise(request, good) + good[:cut])
                self._in_frame = True
                self._later(fate.uniform(0.0, 0.3) * RESPONSE_S, writer, good[cut:], rest=True)
            case "instead":
                writer.write(self.noise(request, good))
            case "late":
                self._later(fate.uniform(1.1, 4.0) * RESPONSE_S, writer, good)
            case "half":  # a stream has no holes: what this device still owed is not sent into the middle of a frame
                for timer in self._timers:
                    timer.cancel()
                self._timers.clear()
                writer.write(good[: fate.randrange(1, len(good))])
            case "refused":
                writer.write(mbap(request[:2], bytes((request[6], request[7] | 0x80, 4))))
            case "dropped":
                writer.transport.abort()
            case "rubbish":
                writer.write(fate.randbytes(fate.randrange(8, 40)))

    def noise(self, request: bytes, good: bytes) -> bytes:
        """A frame that is none of this question's answers, or one of its answers spoilt so that it can be told."""
        body = answer(request[6:], self.number + 1)
        other = struct.pack(">H", (int.from_bytes(request[:2], "big") - self.fate.randrange(1, 500)) % 65536)
        return mbap(other, body)


def mbap(transaction: bytes, body: bytes) -> bytes:
    return transaction + struct.pack(">HH", 0, len(body)) + body


async def siege(link: Link, device: Device, tally: Tally, fate: random.Random, until: Callable[[], bool]) -> None:
    calm = 0
    while not until():
        if calm >= CALM:
            calm, device.besieging = 0, fate.randrange(3, 12)
        calm = calm + 1 if device.calm else 0
        unit, address = fate.choice(UNITS), fate.randrange(40)
        asked = ReadBits(unit, 1, address, 40) if fate.random() < 0.2 else ReadRegisters(unit, 3, address, 4)
        tally.asked += 1
        try:
            reply = await link.transact(asked, Timing(RESPONSE_S, 0.0))
        except DeviceRefused:
            continue
        except (NoReply, BadReply) as e:
            if calm == CALM and "next attempt" not in str(e):
                tally.unstepped.append(f"{asked}: {e}")
            elif "next attempt" in str(e):
                calm = 0  # the connection is being left alone for a moment
                await asyncio.sleep(0.05)
            continue
        tally.answered += 1
        right, fresh = is_right(asked, reply, [device.number - back for back in range(STALE)])
        if not (right and fresh):  # here there is no excuse for a stale one: answers are numbered
            tally.astray.append(f"{asked} was answered {reply}, request {device.number}")


async def besiege(frames: int, seed: int, links: int = 40) -> Tally:
    """Send that many hostile frames over that many connections at once."""
    tally = Tally()

    async def one(number: int) -> None:
        fate = random.Random(seed * 1000 + number)
        device = Device(fate, tally)
        server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = open_link(Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": port}))
        try:
            await siege(link, device, tally, fate, lambda: tally.hostile >= frames)
        finally:
            await link.close()
            server.close()
            await server.wait_closed()
            await asyncio.sleep(5 * RESPONSE_S)

    async with asyncio.TaskGroup() as group:
        for number in range(links):
            group.create_task(one(number))
    return tally
