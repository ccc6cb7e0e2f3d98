"""The main job on real wires: three processes, loopback sockets and a pty, and a cloud that complains of everything."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from gantry import Gantry, gantry
from support import AUTH, GANTRY, eventually, python, running, send

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(180)]

CABINET_FIELDS = {
    "elec": "id status voltage current power frequency elecConsumption warningMsg",
    "rectifier": "id status currentLimiting outputVoltage outputCurrent outputPower warningMsg",
    "ups": "id status runningState inputVoltage inputCurrent outputVoltage outputCurrent powerRate surplusTime"
    " remainCapacity temperature warningMsg",
    "airConditioners": "id status errorMsg isWorking workMode systemWarning temperatureWarning",
    "thermohygrometer": "status temperature humidity",
    "waterloggingSensor": "status isWarning warningChangeTime",
    "smokeSensor": "status isWarning warningChangeTime",
    "doors": "status defendMode frontDoorClosed frontDoorLocked frontDoorUnlockType frontDoorUnlockCardId"
    " frontDoorOpenIllegally frontDoorChangeTime backDoorClosed backDoorLocked backDoorUnlockType"
    " backDoorUnlockCardId backDoorOpenIllegally backDoorChangeTime",
    "thunderSpd": "id status lightningCount",
}
COMPUTER_FIELDS = (
    "id isMonitorComputer isMainComputer sysDiskUsage sysDiskSize dataDiskUsage dataDiskSize memoryUsage memorySize"
    " netUsage cpuUsage cpuTemperature ip"
)


@pytest.fixture(scope="module")
def running_gantry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("gantry")) as made:
        eventually(lambda: len(made.uploads()) >= 3, 30, "the first uploads")
        yield made


@pytest.fixture
def site(running_gantry: Gantry) -> Iterator[Gantry]:
    """The same gantry for every test of this file, with no complaint before or after."""
    if not running_gantry.agent.alive:  # an earlier test ended it and then failed
        running_gantry.start_agent()
    yield running_gantry
    complaints = [(one["method"], one["complaints"]) for one in running_gantry.uploads() if one["complaints"]]
    assert not complaints
    assert {one["code"] for one in running_gantry.uploads()} <= {"1000", ""}  # no code: the cloud hung up


def test_both_payloads_have_every_field_of_the_interface(site: Gantry):
    [computers] = [u["payload"]["computerStatus"] for u in site.uploads("computerStatusUpdate")][-1:]
    assert [list(entry) for entry in computers] == [COMPUTER_FIELDS.split()] * 2
    for number in (1, 2):
        status = site.latest(number)
        assert list(status) == ["id", *CABINET_FIELDS]
        for member, fields in CABINET_FIELDS.items():
            entries = status[member] if isinstance(status[member], list) else [status[member]]
            assert [list(entry) for entry in entries] == [fields.split()] * len(entries), member


def test_values_are_those_of_the_plant(site: Gantry):
    state, status = site.state(), site.latest(1)
    assert float(status["elec"][0]["voltage"]) == pytest.approx(state["mains"]["voltage_v"][0], abs=0.2)
    assert float(status["elec"][0]["power"]) == pytest.approx(sum(state["phase_w"]) / 1000, rel=0.05)
    assert [r["id"] for r in status["rectifier"]] == ["1", "2"]
    assert float(status["rectifier"][1]["outputVoltage"]) == pytest.approx(state["dc"]["bus_v"], abs=0.2)
    assert status["ups"][0]["runningState"] == "1"
    assert float(status["thermohygrometer"]["temperature"]) == pytest.approx(state["climate"]["inside_c"], abs=1.0)
    assert status["doors"]["frontDoorClosed"] == status["doors"]["frontDoorLocked"] == "1"
    second = site.latest(2)
    assert second["elec"] == second["rectifier"] == second["thunderSpd"] == []
    assert [air["id"] for air in second["airConditioners"]] == ["1", "2"]
    assert second["doors"]["status"] == "NotSupport"
    assert second["waterloggingSensor"]["isWarning"] == "0"
    assert float(second["ups"][0]["outputVoltage"]) == pytest.approx(site.state(2)["ups"]["battery_v"], abs=0.5)


def test_computers_are_read_here_and_over_snmp_v3(site: Gantry):
    def both() -> dict | None:
        computers = site.uploads("computerStatusUpdate")[-1]["payload"]["computerStatus"]
        return computers if computers[1]["netUsage"] != "NoData" else None

    here, there = eventually(both, 25)
    assert (here["isMonitorComputer"], here["isMainComputer"]) == ("1", "0")
    assert (there["isMonitorComputer"], there["isMainComputer"]) == ("0", "1")
    assert there["memorySize"] == "8388608"
    assert there["dataDiskUsage"] == "55.00"
    assert float(there["netUsage"]) == pytest.approx(1.5, abs=0.5)
    assert float(here["memoryUsage"]) > 0


def test_a_mains_failure_goes_up_at_once_and_again_when_it_is_over(site: Gantry):
    since, started = site.received(), time.monotonic()
    site.plant(mains=False)
    upload = site.sees(1, since=since, elec_status="0")
    assert time.monotonic() - started < 5
    assert upload["payload"]["cabinetStatus"]["elec"][0]["warningMsg"]
    site.sees(1, since=since, within_s=20, ups_runningState="3")
    site.plant(mains=True)
    site.sees(1, since=site.received() - 1, elec_status="1", elec_warningMsg="")


def test_cmd_2_unlocks_the_door_and_explains_its_opening(site: Gantry):
    since = site.received()
    assert site.order({"cmd": "2", "unlockDoorId": "1"}) == {"code": "1000", "msg": "成功"}
    assert not site.state()["front"]["locked"]
    site.sees(1, since=since, doors_frontDoorLocked="0", doors_frontDoorUnlockType="2")
    site.plant(door={"front": "open"})
    upload = site.sees(1, since=since, doors_frontDoorClosed="0")
    doors = upload["payload"]["cabinetStatus"]["doors"]
    assert (doors["frontDoorUnlockType"], doors["frontDoorOpenIllegally"]) == ("2", "0")
    eventually(lambda: not site.state()["front"]["energised"], 8, "the end of the pulse")
    site.plant(door={"front": "closed"})
    site.sees(1, since=site.received() - 1, doors_frontDoorLocked="1", doors_frontDoorUnlockType="0")


def test_a_forced_door_is_an_illegal_opening(site: Gantry):
    since = site.received()
    site.plant(door={"back": "forced"})
    site.sees(1, since=since, doors_backDoorClosed="0", doors_backDoorOpenIllegally="1")
    site.plant(door={"back": "closed"})
    site.sees(1, since=since, doors_backDoorClosed="1", doors_backDoorOpenIllegally="0")


@pytest.mark.parametrize("change", ["water", "smoke"])
@pytest.mark.parametrize("cabinet", [1, 2])
def test_water_and_smoke_go_up_at_once(site: Gantry, cabinet: int, change: str):
    field = {"water": "waterloggingSensor_isWarning", "smoke": "smokeSensor_isWarning"}[change]
    since = site.received()
    site.plant(cabinet, **{change: True})
    site.sees(cabinet, since=since, within_s=5, **{field: "1"})
    site.plant(cabinet, **{change: False})
    site.sees(cabinet, since=since + 1, within_s=5, **{field: "0"})


def test_cmd_3_moves_the_air_conditioner_and_is_confirmed_by_reading_it_back(site: Gantry):
    assert site.order({"cmd": "3", "airId": "1", "airOperate": "2"})["code"] == "1000"
    assert site.state()["air"][0]["remote"] is False
    site.sees(1, since=site.received() - 1, within_s=15, airConditioners_isWorking="0")
    assert site.order({"cmd": "3", "airId": "0", "airOperate": "1"})["code"] == "1000"
    assert site.state()["air"][0]["remote"] is True


def test_cmd_3_moves_the_unit_that_is_meant_and_says_which_did_not(site: Gantry):
    def remotes() -> list[bool]:
        return [air["remote"] for air in site.state(2)["air"]]

    assert site.order({"cmd": "3", "cabinetId": "2", "airId": "2", "airOperate": "2"})["code"] == "1000"
    assert remotes() == [True, False]
    assert site.order({"cmd": "3", "cabinetId": "2", "airId": "0", "airOperate": "1"})["code"] == "1000"
    assert remotes() == [True, True]
    site.fault("2.air-left", "exception", code=4)
    try:
        answer = site.order({"cmd": "3", "cabinetId": "2", "airId": "0", "airOperate": "2"})
    finally:
        site.mend("2.air-left")
    assert answer["code"] == "1007"
    assert "1" in answer["msg"]
    assert "2" not in answer["msg"]
    assert remotes() == [True, False]
    assert site.order({"cmd": "3", "cabinetId": "2", "airId": "0", "airOperate": "1"})["code"] == "1000"


def test_an_order_whose_answer_is_lost_is_done_if_the_device_shows_it(site: Gantry):
    site.fault("1.io", "half", count=1)
    assert site.order({"cmd": "2", "unlockDoorId": "2"})["code"] == "1000"
    site.mend("1.io")
    eventually(lambda: site.state()["back"]["locked"], 20, "the lock falls back")


def test_an_order_the_hardware_does_not_confirm_is_answered_1007(site: Gantry):
    site.fault("1.aircon", "exception", code=4)
    try:
        answer = site.order({"cmd": "3", "airId": "1", "airOperate": "2"})
    finally:
        site.mend("1.aircon")
    assert answer["code"] == "1007"
    assert len(answer["msg"]) <= 40
    assert site.state()["air"][0]["remote"] is True
    eventually(lambda: site.latest(1)["airConditioners"][0]["status"] == "1", 75, "the unit answers again")


@pytest.mark.parametrize(
    ("business", "code", "msg"),
    [
        ({"cmd": "2", "unlockDoorId": "3"}, "1002", "unlockDoorId"),
        ({"cmd": "2", "cabinetId": "2", "unlockDoorId": "1"}, "1002", "unlockDoorId"),
        ({"cmd": "2", "cabinetId": "9", "unlockDoorId": "1"}, "1002", "cabinetId"),
        ({"cmd": "3", "airId": "9", "airOperate": "1"}, "1002", "airId"),
        ({"cmd": "3", "airId": "1", "airOperate": "3"}, "1002", "airOperate"),
        ({"cmd": "99"}, "1002", "cmd"),
        ({"setFrequency": "9"}, "1002", "setFrequency"),
    ],
)
def test_orders_that_cannot_be_are_refused_by_name(site: Gantry, business: dict, code: str, msg: str):
    answer = site.order(business)
    assert answer["code"] == code, answer
    assert msg in answer["msg"]


def test_who_has_no_right_moves_nothing(site: Gantry):
    business = {"cmd": "3", "airId": "1", "airOperate": "2"}
    assert site.order(business, auth="wrong")["code"] == "1001"
    assert site.order(business, md5="0" * 32)["code"] == "1004"
    assert site.order(business, timeStamp="1564734526")["code"] == "1003"
    assert site.order(business, version="1000")["code"] == "1006"
    assert site.order(business, gantryId="G1")["code"] == "1002"
    assert site.state()["air"][0]["remote"] is True


def test_the_same_body_twice_is_done_once(site: Gantry):
    document = {"gantryId": GANTRY, "method": "cabinetControl", "timeStamp": str(int(time.time())), "version": "1001"}
    body = json.dumps(document | {"cabinetControl": {"cmd": "2", "unlockDoorId": "2"}}).encode()
    assert send(site.ports["control"], body)["code"] == "1000"
    eventually(lambda: not site.state()["back"]["energised"], 5, "the end of the pulse")
    eventually(lambda: site.state()["back"]["locked"], 20, "the lock falls back")
    assert send(site.ports["control"], body)["code"] == "1000"
    time.sleep(0.5)
    assert site.state()["back"]["locked"]


def test_a_lock_is_not_left_energised_by_an_agent_that_stops_or_is_killed(site: Gantry):
    assert site.order({"cmd": "2", "unlockDoorId": "1"})["code"] == "1000"
    assert site.state()["front"]["energised"]
    assert site.agent.stop() == 0
    assert not site.state()["front"]["energised"]
    site.start_agent()
    assert site.order({"cmd": "2", "cabinetId": "1", "unlockDoorId": "1"})["code"] == "1000"  # no repeat of the first
    site.agent.kill()
    assert site.state()["front"]["energised"]
    site.start_agent()
    eventually(lambda: not site.state()["front"]["energised"], 5, "the new agent switches it off")


@pytest.mark.parametrize("after_s", [0.05, 0.5])
def test_an_order_under_way_when_the_agent_stops_is_answered_and_leaves_nothing_on(site: Gantry, after_s: float):
    site.fault("1.io", "delay", ms=300)
    answers: list[dict[str, str]] = []
    business = {"cmd": "2", "unlockDoorId": "1", "why": str(after_s)}  # unlike any other: a repeat is not executed
    asking = threading.Thread(target=lambda: answers.append(site.order(business)))
    asking.start()
    time.sleep(after_s)
    assert site.agent.stop() == 0
    asking.join(20)
    site.mend("1.io")
    assert [answer["code"] for answer in answers] == ["1000"]
    assert not site.state()["front"]["energised"]
    site.start_agent()


def test_update_now_sends_both_cabinets_or_the_computers(site: Gantry):
    before = len(site.uploads("cabinetStatusUpdate", 2))
    assert site.order({"updateNow": "1"})["code"] == "1000"
    eventually(lambda: len(site.uploads("cabinetStatusUpdate", 2)) > before, 3)
    before = len(site.uploads("computerStatusUpdate"))
    assert site.order({"updateNow": "1"}, method="computerControl")["code"] == "1000"
    eventually(lambda: len(site.uploads("computerStatusUpdate")) > before, 3)


@pytest.mark.parametrize(
    ("device", "cabinet", "member", "field"),
    [
        ("1.climate", 1, "thermohygrometer", "temperature"),
        ("1.power", 1, "rectifier", "outputVoltage"),
        ("1.io", 1, "doors", "frontDoorClosed"),
        ("2.ups", 2, "ups", "outputVoltage"),
    ],
)
def test_an_unplugged_device_is_get_failed_and_status_0_and_comes_back(
    site: Gantry, device: str, cabinet: int, member: str, field: str
):
    since = site.received()
    was = _first(site.latest(cabinet)[member])[field]
    site.fault(device, "silent")
    try:
        gone = site.sees(cabinet, since=since, within_s=30, **{f"{member}_status": "0"})
        assert _first(gone["payload"]["cabinetStatus"][member])[field] in {
            "GetFailed",
            was if was == "NotSupport" else "",
        }
    finally:
        site.mend(device)
    back = site.sees(cabinet, since=site.received(), within_s=75, **{f"{member}_status": "1"})
    assert _first(back["payload"]["cabinetStatus"][member])[field] != "GetFailed"


def _first(member: dict | list) -> dict:
    return member[0] if isinstance(member, list) else member


def test_set_frequency_and_set_server_hold_over_a_restart(site: Gantry):
    assert site.order({"setFrequency": "14"})["code"] == "1000"
    assert site.order({"setFrequency": "12"}, method="computerControl")["code"] == "1000"
    assert site.order({"setServer": f"127.0.0.1:{site.ports['cloud']}"})["code"] == "1000"
    assert site.agent.stop() == 0
    with running(*python("gantry_agent", "state", "-c", str(site.site)), ready="interval_s.computer") as shown:
        shown.wait_for("interval_s.cabinet = 14")
        shown.wait_for("interval_s.computer = 12")
        shown.wait_for(f"server.cabinet = http://127.0.0.1:{site.ports['cloud']}/monitor.do")
    site.start_agent()
    before = len(site.uploads("cabinetStatusUpdate", 2))
    eventually(lambda: len(site.uploads("cabinetStatusUpdate", 2)) >= before + 4, 90, "the first one and three ticks")
    stamps = [int(u["payload"]["timeStamp"]) for u in site.uploads("cabinetStatusUpdate", 2)]
    assert abs(stamps[-1] - stamps[-2] - 14) <= 1, stamps[-5:]  # 10 in the site file; a busy machine is a second late


def test_records_wait_while_the_cloud_is_away_and_none_is_lost(site: Gantry):
    site.behave(mode="reset")
    since = site.received()
    site.plant(water=True)
    time.sleep(2.0)
    site.plant(water=False)
    time.sleep(2.0)
    site.behave(mode="ok")
    site.sees(1, since=since, within_s=30, waterloggingSensor_isWarning="1")
    site.sees(1, since=since, within_s=30, waterloggingSensor_isWarning="0")


def test_show_prints_what_would_be_uploaded(site: Gantry):
    site.agent.stop()  # two programs never share one serial line
    shown = subprocess.run(
        python("gantry_agent", "show", "-c", str(site.site)), capture_output=True, text=True, timeout=60, check=True
    )
    text = shown.stdout
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    assert [next(iter(document)) for document in documents] == ["computerStatus", "cabinetStatus", "cabinetStatus"]
    assert documents[1]["cabinetStatus"]["elec"][0]["status"] == "1"
    site.start_agent()


def test_the_log_carries_no_secret(site: Gantry):
    assert AUTH not in site.agent.output
    assert "authkey-123" not in site.agent.output
    assert "Traceback" not in site.agent.output


def test_run_refuses_to_start_on_the_faults_that_check_tells(site: Gantry, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(site.site.read_text().replace("chint-dtsu666", "chint-dtsu66"))
    for command, code in (("check", 1), ("run", 78)):  # 78: the systemd unit does not try again
        with running(*python("gantry_agent", command, "-c", str(bad)), ready="did you mean chint-dtsu666") as refused:
            assert refused.wait(20) == code
