"""Commands 9 and 10 on real wires: batteries that really discharge, a test that ends in every way, its result told."""

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import ask, eventually, python

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.5, slow_s: 0.5, misses: 3}}
buses:
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
  ups: {{type: snmp, host: 127.0.0.1, port: {ups}, version: 2c, community: public, write_community: private}}
  quick: {{type: snmp, host: 127.0.0.1, port: {pc}, version: 2c, community: public, write_community: private}}
  converter: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 115200}}
  rs232-1: {{type: serial, port: {folder}/ttyUPS1, baudrate: 2400}}
  rs232-2: {{type: serial, port: {folder}/ttyUPS2, baudrate: 2400}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, parameters: {{battery_test_kind: 2}}}}
  - id: 2
    devices:
      ups:
        profile: ups-mib
        bus: ups
        ids: {{elec: [1]}}
        parameters: {{rated_ah: 9, battery_test_kind: 1.3.6.1.2.1.33.1.7.7.5}}
  - id: 3
    devices:
      large: {{profile: megatec-q1, bus: rs232-1, unit: 1, ids: {{ups: [1], elec: [1]}}}}
      small: {{profile: megatec-q1, bus: rs232-2, unit: 1, ids: {{ups: [2]}}}}
  - id: 4
    devices:
      ups: {{profile: ups-mib, bus: quick, ids: {{elec: [1]}}, parameters: {{rated_ah: 9}}}}
  - id: 5
    devices:
      ups: {{profile: huawei-ups2000, bus: converter, unit: 1, ids: {{elec: [1]}}}}
  - id: 6
    devices:
      climate: {{profile: xy-md02, bus: io, unit: 52}}
