"""SNMP profiles against recordings of real devices, replayed over UDP by somebody else's agent (snmpsim).

The expected values were read in the recordings by eye, with the tables of the MIBs beside them.
"""

import asyncio
import contextlib
import getpass
import grp
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.field import codec, derive, plan
from gantry_agent.field.bus import open_link
from gantry_agent.field.product import Profile
from gantry_agent.model import BadReply, Bus, Device, NoReply
from tests import profile_rig as rig

WITHIN_S = 60.0

SMU_11B: dict[str, Any] = {
    "elec.status": 1,
    "elec.voltage": 231.2,  # 5.2.1.1.4.1 = 2312
    "elec.current": 0.8,  # 5.2.1.1.7.1 = 8
    "elec.power": 0.18496,
    "elec.warningMsg": "",
    # Equip id 2001 stands in row 28677 and 2002 in row 28676: the first rectifier is the second row.
    "rectifier.status": 1,
    "rectifier.outputVoltage": 53.4,
    "rectifier.outputCurrent": 1.8,
    "rectifier.outputPower": 0.09612,
    "rectifier.currentLimiting": 0,  # 4.2.4 = 1, not limiting
    "rectifier.warningMsg": "",
    "rectifier[2].outputVoltage": 53.5,
    "rectifier[2].outputCurrent": 1.3,
    "ups.status": 1,
    "ups.runningState": 1,  # 4.2.3 = 1 float
    "ups.inputVoltage": 53.5,
    "ups.inputCurrent": 0,
    "ups.outputCurrent": 0,
    "ups.powerRate": 100.0,  # string row 5: 1000
    "ups.remainCapacity": 18,
    "ups.surplusTime": 240,
    "ups.temperature": "NoData",  # 2147483647: no sensor
    "ups.warningMsg": "",
    "thermohygrometer.temperature": "NoData",  # 2147483647
    "thermohygrometer.humidity": "NotSupport",  # no such table
}
SMU: dict[str, Any] = {  # an older card: group values, a single AC column, no module table
    "elec.voltage": 235.8,
    "elec.current": "NotSupport",
    "elec.status": 1,
    "rectifier.outputVoltage": 53.5,
    "rectifier.outputCurrent": 0.7,
    "rectifier.outputPower": 0.03745,
    "rectifier.currentLimiting": 0,
    "ups.runningState": 1,
    "ups.powerRate": 100.0,
    "ups.remainCapacity": "NotSupport",
    "ups.surplusTime": "NotSupport",
}
UPS2000: dict[str, Any] = {
    "ups.status": 1,
    "ups.runningState": 1,  # source 3 normal, charge 100
    "ups.inputVoltage": 270.7,
    "ups.inputCurrent": 0.4,
    "ups.outputCurrent": 0.0,
    "ups.powerRate": 100,
    "ups.surplusTime": "NoData",  # 4294967295 is unknown, not 8166 years
    "ups.remainCapacity": 9.0,  # of the rated 9 Ah in the site file
    "ups.temperature": 21,
    "ups.warningMsg": "",
    "elec.voltage": 233,
    "elec.frequency": 50.0,
    "elec.current": "NotSupport",
    "elec.warningMsg": "",
}
CS141: dict[str, Any] = {
    "ups.runningState": 1,
    "ups.inputVoltage": 271.6,
    "ups.surplusTime": 544,
    "ups.temperature": 25,
    "ups.remainCapacity": "NotSupport",
    "ups.warningMsg": "旁路供电",  # source 4
    "elec.voltage": 233,
    "elec.power": "NotSupport",
}
DHCPATRIOT: dict[str, Any] = {
    "computerStatus.cpuUsage": 4.0,  # (1 + 4 + 9 + 2) / 4
    "computerStatus.memorySize": 4054400,
    "computerStatus.memoryUsage": 100 * (4054400 - 134892 - 178384 - 3233096) / 4054400,
    "computerStatus.sysDiskSize": 470240080.0,  # /var: 117560020 units of 4096
    "computerStatus.sysDiskUsage": 100 * 2178471 / 117560020,
    "computerStatus.dataDiskSize": "NotSupport",
    "computerStatus.netUsage": 0.0,  # the recording stands still
    "computerStatus.cpuTemperature": "NotSupport",
}
RECOVERYOS: dict[str, Any] = {
    "computerStatus.sysDiskSize": 999320.0,  # /: 249830 units of 4096
    "computerStatus.dataDiskSize": 3997376.0,  # /var: 999344 units of 4096
    "computerStatus.memorySize": 3881308,
    "computerStatus.cpuTemperature": "NoData",  # the dead 100000 of a virtual machine
    "computerStatus.netUsage": 0.0,
}
LINUX: dict[str, Any] = {
    "computerStatus.cpuUsage": 2.0,  # (3 + 2 + 2 + 1 + 2 + 3 + 1 + 2) / 8
    "computerStatus.memorySize": "NotSupport",
    "computerStatus.sysDiskSize": "NotSupport",
    "computerStatus.cpuTemperature": "NotSupport",
    "computerStatus.netUsage": "NotSupport",
}
WINDOWS: dict[str, Any] = {
    "computerStatus.cpuUsage": 2.0,  # (2 + 4 + 1 + 1) / 4
    "computerStatus.memorySize": 16776128.0,  # 262127 units of 65536
    "computerStatus.memoryUsage": 100 * 59527 / 262127,
    "computerStatus.sysDiskSize": 104226812.0,  # "C:\ Label: …", 26056703 units of 4096
    "computerStatus.sysDiskUsage": 100 * 7900201 / 26056703,
    "computerStatus.dataDiskUsage": "NoData",  # D:\ is an empty drive
    "computerStatus.cpuTemperature": "NotSupport",
}
CASES = [
    pytest.param("huawei-smu_11b", "huawei-site-monitor", {"roles": {"rectifier": [1, 2]}}, SMU_11B, id="SMU11B"),
    pytest.param("huawei-smu", "huawei-site-monitor", {}, SMU, id="SMU of 2012"),
    pytest.param(
        "huaweiups_ups2000", "ups-mib", {"roles": {"elec": [1]}, "parameters": {"rated_ah": 9}}, UPS2000, id="UPS2000"
    ),
    pytest.param("generex-ups_cs141", "ups-mib", {"roles": {"elec": [1]}}, CS141, id="CS141"),
    pytest.param(
        "dhcpatriot", "host-resources", {"parameters": {"sys_disk": "/var", "nic": "eth0"}}, DHCPATRIOT, id="Linux 3.19"
    ),
    pytest.param(
        "recoveryos",
        "host-resources",
        {"parameters": {"data_disk": "/var", "nic": "ens192"}},
        RECOVERYOS,
        id="Linux VM",
    ),
    pytest.param("linux", "host-resources", {}, LINUX, id="Linux without storage"),
    pytest.param(
        "windows_svr_2019_1809",
        "host-resources",
        {"parameters": {"sys_disk": "C:\\", "data_disk": "D:\\"}},
        WINDOWS,
        id="Windows Server 2019",
    ),
]


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """snmpsim with the recordings of this file; gives its UDP port. The community is the recording's name."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "data").mkdir()
    for case in CASES:
        shutil.copy(rig.recording(str(case.values[0])), folder / "data")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    responder = Path(sys.executable).parent / "snmpsim-command-responder"
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                responder,
                f"--data-dir={folder / 'data'}",
                f"--cache-dir={folder / 'cache'}",
                f"--agent-udpv4-endpoint=127.0.0.1:{port}",
                f"--process-user={getpass.getuser()}",
                f"--process-group={grp.getgrgid(os.getgid()).gr_name}",
                "--log-level=error",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        asyncio.run(wait_until_it_answers(port, child, folder / "log"))
        yield port
    finally:
        child.terminate()
        child.wait(10)


async def wait_until_it_answers(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + WITHIN_S
    link = open_link(the_bus(port, "huawei-smu"))
    try:
        while time.monotonic() < until and child.poll() is None:
            with contextlib.suppress(NoReply, BadReply):
                await link.transact(plan.GetOids(("1.3.6.1.2.1.1.2.0",)), plan.Timing(1.0, 0.0))
                return
            await asyncio.sleep(0.2)
    finally:
        await link.close()
    pytest.fail(f"snmpsim does not answer: {log.read_text(errors='replace')}")


def the_bus(port: int, community: str) -> Bus:
    return Bus("replay", "snmp", {"host": "127.0.0.1", "port": port, "version": "2c", "community": community})


async def read_twice(product: Profile, it: Device, bus: Bus) -> dict[str, Any]:
    """What the agent says after two rounds over the wire."""
    link = open_link(bus)
    timing = plan.Timing(5.0, 0.0)
    try:
        rows = {}
        for table in plan.tables(product, it):
            rows[table.name] = plan.locate(table, [await link.transact(walk, timing) for walk in table.requests])
        blocks = plan.blocks(product, it, rows)
        rounds = []
        for at in (0.0, 5.0):
            samples: dict[str, derive.Sample] = {}
            for block in blocks:
                values = codec.decode(block, await link.transact(block.request, timing), product, it)
                samples |= {key: derive.Sample(value, at) for key, value in values.items()}
            rounds.append(samples)
        before, now = rounds
        return rig.named(derive.Deriver(product, it, rows).fields(now, before))
    finally:
        await link.close()


@pytest.mark.parametrize(("recording", "profile", "given", "expected"), CASES)
async def test_a_replayed_device_gives_the_readings_of_its_recording(
    replay: int, recording: str, profile: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    product = rig.load(profile)
    it = rig.device(product, **{key: dict(value) for key, value in given.items()})
    rig.assert_readings(await read_twice(product, it, the_bus(replay, recording)), expected)


@pytest.mark.parametrize(("recording", "profile", "given", "expected"), CASES)
def test_the_recording_read_without_a_wire_gives_the_same(
    recording: str, profile: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    product = rig.load(profile)
    it = rig.device(product, **{key: dict(value) for key, value in given.items()})
    source = rig.Recording(rig.recording(recording))
    now, rows = rig.read_all(product, it, source), rig.rows_of(product, it, source)
    before = {key: derive.Sample(sample.value, -5.0) for key, sample in now.items()}
    rig.assert_readings(rig.named(derive.Deriver(product, it, rows).fields(now, before)), expected)
