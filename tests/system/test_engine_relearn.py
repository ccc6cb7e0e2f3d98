"""What a device does not have is found out, remembered, and learnt anew when the device has changed; hwsim plays it.

The meter is hwsim's; that its firmware lacks some registers is a fault inflicted on it. A setting that a profile wants
restored after a return is seen in hwsim's own account of the relay board.
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

import pytest
from support import ask, free_ports, python, running

from gantry_agent.field import profile as profiles
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import RELEARN_S, Lanes, Poller
from gantry_agent.model import Answered, Bus, Device, Quality

pytestmark = [pytest.mark.system, pytest.mark.alone]

SITE = """\
gantry: {{id: G000211001002110010}}
buses:
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
computers: [{{id: 1, monitor: true, source: local}}]
cabinets:
  - id: 1
    devices:
      meter: {{profile: chint-dtsu666, bus: io, unit: 3}}
      relays: {{profile: moxa-iologik-e1212, bus: io, unit: 4}}
"""
MISSES = 2
FREQUENCY, CONSUMPTION, VOLTAGE = "frequency", "elecConsumption", "voltage"
RELAYS = """\
profile: relays
title: {zh: 继电器, en: relays}
protocol: modbus
maturity: draft
sources: [{document: "Moxa ioLogik E1200 Series User's Manual", page: "A-2"}]
timing: {response_ms: 300, gap_ms: 0}
members: {thunderSpd: 1}
points:
  thunderSpd.status: {read: discrete 0, lane: slow}
on_return:
  - {write: coil 0, value: 1}
  - {write: coil 3, value: 1}
"""


class Meter:
    """A poller of one device, and the latest quality of each field it has handed over."""

    poller: Poller

    def __init__(self) -> None:
        self.fields: dict[str, object] = {}

    def hear(self, message: object) -> None:
        if isinstance(message, Answered):
            for (_, name), reading in message.fields.items():
                self.fields[name] = reading.quality

    async def shows(self, name: str, quality: Quality, within_s: float = 5.0) -> None:
        deadline = time.monotonic() + within_s
        while self.fields.get(name) is not quality:
            assert time.monotonic() < deadline, self.fields
            await asyncio.sleep(0.02)


@pytest.fixture
def hardware(tmp_path: Path):
    [io] = free_ports(1)
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(io=io), encoding="utf-8")
    command = python("hwsim", "run", "--site", str(site), "--api", "127.0.0.1:0")
    with running(*command, ready="^hwsim ready") as process:
        api = process.wait_for(r"hwsim api http").split()[-1]
        yield io, api


@contextlib.asynccontextmanager
async def polled(io: int, device: Device, its: profiles.Profile):
    link = open_link(Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": io}))
    meter = Meter()
    meter.poller = Poller(link, [(device, its)], Lanes(0.1, 0.1, MISSES), meter.hear)
    task = asyncio.create_task(meter.poller.run())
    try:
        yield meter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def missing(api: str, first: int, last: int) -> None:
    ask(f"{api}/fault", {"device": "1.meter", "kind": "missing", "first": first, "last": last})


async def test_registers_that_a_device_lacks_are_not_supported_and_are_learnt_when_they_appear(hardware, caplog):
    io, api = hardware
    caplog.set_level(logging.INFO, "gantry_agent.field.poller")
    its = profiles.load("chint-dtsu666")
    device = Device("1.meter", 1, its.name, "io", 3, {"elec": (1,)})
    await asyncio.to_thread(missing, api, 0x2044, 0x2045)
    async with polled(io, device, its) as meter:
        await meter.shows(FREQUENCY, Quality.NOT_SUPPORT)
        await meter.shows(VOLTAGE, Quality.OK)  # its neighbours are read all the same
        await meter.shows(CONSUMPTION, Quality.OK)
        unit = meter.poller._units[0]
        soon, daily = RELEARN_S
        assert soon - 5 < unit.relearn_at - time.monotonic() <= soon

        # Nobody asks for it again by itself before the time has come ...
        await asyncio.to_thread(ask, f"{api}/fault?device=1.meter", None, "DELETE")
        await asyncio.sleep(0.5)
        assert meter.fields[FREQUENCY] is Quality.NOT_SUPPORT
        # ... and then it is there, without the others having been touched.
        meter.poller.relearn("1.meter")
        await meter.shows(FREQUENCY, Quality.OK)
        assert unit.relearn_at is None

        # A point that gave a value and is refused now is not given up: modules refuse while they start.
        await asyncio.to_thread(missing, api, 0x2044, 0x2045)
        await meter.shows(FREQUENCY, Quality.GET_FAILED, 20)
        await meter.shows(VOLTAGE, Quality.OK)
        # A device that was away and is back may have other firmware: what it refuses then, it does not have.
        await asyncio.to_thread(ask, f"{api}/fault", {"device": "1.meter", "kind": "silent"})
        while unit.state.misses < MISSES:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(missing, api, 0x2044, 0x2045)
        await meter.shows(FREQUENCY, Quality.NOT_SUPPORT, 12)
        assert soon < unit.relearn_at - time.monotonic() <= daily
        await asyncio.to_thread(ask, f"{api}/fault?device=1.meter", None, "DELETE")
        meter.poller.relearn("1.meter")
        await meter.shows(FREQUENCY, Quality.OK, 12)
    told = [record.getMessage() for record in caplog.records]
    assert sum("does not have elec.frequency" in line for line in told) == 2
    assert "1.meter has elec.frequency now" in told


async def test_a_device_that_is_back_is_told_its_settings_before_anything_of_it_is_believed(hardware, tmp_path):
    io, api = hardware
    path = tmp_path / "relays.yaml"
    path.write_text(RELAYS, encoding="utf-8")
    its = profiles.check(path)
    device = Device("1.relays", 1, its.name, "io", 4, {"thunderSpd": (1,)})

    def coils() -> list[int]:
        table = ask(f"{api}/registers?device=1.relays")["coils"]
        return [int(table[str(n)]) for n in range(4)]

    async with polled(io, device, its) as meter:
        await meter.shows("status", Quality.OK)
        assert await asyncio.to_thread(coils) == [0, 0, 0, 0]  # it was never away
        await asyncio.to_thread(ask, f"{api}/fault", {"device": "1.relays", "kind": "silent"})
        while meter.poller._units[0].state.misses < MISSES:
            await asyncio.sleep(0.05)
        meter.fields.clear()
        await asyncio.to_thread(ask, f"{api}/fault?device=1.relays", None, "DELETE")
        await meter.shows("status", Quality.OK, 12)
        assert await asyncio.to_thread(coils) == [1, 0, 0, 1]
