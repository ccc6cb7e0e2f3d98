"""A Modbus RTU line against a scripted unit on a pty and behind a TCP converter, and against pymodbus's server.

Register n holds the value n, so an answer given to the wrong question shows.
"""

import asyncio
import contextlib
import os
import pty
import random
import struct
import time
import tty
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import serial
from pymodbus.framer import FramerType
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gantry_agent.field.bus import open_link
from gantry_agent.field.bus import tty as serial_port
from gantry_agent.field.bus.debts import DOUBT_S
from gantry_agent.field.request import ReadBits, ReadRegisters, Timing, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, Bus, DeviceRefused, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]
T = Timing(0.1, 0.0)
Script = Callable[[bytes], list[tuple[float, bytes]]]  # what was asked -> what is sent, each after so long


def framed(body: bytes) -> bytes:
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def good(request: bytes) -> bytes:
    """What a sound unit answers."""
    unit, function, address, count = struct.unpack(">BBHH", request[:6])
    if function in (3, 4):
        values = struct.pack(f">{count}H", *((address + n) % 65536 for n in range(count)))
        return framed(bytes((unit, function, 2 * count)) + values)
    if function in (1, 2):
        size = (count + 7) // 8
        return framed(bytes((unit, function, size)) + b"\x05" + bytes(size - 1))
    return framed(request[:6])


def at_once(answer: Callable[[bytes], bytes]) -> Script:
    return lambda request: [(0.0, answer(request))]


