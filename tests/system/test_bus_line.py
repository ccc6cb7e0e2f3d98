"""A Modbus RTU line against a scripted unit on a pty and behind a TCP converter, and against pymodbus's server.

Lines that are sound, and ports and converters that are lost and come back; `test_bus_line_unsound` has the rest.
"""

import asyncio
import os
import pty
import time
import tty

import pytest
import serial
from line_rig import WIRES, Far, T, at_once, fails, framed, good, leaving_nothing, on_converter, on_pty
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gantry_agent.field.bus import open_link
from gantry_agent.field.bus import tty as serial_port
from gantry_agent.field.request import ReadBits, ReadRegisters, Timing, WriteBit, WriteRegisters
from gantry_agent.model import Bus, DeviceRefused, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(params=WIRES)
def wire(request):
    return WIRES[request.param]


@pytest.fixture(autouse=True)
async def nothing_leaks():
    async with leaving_nothing():
        yield


# --- sound lines ----------------------------------------------------------------------------------------------------


async def test_registers_bits_and_writes_are_answered(wire):
    async with wire(Far(at_once(good))) as line:
        assert await line.transact(ReadRegisters(1, 3, 100, 3), T) == (100, 101, 102)
        assert await line.transact(ReadRegisters(2, 4, 7, 125), T) == tuple(range(7, 132))
        assert await line.transact(ReadBits(1, 2, 0, 10), T) == (1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
        assert await line.transact(WriteRegisters(1, 16, 5, (1, 2, 3)), T) == ()
        assert await line.transact(WriteRegisters(1, 6, 5, (9,)), T) == ()
        assert await line.transact(WriteBit(1, 3, True), T) == ()
        assert {unit: counts.ok for unit, counts in line.journal.statistics.items()} == {1: 5, 2: 1}
        assert line.journal.frames[-1].data == line.journal.frames[-2].data


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
        assert line.journal.statistics[1].refused == 2


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
    assert serial_port._reason(denied).en == "Permission denied (is the user in group dialout?)"
    held = serial.SerialException(11, f"Could not exclusively lock port {path}: [Errno 11] Resource temporarily ...")
    assert serial_port._reason(held).en == "another program has it open and locked"
    assert serial_port._reason(ValueError("Not a valid baudrate: -1")).en == "Not a valid baudrate: -1"


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
