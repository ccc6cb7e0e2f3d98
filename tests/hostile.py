"""The worst line there is, and the proof that no value of it goes astray.

`besiege` runs many lines at once, each a real `Line` on a pty or a TCP connection against a peer in this process that
sends late, echoed, foreign, truncated, merged and bit-flipped frames, wrong units, functions and lengths, and garbage
between frames. Every register says whose it is: its value is a hash of unit, function and address, xor the number of
the request it answers (8 bits). So a value at a wrong point, or one of an older request, shows. Answers and refusals
are up to five seconds late, whatever becomes of those to newer questions. Questions are asked as the poller asks them:
by preference what the line is ready for.

What no RTU master can tell apart is not played: damage that keeps the CRC (up to three flipped bits never do), a sound
answer of the right shape that a unit which is asked or owes one never gave, an answer later than `DOUBT_S`, and a line
that echoes at times only. Frames are made with pymodbus's CRC, not with the agent's.
"""

import asyncio
import contextlib
import math
import os
import pty
import random
import struct
import tty
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pymodbus.framer.rtu import FramerRTU

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.bus.debts import DOUBT_S
from gantry_agent.field.framing import modbus
from gantry_agent.field.request import ReadBits, ReadRegisters, Timing, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, Bus, DeviceRefused, NoReply

RESPONSE_S = 0.1
STALL_S = 0.02  # a machine that stands still so long makes sound answers late, which proves nothing
BAUDRATE = 921600
UNITS = (1, 2, 3, 4)
CALM = 3  # sound transactions between two sieges; the last must be answered, and the second is counted
SIEGE = (3, 12)
LATEST_S = 2 * RESPONSE_S + DOUBT_S - 0.1  # after the question, with some time to get there
STALE_S = 2 * (2 * RESPONSE_S + DOUBT_S)  # an answer of the right point that old is stale, not astray
STALE = 8  # the same in requests, where answers are numbered
CAMPAIGN = 4  # sieges while an answer is still to come; then it is waited for


def crc(body: bytes) -> bytes:
    return FramerRTU.compute_CRC(body).to_bytes(2, "big")


def framed(body: bytes) -> bytes:
    return body + crc(body)


def value(unit: int, function: int, address: int, number: int) -> int:
    return zlib.crc32(struct.pack(">BBH", unit, function, address)) & 0xFFFF ^ number & 0xFF