class Far:
    """The far end of a wire: plays the script for each request, and notes when requests came and answers left."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[float, bytes]] = []
        self.answered: list[float] = []
        self.write: Callable[[bytes], object] = lambda _: None
        self._timers: list[asyncio.TimerHandle] = []

    def absorb(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.asked.append((loop.time(), request))
        for delay, data in self.script(request):
            self._timers.append(loop.call_later(delay, self._send, data))

    def _send(self, data: bytes) -> None:
        self.answered.append(asyncio.get_running_loop().time())
        self.write(data)

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()


@contextlib.asynccontextmanager
async def on_pty(far: Far, **settings):
    master, slave = pty.openpty()
    tty.setraw(slave)
    loop = asyncio.get_running_loop()
    far.write = lambda data: os.write(master, data)
    loop.add_reader(master, lambda: far.absorb(os.read(master, 4096)))
    link = open_link(Bus("line", "serial", {"port": os.ttyname(slave), "baudrate": 115200, **settings}))
    try:
        yield link
    finally:
        await link.close()
        far.stop()
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)  # open till now: a pty whose other end nobody holds reads as hung up


@contextlib.asynccontextmanager
async def on_converter(far: Far, **settings):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far.write = writer.write
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(4096):
                far.absorb(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = open_link(Bus("line", "serial-tcp", {"host": "localhost", "port": port, "baudrate": 115200, **settings}))
    try:
        yield link
    finally:
        await link.close()
        far.stop()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


WIRES = {"tty": on_pty, "converter": on_converter}


@pytest.fixture(params=WIRES)
def wire(request):
    return WIRES[request.param]


@pytest.fixture(autouse=True)
async def nothing_leaks():
    def held() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    before = held()
    yield
    for _ in range(20):
        if held() <= before and len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
    assert held() <= before


async def fails(kind: type[Exception], asking: Awaitable[object], match: str = "cannot") -> None:
    with pytest.raises(kind, match=match):
        await asking


# --- sound lines ----------------------------------------------------------------------------------------------------


async def test_registers_bits_and_writes_are_answered(wire):
    async with wire(Far(at_once(good))) as line:
        assert await line.transact(ReadRegisters(1, 3, 100, 3), T) == (100, 101, 102)
        assert await line.transact(ReadRegisters(2, 4, 7, 125), T) == tuple(range(7, 132))
        assert await line.transact(ReadBits(1, 2, 0, 10), T) == (1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
        assert await line.transact(WriteRegisters(1, 16, 5, (1, 2, 3)), T) == ()
        assert await line.transact(WriteRegisters(1, 6, 5, (9,)), T) == ()
        assert await line.transact(WriteBit(1, 3, True), T) == ()
        assert {unit: counts.ok for unit, counts in line.statistics.items()} == {1: 5, 2: 1}
        assert line.frames[-1].data == line.frames[-2].data


async def test_pymodbus_as_the_unit_understands_every_request():
    ends = [pty.openpty(), pty.openpty()]
    for end in ends:
        tty.setraw(end[1])
    loop = asyncio.get_running_loop()
    (a, theirs), (b, ours) = ends
    loop.add_reader(a, lambda: os.write(b, os.read(a, 4096)))
    loop.add_reader(b, lambda: os.write(a, os.read(b, 4096)))
    registers = [SimData(0, values=list(range(100)), datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[True, False, True, True] * 4, datatype=DataType.BITS)]
    server = ModbusSerialServer(
        SimDevice(4, simdata=(bits, bits, registers, registers)),
        framer=FramerType.RTU,
        port=os.ttyname(theirs),
        baudrate=19200,
    )
    await server.serve_forever(background=True)
    line = open_link(Bus("line", "serial", {"port": os.ttyname(ours), "baudrate": 19200}))
    try:
        assert await line.transact(ReadRegisters(4, 3, 10, 20), T) == tuple(range(10, 30))
        assert await line.transact(ReadRegisters(4, 4, 10, 2), T) == (10, 11)
        assert await line.transact(ReadBits(4, 1, 0, 4), T) == (1, 0, 1, 1)
        assert await line.transact(WriteBit(4, 1, True), T) == ()
        assert await line.transact(ReadBits(4, 1, 0, 4), T) == (1, 1, 1, 1)
        assert await line.transact(WriteRegisters(4, 16, 3, (70, 80)), T) == ()
        assert await line.transact(WriteRegisters(4, 6, 5, (90,)), T) == ()
        assert await line.transact(ReadRegisters(4, 3, 3, 3), T) == (70, 80, 90)
        with pytest.raises(DeviceRefused) as refused:
            await line.transact(ReadRegisters(4, 3, 95, 10), T)
        assert refused.value.code == 2
    finally:
        await line.close()
        await server.shutdown()
        for end in (a, b):
            loop.remove_reader(end)
        for end in (a, theirs, b, ours):
            os.close(end)


async def test_an_answer_that_comes_byte_by_byte_is_taken_when_it_is_whole(wire):
    def dribble(request: bytes) -> list[tuple[float, bytes]]:
        return [(0.001 * n, bytes((byte,))) for n, byte in enumerate(good(request))]

    async with wire(Far(dribble)) as line:
        began = time.monotonic()
        assert await line.transact(ReadRegisters(1, 3, 9, 4), Timing(1.0, 0.0)) == (9, 10, 11, 12)
        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("before", [b"", b"\x00"], ids=["clean", "glitch"])
async def test_a_slow_line_is_read_as_fast_as_its_bytes_come(before):
    character_s = 10 / 2400

    def paced(request: bytes) -> list[tuple[float, bytes]]:
        answer = good(request) if request[0] == 1 else framed(bytes((request[0], request[1] | 0x80, 2)))
        return [(character_s * (12 + n), bytes((byte,))) for n, byte in enumerate(before + answer)]

    async with on_pty(Far(paced), baudrate=2400) as line:
        for count in (1, 4, 20):
            began = time.monotonic()
            assert (await line.transact(ReadRegisters(1, 3, 9, count), T))[0] == 9
            wire_s = character_s * (12 + len(before) + 5 + 2 * count)
            assert time.monotonic() - began < wire_s + 0.1  # of which 15 ms are the silence before
        began = time.monotonic()
        await fails(DeviceRefused, line.transact(ReadRegisters(2, 3, 9, 20), T))
        assert time.monotonic() - began < character_s * (12 + len(before) + 5) + 0.1


async def test_there_is_silence_of_three_and_a_half_characters_before_every_request():
    far = Far(at_once(good))
    async with on_pty(far, baudrate=1200, parity="E") as line:
        for address in range(3):
            await line.transact(ReadRegisters(1, 3, address, 1), T)
    gaps = [asked - answered for answered, (asked, _) in zip(far.answered, far.asked[1:], strict=False)]
    assert min(gaps) >= 3.5 * 11 / 1200


async def test_a_unit_that_needs_a_longer_pause_gets_it(wire):
    far = Far(at_once(good))
    async with wire(far) as line:
        for address in range(3):
            await line.transact(ReadRegisters(1, 3, address, 1), Timing(0.1, 0.04))
    assert min(b[0] - a for a, b in zip(far.answered, far.asked[1:], strict=False)) >= 0.039


async def test_a_refusal_carries_its_code(wire):
    def refuse(request: bytes) -> bytes:
        return framed(bytes((request[0], request[1] | 0x80, 2)))

    async with wire(Far(at_once(refuse))) as line:
        for request in (ReadRegisters(1, 3, 1, 4), WriteBit(1, 3, True)):
            with pytest.raises(DeviceRefused) as refused:
                await line.transact(request, T)
            assert refused.value.code == 2
        assert line.statistics[1].refused == 2


# --- unsound lines --------------------------------------------------------------------------------------------------


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "bad crc": lambda r: good(r)[:-1] + bytes((good(r)[-1] ^ 1,)),
    "half a frame": lambda r: good(r)[:6],
    "foreign unit": lambda r: good(framed(bytes((r[0] + 1,)) + r[1:6])),
    "wrong function": lambda r: good(framed(r[:1] + b"\4" + r[2:6])),
    "too few registers": lambda r: good(framed(r[:5] + bytes((r[5] - 1,)))),
    "too many registers": lambda r: good(framed(r[:5] + bytes((r[5] + 1,)))),
    "noise": lambda _: b"\x00\xff\x13\x55",
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_answer_is_a_bad_reply_and_the_next_question_is_answered(wire, fault):
    faults = [BROKEN[fault]]

    def once(request: bytes) -> list[tuple[float, bytes]]:
        return [(0.0, (faults.pop() if faults else good)(request))]

    async with wire(Far(once)) as line:
        await fails(BadReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        assert await line.transact(ReadRegisters(1, 3, 200, 3), T) == (200, 201, 202)
        assert (line.statistics[1].bad, line.statistics[1].ok) == (1, 1)


@pytest.mark.parametrize(
    "before",
    [
        b"\x00",
        b"\xff\x00\xff",
        b"\x01\x03",  # looks like the beginning of an answer
        good(framed(struct.pack(">BBHH", 2, 3, 100, 4))),  # an answer of another unit
        b"\x01\x03\x08\x00\x64\x00\x65\x00\x66\x00\x67\x00\x00",  # one with a wrong CRC
    ],
)
async def test_what_comes_before_the_answer_is_passed_over(wire, before):
    async with wire(Far(at_once(lambda r: before + good(r)))) as line:
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)


async def test_the_echo_of_an_adapter_that_hears_itself_is_stripped(wire):
    far = Far(lambda r: [(0.0, r), (0.01, good(r))])
    async with wire(far) as line:
        assert await line.transact(WriteBit(1, 3, True), T) == ()  # before it is known that this line echoes
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)
        assert await line.transact(WriteRegisters(1, 6, 5, (9,)), T) == ()
        assert await line.transact(WriteRegisters(1, 16, 5, (9, 8)), T) == ()
        far.script = at_once(lambda r: r)  # the unit goes silent, the adapter still hears itself
        for request in (ReadRegisters(1, 3, 7, 1), WriteBit(1, 3, True), WriteRegisters(1, 16, 5, (9, 8))):
            await fails(NoReply, line.transact(request, T), "only our own echo")


async def test_a_late_answer_before_the_echo_does_not_pass_for_a_line_without_echoes(wire):
    far = Far(lambda r: [(0.0, r), (0.01, good(r))])
    async with wire(far) as line:
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)
        far.script = at_once(lambda r: r)
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T), "only our own echo")
        far.script = lambda r: [(0.0, good(r)), (0.01, r), (0.02, good(r))]
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)
        await asyncio.sleep(0.05)
        far.script = at_once(lambda r: r)
        await fails(NoReply, line.transact(WriteBit(1, 3, True), T), "only our own echo")


async def test_a_silent_unit_is_no_reply_and_its_neighbour_is_answered(wire):
    async with wire(Far(lambda r: [(0.0, good(r))] if r[0] == 1 else [])) as line:
        began = time.monotonic()
        await fails(NoReply, line.transact(ReadRegisters(2, 3, 100, 4), T), "nothing in 0.1 s")
        assert 0.09 < time.monotonic() - began < 0.4
        assert await line.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
        assert (line.statistics[2].timeouts, line.statistics[1].timeouts) == (1, 0)


async def test_a_late_answer_is_not_taken_for_the_next_one_and_the_line_waits_no_longer_than_for_it(wire):
    delays, slow = [0.4], Timing(0.3, 0.0)
    async with wire(Far(lambda r: [(delays.pop() if delays else 0.0, good(r))])) as line:
        began = time.monotonic()
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), slow))
        assert await line.transact(ReadRegisters(1, 3, 200, 4), slow) == (200, 201, 202, 203)
        assert 0.39 < time.monotonic() - began < 0.59
        assert line.statistics[1].late == 1


async def test_an_answer_that_comes_very_late_is_not_taken_for_another():
    delays = [0.33, 0.01]
    async with on_pty(Far(lambda r: [(delays.pop() if delays else 0.01, good(r))])) as line:
        assert await line.transact(ReadRegisters(1, 3, 1, 1), T) == (1,)
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        for address in range(200, 240):
            assert (await line.transact(ReadRegisters(1, 3, address, 4), T))[0] == address


async def test_an_answer_that_comes_very_late_and_alone_is_not_taken_for_another(wire):
    lost, late = ReadRegisters(1, 3, 200, 4), ReadRegisters(1, 3, 100, 4)
    far = Far(lambda r: [(0.33, good(r))] if r[3] == 100 else [])
    async with wire(far) as line:
        await fails(NoReply, line.transact(late, T))
        assert line.held_s(lost) > DOUBT_S
        await asyncio.sleep(0.1)
        await fails(NoReply, line.transact(replace(lost, count=5), T))  # in the midst of which it comes
        assert line.held_s(lost) > 0.9 * DOUBT_S
        far.script = at_once(good)
        assert await line.transact(replace(lost, count=6), T) == tuple(range(200, 206))
        assert line.held_s(late) > line.held_s(lost)  # who waits goes first


async def test_a_late_refusal_is_not_taken_for_one_of_another_question(wire):
    def refuse(request: bytes) -> bytes:
        return framed(bytes((request[0], request[1] | 0x80, 2)))

    async with wire(Far(lambda r: [(0.25, refuse(r))] if r[3] == 100 else [])) as line:
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        await asyncio.sleep(0.1)
        await fails(BadReply, line.transact(ReadRegisters(1, 3, 200, 5), T), "cannot tell what unit 1 .* refused")
        await asyncio.sleep(0.1)
        await fails(NoReply, line.transact(ReadRegisters(1, 4, 200, 5), T))


async def test_a_cancelled_question_leaves_the_line_safe(wire):
    async with wire(Far(lambda r: [(0.05, good(r))])) as line:
        asking = asyncio.create_task(line.transact(ReadRegisters(1, 3, 100, 4), T))
        await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await line.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
        assert line.statistics[1].late == 1


async def test_a_line_that_is_never_silent_is_given_up_for_this_question(wire):
    far = Far(lambda _: [(0.001 * n, b"\x55") for n in range(2500)])
    async with wire(far, baudrate=1200) as line:
        await fails(BadReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T), "has not been silent")


async def test_no_fault_ever_puts_a_value_under_the_wrong_question(wire):
    fate = random.Random(20261124)
    names = [*BROKEN]

    def unreliable(request: bytes) -> list[tuple[float, bytes]]:
        kind = fate.randrange(12)
        if kind < 5:
            return [(fate.uniform(0, 0.005), good(request))]
        if kind == 5:
            return []
        if kind == 6:
            return [(fate.choice((0.02, 0.08, 2.0)) * fate.uniform(1, 2), good(request))]
        if kind == 7:
            return [(0.0, request), (0.002, good(request))]
        if kind == 8:
            return [(0.0, fate.randbytes(fate.randrange(1, 30))), (0.003, good(request))]
        if kind == 9:
            cut = fate.randrange(1, 8)
            return [(0.0, good(request)[:cut]), (0.004, good(request)[cut:])]
        return [(0.0, BROKEN[fate.choice(names)](request))]

    def question() -> ReadRegisters:
        return ReadRegisters(fate.choice((1, 2, 3)), 3, fate.randrange(1000), fate.randrange(1, 40))

    answered = 0
    async with wire(Far(unreliable)) as line:
        request = question()
        for _ in range(200):
            request = replace(request, address=fate.randrange(1000))  # its answer will look like the latest
            while line.held_s(request) > 0.1:
                request = question()
            try:
                reply = await line.transact(request, Timing(0.02, 0.0))
            except (NoReply, BadReply):
                continue
            assert reply == tuple(range(request.address, request.address + request.count))
            answered += 1
    assert answered > 80


# --- loss and return ------------------------------------------------------------------------------------------------


async def test_a_port_that_is_missing_is_no_reply_and_is_not_tried_again_at_once(tmp_path):
    line = open_link(Bus("line", "serial", {"port": str(tmp_path / "ttyUSB0")}))
    await fails(NoReply, line.transact(ReadRegisters(1, 3, 0, 1), T), "^cannot open [^:]*: No such file or directory$")
    began = time.monotonic()
    why = r"port is down \(cannot open [^:]*: No such file or directory\), next attempt in"
    await fails(NoReply, line.transact(ReadRegisters(2, 3, 0, 1), T), why)
    assert time.monotonic() - began < 0.3
    await line.close()


def test_why_a_port_cannot_be_opened_is_said_once():
    path = "/dev/ttyS9"
    denied = serial.SerialException(13, f"could not open port {path}: [Errno 13] Permission denied: '{path}'")
    assert serial_port._reason(denied) == "Permission denied (is the user in group dialout?)"
    held = serial.SerialException(11, f"Could not exclusively lock port {path}: [Errno 11] Resource temporarily ...")
    assert serial_port._reason(held) == "another program has it open and locked"
    assert serial_port._reason(ValueError("Not a valid baudrate: -1")) == "Not a valid baudrate: -1"


async def test_a_port_that_somebody_else_holds_is_not_shared():
    async with on_pty(Far(at_once(good))) as line:
        await line.transact(ReadRegisters(1, 3, 0, 1), T)
        second = open_link(Bus("second", "serial", {"port": line._bus.settings["port"]}))
        await fails(NoReply, second.transact(ReadRegisters(1, 3, 0, 1), T), "lock")
        await second.close()


async def test_an_unplugged_adapter_fails_the_question_at_once_and_is_found_again(tmp_path):
    path = tmp_path / "ttyUSB0"
    loop = asyncio.get_running_loop()
    masters = []

    def plug(*, answers: bool) -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        path.unlink(missing_ok=True)
        path.symlink_to(os.ttyname(slave))
        loop.add_reader(master, lambda: hear(os.read(master, 4096)))

        def hear(request: bytes) -> None:
            if answers:
                os.write(master, good(request))

        masters.append((master, slave))

    def unplug() -> None:
        master, slave = masters[-1]
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)

    plug(answers=False)
    line = open_link(Bus("line", "serial", {"port": str(path)}))
    asking = asyncio.create_task(line.transact(ReadRegisters(1, 3, 0, 1), Timing(0.4, 0.0)))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    unplug()
    await fails(NoReply, asking, "lost")
    assert time.monotonic() - began < 0.25
    plug(answers=True)
    await fails(NoReply, line.transact(ReadRegisters(1, 3, 0, 1), T), "next attempt")
    await asyncio.sleep(0.55)
    assert await line.transact(ReadRegisters(1, 3, 5, 1), T) == (5,)
    await line.close()
    unplug()


async def test_a_converter_that_drops_the_connection_is_reached_again_with_one_connection():
    far = Far(at_once(good))
    async with on_converter(far) as line:
        assert await line.transact(ReadRegisters(1, 3, 5, 1), T) == (5,)
        writer = far.write.__self__
        far.script = lambda _: (writer.close(), [])[1]
        began = time.monotonic()
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 5, 1), Timing(0.4, 0.0)), "closed|lost")
        assert time.monotonic() - began < 0.2
        await asyncio.sleep(0.55)
        far.script = at_once(good)
        assert await line.transact(ReadRegisters(1, 3, 6, 1), T) == (6,)


async def test_closing_the_bus_fails_the_question_in_flight(wire):
    async with wire(Far(lambda _: [])) as line:
        asking = asyncio.create_task(line.transact(ReadRegisters(1, 3, 0, 1), Timing(5.0, 0.0)))
        await asyncio.sleep(0.05)
        await line.close()
        await fails(NoReply, asking, "closed")
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 0, 1), T), "closed")


async def test_a_request_to_everybody_or_for_another_medium_is_our_own_fault():
    line = open_link(Bus("line", "serial", {"port": "/dev/null"}))
    with pytest.raises(ValueError, match="unit 0"):
        await line.transact(ReadRegisters(0, 3, 0, 1), T)
    with pytest.raises(ValueError, match="kind"):
        open_link(Bus("x", "token-ring", {}))
