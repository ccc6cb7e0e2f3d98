"""Modbus TCP against pymodbus's server and against a scripted one that misbehaves.

Register n holds the value n, so an answer given to the wrong question shows.
"""

import asyncio
import contextlib
import itertools
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gantry_agent.field.bus import open_link
from gantry_agent.field.request import GetOids, ReadBits, ReadRegisters, Timing, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, Bus, DeviceRefused, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]
T = Timing(0.1, 0.0)
Script = Callable[[bytes], list[tuple[float, bytes | None]]]  # what was asked -> what is sent after so long; None: drop


def good(request: bytes) -> bytes:
    """What a sound device answers to a read of registers."""
    transaction, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
    values = struct.pack(f">{count}H", *range(address, address + count))
    return struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count) + values


class Device:
    """A server that plays a script, and counts connections."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[tuple[float, bytes]] = []
        self.opened = self.open = 0
        self.most_open = 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened, self.open = self.opened + 1, self.open + 1
        self.most_open = max(self.most_open, self.open)
        self.writers.add(writer)
        loop = asyncio.get_running_loop()
        timers = []
        with contextlib.suppress(ConnectionResetError):
            while request := await reader.read(4096):
                self.asked.append((loop.time(), request))
                for delay, data in self.script(request):
                    timers.append(
                        loop.call_later(delay, writer.write if data is not None else self._drop(writer), data)
                    )
        for timer in timers:
            timer.cancel()
        self.open -= 1
        self.writers.discard(writer)
        writer.close()

    @staticmethod
    def _drop(writer: asyncio.StreamWriter) -> Callable[[object], None]:
        return lambda _: writer.close()


@contextlib.asynccontextmanager
async def device(script: Script):
    played = Device(script)
    server = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    link = open_link(Bus("io", "modbus-tcp", {"host": "localhost", "port": server.sockets[0].getsockname()[1]}))
    try:
        yield link, played
    finally:
        await link.close()
        server.close()
        await server.wait_closed()


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


async def test_pymodbus_as_the_device_understands_every_request():
    registers = [SimData(0, values=list(range(200)), datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[True, False, True, True] * 4, datatype=DataType.BITS)]
    server = ModbusTcpServer(SimDevice(4, simdata=(bits, bits, registers, registers)), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    link = open_link(
        Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": server.transport.sockets[0].getsockname()[1]})
    )
    try:
        assert await link.transact(ReadRegisters(4, 3, 10, 125), T) == tuple(range(10, 135))
        assert await link.transact(ReadRegisters(4, 4, 10, 2), T) == (10, 11)
        assert await link.transact(ReadBits(4, 2, 0, 4), T) == (1, 0, 1, 1)
        assert await link.transact(WriteBit(4, 1, True), T) == ()
        assert await link.transact(ReadBits(4, 1, 0, 4), T) == (1, 1, 1, 1)
        assert await link.transact(WriteRegisters(4, 16, 3, (70, 80)), T) == ()
        assert await link.transact(WriteRegisters(4, 6, 5, (90,)), T) == ()
        assert await link.transact(ReadRegisters(4, 3, 3, 3), T) == (70, 80, 90)
        with pytest.raises(DeviceRefused) as refused:
            await link.transact(ReadRegisters(4, 3, 195, 10), T)
        assert refused.value.code == 2
        assert (link.journal.statistics[4].ok, link.journal.statistics[4].refused) == (8, 1)
    finally:
        await link.close()
        await server.shutdown()


ANSWERS: dict[str, tuple[Callable[[bytes], bytes], type[Exception]]] = {
    "wrong unit": (lambda r: good(r)[:6] + b"\x09" + good(r)[7:], BadReply),
    "wrong function": (lambda r: good(r)[:7] + b"\x04" + good(r)[8:], BadReply),
    "too few registers": (lambda r: good(r[:11] + bytes((r[11] - 1,))), BadReply),
    "too many registers": (lambda r: good(r[:11] + bytes((r[11] + 1,))), BadReply),
    "wrong byte count": (lambda r: good(r)[:8] + b"\x06" + good(r)[9:], BadReply),
    "wrong transaction": (lambda r: b"\x77\x77" + good(r)[2:], NoReply),
    "half a frame": (lambda r: good(r)[:9], NoReply),
    "silence": (lambda _: b"", NoReply),
    "refusal": (lambda r: r[:5] + b"\x03" + r[6:7] + b"\x83\x06", DeviceRefused),
}


@pytest.mark.parametrize("fault", ANSWERS)
async def test_a_wrong_answer_costs_one_question_and_no_connection(fault):
    answer, error = ANSWERS[fault]
    faults = [answer]
    async with device(lambda r: [(0.0, (faults.pop() if faults else good)(r))]) as (link, played):
        await fails(error, link.transact(ReadRegisters(1, 3, 100, 4), T))
        assert await link.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
        assert played.opened == 1
    assert played.most_open == 1


@pytest.mark.parametrize("rubbish", [b"\x00\x01\x00\x01\x00\x05", b"\x00\x01\x00\x00\x01\x00", b"HTTP/1.1 400 Bad"])
async def test_a_stream_without_frames_is_a_bad_reply_and_the_connection_is_made_anew(rubbish):
    faults = [rubbish]
    async with device(lambda r: [(0.0, faults.pop() if faults else good(r))]) as (link, played):
        began = time.monotonic()
        await fails(BadReply, link.transact(ReadRegisters(1, 3, 100, 4), Timing(2.0, 0.0)), "cannot find a frame")
        assert time.monotonic() - began < 1.0
        await fails(NoReply, link.transact(ReadRegisters(1, 3, 200, 4), T), "next attempt in")
        await asyncio.sleep(0.55)
        assert await link.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
    assert (played.opened, played.most_open) == (2, 1)


async def test_an_answer_in_pieces_is_taken_when_it_is_whole():
    def pieces(request: bytes) -> list[tuple[float, bytes | None]]:
        return [(0.002 * n, bytes((byte,))) for n, byte in enumerate(good(request))]

    async with device(pieces) as (link, _):
        assert await link.transact(ReadRegisters(1, 3, 9, 4), Timing(1.0, 0.0)) == (9, 10, 11, 12)


async def test_a_late_answer_is_dropped_and_the_next_question_need_not_wait():
    delays = [0.13]
    async with device(lambda r: [(delays.pop() if delays else 0.05, good(r))]) as (link, _):
        await fails(NoReply, link.transact(ReadRegisters(1, 3, 100, 4), T), "in 0.1 s")
        assert await link.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
        assert link.journal.statistics[1].late == 1


async def test_a_cancelled_question_does_not_answer_the_next():
    async with device(lambda r: [(0.03, good(r))]) as (link, _):
        asking = asyncio.create_task(link.transact(ReadRegisters(1, 3, 100, 4), T))
        await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await link.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)


async def test_a_dropped_connection_fails_the_question_at_once_and_comes_back_after_a_pause():
    async with device(lambda _: [(0.0, None)]) as (link, played):
        began = time.monotonic()
        await fails(NoReply, link.transact(ReadRegisters(1, 3, 100, 4), Timing(5.0, 0.0)), "closed|lost")
        assert time.monotonic() - began < 0.5
        played.script = lambda r: [(0.0, good(r))]
        await fails(NoReply, link.transact(ReadRegisters(1, 3, 100, 4), T), "next attempt in 0")
        await asyncio.sleep(0.55)
        assert await link.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
    assert (played.opened, played.most_open) == (2, 1)


async def test_pauses_between_attempts_grow_until_something_is_answered():
    async with device(lambda _: [(0.0, None)]) as (link, _):
        waits = []
        for _ in range(3):
            await fails(NoReply, link.transact(ReadRegisters(1, 3, 100, 4), T), "closed|lost")
            waits.append(link._backoff.remaining_s(asyncio.get_running_loop().time()))
            link._backoff._until = 0.0  # the pause is over
        assert [round(wait, 1) for wait in waits] == [0.5, 1.0, 2.0]


async def test_after_three_timeouts_in_a_row_the_connection_is_made_anew():
    async with device(lambda _: []) as (link, played):
        for _ in range(3):
            await fails(NoReply, link.transact(ReadRegisters(1, 3, 100, 4), Timing(0.03, 0.0)), "in 0.03 s")
        played.script = lambda r: [(0.0, good(r))]
        assert await link.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
    assert (played.opened, played.most_open) == (2, 1)


async def test_nobody_listening_is_no_reply_and_the_next_question_does_not_wait():
    async with device(lambda _: []) as (link, _):
        pass
    nobody = open_link(Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": link._port}))
    await fails(NoReply, nobody.transact(ReadRegisters(1, 3, 100, 4), T), "cannot reach")
    began = time.monotonic()
    await fails(NoReply, nobody.transact(ReadRegisters(1, 3, 100, 4), T), "next attempt in")
    assert time.monotonic() - began < 0.3
    await nobody.close()


async def test_a_name_that_nobody_knows_is_no_reply():
    link = open_link(Bus("io", "modbus-tcp", {"host": "no-such-device.invalid"}))
    await fails(NoReply, link.transact(ReadRegisters(1, 3, 100, 4), T), "cannot reach no-such-device.invalid port 502")
    await link.close()


async def test_questions_asked_at_once_go_one_by_one_on_one_connection():
    async with device(lambda r: [(0.005, good(r))]) as (link, played):
        replies = await asyncio.gather(*(link.transact(ReadRegisters(1, 3, n, 1), T) for n in range(20)))
        assert replies == [(n,) for n in range(20)]
        assert all(len(request) == 12 for _, request in played.asked)
    assert played.opened == 1


async def test_a_device_that_needs_a_pause_gets_it():
    async with device(lambda r: [(0.0, good(r))]) as (link, played):
        for n in range(3):
            await link.transact(ReadRegisters(1, 3, n, 1), Timing(0.1, 0.05))
        times = [at for at, _ in played.asked]
        assert min(b - a for a, b in itertools.pairwise(times)) >= 0.049


async def test_closing_the_bus_fails_the_question_in_flight():
    async with device(lambda _: []) as (link, _):
        asking = asyncio.create_task(link.transact(ReadRegisters(1, 3, 0, 1), Timing(5.0, 0.0)))
        await asyncio.sleep(0.05)
        await link.close()
        await fails(NoReply, asking, "closed")
        await fails(NoReply, link.transact(ReadRegisters(1, 3, 0, 1), T), "closed")


async def test_a_request_for_another_medium_is_our_own_fault():
    link = open_link(Bus("io", "modbus-tcp", {"host": "127.0.0.1"}))
    with pytest.raises(TypeError, match="not a Modbus request"):
        await link.transact(GetOids(("1.3.6.1",)), T)
    with pytest.raises(ValueError, match="host is missing"):
        open_link(Bus("io", "modbus-tcp", {}))
