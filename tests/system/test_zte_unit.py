"""A cabinet behind a ZTE site unit, on real sockets: its values and alarms, faults, and a lock in the tunnel."""

import re
import subprocess
import time
from collections.abc import Iterator

import pytest
from gantry import Gantry, gantry
from support import ROOT, ask, eventually, python

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PASSWORD = "geheim-7"
SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 0.5, misses: 1}}
events: {{flap_changes: 20, hold_down_s: 1}}
buses:
  zte: {{type: zte-http, host: 127.0.0.1, port: {io}, user: admin, password: geheim-7, gap_ms: 20}}
  com5: {{type: zte-serial, host: 127.0.0.1, port: {io}, user: admin, password: geheim-7, gap_ms: 20}}
cabinets:
  - id: 1
    devices:
      climate: {{profile: zte-temperature-humidity, bus: zte, object: "1101"}}
      air: {{profile: zte-air-conditioner, bus: zte, object: "1102"}}
      air-old: {{profile: zte-air-conditioner, bus: zte, object: "1112"}}
      power: {{profile: zte-rectifier, bus: zte, object: "1103", skip: [elec]}}
      battery: {{profile: zte-lithium-battery, bus: zte, object: "1104"}}
      ups: {{profile: zte-ups, bus: zte, object: "1108"}}
      water: {{profile: zte-water, bus: zte, object: "1105"}}
      smoke: {{profile: zte-smoke, bus: zte, object: "1106"}}
      contact:
        profile: zte-door
        bus: zte
        object: "1107"
        map: {{doors.frontDoorClosed: {{point: open, invert: true}}}}
      lock:
        profile: shengjiu-lock
        bus: com5
        unit: 1
        object: "1801"
        map: {{doors.frontDoorLocked: {{point: unlocked, invert: true}}}}
    outputs:
      front-lock: {{device: lock, point: unlocked, pulse_s: 0.5}}
    doors: {{front: {{unlock: front-lock}}}}
