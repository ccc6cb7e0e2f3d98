"""Outlets of switched power strips, and relays of SNMP modules, as outputs: what is cut comes back in its time.

Where the device can time the cut it does, and nobody has to live to see its end.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import ask, eventually, python

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
buses:
  strip-1: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
  strip-2: {{type: snmp, host: 127.0.0.1, port: {ups}, version: 2c, community: public, write_community: private}}
  module-1: {{type: snmp, host: 127.0.0.1, port: {pc}, version: 2c, community: public, write_community: private}}
  module-2: {{type: snmp, host: 127.0.0.1, port: {io}, version: 2c, community: public, write_community: private}}
cabinets:
  - id: 1
    devices:
      apc: {{profile: apc-pdu, bus: strip-1}}
      iboot: {{profile: iboot-pdu, bus: strip-2}}
      quido: {{profile: papouch-quido, bus: module-1}}
      tcw241: {{profile: teracom-tcw241, bus: module-2, skip: [thermohygrometer]}}
    outputs:
      camera: {{device: apc, point: outlet3, invert: true}}
      lpr: {{device: iboot, point: outlet1, invert: true}}
      antenna: {{device: apc, point: outlet4, invert: true}}
      switch: {{device: quido, point: do2, feeds: uplink}}
      pc: {{device: tcw241, point: do2, feeds: agent}}
      spare-pc: {{device: tcw241, point: do3, feeds: agent}}
      beacon: {{device: tcw241, point: do4}}
relays:
  - {{ip: 10.0.0.9, port: 1, output: camera, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 2, output: lpr, pulse_s: 2, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 3, output: switch, pulse_s: 2, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 4, output: pc, pulse_s: 2, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 5, output: spare-pc, pulse_s: 2, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 6, output: beacon, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 7, output: antenna, pulse_s: 5, hold_off_s: 0}}
power_modes: {{2: [lpr]}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("pdu"), SITE) as made:
        yield made


PORTS = {name: k for k, name in enumerate(["camera", "lpr", "switch", "pc", "spare-pc", "beacon", "antenna"], 1)}


def supply(site: Gantry, name: str) -> dict[str, Any]:
    return site.state()["supplies"][name]


def reboot(site: Gantry, name: str) -> dict[str, str]:
    at = str(time.monotonic_ns())  # no two requests have the same bytes, or the later would be a repeat
    return site.order({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": str(PORTS[name]), "why": at})


@pytest.mark.parametrize("name", ["camera", "lpr"])  # timed by the agent, and by the strip
def test_an_outlet_is_rebooted_by_switching_it_off_and_on_again(site: Gantry, name: str):
    before = supply(site, name)
    assert before["on"]
    assert reboot(site, name)["code"] == "1000"
    after = supply(site, name)
    assert (after["on"], after["cuts"]) == (True, before["cuts"] + 1)
    assert 0.9 <= after["last_cut_s"] <= 3.0


def test_what_devices_time_ends_though_the_agent_was_killed(site: Gantry):
    names = {"lpr": 2.0, "switch": 2.0, "pc": 2.0, "antenna": 5.0}
    before = {name: supply(site, name)["cuts"] for name in names}
    for name in names:
        threading.Thread(target=lambda n=name: _unanswered(site, n)).start()
    eventually(lambda: all(supply(site, name)["cuts"] == before[name] + 1 for name in names), 8, "all of them cut")
    site.agent.kill()
    assert not supply(site, "antenna")["on"]
    for name, seconds in names.items():
        eventually(lambda n=name: supply(site, n)["on"], 8, "the device's own clock")
        assert abs(supply(site, name)["last_cut_s"] - seconds) <= 0.3
    site.start_agent()
    time.sleep(1.0)
    assert {name: supply(site, name)["cuts"] for name in names} == {name: cuts + 1 for name, cuts in before.items()}


def _unanswered(site: Gantry, name: str) -> None:
    with contextlib.suppress(OSError):
        reboot(site, name)


def test_a_time_that_is_set_otherwise_in_the_device_is_kept_by_the_agent_but_for_its_own_supply(site: Gantry):
    answer, before = reboot(site, "spare-pc"), supply(site, "spare-pc")  # 3 s are set in the module
    assert (answer["code"], "设备脉宽3s，应设为2s" in answer["msg"]) == ("1007", True), answer
    assert (before["on"], before["cuts"]) == (True, 0)
    assert reboot(site, "beacon")["code"] == "1000"  # 4 s are
    after = supply(site, "beacon")
    assert (after["on"], after["cuts"]) == (True, 1)
    assert 0.9 <= after["last_cut_s"] <= 2.5


def test_a_strip_that_does_not_take_the_time_cycles_nothing(site: Gantry):
    ask(f"{site.api}/powercycle", {"device": "1.iboot"})  # its settings are back
    site.fault("1.iboot", "ignore")
    before, answer = supply(site, "lpr")["cuts"], reboot(site, "lpr")
    site.mend("1.iboot")
    assert answer["code"] == "1007", answer
    assert supply(site, "lpr")["cuts"] == before


def test_a_dry_run_tells_what_would_be_set(site: Gantry):
    shown = subprocess.run(
        python(
            "gantry_agent", "command", "--dry-run", "cmd=1", "rebootIp=10.0.0.9", "rebootPort=7", "-c", str(site.site)
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SET 1.3.6.1.4.1.318.1.1.4.4.2.1.3.4 = integer 3" in shown.stdout, shown.stdout + shown.stderr
    assert supply(site, "antenna")["on"]


def test_a_power_mode_switches_an_outlet_off_until_mode_0(site: Gantry):
    assert site.order({"cmd": "5", "mode": "2"})["code"] == "1000"
    assert not site.state()["supplies"]["lpr"]["on"]
    assert site.order({"cmd": "5", "mode": "0"})["code"] == "1000"
    eventually(lambda: site.state()["supplies"]["lpr"]["on"], 5)


def test_an_outlet_that_acknowledges_and_stays_on_is_1007(site: Gantry):
    site.fault("1.apc", "ignore")
    answer = reboot(site, "camera")
    site.mend("1.apc")
    assert (answer["code"], "回读" in answer["msg"]) == ("1007", True), answer
