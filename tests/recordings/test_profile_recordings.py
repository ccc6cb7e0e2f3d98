"""SNMP profiles against recordings of real devices, replayed over UDP by somebody else's agent (snmpsim).

The expected values were read in the recordings by eye, with the tables of the MIBs beside them.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gantry_agent.field import derive
from gantry_agent.field.battery_log import BatteryLog, Record
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Quality
from tests import profile_rig as rig
from tests import recording_rig

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
    "ups.temperature": "NotSupport",  # 2147483647: no sensor
    "ups.warningMsg": "",
    "thermohygrometer.temperature": "NotSupport",  # 2147483647: no sensor
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
VERTIV_DCS: dict[str, Any] = {
    "airConditioners.status": 1,
    "airConditioners.isWorking": 1,  # column 5
    "airConditioners.workMode": 1,
    "airConditioners.systemWarning": 1,  # column 7 = 0
    "airConditioners.temperatureWarning": 1,  # columns 12 to 14 = 0
    "airConditioners.errorMsg": "",  # column 11 = 9999: this unit does not have it
}
CASES = [
    pytest.param("vertiv-dcs", "vertiv-dcs", {}, VERTIV_DCS, id="Vertiv DCS"),
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


# The result table as HUAWEI-SITE-MONITOR-MIB describes it, in no order: index, kind, start, result, %, 0.01 h, 0.1 V,
# 0.1 A, Ah, °C, end cause. The newest is a discharge by a mains failure (kind 2).
BATTERY_TESTS = (
    (1, 1, "2026-03-02 01:00:00", 2, 98, 250, 462, 118, 30, 24, 2),
    (2, 4, "2026-09-30 10:15:00", 3, -1, 12, 471, -120, 1, -1024, 255),
    (3, 2, "2026-10-01 03:12:00", 1, -1, 40, 480, 119, 5, 24, 3),
    (10, 3, "2026-06-01 01:00:00", 4, 41, 100, 450, 119, 12, 24, 1),
)


def battery_tests() -> str:
    column = "1.3.6.1.4.1.2011.6.164.1.4.3.100.1"
    return "".join(
        f"{column}.{n}.{row[0]}|{4 if n == 3 else 2}|{row[n - 1]}\n" for n in range(1, 12) for row in BATTERY_TESTS
    )


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """snmpsim with the recordings of this file and the table of battery tests; gives its UDP port."""
    names = dict.fromkeys(str(case.values[0]) for case in CASES)
    own = {"battery-tests": battery_tests()}
    with recording_rig.snmpsim(tmp_path_factory.mktemp("replay"), names, own) as port:
        yield port


@pytest.mark.parametrize(("recording", "profile", "given", "expected"), CASES)
async def test_a_replayed_device_gives_the_readings_of_its_recording(
    replay: int, recording: str, profile: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    product = rig.load(profile)
    it = rig.device(product, **{key: dict(value) for key, value in given.items()})
    bus = recording_rig.the_bus(replay, recording)
    rig.assert_readings(await recording_rig.read_twice(product, it, bus), expected)


async def newest_record(port: int, recording: str) -> Record | None:
    """What the log of battery tests tells over the wire."""
    product = rig.load("huawei-site-monitor")
    poller = Poller(open_link(recording_rig.the_bus(port, recording)), (), Lanes(1.0, 1.0, 3), lambda _: None)
    task = asyncio.create_task(poller.run())
    try:
        async with asyncio.timeout(20.0):
            return await BatteryLog(poller, rig.device(product), product).newest()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_newest_record_is_that_of_the_test_which_began_last(replay: int) -> None:
    assert await newest_record(replay, "battery-tests") == {
        "testStartTime": "2026-09-30 10:15:00",
        "testResult": 3,
        "efficiency": Quality.NO_DATA,
        "dischargeTime": 0.12,
        "dischargeEndVoltage": 47.1,
        "dischargeAvCurrent": -12.0,
        "dischargeAhCurrent": 1,
        "testTemperature": Quality.NOT_SUPPORT,
        "testEndCourse": 255,
    }


@pytest.mark.parametrize("recording", ["huawei-smu_11b", "huawei-smu"])
async def test_a_monitor_that_never_tested_has_no_record(replay: int, recording: str) -> None:
    assert await newest_record(replay, recording) is None


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