"""
DONE = {"code": "1000", "msg": "成功"}
FIELDS = [
    "testStartTime",
    "testResult",
    "efficiency",
    "dischargeTime",
    "dischargeEndVoltage",
    "dischargeAvCurrent",
    "dischargeAhCurrent",
    "testTemperature",
    "testEndCourse",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("battery"), SITE) as made:
        eventually(lambda: len({one["payload"]["cabinetStatus"]["id"] for one in cabinets(made)}) == 6, 30, "uploads")
        yield made
        assert not [one["complaints"] for one in made.uploads() if one["complaints"]]
        assert "Traceback" not in made.agent.output


@pytest.fixture(autouse=True)
def at_rest(site: Gantry) -> Iterator[None]:
    yield
    speed(site, 1)
    for device in ("1.power", "2.ups", "3.large", "3.small", "4.ups"):
        site.mend(device)
    for cabinet in (1, 2, 3, 4):
        site.plant(cabinet, mains=True, battery_test="stop", battery_percent=100, ups_percent=100, load_a=12)


def cabinets(site: Gantry) -> list[dict[str, Any]]:
    return site.uploads("cabinetStatusUpdate")


def speed(site: Gantry, times: float) -> None:
    ask(f"{site.api}/speed", {"speed": times})


def test(site: Gantry, cabinet: int, *, start: bool) -> dict[str, str]:
    return site.order({"cmd": "9", "cabinetId": str(cabinet), "testStartStop": str(int(start))})


test.__test__ = False  # type: ignore[attr-defined]


def begin(site: Gantry, cabinet: int) -> None:
    settled(site, cabinet)
    assert test(site, cabinet, start=True) == DONE


def told(site: Gantry, cabinet: int) -> dict[str, str]:
    answer = site.order({"cmd": "10", "cabinetId": str(cabinet)})
    assert answer["code"] == "1000", answer
    assert list(answer["batterysTestResult"]) == FIELDS
    return answer["batterysTestResult"]


def ended(site: Gantry, cabinet: int, within_s: float = 25.0) -> dict[str, str]:
    def look() -> dict[str, str] | None:
        found = told(site, cabinet)
        return found if found["testEndCourse"] != "NoData" else None

    return eventually(look, within_s, "the end of the test")


def now(site: Gantry, cabinet: int) -> dict[str, Any]:
    """What the agent knows now, by way of the cloud."""
    before = len(site.uploads("cabinetStatusUpdate", cabinet))
    site.order({"updateNow": "1", "why": str(time.time_ns())})  # unlike any other: a repeat is not executed
    eventually(lambda: len(site.uploads("cabinetStatusUpdate", cabinet)) > before, 5)
    return site.latest(cabinet)


def settled(site: Gantry, cabinet: int) -> None:
    """Wait until the agent knows that mains and battery are well, as a test of a battery asks for."""
    seen: dict[str, Any] = {}

    def look() -> bool:
        seen.update(now(site, cabinet))
        return all(one["status"] == "1" for one in seen["elec"]) and all(
            one["runningState"] in {"1", "2", "4"} for one in seen["ups"]
        )

    try:
        eventually(look, 20)
    except AssertionError:
        raise AssertionError(f"cabinet {cabinet} does not come to rest: {seen['elec']} {seen['ups']}") from None


def test_before_any_test_there_is_no_result(site: Gantry):
    for cabinet in (1, 2, 3, 4, 5):
        found = told(site, cabinet)
        assert found.pop("testResult") == "1"
        assert set(found.values()) == {"NoData"}


def test_rectifiers_that_were_just_switched_off_keep_a_battery_test_from_beginning(site: Gantry):
    settled(site, 1)
    assert site.order({"cmd": "8", "cabinetId": "1", "onOff": "0"}) == DONE
    refused = test(site, 1, start=True)  # before any reading can show that the battery carries the load
    assert site.order({"cmd": "8", "cabinetId": "1", "onOff": "1"}) == DONE
    assert (refused["code"], refused["msg"][-8:]) == ("1007", "整流模块正在关闭")


def test_a_cabinet_without_a_battery_cannot_test_one(site: Gantry):
    answer = test(site, 6, start=True)
    assert (answer["code"], "没有可测试的电池" in answer["msg"]) == ("1007", True)
    assert site.order({"cmd": "9", "cabinetId": "9", "testStartStop": "1"})["code"] == "1002"


def test_the_battery_discharges_and_a_stop_by_hand_is_in_the_record_of_the_device(site: Gantry):
    settled(site, 1)
    begin(site, 1)
    off = site.order({"cmd": "8", "cabinetId": "1", "onOff": "0"})  # before any reading can show the test
    assert (off["code"], "正在测试" in off["msg"]) == ("1007", True)
    battery = site.state(1)["dc"]["battery"]
    assert battery["test"]["kind"] == 4  # short
    assert battery["current_a"] == pytest.approx(-12.0)
    (ups,) = eventually(lambda: (one := now(site, 1)["ups"])[0]["runningState"] == "5" and one, 10)
    assert float(ups["outputCurrent"]) == pytest.approx(12.0, abs=0.1)
    again = test(site, 1, start=True)
    assert (again["code"], "测试进行中" in again["msg"]) == ("1007", True)
    running = told(site, 1)
    assert (running["testResult"], running["testEndCourse"]) == ("1", "NoData")
    assert running["testStartTime"].startswith("20")
    speed(site, 60)
    eventually(lambda: site.state(1)["t"] - battery["test"]["started_s"] > 120, 10)
    speed(site, 1)
    assert test(site, 1, start=False) == DONE
    battery = site.state(1)["dc"]["battery"]
    assert battery["test"] is None
    assert_is_record(told(site, 1), battery["results"][-1])
    assert told(site, 1)["testEndCourse"] == "4"


def assert_is_record(found: dict[str, str], row: dict[str, Any]) -> None:
    """The nine fields are those of the plant's own record, as exact as the MIB has them."""
    assert found["testResult"] == str(row["result"])
    assert found["testEndCourse"] == str(row["end_cause"])
    exact = {
        "efficiency": (row["efficiency_percent"], 0.5),
        "dischargeTime": (row["duration_s"] / 3600, 0.006),
        "dischargeEndVoltage": (row["end_voltage_v"], 0.06),
        "dischargeAvCurrent": (row["mean_current_a"], 0.06),
        "dischargeAhCurrent": (row["discharged_ah"], 0.51),
        "testTemperature": (row["temperature_c"], 0.51),
    }
    for name, (value, within) in exact.items():
        assert float(found[name]) == pytest.approx(value, abs=within), name
    seconds = int(row["started_s"])
    clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.000"
    assert found["testStartTime"] == f"2026-01-{seconds // 86400 + 1:02d} {clock}"