"""
UNLOCK = {"cmd": "2", "unlockDoorId": "1"}


def unlock(site: Gantry) -> dict[str, str]:
    """Order it; the same order in the same second would be answered as it was before."""
    time.sleep(1.05)
    return site.order(UNLOCK)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("zte"), SITE) as running:
        yield running


def test_what_the_unit_knows_is_what_the_cloud_gets(site: Gantry):
    site.sees(1, thermohygrometer_status="1", airConditioners_status="1", doors_frontDoorLocked="1")
    status, plant = site.latest(1), site.state()
    assert float(status["thermohygrometer"]["temperature"]) == pytest.approx(plant["climate"]["inside_c"], abs=1.0)
    assert status["waterloggingSensor"]["isWarning"] == status["smokeSensor"]["isWarning"] == "0"
    assert [one["systemWarning"] for one in status["airConditioners"]] == ["1", "1"]
    assert float(status["rectifier"][0]["outputVoltage"]) == pytest.approx(plant["dc"]["bus_v"], abs=0.2)
    assert float(status["elec"][0]["voltage"]) == pytest.approx(231.0, abs=0.1)
    battery, ups = status["ups"]
    assert (battery["remainCapacity"], ups["runningState"]) == ("100", "1")
    assert (status["doors"]["frontDoorClosed"], status["doors"]["frontDoorLocked"]) == ("1", "1")


def test_water_smoke_and_an_opened_door_go_up_at_once(site: Gantry):
    since = site.received()
    began = time.monotonic()
    site.plant(water=True)
    site.sees(1, since=since, waterloggingSensor_isWarning="1")
    assert time.monotonic() - began < 5.0
    site.plant(water=False, smoke=True)
    site.sees(1, since=since, waterloggingSensor_isWarning="0", smokeSensor_isWarning="1")
    site.plant(smoke=False, door={"front": "open"})
    site.sees(1, since=since, smokeSensor_isWarning="0", doors_frontDoorClosed="0")
    site.plant(door={"front": "closed"})
    site.sees(1, since=since, doors_frontDoorClosed="1")


def test_an_alarm_of_the_unit_is_told_with_its_reason(site: Gantry):
    since = site.received()
    site.plant(mains=False)
    site.sees(1, since=since, elec_status="0")
    seen = site.sees(1, since=since, elec_warningMsg="市电异常,交流L1相缺相")
    assert seen["payload"]["cabinetStatus"]["rectifier"][0]["warningMsg"] == "开关电源告警"
    site.plant(mains=True)
    site.sees(1, since=since, elec_status="1", elec_warningMsg="", rectifier_warningMsg="")


def test_an_unlock_through_the_tunnel_is_confirmed_and_ends(site: Gantry):
    since = site.received()
    assert unlock(site)["code"] == "1000"
    site.sees(1, since=since, doors_frontDoorLocked="0")
    site.sees(1, since=since, doors_frontDoorLocked="1", doors_frontDoorUnlockType="0")


def test_a_lock_that_does_not_do_it_is_answered_so(site: Gantry):
    eventually(lambda: site.state()["front"]["locked"], 10, "the end of the unlocking before")
    site.fault("1.lock", "ignore")
    try:
        answer = unlock(site)
    finally:
        site.mend("1.lock")
    assert (answer["code"], "回读0" in answer["msg"]) == ("1007", True), answer
    site.fault("1.lock", "silent")
    try:
        answer = unlock(site)
    finally:
        site.mend("1.lock")
    assert (answer["code"], "无应答" in answer["msg"]) == ("1007", True), answer
    site.sees(1, doors_frontDoorLocked="1")


def test_an_object_that_cannot_be_read_is_missed_and_its_neighbours_are_not(site: Gantry):
    since, unwell = site.received(), ("climate", "air", "water", "smoke", "battery")
    for device, kind in zip(unwell, ("silent", "half", "garbage", "exception", "drop"), strict=True):
        site.fault(f"1.{device}", kind)
    try:
        lost = {"waterloggingSensor_isWarning": "GetFailed", "smokeSensor_isWarning": "GetFailed"}
        lost |= {"airConditioners_isWorking": "GetFailed", "ups_remainCapacity": "GetFailed"}
        seen = site.sees(1, since=since, thermohygrometer_status="0", thermohygrometer_temperature="GetFailed", **lost)
        status = seen["payload"]["cabinetStatus"]
        assert (status["airConditioners"][1]["isWorking"], status["rectifier"][0]["status"]) == ("1", "1")
    finally:
        for device in unwell:
            site.mend(f"1.{device}")
    site.sees(1, since=since, thermohygrometer_status="1", waterloggingSensor_isWarning="0", ups_remainCapacity="100")


def test_a_unit_that_is_gone_and_back(site: Gantry):
    since = site.received()
    for wire in ("zte", "com5"):
        ask(f"{site.api}/unplug", {"wire": wire})
    site.sees(1, since=since, thermohygrometer_status="0", waterloggingSensor_isWarning="GetFailed")
    for wire in ("zte", "com5"):
        ask(f"{site.api}/replug", {"wire": wire})
    site.sees(1, within_s=20, since=since, thermohygrometer_status="1", waterloggingSensor_isWarning="0")


def asked(site: Gantry, *question: str, code: int = 0) -> str:
    ended = subprocess.run(
        python("gantry_agent", *question, "-c", str(site.site)),
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin", "LANG": "C"},
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    return ended.stdout


def test_the_unit_tells_what_it_looks_after(site: Gantry):
    said = asked(site, "identify", "zte")
    assert '{profile: zte-air-conditioner, bus: zte, object: "1102"}' in said
    assert '{profile: shengjiu-lock, bus: zte-com2, unit: 1, object: "1801"}' in said
    assert "智能动环监控设备（FSU）  no product fits" in said
    assert PASSWORD not in said
    assert "lists that" in asked(site, "identify", "com5", code=1)


def test_a_technician_reads_what_went_over_the_wire(site: Gantry):
    said = asked(site, "probe", "1.water")
    assert "    > /jscmd/objdataquery?objId=1105&mId=0\n" in said
    assert re.search(r'^    < \{.*\{"Id": "118001001", "Value": "0"\}', said, re.MULTILINE), said
    assert re.search(r"^    waterloggingSensor\[1\]\.isWarning +0$", said, re.MULTILINE), said


def test_the_password_is_in_no_log(site: Gantry):
    assert not any(PASSWORD in line for line in site.agent.lines)
