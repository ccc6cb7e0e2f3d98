"""Megatec and YD/T 1363 units on a line, by themselves and beside an RTU unit: what is believed and what is not.

The far end is scripted: what was asked → what is sent, each piece after so long. Answers are written out as bytes.
"""

import asyncio
import contextlib
import os
import pty
import struct
import tty
from collections.abc import Callable

import pytest

from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.debts import DOUBT_S
from gantry_agent.field.request import AskText, AskYdt, ReadRegisters, Timing
from gantry_agent.model import BadReply, Bus, DeviceRefused, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]
T = Timing(0.15, 0.0)
Pieces = list[tuple[float, bytes]]
Q1 = AskText(7, "Q1")
STATUS = b"(208.4 140.0 208.4 034 59.9 2.05 35.0 00110000\r"
ANALOG = AskYdt(1, 0x21, 0x41, 0x41, b"\xff")
STATES = AskYdt(1, 0x21, 0x41, 0x43, b"\xff")
METER = ReadRegisters(3, 3, 0, 1)
METER_ANSWER = bytes.fromhex("0303020000c184")


def frame(adr: int, cid1: int, rtn: int, info: bytes, ver: int = 0x21) -> bytes:
    """By the rules of YD/T 1363.3, on its own."""
    text = info.hex().upper()
    n = len(text)
    lchksum = -((n >> 8) + (n >> 4 & 15) + (n & 15)) % 16
    body = f"{ver:02X}{adr:02X}{cid1:02X}{rtn:02X}{lchksum:X}{n:03X}{text}"
    return f"~{body}{-sum(map(ord, body)) % 65536:04X}\r".encode()


class Far:
    """The far end of a pty."""

    def __init__(self, script: Callable[[bytes], Pieces]) -> None:
        self.script = script
        self.asked: list[tuple[float, bytes]] = []
        self.answered: list[float] = []
        self.master = -1
        self._timers: list[asyncio.TimerHandle] = []

    def read(self) -> None:
        loop = asyncio.get_running_loop()
        request = os.read(self.master, 4096)
        self.asked.append((loop.time(), request))
        for delay, data in self.script(request):
            self._timers.append(loop.call_later(delay, self._send, data))

    def _send(self, data: bytes) -> None:
        self.answered.append(asyncio.get_running_loop().time())
        os.write(self.master, data)

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()


@contextlib.asynccontextmanager
async def line(script: Callable[[bytes], Pieces], **settings):
    far = Far(script)
    far.master, slave = pty.openpty()
    tty.setraw(slave)
    loop = asyncio.get_running_loop()
    loop.add_reader(far.master, far.read)
    link = open_link(Bus("line", "serial", {"port": os.ttyname(slave), "baudrate": 115200, **settings}))
    try:
        yield link, far
    finally:
        await link.close()
        far.stop()
        loop.remove_reader(far.master)
        os.close(far.master)
        os.close(slave)


def mixed(request: bytes) -> Pieces:
    """A rectifier, a UPS and a meter on one line: each answers only what is its own."""
    if request == b"Q1\r":
        return [(0.0, STATUS)]
    if request.startswith(b"~2101"):
        return [(0.0, frame(1, 0x41, 0, b"\x00" + struct.pack("<f", 53.5) + b"\x00"))]
    return [(0.0, METER_ANSWER)] if request[:1] == b"\x03" else []


async def test_units_of_all_three_framings_share_one_line_and_its_silences() -> None:
    async with line(mixed, baudrate=9600) as (link, far):
        for _ in range(2):
            assert await link.transact(Q1, T) == STATUS[:-1].decode()
            assert await link.transact(METER, T) == (0,)
            assert await link.transact(ANALOG, T) == b"\x00" + struct.pack("<f", 53.5) + b"\x00"
        gaps = [asked - before for (asked, _), before in zip(far.asked[1:], far.answered, strict=False)]
        assert all(gap >= 3.5 * 10 / 9600 for gap in gaps)


async def test_a_long_answer_in_pieces_is_waited_for_beyond_the_response_time() -> None:
    """The first piece tells the LENGTH; at the line's speed the rest needs longer than the unit has to begin."""
    answer = frame(1, 0x41, 0, bytes(300))
    pieces = [(0.1 + k * 0.08, answer[k * 100 : (k + 1) * 100]) for k in range(7)]
    async with line(lambda _: pieces, baudrate=9600) as (link, _):
        assert await link.transact(ANALOG, T) == bytes(300)


