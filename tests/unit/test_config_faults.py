"""The site file: one good file, and a table of what can be wrong with it, where, and what is said."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.config.schema import json_schema
from gantry_agent.faults import ConfigFault
from gantry_agent.model import Role

GOOD = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "123456"}
buses:
  line: {type: serial, port: /dev/ttyS1, baudrate: 9600}
  io: {type: modbus-tcp, host: 10.0.0.2}
computers:
  - {id: 1, monitor: true, source: local, data_disk: /, nic: lo}
cabinets:
  - id: 1
    devices:
      meter: {profile: chint-dtsu666, bus: line, unit: 3}
      meter2: {profile: chint-ddsu666, bus: line, unit: 4}
      io:
        profile: moxa-iologik-e1212
        bus: io
        map:
          doors.frontDoorClosed: di0
          smokeSensor.isWarning: {point: di1, invert: true}
    outputs:
      front-lock: {device: io, point: do0, pulse_s: 3}
    doors:
      front: {unlock: front-lock}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        read_config(write(folder, text))
    return [fault.render("en").split("site.yaml:")[1] for fault in caught.value.faults]


def test_a_good_file_becomes_a_site_with_roles_numbered_in_order(tmp_path):
    config = read_config(write(tmp_path, GOOD))
    site = config.site
    assert site.gantry_id == "G000211001002110010"
    assert site.devices["1.meter"].roles == {"elec": (1,)}
    assert site.devices["1.meter2"].roles == {"elec": (2,)}
    assert (Role(1, "doors"), "frontDoorClosed") in config.filled["1.io"]
    assert (Role(1, "elec", 2), "voltage") in config.filled["1.meter2"]
    assert (Role(0, "computerStatus", 1), "dataDiskUsage") in config.filled["computer 1"]
    assert config.cloud.auth == "123456"
    assert "123456" not in repr(config)


def test_the_samples_that_are_shipped_are_good():
    for path in sorted((Path(__file__).parents[2] / "config").glob("*.yaml")):
        read_config(path)


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("id: G0002", "id: g0002", "g00021100100211001", "a gantry id is"),
        ("gantry: {id: G000211001002110010}", "gantry: {}", "gantry: {}", "is required"),
        ("type: serial,", "type: serail,", "line: {type: serai", "unknown type; valid: 'serial'"),
        ("port: /dev/ttyS1,", "prot: /dev/ttyS1,", "prot: /dev/ttyS1, ", "unknown key prot; did you mean port?"),
        ("baudrate: 9600", "baudrate: 9601", "9601}", "valid: 1200, 2400"),
        ("profile: chint-dtsu666", "profile: chint-dtsu66", "chint-dtsu66, bus:", "did you mean chint-dtsu666?"),
        ("bus: line, unit: 3", "bus: lin, unit: 3", "lin, unit: 3}", "there is no bus lin; did you mean line?"),
        ("unit: 4", "unit: 3", "3}", "duplicate address: line unit 3 is 1.meter already"),
        ("unit: 4}", "unit: 4, ids: {elec: [1]}}", "meter2: {profile: ", "filled twice: 1.meter gives it already"),
        ("unit: 4}", "unit: 4, ids: {ups: [1]}}", "ups: [1]}}", "this device has no ups to number"),
        ("unit: 4}", "unit: 4, skip: [elec.volts]}", "elec.volts]}", "did you mean elec.voltage?"),
        ("unit: 4}", "unit: 400}", "400}", "must be at most 247"),
        ("unit: 3}", "unit: 3, parameters: {voltage_scale: 7}}", "7}}", "valid: "),
        ("unit: 3}", "unit: 3, parameters: {voltage_scales: 1}}", "1}}", "did you mean voltage_scale?"),
        ("doors.frontDoorClosed: di0", "doors.frontDoorClose: di0", "doors.", "did you mean frontDoorClosed?"),
        ("doors.frontDoorClosed: di0", "doors.frontDoorOpenIllegally: di0", "doors.", "no field"),
        ("doors.frontDoorClosed: di0", "doors.frontDoorClosed: di99", "di99", "has no point di99"),
        ("doors.frontDoorClosed: di0", "door.frontDoorClosed: di0", "door.", "did you mean doors?"),
        ("point: do0", "point: do00", "do00, pulse_s: 3}", "has no output do00; did you mean do0?"),
        ("device: io, point: do0", "device: oi, point: do0", "oi, point: do0, pu", "there is no device oi"),
        ("unlock: front-lock", "unlock: front-lok", "front-lok}", "did you mean front-lock?"),
        ('auth: "123456"', "auth_file: /no/such/file", "/no/such/file}", "cannot read the file /no/such/file"),
        ('auth: "123456"', "interval_s: 600", 'cloud: {server: "h', "auth or auth_file is required"),
        ("source: local", "source: snmp, bus: line", "line, data_disk: /", "speaks snmp and cannot be on a serial bus"),
        ("host: 10.0.0.2}", "host: 10.0.0.2}\n  i: {type: modbus-tcp, host: 10.0.0.2, port: 502}", "502}", "used by"),
        ("  - id: 1\n", "  - {id: 1}\n  - id: 1\n", "1", "counted twice"),
        ("nic: lo}", "nic: lo}\n  - {id: 1, source: local}", "1, source: local}", "counted twice"),
        ("source: local", "source: local, ip: a.b.c", "a.b.c", "is not an IP address"),
        ("cabinets:", "cabinets: []\ncabinets:", "cabinets", "cannot parse the YAML"),
    ],
)  # fmt: skip
def test_every_fault_says_where_what_and_what_would_be_valid(tmp_path, old, new, at, said):
    """`at` is the text that stands at the place told."""
    assert GOOD.count(old) >= 1, old
    text = GOOD.replace(old, new, 1)
    told = faults_of(tmp_path, text)
    [(line, column)] = [map(int, fault.split(":")[:2]) for fault in told if said in fault]
    assert text.split("\n")[line - 1][column - 1 :].startswith(at), told


def test_all_faults_of_a_file_are_told_in_one_run(tmp_path):
    text = GOOD.replace("type: serial,", "type: serial, speed: 1,").replace("chint-dtsu666", "chint").replace(
        "unlock: front-lock", "unlock: back-lock"
    ).replace("id: G0", "id: -")  # fmt: skip
    told = faults_of(tmp_path, text)
    assert len(told) == 4, told
    assert [line.split(":")[0] for line in told] == ["1", "4", "11", "22"]


def test_a_fault_in_a_bus_is_not_told_again_by_everything_on_it(tmp_path):
    told = faults_of(tmp_path, GOOD.replace("baudrate: 9600", "baudrate: 1"))
    assert len(told) == 1, told


def test_a_secret_is_never_shown(tmp_path):
    told = faults_of(tmp_path, GOOD.replace('auth: "123456"', f'auth: "{"s3cret" * 30}"'))
    assert "s3cret" not in "".join(told)


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "auth").write_text("abc\n")
    config = read_config(write(tmp_path, GOOD.replace('auth: "123456"', f"auth_file: {tmp_path}/auth")))
    assert config.cloud.auth == "abc"


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\tgantry: {}", "null"])
def test_a_file_that_is_not_a_site_file_is_told_as_one_fault(tmp_path, text):
    assert faults_of(tmp_path, text)


def test_a_file_that_is_not_there_is_a_fault_not_a_traceback(tmp_path):
    with pytest.raises(ConfigFault, match="No such file"):
        read_config(tmp_path / "nothing.yaml")


def test_the_json_schema_knows_every_section():
    assert set(json_schema()["properties"]) == {
        "gantry", "cloud", "control", "storage", "polling", "buses", "computers", "cabinets"
    }  # fmt: skip
