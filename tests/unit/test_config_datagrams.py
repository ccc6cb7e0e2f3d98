"""Buses over UDP in the site file: where door controllers push to, and devices that are asked by datagrams."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault

GOOD = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "replace-me"}
traps: {listen: "0.0.0.0:162"}
buses:
  doors: {type: uhppote, host: 10.0.0.5, listen: "10.0.0.2:60001", set_listener: true}
  surge: {type: udp, host: 10.0.0.6, port: 4196}
  line: {type: serial, port: /dev/ttyS1}
computers:
  - {id: 1, monitor: true, source: local, data_disk: /, nic: lo}
cabinets:
  - id: 1
    devices:
      access: {profile: uhppote-controller, bus: doors, parameters: {serial: 423187757}}
      huazi: {profile: huazi-spd, bus: surge}
      tongan: {profile: zpta-spd, bus: line}
    outputs: {front-lock: {device: access, point: door1, pulse_s: 3}}
    doors: {front: {unlock: front-lock}}
"""
NEEDS = "needs listen with this computer's IPv4 address as the controller reaches it"


def write(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        read_config(write(folder, text))
    return [fault.render("en").split("site.yaml:")[1] for fault in caught.value.faults]


def test_where_controllers_push_to_and_that_they_are_told(tmp_path: Path):
    site = read_config(write(tmp_path, GOOD)).site
    assert site.buses["doors"].settings == {
        "host": "10.0.0.5",
        "port": 60000,
        "listen": "10.0.0.2:60001",
        "set_listener": True,
    }
    plain = read_config(write(tmp_path, GOOD.replace(', listen: "10.0.0.2:60001", set_listener: true', ""))).site
    assert (plain.buses["doors"].settings["listen"], plain.buses["doors"].settings["set_listener"]) == (None, False)
    anywhere = GOOD.replace('"10.0.0.2:60001", set_listener: true', '"0.0.0.0:60001"')
    assert read_config(write(tmp_path, anywhere)).site.buses["doors"].settings["listen"] == "0.0.0.0:60001"


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ('listen: "10.0.0.2:60001", ', "", "5:", NEEDS),
        ("10.0.0.2:60001", "0.0.0.0:60001", "5:", f"{NEEDS}, and a port, like 192.168.1.10:60001 (0.0.0.0:60001)"),
        ("10.0.0.2:60001", "monitor-pc:60001", "5:", NEEDS),
        ("10.0.0.2:60001", "[fd00::1]:60001", "5:", NEEDS),
        ("10.0.0.2:60001", "10.0.0.2", "5:", "address:port"),
        ('"10.0.0.2:60001", set_listener: true', '"0.0.0.0:162"', "5:", "is that of traps; give another port"),
        ("set_listener: true", "set_listener: yes please", "5:", "true or false"),
        (", port: 4196", "", "6:", "buses.surge.port: is required and missing"),
        ("bus: surge}", "bus: line, unit: 5}", "14:", "huazi-spd speaks huazi and cannot be on the serial bus line"),
        ("zpta-spd, bus: line}", "zpta-spd, bus: surge, unit: 5}", "15:",
         "zpta-spd speaks zpta and cannot be on the udp bus surge"),
        ("bus: surge}\n", "bus: surge}\n      second: {profile: huazi-spd, bus: surge, unit: 2}\n", "15:",
         "cannot put a second huazi device on surge: their answers name no address, 1.huazi is there"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_them_is_told_once_with_its_place(tmp_path: Path, old: str, new: str, place: str, said: str):
    assert old in GOOD
    [told] = faults_of(tmp_path, GOOD.replace(old, new))
    assert told.startswith(place)
    assert said in told
    assert "tty" not in told
