"""cmd 3, 4 and 8 with the real agent and simulated hardware: what the cabinet does, what the cloud hears."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import ask, eventually

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 0.5, misses: 3}}
interlocks: {{compressor_off_s: 0}}
buses:
  line: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 115200}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [thermohygrometer]}}
      left: {{profile: envicool-cabinet-ac, bus: line, unit: 1}}
      right: {{profile: envicool-cabinet-ac, bus: io, unit: 2}}
  - id: 2
    devices:
      meter: {{profile: chint-dtsu666, bus: line, unit: 9}}
  - id: 4
    devices:
      huaruan: {{profile: huaruan-cabinet-ac, bus: line, unit: 11}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("climate"), SITE, interval=3600) as running:
        yield running


@pytest.fixture(autouse=True)
def calm(site: Gantry) -> Iterator[None]:
    yield
    for device in ("1.power", "1.left", "1.right", "4.huaruan"):
        site.mend(device)
    ask(f"{site.api}/speed", {"speed": 1})
    site.plant(outside_c=15, inside_c=20, battery_percent=100)
    for number in (1, 2):
        site.plant(aircon={"number": number, "on": True, "cool_on_c": 35, "heat_on_c": 5})
    site.plant(4, aircon={"number": 1, "cool_on_c": 35, "heat_on_c": 5}, outside_c=15, inside_c=20)


@contextlib.contextmanager
def fault(site: Gantry, device: str, kind: str, **more: Any) -> Iterator[None]:
    site.fault(device, kind, **more)
    try:
        yield
    finally:
        site.mend(device)


_numbers = itertools.count()


def cmd(site: Gantry, number: int, **fields: Any) -> dict[str, str]:
    """Order something; no two bodies are the same, for a repeat is answered and not carried out (D6)."""
    return site.order({"cmd": number, "n": next(_numbers), **fields})


def air(site: Gantry) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.state()["air"]
    return found


# --- cmd 3


def test_standby_lets_the_room_warm_and_run_cools_it_again(site: Gantry) -> None:
    site.plant(outside_c=45)
    ask(f"{site.api}/speed", {"speed": 600})
    eventually(lambda: any(unit["compressor"] for unit in air(site)), 10, "a compressor runs")
    assert cmd(site, 3, airId=0, airOperate=2)["code"] == "1000"
    assert not any(unit["remote"] or unit["compressor"] for unit in air(site))
    eventually(lambda: site.state()["climate"]["inside_c"] > 42.0, 10, "the room warms")
    assert cmd(site, 3, airId=0, airOperate=1)["code"] == "1000"
    eventually(lambda: site.state()["climate"]["inside_c"] < 38.0, 10, "the room is cooled")


# --- cmd 4


def test_a_set_point_is_what_the_unit_cools_by(site: Gantry) -> None:
    site.plant(outside_c=15, inside_c=30)
    ask(f"{site.api}/speed", {"speed": 600})
    time.sleep(0.5)
    assert not any(unit["compressor"] for unit in air(site))  # warm, but not enough for 35
    assert cmd(site, 4, airId=1, autoRefrigerationTemp="28")["code"] == "1000"
    eventually(lambda: air(site)[0]["compressor"], 10, "the first unit cools")
    assert [(unit["cool_on_c"], unit["heat_on_c"]) for unit in air(site)] == [(28.0, 5.0), (35.0, 5.0)]
    eventually(lambda: site.state()["climate"]["inside_c"] < 29.0, 10, "the room is cooled")


def test_both_set_points_of_all_units_and_the_hysteresis_stays(site: Gantry) -> None:
    assert cmd(site, 4, airId=0, autoRefrigerationTemp=33, autoHeatingTemp=8)["code"] == "1000"
    for unit in air(site):
        assert [unit[name] for name in ("cool_on_c", "cool_band_c", "heat_on_c", "heat_band_c")] == [33, 5, 8, 5]


def test_both_may_move_below_what_heating_is_now(site: Gantry) -> None:
    site.plant(aircon={"number": 1, "heat_on_c": 20})
    assert cmd(site, 4, airId=1, autoRefrigerationTemp=18, autoHeatingTemp=-10)["code"] == "1000"
    assert (air(site)[0]["cool_on_c"], air(site)[0]["heat_on_c"]) == (18, -10)


@pytest.mark.parametrize(
    ("fields", "msg"),
    [
        ({"autoRefrigerationTemp": "20"}, "须高于现有制热温度22"),
        ({"autoHeatingTemp": "35"}, "须低于现有制冷温度35"),
        ({"autoRefrigerationTemp": "51"}, "超出15~50"),
        ({"autoRefrigerationTemp": "34", "autoHeatingTemp": "-16"}, "超出-15~25"),
        ({"autoRefrigerationTemp": "30.5"}, "设备步长1"),
    ],
)
def test_what_the_unit_cannot_be_set_to_changes_nothing(site: Gantry, fields: dict[str, str], msg: str) -> None:
    site.plant(aircon={"number": 1, "heat_on_c": 22})
    answer = cmd(site, 4, airId=1, **fields)
    assert answer["code"] == "1007"
    assert msg in answer["msg"]
    assert len(answer["msg"]) <= 40
    assert (air(site)[0]["cool_on_c"], air(site)[0]["heat_on_c"]) == (35, 22)


def test_two_orders_that_would_cross_the_set_points_of_a_unit_are_not_both_done(site: Gantry) -> None:
    orders = ({"autoRefrigerationTemp": "20"}, {"autoHeatingTemp": "24"})  # each is in order as the unit is now
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda fields: cmd(site, 4, airId=1, **fields)["code"], orders))
    assert sorted(answers) == ["1000", "1007"]
    assert air(site)[0]["cool_on_c"] > air(site)[0]["heat_on_c"]


def test_a_unit_that_clamps_the_value_is_found_out_by_reading_it_back(site: Gantry) -> None:
    with fault(site, "1.left", "clamp", last=28):
        answer = cmd(site, 4, airId=0, autoRefrigerationTemp=32)
    assert answer == {"code": "1007", "msg": "执行控制命令失败: 空调1: 回读28"}
    assert [unit["cool_on_c"] for unit in air(site)] == [28, 32]


# --- cmd 4 to a unit that takes all its settings at once, in tenths


def settings(site: Gantry) -> dict[str, Any]:
    (unit,) = site.state(4)["air"]
    names = ("cool_on_c", "cool_band_c", "heat_on_c", "heat_band_c", "high_alarm_c", "low_alarm_c")
    return {name: unit[name] for name in names}


def test_a_huaruan_unit_cools_by_the_set_point_and_keeps_its_other_settings(site: Gantry) -> None:
    before = settings(site)
    site.plant(4, outside_c=45, inside_c=45)  # it has to go on cooling until the next upload
    assert cmd(site, 4, cabinetId=4, airId=1, autoRefrigerationTemp="28.5", autoHeatingTemp="7.5")["code"] == "1000"
    assert settings(site) == before | {"cool_on_c": 28.5, "heat_on_c": 7.5}
    eventually(lambda: site.state(4)["air"][0]["compressor"], 10, "the unit cools")

    def told() -> bool:
        cmd(site, 6, cabinetId=4, isDoorDefend="0", updateNow="1")  # running is no event of its own
        (unit,) = site.latest(4)["airConditioners"]
        return (unit["workMode"], unit["isWorking"]) == ("1", "1")

    eventually(told, 10, "the cloud is told that it cools")


def test_a_huaruan_unit_that_refuses_or_clamps_is_found_out(site: Gantry) -> None:
    order = {"cabinetId": 4, "airId": 1, "autoRefrigerationTemp": 32}
    for kind, more, msg in (
        ("exception", {"code": 4}, "设备拒绝"), ("ignore", {}, "回读35"), ("clamp", {"last": 28}, "回读28"),
    ):  # fmt: skip
        before = settings(site)
        with fault(site, "4.huaruan", kind, **more):
            answer = cmd(site, 4, **order)
        assert answer["code"] == "1007", (kind, answer)
        assert msg in answer["msg"], (kind, answer)
        assert (settings(site) == before) is (kind != "clamp")
    assert "超出15~50" in cmd(site, 4, cabinetId=4, airId=1, autoRefrigerationTemp=50.5)["msg"]
    assert cmd(site, 4, **order)["code"] == "1000"
    assert settings(site)["cool_on_c"] == 32


def test_a_huaruan_unit_is_not_switched_since_nobody_knows_how(site: Gantry) -> None:
    answer = cmd(site, 3, cabinetId=4, airId=1, airOperate=2)
    assert answer["code"] in ("1002", "1007")
    assert "不支持" in answer["msg"]
    assert site.state(4)["air"][0]["remote"] is True


# --- what goes wrong, for each of them

ORDERS: dict[int, dict[str, Any]] = {
    3: {"airId": 1, "airOperate": 2},
    4: {"airId": 2, "autoRefrigerationTemp": 31},
    8: {"onOff": 0},
}
DEVICE = {3: "1.left", 4: "1.right", 8: "1.power"}


def moved(site: Gantry) -> bool:
    state = site.state()
    units = state["air"]
    return not (units[0]["remote"] and units[1]["cool_on_c"] == 35 and state["dc"]["enabled"])


@pytest.mark.parametrize("number", ORDERS)
@pytest.mark.parametrize(
    ("kind", "more", "msg"),
    [
        ("exception", {"code": 4}, "设备拒绝"),
        ("ignore", {}, "回读"),
    ],
)
def test_an_order_that_is_not_done_is_answered_1007(
    site: Gantry, number: int, kind: str, more: dict[str, Any], msg: str
) -> None:
    with fault(site, DEVICE[number], kind, **more):
        began = time.monotonic()
        answer = cmd(site, number, **ORDERS[number])
        took_s = time.monotonic() - began
    assert answer["code"] == "1007", answer
    assert msg in answer["msg"]
    assert len(answer["msg"]) <= 40
    assert took_s < 13
    assert not moved(site)


@pytest.mark.parametrize("number", ORDERS)
def test_a_silent_device_is_given_up_and_found_again(site: Gantry, number: int) -> None:
    with fault(site, DEVICE[number], "silent"):
        began = time.monotonic()
        answer = cmd(site, number, **ORDERS[number])
        took_s = time.monotonic() - began
    assert answer == {"code": "1007", "msg": "执行控制命令失败: 设备无应答"}
    assert took_s < 13
    assert not moved(site)
    eventually(lambda: cmd(site, number, **ORDERS[number])["code"] == "1000", 30, "the device answers again")
    assert moved(site)
    if number == 8:
        assert cmd(site, 8, onOff=1)["code"] == "1000"


@pytest.mark.parametrize(
    ("number", "fields", "named"),
    [
        (3, {"airId": 3, "airOperate": 1}, "airId"),
        (3, {"airId": 0, "cabinetId": 2, "airOperate": 1}, "airId"),
        (4, {"airId": 7, "autoRefrigerationTemp": 30}, "airId"),
        (4, {"airId": 1}, "autoRefrigerationTemp"),
        (4, {"airId": 1, "autoRefrigerationTemp": 20, "autoHeatingTemp": 20}, "autoRefrigerationTemp"),
        (8, {"onOff": 2}, "onOff"),
        (8, {}, "onOff"),
        (8, {"onOff": 0, "cabinetId": 3}, "cabinetId"),
    ],
)
def test_what_is_not_configured_or_out_of_its_values_is_named(
    site: Gantry, number: int, fields: dict[str, Any], named: str
) -> None:
    answer = cmd(site, number, **fields)
    assert answer["code"] == "1002"
    assert named in answer["msg"]
    assert not moved(site)


# --- cmd 8


def test_rectifiers_off_and_the_battery_carries_the_load_until_they_are_on(site: Gantry) -> None:
    eventually(lambda: cmd(site, 8, onOff=0)["code"] == "1000", 10, "the rectifiers are off")
    state = site.state()
    assert state["dc"]["enabled"] is False
    eventually(lambda: site.state()["dc"]["battery"]["current_a"] < -10, 5, "the battery discharges")
    modules = ask(f"{site.api}/registers?device=1.power")
    status = [cell["value"] for oid, cell in modules.items() if ".6.164.1.3.2.2.1.99." in oid]
    assert status == [5, 5]
    assert cmd(site, 8, onOff=1)["code"] == "1000"
    assert site.state()["dc"]["enabled"] is True


def test_no_rectifier_goes_off_on_a_battery_that_could_not_carry_it(site: Gantry) -> None:
    site.plant(battery_percent=30)
    time.sleep(2)  # it is read every 0.5 s
    assert cmd(site, 8, onOff=0) == {"code": "1007", "msg": "执行控制命令失败: 电池1电量低: 30%"}
    assert site.state()["dc"]["enabled"] is True


def test_a_cabinet_without_rectifiers_says_so(site: Gantry) -> None:
    assert cmd(site, 8, onOff=0, cabinetId=2) == {"code": "1007", "msg": "执行控制命令失败: 该机柜没有整流模块"}


# --- the compressor's rest


def test_a_unit_that_has_just_stopped_is_not_run_before_its_rest_is_over(tmp_path: Path) -> None:
    text = SITE.replace("compressor_off_s: 0", "compressor_off_s: 3")
    with gantry(tmp_path, text, interval=3600) as site:
        eventually(lambda: cmd(site, 3, airId=0, airOperate=1)["code"] == "1000", 10, "both were seen working")
        assert cmd(site, 3, airId=1, airOperate=2)["code"] == "1000"
        answer = cmd(site, 3, airId=1, airOperate=1)
        assert answer["code"] == "1007"
        assert "压缩机保护，还需" in answer["msg"]
        assert cmd(site, 3, airId=0, airOperate=1)["msg"].startswith("执行控制命令失败: 空调1: 压缩机保护")
        assert air(site)[0]["remote"] is False
        site.plant(aircon={"number": 2, "on": False})  # by somebody at the cabinet
        time.sleep(1.2)  # it is read every 0.5 s
        assert "空调1,2: 压缩机保护" in cmd(site, 3, airId=0, airOperate=1)["msg"]
        eventually(lambda: cmd(site, 3, airId=0, airOperate=1)["code"] == "1000", 6, "the rest is over")
        assert [unit["remote"] for unit in air(site)] == [True, True]
