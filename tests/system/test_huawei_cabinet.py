"""A Huawei double cabinet over one SNMP card: what sheds load, sensors and doors, and the devices behind the monitor.

The equipment cabinet has the site monitor and a DC air conditioner; the battery cabinet another, and lithium batteries.
All of them speak through the one agent of the monitor.
"""

from collections.abc import Iterator

import pytest
import truth
from gantry import Gantry, gantry
from support import eventually

pytestmark = pytest.mark.system

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
interlocks: {{compressor_off_s: 0}}
buses:
  smu: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
cabinets:
  - id: 1
    devices:
      power:
        profile: huawei-site-monitor
        bus: smu
        ids: {{rectifier: [1, 2], smokeSensor: [1], waterloggingSensor: [1]}}
        skip: [ups]
        parameters: {{sensor_address: 51}}
        map:
          doors.frontDoorClosed: door_closed
          doors.backDoorClosed: door_closed[2]
          thunderSpd[1].status: {{point: di2, invert: true}}
      aircon: {{profile: huawei-dc-aircon, bus: smu}}
    outputs:
      camera: {{device: power, point: lvd2_cut}}
      lpr: {{device: power, point: pde1_cut3}}
  - id: 2
    devices:
      aircon: {{profile: huawei-dc-aircon, bus: smu, parameters: {{address: 22}}}}
      battery: {{profile: huawei-lithium-battery, bus: smu}}
relays:
  - {{ip: 10.0.0.9, port: 1, output: lpr, pulse_s: 1, hold_off_s: 0}}
power_modes: {{2: [camera], 3: [lpr]}}
"""

AIR = truth.air_conditioner(1) | {"temperatureWarning": truth.word("NotSupport")}  # the monitor has no such object


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("huawei"), SITE) as made:
        eventually(lambda: len(made.uploads()) >= 2, 30, "the first uploads")
        yield made
    assert "Traceback" not in made.agent.output
    assert "cannot be read" not in made.agent.output  # at the start the rows of outputs are looked for first


def supplied(site: Gantry) -> tuple[bool, bool]:
    supplies = site.state()["supplies"]
    return supplies["camera"]["on"], supplies["lpr"]["on"]


def test_power_modes_shed_load_by_disconnect_unit_and_branch_and_mode_0_supplies_it_again(site: Gantry):
    assert supplied(site) == (True, True)
    assert site.order({"cmd": "5", "mode": "3"})["code"] == "1000"
    assert supplied(site) == (False, False)
    assert site.order({"cmd": "5", "mode": "2"})["code"] == "1000"
    assert supplied(site) == (False, True)
    assert site.order({"cmd": "5", "mode": "0"})["code"] == "1000"
    assert supplied(site) == (True, True)


def test_a_branch_is_rebooted_by_cutting_it(site: Gantry):
    before = site.state()["supplies"]["lpr"]["cuts"]
    assert site.order({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "1"})["code"] == "1000"
    supply = site.state()["supplies"]["lpr"]
    assert (supply["on"], supply["cuts"]) == (True, before + 1)


def test_a_unit_that_acknowledges_and_does_not_move_is_1007(site: Gantry):
    site.fault("1.power", "ignore")
    answer = site.order({"cmd": "5", "mode": "2", "why": "deaf"})
    site.mend("1.power")
    assert (answer["code"], "回读" in answer["msg"]) == ("1007", True), answer
    assert supplied(site) == (True, True)
    assert site.order({"cmd": "5", "mode": "0", "why": "for the next test"})["code"] == "1000"


@pytest.mark.parametrize(
    ("mishap", "calm", "raised", "over"),
    [
        ({"smoke": True}, {"smoke": False}, {"smokeSensor_isWarning": "1"}, {"smokeSensor_isWarning": "0"}),
        (
            {"water": True},
            {"water": False},
            {"waterloggingSensor_isWarning": "1"},
            {"waterloggingSensor_isWarning": "0"},
        ),
        (
            {"door": {"front": "forced"}},
            {"door": {"front": "closed"}},
            {"doors_frontDoorClosed": "0", "doors_backDoorClosed": "1"},
            {"doors_frontDoorClosed": "1"},
        ),
        (
            {"door": {"back": "forced"}},
            {"door": {"back": "closed"}},
            {"doors_backDoorClosed": "0", "doors_frontDoorClosed": "1"},
            {"doors_backDoorClosed": "1"},
        ),
        ({"spd": {"status": False}}, {"spd": {"status": True}}, {"thunderSpd_status": "0"}, {"thunderSpd_status": "1"}),
    ],
    ids=["smoke", "water", "front door", "back door", "a digital input"],
)
def test_a_mishap_seen_by_the_site_monitor_goes_up_at_once_and_so_does_its_end(
    site: Gantry, mishap: dict, calm: dict, raised: dict[str, str], over: dict[str, str]
):
    since = site.received()
    site.plant(**mishap)
    site.sees(1, since=since, **raised)
    since = site.received()
    site.plant(**calm)
    site.sees(1, since=since, **over)


def test_the_devices_behind_the_monitor_are_each_their_own_cabinets(site: Gantry):
    site.plant(1, inside_c=48.2)
    site.plant(2, inside_c=21.4, battery_percent=60, battery_c=33.3, load_a=10)

    def faults() -> list[str]:
        since = site.received()
        assert site.order({"updateNow": "1", "why": str(since)})["code"] == "1000"
        eventually(lambda: len(site.uploads("cabinetStatusUpdate", since=since)) >= 2, 5)
        tables = {
            1: {"thermohygrometer": truth.probe(1), "airConditioners[1]": AIR},
            2: {"ups[1]": truth.battery_of_a_monitor(), "airConditioners[1]": AIR},
        }
        return [
            fault
            for number, fields in tables.items()
            for fault in truth.mismatches(site.latest(number), site.state(number), fields, {})
            if fault.startswith(tuple(fields))
        ]

    eventually(lambda: not faults(), 15, "what the tables of the monitor show")
    modes = [site.latest(number)["airConditioners"][0]["workMode"] for number in (1, 2)]
    assert modes == ["1", "0"]  # the hot cabinet is cooled, the other aired


def test_a_set_point_goes_to_the_unit_of_that_cabinet_and_never_out_of_its_range(site: Gantry):
    before = [site.state(n)["air"][0]["cool_on_c"] for n in (1, 2)]
    assert before == [35.0, 35.0]
    wish = {"cmd": "4", "cabinetId": "2", "airId": "1", "autoRefrigerationTemp": "42"}
    assert site.order(wish)["code"] == "1000"
    assert [site.state(n)["air"][0]["cool_on_c"] for n in (1, 2)] == [35.0, 42.0]
    answer = site.order(wish | {"autoRefrigerationTemp": "34"})
    assert (answer["code"], "35~50" in answer["msg"]) == ("1007", True), answer
    answer = site.order({"cmd": "3", "cabinetId": "2", "airId": "1", "airOperate": "2"})
    assert answer["code"] == "1007", answer
    assert site.state(2)["air"][0]["cool_on_c"] == 42.0
