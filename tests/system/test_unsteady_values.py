"""A UPS whose battery state is garbage now and then, as NUT tells of the UPS2000: asked again before it is believed."""

import asyncio
import contextlib
import struct

import pytest

from gantry_agent.field import profile
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Answered, Bus, Device, Missed, Role

pytestmark = pytest.mark.system

STATE, CHARGE, MODE = 12002, 12003, 11024
GARBAGE = 0xD4A1
UPS = Role(1, "ups")


class Ups:
    """Holding registers on Modbus TCP; of the battery's state every `garbage_every`-th answer is garbage."""

    def __init__(self, garbage_every: int) -> None:
        self.registers = {STATE: 3, CHARGE: 100, MODE: 2}
        self.garbage_every = garbage_every
        self.asked = self.garbage = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                turn, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                words = [self.registers.get(start + n, 0) for n in range(count)]
                if start <= STATE < start + count:
                    self.asked += 1
                    if self.asked % self.garbage_every == 0:
                        words[STATE - start] = GARBAGE
                        self.garbage += 1
                body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *words)
                writer.write(struct.pack(">HHH", turn, 0, len(body)) + body)
                await writer.drain()
        writer.close()


async def told(ups: Ups, looks: int) -> list[object]:
    """Poll it until the battery's state was asked for so often; give what was told of it."""
    server = await asyncio.start_server(ups.serve, "127.0.0.1", 0)
    said: list[object] = []

    def hear(message: Answered | Missed) -> None:
        if isinstance(message, Answered) and (reading := message.fields.get((UPS, "runningState"))):
            said.append(reading.value if reading.quality == "ok" else reading.quality)

    bus = Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]})
    device = Device("1.ups", 1, "huawei-ups2000", "io", 1, {"ups": (1,)})
    poller = Poller(open_link(bus), [(device, profile.load("huawei-ups2000"))], Lanes(0.02, 0.02, 3), hear)
    polling = asyncio.create_task(poller.run())
    try:
        async with asyncio.timeout(20):
            while ups.asked < looks:
                await asyncio.sleep(0.01)
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
        server.close()
    return said


async def test_garbage_between_good_answers_is_never_told() -> None:
    ups = Ups(garbage_every=3)
    said = await told(ups, 10)
    assert ups.garbage >= 3
    assert len(said) >= 4
    assert set(said) == {1}


async def test_a_state_that_stays_unknown_is_no_data_after_one_more_look() -> None:
    ups = Ups(garbage_every=1)
    said = await told(ups, 5)
    assert set(said) == {"NoData"}
    assert len(said) >= 2, "it is told, not asked for ever"
