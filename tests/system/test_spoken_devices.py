"""Megatec and YD/T 1363 devices from end to end: hwsim on ptys, agent, strict cloud; and NUT as a second client.

The rectifiers and an RTU probe share one 9600-baud line; the UPS has a 2400-baud line to itself.
"""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gantry import Gantry, gantry
from support import Process, ask, eventually, python

pytestmark = pytest.mark.system

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.5, slow_s: 1, misses: 3}}
buses:
  mixed: {{type: serial, port: {folder}/ttyRS485, baudrate: 9600}}
  ups-com: {{type: serial, port: {folder}/ttyUPS, baudrate: 2400}}
computers:
  - {{id: 1, monitor: true, main: true, source: local, data_disk: /, nic: lo}}
cabinets:
  - id: 1
    devices:
      psu: {{profile: ydt1363-psu, bus: mixed, unit: 1, ids: {{rectifier: [1, 2], ups: [1]}}, parameters: {{psm_a: 1}}}}
      probe: {{profile: xy-md02, bus: mixed, unit: 52}}
      ups: {{profile: megatec-q1, bus: ups-com, ids: {{ups: [2]}}, parameters: {{cells: 36, battery_empty: 66, battery_full: 82}}}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("spoken"), SITE) as it:
        it.sees(1, rectifier_outputVoltage="53.5", thermohygrometer_status="1", within_s=20)
        yield it


@pytest.fixture
def it(running: Gantry) -> Iterator[Gantry]:
    yield running
    for device in ("1.psu", "1.ups", "1.probe"):
        running.mend(device)
    running.plant(mains=True, battery_fuse=True, rectifier={"number": 1, "fault": False, "on": True})


def ups(status: dict, number: int) -> dict[str, str]:
    return next(one for one in status["ups"] if one["id"] == str(number))


def test_a_mixed_line_gives_the_first_status_without_a_complaint(it: Gantry) -> None:
    status = eventually(lambda: it.uploads("cabinetStatusUpdate", 1), 15)[-1]
    assert status["complaints"] == []
    cabinet = it.latest(1)
    assert cabinet["elec"][0]["voltage"] == "231"
    assert [one["outputVoltage"] for one in cabinet["rectifier"]] == ["53.5", "53.5"]
    assert ups(cabinet, 1)["inputVoltage"] == "53.5"
    assert ups(cabinet, 2)["inputVoltage"] in ("82.08", "82.1")  # 2.28 V a cell, two digits are all it gives
    assert ups(cabinet, 2)["powerRate"] == "100"


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
    eventually(lambda: ups(it.latest(1), 2)["status"] == "0", 25, "the UPS is lost")
    eventually(lambda: it.latest(1)["rectifier"][0]["status"] == "1", 30, "the rectifiers go on")
    it.mend("1.ups")
    eventually(lambda: ups(it.latest(1), 2)["status"] == "1", 40, "the UPS is back")


def test_a_mains_failure_is_told_by_both_of_them(it: Gantry) -> None:
    since = it.received()
    it.plant(mains=False)

    def told() -> bool:
        cabinet = it.latest(1)
        return (
            "交流L1相缺相" in cabinet["elec"][0]["warningMsg"]
            and "整流模块掉电" in cabinet["rectifier"][0]["warningMsg"]
            and ups(cabinet, 1)["runningState"] == "3"
            and ups(cabinet, 2)["runningState"] == "3"
        )

    eventually(told, 20, "both batteries discharging")
    assert not [one for one in it.uploads(since=since) if one["complaints"]]


def test_a_blown_fuse_and_a_faulty_module_are_told_at_once(it: Gantry) -> None:
    it.plant(battery_fuse=False, rectifier={"number": 1, "fault": True})
    it.sees(1, ups_warningMsg="电池熔丝断", rectifier_warningMsg="整流模块故障", rectifier_status="0")


# --- NUT ------------------------------------------------------------------------------------------------------------


def nutdrv_qx(port: Path, folder: Path) -> dict[str, str]:
    """Let NUT's driver poll twice and say what it found."""
    environ = os.environ | {"NUT_STATEPATH": str(folder), "NUT_ALTPIDPATH": str(folder)}
    options = [f"port={port}", "protocol=megatec", "cablepower=none"]  # a pty has no lines to draw power from
    user = pwd.getpwuid(os.getuid()).pw_name
    command = ["/lib/nut/nutdrv_qx", "-s", "sim", "-u", user, *(word for one in options for word in ("-x", one))]
    done = subprocess.run([*command, "-d", "2"], capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


NUT_SITE = """
buses:
  ups-com: {{type: serial, port: {folder}/ttyUPS, baudrate: 2400}}
cabinets:
  - id: 1
    devices:
      ups: {{profile: megatec-q1, bus: ups-com}}
"""


def test_nut_reads_the_simulated_ups_at_the_pace_of_its_line(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(NUT_SITE.format(folder=tmp_path))
    hardware = Process(*python("hwsim", "run", "--site", str(site)))
    try:
        hardware.wait_for("^hwsim ready")
        api = hardware.wait_for("^hwsim api ").split()[-1]
        said = nutdrv_qx(tmp_path / "ttyUPS", tmp_path)
        assert (said["ups.status"], said["battery.voltage"], said["input.voltage"]) == ("OL", "82.10", "231.0")
        assert (said["device.mfr"], said["battery.voltage.nominal"]) == ("SIMULATED", "72.0")
        ask(f"{api}/plant", {"mains": False, "ups_percent": 10})
        eventually(lambda: ask(f"{api}/state")["plant"]["1"]["ups"]["source"] == "battery")
        said = nutdrv_qx(tmp_path / "ttyUPS", tmp_path)
        assert (set(said["ups.status"].split()), said["input.voltage"]) == ({"OB", "LB"}, "0.0")
    finally:
        hardware.stop()
