"""Rows of an SNMP table that move while they are read: found again within seconds, and never a value of another row."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ask, free_ports, python, running

from gantry_agent.field import profile as profiles
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Answered, Bus, Device, Missed, Quality

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PROFILES = Path(__file__).parents[2] / "gantry_agent" / "profiles"
FAULT, OFF = "整流模块故障", "整流模块已关机"


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    [port] = free_ports(1, socket.SOCK_DGRAM)
    path = tmp_path_factory.mktemp("rows") / "site.yaml"
    path.write_text(
        f"buses: {{power: {{type: snmp, host: 127.0.0.1, port: {port}, version: 2c, community: public}}}}\n"
        "cabinets: [{id: 1, devices: {power: {profile: huawei-site-monitor, bus: power}}}]\n"
    )
    with running(*python("hwsim", "run", "--site", str(path)), ready=r"^hwsim ready") as process:
        yield process.wait_for(r"hwsim api http").split()[-1], port


class Seen:
    """What a poller handed over: every reading of every field, in order."""

    def __init__(self) -> None:
        self.readings: list[tuple[str, object]] = []
        self.missed: list[str] = []

    def hand_over(self, message: Answered | Missed) -> None:
        if isinstance(message, Missed):
            self.missed.append(message.why)
            return
        for (role, name), reading in message.fields.items():
            told = reading.value if reading.quality is Quality.OK else reading.quality
            self.readings.append((f"{role.member}[{role.number}].{name}", told))

    async def reads(self, name: str, wanted: object, within_s: float) -> None:
        """Wait until a field reads so, from now on."""
        start = len(self.readings)
        async with asyncio.timeout(within_s):
            while (name, wanted) not in self.readings[start:]:
                await asyncio.sleep(0.02)

    def all(self, name: str, since: int = 0) -> list[object]:
        return [told for key, told in self.readings[since:] if key == name]


@contextlib.asynccontextmanager
async def polled(port: int):
    profile = profiles.load("huawei-site-monitor", [PROFILES])
    device = Device("1.power", 1, profile.name, "power", 1, {"rectifier": (1, 2)})
    bus = Bus("power", "snmp", {"host": "127.0.0.1", "port": port, "version": "2c", "community": "public"})
    seen = Seen()
    poller = Poller(open_link(bus), [(device, profile)], Lanes(0.1, 0.3, 3), seen.hand_over)
    task = asyncio.create_task(poller.run())
    try:
        async with asyncio.timeout(10):
            await poller.looked.wait()
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def change(api: str, **wish: object) -> None:
    await asyncio.to_thread(ask, f"{api}/plant", {"cabinet": 1, **wish})


async def test_rows_that_change_places_never_lend_their_values(hardware):
    api, port = hardware
    await change(api, rectifier={"number": 2, "fault": True})
    await change(api, rectifier={"number": 1, "on": True})
    async with polled(port) as seen:
        await seen.reads("rectifier[2].warningMsg", FAULT, 3)
        start = len(seen.readings)
        for rows in itertools.islice(itertools.cycle(([28676, 28677], [28677, 28676])), 6):
            await change(api, rectifier_rows=rows)
            await seen.reads("rectifier[1].outputCurrent", pytest.approx(12.0, abs=1.0), 3)
            await seen.reads("rectifier[2].warningMsg", FAULT, 3)
        assert set(seen.all("rectifier[1].warningMsg", start)) == {""}
        assert set(seen.all("rectifier[2].warningMsg", start)) == {FAULT}
        assert set(seen.all("rectifier[1].status", start)) == {1}
        assert set(seen.all("rectifier[2].outputCurrent", start)) == {0}
        assert any("rows have moved" in why for why in seen.missed)
        await change(api, rectifier={"number": 2, "fault": False})


async def test_rows_that_get_other_numbers_are_found_again_within_seconds(hardware):
    api, port = hardware
    async with polled(port) as seen:
        for rows in ([4, 9], [7, 3], [28677, 28676]):
            await change(api, rectifier_rows=rows)
            await change(api, rectifier={"number": 2, "on": False})
            await seen.reads("rectifier[2].warningMsg", OFF, 3)
            await change(api, rectifier={"number": 2, "on": True})
            await seen.reads("rectifier[2].warningMsg", "", 3)
        assert set(seen.all("rectifier[1].warningMsg")) == {""}


async def test_a_module_that_vanishes_and_returns_is_noticed_both_times(hardware):
    api, port = hardware
    async with polled(port) as seen:
        start = len(seen.readings)
        await change(api, rectifier_rows=[28677, 0])
        await seen.reads("rectifier[2].outputCurrent", Quality.NO_DATA, 3)
        await change(api, rectifier_rows=[28677, 28690])
        await seen.reads("rectifier[2].outputCurrent", pytest.approx(6.0, abs=1.0), 8)
        assert set(seen.all("rectifier[1].warningMsg", start)) == {""}
        await change(api, rectifier_rows=[28677, 28676])