@pytest.mark.parametrize(("percent", "course"), [(100, "2"), (8, "1")])
def test_a_test_that_ends_by_time_or_voltage_is_told_as_the_device_recorded_it(
    site: Gantry, percent: float, course: str
):
    settled(site, 1)
    site.plant(1, battery_percent=percent, load_a=40)
    before = len(site.state(1)["dc"]["battery"]["results"])
    begin(site, 1)
    speed(site, 300)
    results = eventually(lambda: site.state(1)["dc"]["battery"]["results"][before:], 15)
    speed(site, 1)
    found = eventually(lambda: (one := told(site, 1))["testEndCourse"] == course and one, 10)
    assert_is_record(found, results[-1])


def test_a_mains_failure_ends_the_test_and_is_the_reason(site: Gantry):
    settled(site, 1)
    settled(site, 2)
    begin(site, 1)
    begin(site, 2)
    site.plant(1, mains=False)
    site.plant(2, mains=False)
    found = eventually(lambda: (one := told(site, 1))["testEndCourse"] == "3" and one, 15)
    assert_is_record(found, site.state(1)["dc"]["battery"]["results"][-1])
    assert ended(site, 2)["testEndCourse"] == "3"  # measured: this card keeps no record
    site.plant(1, mains=True)
    outage = eventually(lambda: (one := site.state(1)["dc"]["battery"]["results"][-1])["kind"] == 2 and one, 5)
    again = told(site, 1)
    assert again == found, outage  # which is the record of no test
    site.plant(1, mains=False)
    eventually(lambda: now(site, 1)["elec"][0]["status"] == "0", 5)
    for cabinet in (1, 2):
        refused = test(site, cabinet, start=True)
        assert (refused["code"], "市电1异常" in refused["msg"]) == ("1007", True), refused


def test_a_discharging_battery_is_not_tested_though_the_mains_is_well(site: Gantry):
    settled(site, 1)
    for number in (1, 2):
        site.plant(1, rectifier={"number": number, "on": False})
    eventually(lambda: now(site, 1)["ups"][0]["runningState"] == "3", 10)
    answer = test(site, 1, start=True)
    assert (answer["code"], "电池1正在放电" in answer["msg"]) == ("1007", True), answer
    assert site.state(1)["dc"]["battery"]["test"] is None
    for number in (1, 2):
        site.plant(1, rectifier={"number": number, "on": True})


def measured(site: Gantry, battery: str) -> dict[str, float]:
    """What the agent measured, as it logs it: the wire has two decimals."""
    line = site.agent.wait_for(rf"battery test of {battery} ended")
    told = dict(part.split(" ") for part in line.partition("): ")[2].split(", "))
    begun = datetime.fromisoformat(told.pop("testStartTime"))
    assert abs(datetime.now(UTC) - begun) < timedelta(hours=1)
    return {name: float(value) for name, value in told.items() if value[0].isdigit()}


