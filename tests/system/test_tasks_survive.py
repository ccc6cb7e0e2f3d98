"""A bug in what a task does costs one round, not the bus: the supervisor runs it again and it works."""

import asyncio
import logging
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gantry_agent.field import profile
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Answered, Bus, Device, Missed
from gantry_agent.supervisor import Supervisor

SHIPPED = Path(profile.__file__).parent.parent / "profiles"


async def test_a_bus_whose_task_failed_is_read_again(caplog: pytest.LogCaptureFixture):
    server = ModbusTcpServer(
        [SimDevice(1, [SimData(0, values=[7] * 100, datatype=DataType.REGISTERS)])], address=("127.0.0.1", 0)
    )
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    heard: list[Answered | Missed] = []

    def hand_over(message: Answered | Missed) -> None:
        heard.append(message)
        if len(heard) == 1:
            raise ValueError("a bug")

    product = profile.load("xy-md02", (SHIPPED,))
    device = Device("1.climate", 1, "xy-md02", "io", 1, {"thermohygrometer": (1,)})
    link = open_link(Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": port}))
    poller = Poller(link, [(device, product)], Lanes(0.05, 0.05, 3), hand_over)
    caplog.set_level(logging.CRITICAL, "gantry_agent.supervisor")
    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            supervisor = Supervisor(group)
            supervisor.keep("bus io", poller.run)
            while sum(isinstance(message, Answered) for message in heard) < 3:
                await asyncio.sleep(0.05)
            assert not [message for message in heard if isinstance(message, Missed)]
            assert supervisor.restarts == {"bus io": 1}
            await supervisor.end("bus io", 5.0)
    finally:
        await server.shutdown()