def answer(request: bytes, number: int) -> bytes:
    """What a sound unit says to a request PDU with its unit before it."""
    unit, function, address, count = struct.unpack(">BBHH", request[:6])
    if function in (3, 4):
        values = (value(unit, function, address + n, number) for n in range(count))
        return struct.pack(f">BBB{count}H", unit, function, 2 * count, *values)
    if function in (1, 2):
        words = struct.pack(">8H", *(value(unit, function, address + n, number) for n in range(8)))
        return struct.pack(">BBB", unit, function, (count + 7) // 8) + words[: (count + 7) // 8]
    return request[:6]


def is_right(asked: ReadRegisters | ReadBits, reply: tuple[int, ...], numbers: Iterable[int]) -> tuple[bool, bool]:
    """Tell whether a reply is of the point that was asked for, and whether it is of the first of these requests."""
    unit, function, address = asked.unit, asked.function, asked.address
    for n, number in enumerate(numbers):
        if isinstance(asked, ReadRegisters):
            right = tuple(value(unit, function, address + at, number) for at in range(asked.count))
        else:
            body = answer(struct.pack(">BBHH", unit, function, address, asked.count), number)[3:]
            right = tuple((body[bit // 8] >> bit % 8) & 1 for bit in range(asked.count))
        if reply == right:
            return True, n == 0
    return False, False


@dataclass
class Tally:
    """What happened."""

    hostile: int = 0  # frames, and bursts of garbage
    asked: int = 0
    answered: int = 0
    stale: int = 0
    astray: list[str] = field(default_factory=list)
    unstepped: list[str] = field(default_factory=list)  # the third sound transaction after a siege was not answered
    second_lost: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    excused: int = 0  # lost in calm while the machine stood still
    stalled_at: float = 0.0
    most_lag_s: float = 0.0


# --- the peer -------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """How a request was answered, sooner or later."""

    number: int
    at: float
    what: str  # 'good', 'refused' or 'lost'


class Peer:
    """The far end of one line: answers, but rarely only that."""

    def __init__(self, fate: random.Random, tally: Tally, *, echoes: bool) -> None:
        self.fate, self.tally, self.echoes = fate, tally, echoes
        self.write: Callable[[bytes], object] = lambda _: None
        self.number = 0
        self.heard_at = 0.0
        self.said: dict[bytes, deque[Said]] = {}  # by request, the latest first
        self.coming: Counter[tuple[bytes, int]] = Counter()  # requests whose answers are on their way, and their size
        self.besieging = 0
        self._pending: set[asyncio.TimerHandle] = set()
        self._received = b""

    @property
    def calm(self) -> bool:
        return not self.besieging and not self._pending

    def absorb(self, data: bytes) -> None:
        """Take what the line sends; requests come whole, or in pieces through a connection."""
        self._received += data
        while len(self._received) >= 8:
            size = 9 + self._received[6] if self._received[1] == 16 else 8
            if len(self._received) < size:
                return
            request, self._received = self._received[:size], self._received[size:]
            self.number += 1
            self.heard_at = asyncio.get_running_loop().time()
            if self.echoes:
                self.send(0.0, request)
            self._play(request)

    def send(self, delay_s: float, data: bytes, hostile: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self.tally.hostile += hostile
        if delay_s <= 0 and not self._pending:
            self._write(data)
            return

        def deliver() -> None:
            self._pending.discard(timer)
            self._write(data)

        timer = loop.call_later(max(delay_s, 0.0), deliver)
        self._pending.add(timer)

    def send_late(
        self, request: bytes, good: bytes, data: bytes, least_s: float = RESPONSE_S, most_s: float = LATEST_S
    ) -> None:
        """Send what is late: rather soon than at the last moment, when fewer questions are left to be hurt."""
        late_s = math.exp(self.fate.uniform(math.log(least_s), math.log(most_s)))
        self.coming[request, len(good)] += 1
        self.send(late_s, data, 1)
        asyncio.get_running_loop().call_later(late_s + STALL_S, self.coming.subtract, [(request, len(good))])

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.write(data)

    def stop(self) -> None:
        for timer in self._pending:
            timer.cancel()
        self._pending.clear()

    def note(self, request: bytes, what: str) -> None:
        """Remember how a request is answered."""
        now = asyncio.get_running_loop().time()
        said = self.said.setdefault(request, deque())
        said.appendleft(Said(self.number, now, what))
        while now - said[-1].at > STALE_S:
            said.pop()

    def recent(self, request: bytes, what: str) -> list[int]:
        """Give the numbers of the latest askings of this very request that were answered so, the latest first."""
        now = asyncio.get_running_loop().time()
        return [one.number for one in self.said.get(request, ()) if one.what == what and now - one.at <= STALE_S]

    def _play(self, request: bytes) -> None:
        fate, good = self.fate, framed(answer(request[:-2], self.number))
        if not self.besieging:
            self.note(request, "good")
            self.send(0.0, good)
            return
        self.besieging -= 1
        hurtful = self._pending and fate.random() < 0.5  # a late answer does harm when the newer one does not come
        kind = fate.choice(LOSSES if hurtful else PLAYS)
        self.tally.kinds[kind] += 1
        self.note(request, {"instead": "lost", "silent": "lost"}.get(kind, "refused" if "refused" in kind else "good"))
        refusal = framed(bytes((request[0], request[1] | 0x80, 2)))
        match kind:
            case "noisy":
                before = self.noise(request, good)
                after = self.noise(request, good, NOBODYS)  # its end may come when the next question has been asked
                self.send(0.0, before[0] + good + after[0], before[1] + after[1])
            case "pieces":
                before, count = self.noise(request, good)
                cut = fate.randrange(1, len(good))
                self.send(0.0, before + good[:cut], count)
                self.send(fate.uniform(0.001, 0.2 * RESPONSE_S), good[cut:])
            case "instead":
                spoilt, count = self.noise(request, good)
                self.send(0.0, spoilt, count)
            case "late":
                before, count = self.noise(request, good)
                self.send(0.0, before, count)
                self.send_late(request, good, good, 1.05 * RESPONSE_S, 1.95 * RESPONSE_S)
            case "very late":
                self.send_late(request, good, good)
            case "refused very late":
                self.send_late(request, good, refusal)
            case "babble":
                self.send(0.0, good)
                for _ in range(fate.randrange(1, 6)):
                    spoilt, count = self.noise(request, good, NOBODYS)
                    self.send(fate.uniform(0.0, 0.5 * RESPONSE_S), spoilt, count)
            case "refused":
                self.send(0.0, refusal)
            case _:
                self.tally.hostile += 1

    def noise(self, request: bytes, good: bytes, kinds: "tuple[Noise, ...] | None" = None) -> tuple[bytes, int]:
        """Make a burst of hostile frames, in which nothing happens to be a sound answer to the request."""
        count = self.fate.randrange(1, 6)
        while True:
            burst = b"".join(self.fate.choice(kinds or NOISES)(self.fate, request, good) for _ in range(count))
            to_come = [(one, size) for one, size in self.coming.elements() if happens_to_answer(burst, one, size)]
            if not to_come and not happens_to_answer(burst + good[:-1], request, len(good)):
                return burst, count


PLAYS = (
    *("noisy",) * 14, *("pieces",) * 4, *("babble",) * 6, *("instead",) * 3, *("late",) * 2,
    *("very late",) * 2, "refused", "refused very late", "silent",
)  # fmt: skip
LOSSES = ("instead", "silent", "very late")
Noise = Callable[[random.Random, bytes, bytes], bytes]


def happens_to_answer(burst: bytes, request: bytes, length: int) -> bool:
    """Chance makes a sound answer out of noise once in 65536 times: no master could know."""
    for at in range(len(burst) - 4):
        if burst[at] != request[0]:
            continue
        if burst[at + 1] == request[1]:
            size = length
        elif burst[at + 1] == request[1] | 0x80:
            size = 5
        else:
            continue
        if at + size <= len(burst) and crc(burst[at : at + size - 2]) == burst[at + size - 2 : at + size]:
            return True
    return False


def _flipped(fate: random.Random, request: bytes, good: bytes) -> bytes:
    spoilt = bytearray(good)
    for bit in fate.sample(range(8 * len(good)), fate.randrange(1, 4)):
        spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)


def _foreign(fate: random.Random, request: bytes, good: bytes) -> bytes:
    unit = fate.choice([one for one in range(1, 9) if one != request[0]])
    if fate.random() < 0.5:  # another master's question
        return framed(struct.pack(">BBHH", unit, 3, fate.randrange(100), 4))
    return framed(bytes((unit,)) + good[1:-2])


def _wrong_function(fate: random.Random, request: bytes, good: bytes) -> bytes:
    function = fate.choice([one for one in (1, 2, 3, 4, 5, 6, 16, 65) if one != request[1]])
    return framed(bytes((good[0], function)) + good[2:-2])


def _wrong_length(fate: random.Random, request: bytes, good: bytes) -> bytes:
    if request[1] > 4:  # an answer to a write, for another address
        return framed(good[:2] + bytes((good[2], good[3] ^ 0x40)) + good[4:-2])
    size = fate.choice([one for one in (2, 4, 6, 8, 20) if one != good[2]])
    return framed(good[:2] + bytes((size,)) + fate.randbytes(size))


NOBODYS: tuple[Noise, ...] = (  # these are no answer to any question on this line, whenever they come
    lambda fate, request, good: fate.randbytes(fate.randrange(1, 20)),
    lambda fate, request, good: good[: fate.randrange(1, len(good) - 1)],
    lambda fate, request, good: b"\x00" * fate.randrange(1, 3),
    lambda fate, request, good: framed(bytes((fate.randrange(5, 9),)) + good[1:-2]),
    lambda fate, request, good: framed(bytes((good[0], 65)) + good[2:-2]),
    _flipped,
)
NOISES = (*NOBODYS, _foreign, _wrong_function, _wrong_length)


# --- the near side --------------------------------------------------------------------------------------------------


def question(fate: random.Random) -> ReadRegisters | ReadBits | WriteBit | WriteRegisters:
    """Ask something; shapes repeat, so that answers could be mistaken for one another."""
    unit, address = fate.choice(UNITS), fate.randrange(40)
    match fate.randrange(10):
        case 0:
            return WriteBit(unit, address, fate.random() < 0.5)
        case 1:
            return WriteRegisters(unit, 6, address, (fate.randrange(65536),))
        case 2:
            return WriteRegisters(unit, 16, address, (1, 2, fate.randrange(65536)))
        case 3 | 4:
            return ReadBits(unit, fate.choice((1, 2)), address, 40)
        case _:
            return ReadRegisters(unit, fate.choice((3, 4)), address, fate.choice((2, 4)))


Question = ReadRegisters | ReadBits | WriteBit | WriteRegisters


def choose(line: Link, fate: random.Random, latest: Question) -> Question:
    """Choose as the poller does, by what the line is ready for; at times ask again, at times wait whatever it takes."""
    if fate.random() < 0.2 and line.held_s(latest) < 2 * RESPONSE_S:
        return latest
    for _ in range(8):
        asked = question(fate)
        if fate.random() < 0.5 and isinstance(latest, ReadRegisters | ReadBits):
            asked = replace(latest, address=asked.address)  # its answer looks like the latest
        if line.held_s(asked) < 2 * RESPONSE_S or fate.random() < 0.002:
            break
    return asked


async def siege(line: Link, peer: Peer, tally: Tally, fate: random.Random, until: Callable[[], bool]) -> None:
    """Ask on one line until told to stop, in sieges with calm between them."""
    calm = sieges = 0
    asked = question(fate)
    while not until():
        if calm >= CALM or (not peer.besieging and 0 < sieges < CAMPAIGN and fate.random() < 0.1):
            sieges = 1 if calm >= CALM or not sieges else sieges + 1
            calm, peer.besieging = 0, fate.randrange(*SIEGE)
        elif not peer.calm and not peer.besieging:
            await asyncio.sleep(0.01)  # for what is very late
        calm = calm + 1 if peer.calm else 0
        asked = choose(line, fate, asked)
        tally.asked += 1
        failed = await judge(line, peer, tally, asked)
        if not failed or calm < 2:
            continue
        if stood_still(line, peer, tally):
            tally.excused += 1
        elif calm == CALM:
            tally.unstepped.append(f"{asked}: {failed}")
        else:
            tally.second_lost += 1


def stood_still(line: Link, peer: Peer, tally: Tally) -> bool:
    """Tell whether the latest question may have failed because this machine was busy."""
    sent_at = next((frame.at for frame in reversed(line.journal.frames) if frame.direction == "sent"), 0.0)
    now = asyncio.get_running_loop().time()
    return peer.heard_at - sent_at > STALL_S or peer.heard_at < sent_at or now - tally.stalled_at < 3 * RESPONSE_S


async def judge(line: Link, peer: Peer, tally: Tally, asked: Question) -> str:
    """Ask one thing and check what is said; why it failed, if it did."""
    request = framed(bytes((asked.unit,)) + modbus.encode(asked))
    try:
        reply = await line.transact(asked, Timing(RESPONSE_S, 0.0))
    except DeviceRefused as e:
        if not peer.recent(request, "refused"):
            tally.astray.append(f"{asked} was refused ({e}), request {peer.number}")
        return ""
    except (NoReply, BadReply) as e:
        return str(e)
    tally.answered += 1
    numbers = peer.recent(request, "good")
    right, fresh = bool(numbers), numbers[:1] == [peer.number]
    if isinstance(asked, ReadRegisters | ReadBits):
        right, fresh = is_right(asked, reply, numbers)
        fresh = fresh and numbers[0] == peer.number
    tally.stale += right and not fresh
    if not right:
        tally.astray.append(f"{asked} was answered {reply}, request {peer.number}")
    return ""


# --- the wires ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def on_pty(peer: Peer) -> AsyncIterator[Link]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    peer.write = lambda data: os.write(master, data)
    loop.add_reader(master, lambda: peer.absorb(os.read(master, 4096)))
    link = open_link(Bus("line", "serial", {"port": os.ttyname(slave), "baudrate": BAUDRATE}))
    try:
        yield link
    finally:
        await link.close()
        peer.stop()
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


@contextlib.asynccontextmanager
async def on_converter(peer: Peer) -> AsyncIterator[Link]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.write = writer.write
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                peer.absorb(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = open_link(Bus("line", "serial-tcp", {"host": "127.0.0.1", "port": port, "baudrate": BAUDRATE}))
    try:
        yield link
    finally:
        await link.close()
        peer.stop()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


async def besiege(frames: int, seed: int, lines: int = 80) -> Tally:
    """Send that many hostile frames over that many lines at once, half of them ttys, a quarter of them echoing."""
    tally = Tally()
    done = asyncio.Event()

    async def one(number: int) -> None:
        fate = random.Random(seed * 1000 + number)
        peer = Peer(fate, tally, echoes=number % 4 == 3)
        async with (on_pty, on_converter)[number % 2](peer) as line:
            await siege(line, peer, tally, fate, lambda: tally.hostile >= frames)

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while not done.is_set():
            at = loop.time()
            await asyncio.sleep(0.01)
            lag_s = loop.time() - at - 0.01
            tally.most_lag_s = max(tally.most_lag_s, lag_s)
            if lag_s > STALL_S:
                tally.stalled_at = loop.time()

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(lines):
                group.create_task(one(number))
    finally:
        done.set()
        await watching
    return tally
