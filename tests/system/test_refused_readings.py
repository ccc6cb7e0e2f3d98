"""An air conditioner with an alarm that answers `busy` for a while: over a real socket, from registers to events."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Callable

import pytest

from gantry_agent.core.monitor import Layout, Watch, absorb, begin
from gantry_agent.field import profile
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Answered, Bus, Cabinet, Device, Event, Missed, Role, Site

pytestmark = pytest.mark.system

AIR = Role(1, "airConditioners")
COMPRESSOR_FAULT = 0x060E
FIELDS = ("errorMsg", "systemWarning", "temperatureWarning", "status", "isWorking", "workMode")


class AirConditioner:
    """Holding registers on Modbus TCP; `refuses` is the exception code given to every question about alarms."""

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}
        self.refuses = 0
        self.refuses_from = 0x0600

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                turn, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                if self.refuses and start >= self.refuses_from:
                    body = bytes((unit, function | 0x80, self.refuses))
                else:
                    words = [self.registers.get(start + n, 0) for n in range(count)]
                    body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *words)
                writer.write(struct.pack(">HHH", turn, 0, len(body)) + body)
                await writer.drain()
        writer.close()


class Seen:
    """What the monitor made of it."""

    def __init__(self) -> None:
        device = Device("1.air", 1, "envicool-cabinet-ac", "io", 1, {"airConditioners": (1,)})
        site = Site("G1", "Asia/Shanghai", {}, {}, (Cabinet(1, ("1.air",), {}),), ())
        self.watch: Watch = begin(site, Layout({"1.air": frozenset((AIR, name) for name in FIELDS)}, misses=3))
        self.events: list[Event] = []
        self.said: list[dict[str, object]] = []
        self.device = device

    def hear(self, message: Answered | Missed) -> None:
        self.watch, events = absorb(self.watch, message, time.monotonic())
        self.events += events
        self.said.append(self.now())

    def now(self) -> dict[str, object]:
        entry = self.watch.snapshots[1].entries[AIR]
        return {name: entry[name].value if entry[name].quality == "ok" else entry[name].quality for name in FIELDS}

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not so():
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def polled(air: AirConditioner) -> AsyncIterator[Seen]:
    server = await asyncio.start_server(air.serve, "127.0.0.1", 0)
    seen = Seen()
    bus = Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]})
    product = profile.load("envicool-cabinet-ac")
    poller = Poller(open_link(bus), [(seen.device, product)], Lanes(0.05, 0.05, 3), seen.hear)
    polling = asyncio.create_task(poller.run())
    try:
        yield seen
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
        server.close()


@pytest.mark.parametrize("code", [4, 5, 6])
async def test_an_alarm_is_not_over_while_the_device_is_too_busy_to_tell(code: int) -> None:
    air = AirConditioner()
    air.registers = {COMPRESSOR_FAULT: 1}
    async with polled(air) as seen:
        await seen.until(lambda: seen.now()["systemWarning"] == 0)
        assert seen.now()["errorMsg"] == "压缩机故障"
        seen.events.clear()
        seen.said.clear()
        air.refuses = code
        await seen.until(lambda: seen.now()["systemWarning"] == "GetFailed")
        count = len(seen.said)
        await seen.until(lambda: len(seen.said) > count + 10)
        assert {str(said["systemWarning"]) for said in seen.said} <= {"0", "GetFailed"}
        assert {str(said["errorMsg"]) for said in seen.said} <= {"压缩机故障", "GetFailed"}
        assert not seen.events
        assert seen.now()["status"] == 1  # it still says what it does
        air.registers = {}
        air.refuses = 0
        await seen.until(lambda: len(seen.events) == 2)
        assert {(event.field, event.after.value) for event in seen.events} == {("systemWarning", 1), ("errorMsg", "")}


async def test_a_device_that_is_too_busy_for_everything_is_abnormal_until_it_is_not() -> None:
    air = AirConditioner()
    async with polled(air) as seen:
        await seen.until(lambda: seen.now()["status"] == 1)
        air.refuses, air.refuses_from = 6, 0
        await seen.until(lambda: seen.now()["status"] == 0)
        assert {str(said) for name, said in seen.now().items() if name != "status"} == {"GetFailed"}
        assert [(event.field, event.after.value) for event in seen.events] == [("status", 0)]
        air.refuses = 0
        await seen.until(lambda: seen.now()["status"] == 1)
        assert [(event.field, event.after.value) for event in seen.events] == [("status", 0), ("status", 1)]
