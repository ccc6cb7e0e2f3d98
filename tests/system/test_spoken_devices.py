"""Megatec and YD/T 1363 devices from end to end: hwsim on ptys, agent, strict cloud; and NUT as a second client.

The rectifiers and an RTU probe share one 9600-baud line; the UPS has a 2400-baud line to itself.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gantry import Gantry
from spoken_rig import lines, nutdrv_qx, ups, ups_alone
from support import ask, eventually, python

pytestmark = pytest.mark.system

DEVICES = {
    "psu": "profile: ydt1363-psu, bus: mixed, unit: 1, ids: {rectifier: [1, 2], ups: [1]}, parameters: {psm_a: 1}",
    "probe": "profile: xy-md02, bus: mixed, unit: 52",
    "ups": "profile: megatec-q1, bus: ups-com, ids: {ups: [2]}, "
    "parameters: {cells: 36, battery_empty: 66, battery_full: 82}",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with lines(tmp_path_factory.mktemp("spoken"), DEVICES) as it:
        it.sees(1, rectifier_outputVoltage="53.5", thermohygrometer_status="1", within_s=20)
        yield it


@pytest.fixture
def it(running: Gantry) -> Iterator[Gantry]:
    yield running
    for device in ("1.psu", "1.ups", "1.probe"):
        running.mend(device)
    running.plant(mains=True, battery_fuse=True, rectifier={"number": 1, "fault": False, "on": True})


def test_a_mixed_line_gives_the_first_status_without_a_complaint(it: Gantry) -> None:
    status = eventually(lambda: it.uploads("cabinetStatusUpdate", 1), 15)[-1]
    assert status["complaints"] == []
    cabinet = it.latest(1)
    assert cabinet["elec"][0]["voltage"] == "231"
    assert [one["outputVoltage"] for one in cabinet["rectifier"]] == ["53.5", "53.5"]
    assert ups(it, 1)["inputVoltage"] == "53.5"
    assert ups(it, 2)["inputVoltage"] in ("82.08", "82.1")  # 2.28 V a cell, two digits are all it gives
    assert ups(it, 2)["powerRate"] == "100"


@pytest.mark.parametrize("kind", ["garbage", "bad_crc", "half", "wrong_function", "noise"])
def test_a_rectifier_line_gone_bad_never_gives_a_wrong_value(it: Gantry, kind: str) -> None:
    """What is broken is lost, not believed; the probe beside it goes on."""
    eventually(lambda: it.latest(1)["rectifier"][0]["status"] == "1", 30, "the rectifiers answer")
    since = it.received()
    it.fault("1.psu", kind, count=20)
    time.sleep(1.2)
    it.mend("1.psu")
    for one in it.uploads("cabinetStatusUpdate", 1, since):
        status = one["payload"]["cabinetStatus"]
        assert {module["outputVoltage"] for module in status["rectifier"]} <= {"53.5", "NoData", "GetFailed"}
        assert status["rectifier"][0]["warningMsg"] in ("", "NoData", "GetFailed")
        assert status["thermohygrometer"]["status"] == "1"


def test_a_silent_ups_is_lost_and_comes_back(it: Gantry) -> None:
    it.fault("1.ups", "silent")
    eventually(lambda: ups(it, 2)["status"] == "0", 25, "the UPS is lost")
    eventually(lambda: it.latest(1)["rectifier"][0]["status"] == "1", 30, "the rectifiers go on")
    it.mend("1.ups")
    eventually(lambda: ups(it, 2)["status"] == "1", 40, "the UPS is back")


def test_a_mains_failure_is_told_by_both_of_them(it: Gantry) -> None:
    since = it.received()
    it.plant(mains=False)

    def told() -> bool:
        cabinet = it.latest(1)
        return (
            "交流L1相缺相" in cabinet["elec"][0]["warningMsg"]
            and "整流模块掉电" in cabinet["rectifier"][0]["warningMsg"]
            and ups(it, 1)["runningState"] == "3"
            and ups(it, 2)["runningState"] == "3"
        )

    eventually(told, 20, "both batteries discharging")
    assert not [one for one in it.uploads(since=since) if one["complaints"]]


def test_a_blown_fuse_and_a_faulty_module_are_told_at_once(it: Gantry) -> None:
    it.plant(battery_fuse=False, rectifier={"number": 1, "fault": True})
    it.sees(1, ups_warningMsg="电池熔丝断", rectifier_warningMsg="整流模块故障", rectifier_status="0")


def test_nut_reads_the_simulated_ups_at_the_pace_of_its_line(tmp_path: Path) -> None:
    with ups_alone("megatec-q1", tmp_path) as api:
        said = nutdrv_qx("megatec", tmp_path)
        assert (said["ups.status"], said["battery.voltage"], said["input.voltage"]) == ("OL", "82.10", "231.0")
        assert (said["device.mfr"], said["battery.voltage.nominal"]) == ("SIMULATED", "72.0")
        ask(f"{api}/plant", {"mains": False, "ups_percent": 10})
        eventually(lambda: ask(f"{api}/state")["plant"]["1"]["ups"]["source"] == "battery")
        said = nutdrv_qx("megatec", tmp_path)
        assert (set(said["ups.status"].split()), said["input.voltage"]) == ({"OB", "LB"}, "0.0")


QS_SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1:9", auth: roadside-7}}
buses: {{ups-com: {{type: serial, port: {folder}/ttyUPS, baudrate: 2400}}}}
cabinets: [{{id: 1, devices: {{ups: {{profile: voltronic-qs, bus: ups-com, ids: {{ups: [1], elec: [1]}}}}}}}}]
"""


def test_nut_and_the_agent_read_the_qs_dialect_alike(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(QS_SITE.format(folder=tmp_path), encoding="utf-8")
    with ups_alone("voltronic-qs", tmp_path):
        said = nutdrv_qx("voltronic-qs", tmp_path)
        words = python("gantry_agent", "show", "--config", str(config))
        shown = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
    assert (said["ups.firmware.aux"], said["ups.status"], said["battery.charge"]) == ("PM-V", "OL", "100")
    there = {"inputVoltage": "battery.voltage", "temperature": "ups.temperature", "voltage": "input.voltage"}
    for field, name in there.items():
        assert f'"{field}": "{float(said[name]):g}"' in shown, shown
    assert '"powerRate": "100"' in shown