def test_what_was_measured_is_what_the_plant_discharged_also_over_a_killed_agent(site: Gantry):
    """Cards of RFC 1628 keep no record. One test is stopped by hand, the other comes to its end by itself."""
    for cabinet in (2, 4):
        site.plant(cabinet, ups_load_w=5000)
        begin(site, cabinet)
    began = told(site, 2)["testStartTime"]
    eventually(lambda: site.state(2)["ups"]["tested_s"] > 3, 10)
    site.agent.kill()
    site.start_agent()
    assert told(site, 2)["testStartTime"] == began
    ended(site, 4)
    assert test(site, 2, start=False) == DONE
    for cabinet in (2, 4):
        found, ups, exact = told(site, cabinet), site.state(cabinet)["ups"], measured(site, rf"{cabinet}\.ups1")
        assert ups["test_result"] == {2: "aborted", 4: "passed"}[cabinet]
        assert (found["testResult"], found["testEndCourse"]) == {2: ("1", "4"), 4: ("2", "2")}[cabinet]
        assert exact["dischargeAhCurrent"] == pytest.approx(ups["tested_ah"], rel=0.05)
        assert exact["dischargeTime"] == pytest.approx(ups["tested_s"] / 3600, rel=0.05)
        assert exact["efficiency"] == pytest.approx(100 * ups["tested_ah"] / 9, rel=0.05)
        assert float(found["dischargeAvCurrent"]) == pytest.approx(ups["tested_ah"] / ups["tested_s"] * 3600, rel=0.05)
        assert float(found["dischargeAhCurrent"]) == pytest.approx(ups["tested_ah"], abs=0.015)
        assert float(found["dischargeEndVoltage"]) == pytest.approx(77.5, abs=1.0)
    before = [told(site, cabinet) for cabinet in (2, 4)]
    site.agent.kill()
    site.start_agent()
    assert [told(site, cabinet) for cabinet in (2, 4)] == before


def test_a_dry_run_prints_the_frames_and_begins_nothing(site: Gantry):
    settled(site, 3)
    words = ("command", "-c", str(site.site), "--dry-run", "battery-test", "cabinetId=3", "testStartStop=1")
    shown = subprocess.run(python("gantry_agent", *words), capture_output=True, text=True, timeout=60, check=True)
    assert "3.large would write 54 31 30 0D" in shown.stdout  # T10 and CR
    assert "3.small would write 54 31 30 0D" in shown.stdout
    assert site.state(3)["ups"]["testing_s"] == 0
    assert "NoData" in told(site, 3)["testStartTime"]


def test_a_ups_on_modbus_is_told_to_test_and_to_stop_by_registers_of_their_own(site: Gantry):
    begin(site, 5)
    assert site.state(5)["ups"]["source"] == "battery"
    assert test(site, 5, start=False) == DONE
    assert site.state(5)["ups"]["testing_s"] == 0
    assert told(site, 5)["testEndCourse"] == "4"


def test_a_device_that_declines_a_test_is_1007_with_its_word(site: Gantry):
    settled(site, 1)
    site.fault("1.power", "exception")
    answer = test(site, 1, start=True)
    assert (answer["code"], "设备拒绝" in answer["msg"]) == ("1007", True), answer
    assert site.order({"cmd": "10", "cabinetId": "1"})["code"] == "1007"
    site.mend("1.power")
    assert site.state(1)["dc"]["battery"]["test"] is None


def test_devices_that_acknowledge_and_do_not_test_are_named_with_what_they_read(site: Gantry):
    settled(site, 3)
    for device in ("3.large", "3.small"):
        site.fault(device, "ignore")
    answer = test(site, 3, start=True)
    assert answer == {"code": "1007", "msg": "执行控制命令失败: 电池1回读0; 电池2回读0"}
    assert site.state(3)["ups"]["testing_s"] == 0


def test_every_battery_of_a_cabinet_is_tested_and_what_failed_is_named(site: Gantry):
    settled(site, 3)
    site.fault("3.small", "silent")
    answer = test(site, 3, start=True)
    assert (answer["code"], "电池2" in answer["msg"], "电池1" in answer["msg"]) == ("1007", True, False), answer
    assert site.state(3)["ups"]["source"] == "battery"  # the first tests on
    site.mend("3.small")
    eventually(lambda: all(one["runningState"] == "5" for one in now(site, 3)["ups"]), 10)
    assert test(site, 3, start=False) == DONE
    assert site.state(3)["ups"]["testing_s"] == 0
    found = told(site, 3)
    assert found["testEndCourse"] == "4"
    assert {found[name] for name in ("dischargeAhCurrent", "dischargeAvCurrent", "efficiency")} == {"NotSupport"}
    assert float(found["dischargeEndVoltage"]) == pytest.approx(78, abs=2)