async def test_an_answer_that_stops_half_way_is_given_up() -> None:
    answer = frame(1, 0x41, 0, bytes(300))
    async with line(lambda _: [(0.0, answer[:100])], baudrate=115200) as (link, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(BadReply, match="100 characters instead of 618"):
            await link.transact(ANALOG, T)
        assert loop.time() - began < 1.0


async def test_a_late_answer_to_one_question_is_never_the_answer_to_the_next() -> None:
    """Answers of one section look alike: analogue and states can only be told apart by when they come."""
    late, states = frame(1, 0x41, 0, b"analog"), frame(1, 0x41, 0, b"states")

    def script(request: bytes) -> Pieces:
        return [(0.25, late)] if request[5:9] == b"4141" else [(0.0, states)]

    async with line(script) as (link, far):
        with pytest.raises(NoReply):
            await link.transact(ANALOG, T)
        assert await link.transact(STATES, T) == b"states"
        assert far.answered[0] < far.asked[1][0]


async def test_an_answer_of_three_times_the_patience_is_not_taken_for_another_even_if_that_one_is_lost() -> None:
    late, states = frame(1, 0x41, 0, b"analog"), frame(1, 0x41, 0, b"states")
    lost = [b""]

    def script(request: bytes) -> Pieces:
        return [(0.5, late)] if request[5:9] == b"4141" else [(0.1, lost.pop() if lost else states)]

    async with line(script) as (link, far):
        with pytest.raises(NoReply):
            await link.transact(ANALOG, T)
        with pytest.raises(NoReply):
            await link.transact(STATES, T)
        assert far.answered[0] <= far.asked[1][0]
        assert link.held_s(ANALOG) > DOUBT_S
        assert await link.transact(STATES, T) == b"states"  # the same question need not wait


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (frame(2, 0x41, 0, b"other"), BadReply),
        (frame(1, 0x42, 0, b"other"), BadReply),
        (frame(1, 0x41, 0, b"fine!")[:-3] + b"00\r", BadReply),
        (frame(1, 0x41, 4, b""), DeviceRefused),
        (frame(1, 0x41, 2, b""), BadReply),
        (b"\x00\xff\x03", BadReply),
        (b"", NoReply),
    ],
)
async def test_what_is_no_answer_of_this_unit_is_not_taken_for_one(answer: bytes, error: type[Exception]) -> None:
    async with line(lambda _: [(0.0, answer)] if answer else []) as (link, _):
        with pytest.raises(error):
            await link.transact(ANALOG, T)


async def test_noise_and_an_echo_before_the_answer_do_no_harm() -> None:
    answer = frame(1, 0x41, 0, b"fine!")
    async with line(lambda request: [(0.0, request), (0.01, b"~\x00~2" + answer)]) as (link, _):
        assert await link.transact(ANALOG, T) == b"fine!"
        assert await link.transact(ANALOG, T) == b"fine!"


async def test_a_test_is_begun_in_silence_and_a_refused_one_is_told() -> None:
    def script(request: bytes) -> Pieces:
        return [(0.0, {b"Q1\r": STATUS, b"T\r": b"", b"TL\r": b"TL\r", b"T99\r": b"(NAK\r"}[request])]

    async with line(script) as (link, _):
        assert await link.transact(Q1, T) == STATUS[:-1].decode()
        assert await link.transact(AskText(7, "T", answered=False), T) == ()
        for command in ("TL", "T99"):
            with pytest.raises(DeviceRefused):
                await link.transact(AskText(7, command, answered=False), T)
        assert await link.transact(Q1, T) == STATUS[:-1].decode()


async def test_a_unit_counts_under_its_own_number() -> None:
    async with line(mixed) as (link, _):
        await link.transact(Q1, T)
        await link.transact(ANALOG, T)
        with pytest.raises(NoReply):
            await link.transact(AskYdt(9, 0x21, 0x41, 0x41, b""), T)
        assert {unit: (one.ok, one.timeouts) for unit, one in link.journal.statistics.items()} == {
            7: (1, 0),
            1: (1, 0),
            9: (0, 1),
        }


async def test_on_a_line_that_echoes_a_test_is_begun_all_the_same() -> None:
    def script(request: bytes) -> Pieces:
        return [(0.0, request + (STATUS if request == b"Q1\r" else b""))]

    async with line(script) as (link, _):
        assert await link.transact(Q1, T) == STATUS[:-1].decode()
        assert await link.transact(AskText(7, "T", answered=False), T) == ()
