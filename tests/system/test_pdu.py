"""Outlets of switched power strips as outputs: off is cut, and nothing is cut while nobody orders it."""

from collections.abc import Iterator

import pytest
from gantry import Gantry, gantry
from support import eventually

pytestmark = pytest.mark.system

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
buses:
  strip-1: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
  strip-2: {{type: snmp, host: 127.0.0.1, port: {ups}, version: 2c, community: public, write_community: private}}
cabinets:
  - id: 1
    devices:
      apc: {{profile: apc-pdu, bus: strip-1}}
      iboot: {{profile: iboot-pdu, bus: strip-2}}
    outputs:
      camera: {{device: apc, point: outlet3, invert: true}}
      lpr: {{device: iboot, point: outlet1, invert: true}}
relays:
  - {{ip: 10.0.0.9, port: 1, output: camera, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 2, output: lpr, pulse_s: 1, hold_off_s: 0}}
power_modes: {{2: [lpr]}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("pdu"), SITE) as made:
        yield made


@pytest.mark.parametrize(("port", "name"), [(1, "camera"), (2, "lpr")])
def test_an_outlet_is_rebooted_by_switching_it_off_and_on_again(site: Gantry, port: int, name: str):
    assert site.state()["supplies"][name]["on"]
    assert site.order({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": str(port)})["code"] == "1000"
    supply = site.state()["supplies"][name]
    assert (supply["on"], supply["cuts"]) == (True, 1)
    assert 0.9 <= supply["last_cut_s"] <= 3.0


def test_a_power_mode_switches_an_outlet_off_until_mode_0(site: Gantry):
    assert site.order({"cmd": "5", "mode": "2"})["code"] == "1000"
    assert not site.state()["supplies"]["lpr"]["on"]
    assert site.order({"cmd": "5", "mode": "0"})["code"] == "1000"
    eventually(lambda: site.state()["supplies"]["lpr"]["on"], 5)


def test_an_outlet_that_acknowledges_and_stays_on_is_1007(site: Gantry):
    site.fault("1.apc", "ignore")
    answer = site.order({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "1", "why": "another"})
    site.mend("1.apc")
    assert (answer["code"], "回读" in answer["msg"]) == ("1007", True), answer
