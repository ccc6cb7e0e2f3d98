"""A scripted unit at the far end of a Modbus RTU line, on a pty and behind a TCP converter.

Register n holds the value n, so an answer given to the wrong question shows. `BROKEN` are the ways an answer goes bad.
"""

import asyncio
import contextlib
import os
import pty
import struct
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pymodbus.framer.rtu import FramerRTU

from gantry_agent.field.bus import open_link
from gantry_agent.field.request import Timing
from gantry_agent.model import Bus

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


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "bad crc": lambda r: good(r)[:-1] + bytes((good(r)[-1] ^ 1,)),
    "half a frame": lambda r: good(r)[:6],
    "foreign unit": lambda r: good(framed(bytes((r[0] + 1,)) + r[1:6])),
    "wrong function": lambda r: good(framed(r[:1] + b"\4" + r[2:6])),
    "too few registers": lambda r: good(framed(r[:5] + bytes((r[5] - 1,)))),
    "too many registers": lambda r: good(framed(r[:5] + bytes((r[5] + 1,)))),
    "noise": lambda _: b"\x00\xff\x13\x55",
}


@contextlib.asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """See that a test leaves no open file and no task behind."""

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
