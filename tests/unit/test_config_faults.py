"""The site file: one good file, and a table of what can be wrong with it, where, and what is said."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support import english_sentences

from gantry_agent.cli import main
from gantry_agent.config import read_config
from gantry_agent.config.schema import json_schema
from gantry_agent.config.shape import read_shape
from gantry_agent.config.site import SHIPPED_PROFILES
from gantry_agent.faults import ConfigFault, Document
from gantry_agent.model import Role

GOOD = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "replace-me"}
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
    assert config.cloud.auth == "replace-me"
    assert "replace-me" not in repr(config)


def test_traps_are_listened_for_where_the_file_says_and_not_otherwise(tmp_path):
    assert read_config(write(tmp_path, GOOD)).traps is None
    assert read_config(write(tmp_path, GOOD + "traps: {}\n")).traps == "0.0.0.0:162"
    assert read_config(write(tmp_path, GOOD + 'traps: {listen: "[::]:1162"}\n')).traps == "[::]:1162"


def test_the_samples_that_are_shipped_are_good():
    for path in sorted((Path(__file__).parents[2] / "config").glob("*.yaml")):
        read_config(path)


def test_the_sample_shows_every_key():
    text = (Path(__file__).parents[2] / "config" / "gantry.yaml").read_text(encoding="utf-8")
    keys = {key for part in json_schema()["$defs"].values() for key in part.get("properties", {})}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}:", text)] == []


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("id: G0002", "id: g0002", "g00021100100211001", "a gantry id is"),
        ("gantry: {id: G000211001002110010}", "gantry: {}", "gantry: {}", "is required"),
        ("type: serial,", "type: serail,", "serail, port", "line.type = 'serail': did you mean serial?; valid:"),
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
        ("unit: 3}", "unit: 3, parameters: {voltage_scales: 1}}", "voltage_scales", "did you mean voltage_scale?"),
        ("doors.frontDoorClosed: di0", "doors.frontDoorClose: di0", "doors.", "did you mean frontDoorClosed?"),
        ("doors.frontDoorClosed: di0", "doors.frontDoorOpenIllegally: di0", "doors.", "no field"),
        ("doors.frontDoorClosed: di0", "doors.frontDoorClosed: di99", "di99", "has no point di99"),
        ("doors.frontDoorClosed: di0", "door.frontDoorClosed: di0", "door.", "did you mean doors?"),
        ("point: do0", "point: do00", "do00, pulse_s: 3}", "has no output do00; did you mean do0?"),
        ("device: io, point: do0", "device: oi, point: do0", "oi, point: do0, pu", "there is no device oi"),
        ("unlock: front-lock", "unlock: front-lok", "front-lok}", "did you mean front-lock?"),
        ('auth: "replace-me"', "auth_file: /no/such/file", "/no/such/file}", "cannot read the file /no/such/file"),
        ('auth: "replace-me"', "interval_s: 600", 'cloud: {server: "h', "auth or auth_file is required"),
        ("source: local", "source: snmp, bus: line", "line, data_disk: /", "valid is a bus of type snmp: the file"),
        ("host: 10.0.0.2}", "host: 10.0.0.2}\n  i: {type: modbus-tcp, host: 10.0.0.2, port: 502}", "502}", "used by"),
        ("  - id: 1\n", "  - {id: 1}\n  - id: 1\n", "1", "given twice"),
        ("nic: lo}", "nic: lo}\n  - {id: 1, source: local}", "1, source: local}", "given twice"),
        ("source: local", "source: local, ip: a.b.c", "a.b.c", "is not an IP address"),
        ("cabinets:", "traps: {listen: 0.0.0.0:70000}\ncabinets:", "0.0.0.0:70000}", "from 1 to 65535"),
        ("cabinets:", "traps: {listen: 162}\ncabinets:", "162}", "address:port"),
        ("cabinets:", "traps: {listen: any}\ncabinets:", "any}", "address:port"),
        ("cabinets:", "traps: {lisden: a:1}\ncabinets:", "lisden", "did you mean listen?"),
        ("cabinets:", "cabinets: []\ncabinets:", "cabinets", "the key cabinets is given twice (first in line 8)"),
        ('auth: "replace-me"}', 'auth: "replace-me", auth: "2"}', 'auth: "2"',
         "the key auth is given twice (first in line 2)"),
        # the text is no YAML
        ('"replace-me"}', '"replace-me}', '"replace-me}', "a quote in this line is not closed"),
        ('monitor.do"', "monitor.do", '"http', "a quote in this line is not closed"),
        ("/dev/ttyS1, baudrate: 9600}", "/dev/ttyS1", "{type: serial", "the closing } is missing, or a comma"),
        ("        bus: io\n", "        bus:io\n", "bus:io", "a colon is missing here, or the blank after it"),
        ("        bus: io\n", "        bus： io\n", "： io", "full-width ： in line 15; type :"),
        ("serial, port", "serial，port", "，port", "full-width ， in line 4; type ,"),
        ("    outputs:", "\u3000outputs:", "\u3000outputs", "full-width blank in line 19; type a plain one"),
        ("    outputs:", "\toutputs:", "\toutputs", "indent with blanks"),
        ("    outputs:", "     outputs:", "outputs", "not indented like its neighbours"),
        ("        bus: io\n", "        bus: *io\n", "*io", "put quotes around it"),
        ("        bus: io\n", "        bus: a: b\n", ": b", "a second colon"),
        ("        bus: io\n", '        bus: "io" b\n', "b", "something follows a closing quote"),
        ("        bus: io\n", "        - bus: io\n", "- bus", "a key is wanted here"),
        ("type: serial, ", "type:serial, ", "type:serial", "'type: …'"),
        ('auth: "replace-me"', "auth: “replace-me”", "“replace-me”", "full-width quotes around the value"),
        ("type: serial, ", "type：serial, ", "type：serial", "'type: …'"),
        # out of range, or not what it looks like
        ("10.0.0.1/m", "10.0.0.1:99999/m", '"http://10.0.0.1:99999', "port 99999 must be from 1 to 65535"),
        ("10.0.0.1/m", "10.0.0.300/m", '"http://10.0.0.300', "10.0.0.300 is no IP address"),
        ("host: 10.0.0.2", "host: 10.0.0.300", "10.0.0.300}", "10.0.0.300 is no IP address"),
        ("host: 10.0.0.2", "host: 10.0.0.2:502", "10.0.0.2:502}", "give the port by itself, port: 502"),
        ("cabinets:", "control: {listen: 3699}\ncabinets:", "3699}", "valid: address:port, like 0.0.0.0:3699"),
        ("cabinets:", "control: {listen: 10.0.0:3699}\ncabinets:", "10.0.0:3699}", "10.0.0 is no IP address"),
        ("id: G000211001002110010", "id: 211001002110010", "211001002110010}", "a gantry id is 1 to 20 capital"),
        ("port: /dev/ttyS1", "port: COM3", "COM3, ", "a serial port begins with /, like /dev/ttyS1"),
        ("cabinets:", "storage: {path: state}\ncabinets:", "state}", "a path must begin with /"),
        ("id: G000211001002110010", "id: G1, timezone: Asia/Beijing", "Asia/B", "Asia/Beijing; valid: Asia/Shanghai, "),
        ("id: G000211001002110010", "id: G1, timezone: Asia/Shangai", "Asia/S", "did you mean Asia/Shanghai?"),
        ("unit: 3}", "unit: 300}", "300}", "cabinet 1, meter, unit = 300: must be at most 247"),
        ("pulse_s: 3", "pulse_s: 0", "0}", "cabinet 1, output front-lock, pulse_s = 0: must be greater than 0"),
        ("source: local", "source: lokal", "lokal", "computer 1, source = 'lokal': did you mean local?; valid:"),
        ("type: modbus-tcp", "type: modbustcp", "modbustcp", "did you mean modbus-tcp?"),
        ("computers:", "  pc: {type: snmp, host: a, community: b, version: 2}\ncomputers:", "2}",
         "version = 2: did you mean 2c?; valid: 1, 2c or 3"),
        ("baudrate: 9600", 'baudrate: "9600"', '"9600"}', "write 9600 without quotes"),
        ("point: di1,", "point: dl1,", "smokeS", "valid: di0, di1, di2, di3, di4, di5, di6, di7, di8, di9, di10,"),
        ("point: di1,", "point: DI1,", "smokeS", "did you mean di1?"),
        # nothing after the colon
        ("cabinets:", "control:\n  allow:\ncabinets:", "allow:", "control.allow is empty"),
        ("      front-lock: {device: io, point: do0, pulse_s: 3}\n", "", "outputs:", "cabinet 1, outputs is empty"),
        ('auth: "replace-me"', "auth: ", "auth: }", "cloud.auth is empty"),
        # what does not go together
        ("pulse_s: 3}", "pulse_s: 3}\n      x: {device: io, point: do0}", "do0}", "do0 of io is output front-lock"),
        ("point: di1,", "point: di0,", "smokeS", "di0 is mapped to doors.frontDoorClosed already"),
        ("point: di1,", "point: di8,", "smokeS", "di8 is the same terminal as do0, which is output front-lock"),
        (", pulse_s: 3", "", "front-lock: {", "front-lock unlocks the front door and needs pulse_s"),
        ("    outputs:", "      spare: {profile: moxa-iologik-e1212, bus: io, unit: 9}\n    outputs:", "spare",
         "1.spare fills nothing; give map or outputs"),
        # a key or a part that was written otherwise is read as it was meant, and no follow-on is told
        ("cabinets:", "cabinet:", "cabinet:", "unknown key cabinet; did you mean cabinets?"),
        ("buses:", "busses:", "busses:", "unknown key busses; did you mean buses?"),
        ("computers:", "computer:", "computer:", "unknown key computer; did you mean computers?"),
        ("    devices:", "    device:", "device:", "unknown key device; did you mean devices?"),
        ("    outputs:", "    output:", "output:", "unknown key output; did you mean outputs?"),
        ("{profile: chint-dtsu666", "{profle: chint-dtsu666", "profle", "unknown key profle; did you mean profile?"),
        ("  - id: 1\n", "    id: 1\n", "cabinets:", "must be a list, each item after a -, like - id: 1"),
        # what a Chinese keyboard puts in the way
        ("  - id: 1\n", "  - id：1\n\n    # devices\n", "：1", "full-width ： in line 9; type :"),
        ("gantry: {id: G0", "gantry:\n  id：G0", "id：G0", "after id a colon and a blank are wanted: 'id: …'"),
        ("unit: 3}", "unit: ３}", "３}", "it has full-width characters; type 3"),
        ("meter: {", "meter:\u00a0{", "\u00a0{", "non-breaking blank in line 11; type a plain one"),
        ("  - id: 1\n", "  -id: 1\n", "-id: 1", "a blank is missing behind the - of a list item"),
        ("unit: 3}", "unit: 3}}", "}", "one } too many"),
        # what is missing
        ("port: /dev/ttyS1, ", "", "line: {type", "is required and missing; a serial port begins with /"),
        ("{type: modbus-tcp, ", "{", "io: {host", "buses.io: has no type; valid: modbus-tcp, serial, serial-tcp"),
        ("gantry: {id: G000211001002110010}", "gantry:", "gantry:", "must be like {id: G000211001002110010}"),
        ("unit: 4}", "unit: 4, ids: {elec: 2}}", "2}}", "must be a list, like [1, 2]"),
        # this PC
    ],
)  # fmt: skip
def test_every_fault_says_where_what_and_what_would_be_valid(tmp_path, old, new, at, said):
    """`at` is the text that stands at the place told."""
    assert GOOD.count(old) >= 1, old
    text = GOOD.replace(old, new, 1)
    told = faults_of(tmp_path, text)
    assert len(told) == 1, told
    [(line, column)] = [map(int, fault.split(":")[:2]) for fault in told if said in fault]
    assert text.split("\n")[line - 1][column - 1 :].startswith(at), told


@pytest.mark.parametrize(
    ("given", "at", "said"),
    [
        ("unit: 3, parameters: {base: 65535}", "65535}", "elec.voltage of it would be at register 65535–65536"),
        ("unit: 3, parameters: {base: 1.5}", "1.5}", "base must be a whole number"),
        ("unit: 3, parameters: {base: x}", "x}", "base = 'x': must be a number"),
        ("unit: 70", "70", "elec.current of it would be at register 70000, outside 0–65535"),
    ],
)
def test_registers_that_end_up_outside_are_told_with_the_point(tmp_path, given, at, said):
    (tmp_path / "it.yaml").write_text(
        "profile: it\ntitle: {zh: 它, en: it}\nprotocol: modbus\nmaturity: draft\nmembers: {elec: 1}\n"
        "sources: [{document: d, page: p}]\nparameters: {base: {default: 7}}\npoints:\n"
        "  elec.voltage: {read: holding base, as: f32, unit: V}\n  elec.current: {read: holding 1000*unit, unit: A}\n",
        encoding="utf-8",
    )
    text = GOOD.replace("profile: chint-dtsu666, bus: line, unit: 3", f"profile: it, bus: line, {given}")
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, text), (tmp_path, SHIPPED_PROFILES))
    [fault] = caught.value.faults
    assert said in fault.text.en
    assert text.split("\n")[fault.line - 1][fault.column - 1 :].startswith(at)


SNMP = "  pc: {type: snmp, host: 10.0.0.3, community: public}\n"


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("", "", "G000211001002110010}", "is the sample's gantry id"),
        ("", "", '"replace-me"', "auth is still the sample's code"),
        ("", "", '"http://10', "http is not encrypted"),
        ("monitor: true, ", "", "computers:", "no computer has monitor: true"),
        ("cabinets:", "  - {id: 2, monitor: true, source: local, nic: lo}\ncabinets:", "true, source: local, nic",
         "computer 1 is the monitoring PC"),
        ("computers:", SNMP + "computers:", "pc: {type", "nobody uses bus pc"),
        ("data_disk: /", "data_disk: /usr/bin", "/usr/bin", "nothing is mounted at /usr/bin"),
        ("nic: lo", "nic: eth99", "eth99}", "there is no network card eth99 on this PC"),
        ("", "", "lo}", "lo is the loopback and no network card; those of this PC: "),
        ("/dev/ttyS1", "/dev/ttyS99", "/dev/ttyS99", "there is no /dev/ttyS99 on this PC"),
        ("data_disk: /", "data_disk: /no/disk", "/no/disk", "there is no folder /no/disk on this PC"),
        ("chint-dtsu666", "it", "it, bus: line", "it is a draft"),
        ("chint-ddsu666", "xy-md02", "xy-md02, bus: line", "xy-md02.yaml is used, not the shipped profile"),
    ],
)  # fmt: skip
def test_what_runs_but_is_probably_not_meant_is_a_warning(tmp_path, old, new, at, said):
    mine = "title: {zh: 它, en: it}\nprotocol: modbus\nsources: [{document: d, page: p}]\nmembers: {elec: 1}\n"
    mine += "points: {elec.voltage: {read: holding 1, unit: V}}\n"
    (tmp_path / "it.yaml").write_text(f"profile: it\nmaturity: draft\n{mine}", encoding="utf-8")
    (tmp_path / "xy-md02.yaml").write_text(f"profile: xy-md02\nmaturity: simulated\n{mine}", encoding="utf-8")
    text = GOOD.replace(old, new, 1) if old else GOOD
    warnings = read_config(write(tmp_path, text), (tmp_path, SHIPPED_PROFILES)).warnings
    assert all(warning.text.zh for warning in warnings)
    [warning] = [warning for warning in warnings if said in warning.text.en]
    assert text.split("\n")[warning.line - 1][warning.column - 1 :].startswith(at)


@pytest.mark.parametrize(("locale", "header"), [("C", "Look again at:"), ("zh_CN.UTF-8", "请再看一下：")])
def test_check_prints_the_warnings_after_good_and_is_content(tmp_path, capsys, monkeypatch, locale, header):
    monkeypatch.setenv("LC_ALL", locale)
    path = write(tmp_path, GOOD)
    assert main(["check", "-c", str(path)]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[1] == header
    assert [line.split(":")[1:3] for line in lines[2:5]] == [["1", "14"], ["2", "17"], ["2", "53"]]
    assert "replace-me" not in "".join(lines)


def test_a_trial_against_this_pc_is_not_told_to_edit_the_sample(tmp_path):
    config = read_config(write(tmp_path, GOOD.replace("10.0.0.1", "127.0.0.1:18080")))
    assert config.warnings == ()


def test_no_secret_is_repeated_by_what_cannot_be_parsed(tmp_path):
    for slip in ('"s3cret" x', "*s3cret", "&s3cret", '"s3cret', "s3cret: a", '"s3cret", auth: "s3cret2"'):
        told = faults_of(tmp_path, GOOD.replace('"replace-me"', slip))
        assert "s3cret" not in "".join(told), told


ODD_VALUES = [None, "x", -1.5, True, [], {"a": 1}, 10**12, "a" * 300, float("nan"), "\0"]


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from _paths(value, (*path, key))


@pytest.mark.parametrize(
    "value", [None, "x", -1.5, True, [], {"a": 1}, 10**12, "a" * 300, float("nan"), "\0"], ids=repr
)
def test_whatever_stands_in_place_of_a_value_is_told_in_chinese_and_in_short(tmp_path, value):
    yaml = YAML(typ="rt")
    for path in _paths(yaml.load(GOOD)):
        document = yaml.load(GOOD)
        node = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        try:
            _, faults = read_shape(Document("site.yaml", document))
        except ConfigFault as faulty:
            faults = list(faulty.faults)
        for fault in faults:
            assert english_sentences(fault.text.zh) == [], fault
            assert "a" * 100 not in fault.text.zh, fault


def test_what_is_read_as_it_was_meant_is_checked_in_the_same_run(tmp_path):
    text = GOOD.replace("cabinets:", "cabinet:").replace("unit: 3}", "unit: 300}").replace("do0, pulse", "do99, pulse")
    told = faults_of(tmp_path, text)
    assert [fault.split(":")[0] for fault in told] == ["8", "11", "20"], told
    text = (
        GOOD.replace("cabinets:", "cabinet:").replace("profile: chint-dtsu666", "profile: 3").replace("bus: io\n", "\n")
    )
    told = faults_of(tmp_path, text)
    assert [fault.split(":")[0] for fault in told] == ["8", "11", "13"], told


def test_all_faults_of_a_file_are_told_in_one_run(tmp_path):
    text = GOOD.replace("type: serial,", "type: serial, speed: 1,").replace("chint-dtsu666", "chint").replace(
        "unlock: front-lock", "unlock: back-lock"
    ).replace("id: G0", "id: -")  # fmt: skip
    told = faults_of(tmp_path, text)
    assert len(told) == 4, told
    assert [line.split(":")[0] for line in told] == ["1", "4", "11", "22"]


MONITOR = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1:8000/monitor.do", auth: "replace-me"}
storage: {path: /tmp/state}
buses:
  smu: {type: snmp, host: 127.0.0.1, version: 2c, community: public}
cabinets:
  - id: 1
    devices:
      power: {profile: huawei-site-monitor, bus: smu, skip: [ups]}
      aircon: {profile: huawei-dc-aircon, bus: smu}
  - id: 2
    devices:
      aircon: {profile: huawei-dc-aircon, bus: smu, parameters: {address: 22}}
      battery: {profile: huawei-lithium-battery, bus: smu}
"""


def test_several_devices_may_speak_through_one_snmp_agent_but_none_of_them_twice(tmp_path):
    assert len(read_config(write(tmp_path, MONITOR)).site.devices) == 4
    [said] = faults_of(tmp_path, MONITOR.replace(", parameters: {address: 22}", ""))
    assert said == "13:48: duplicate address: smu is 1.aircon already"


def test_a_fault_in_a_bus_is_not_told_again_by_everything_on_it(tmp_path):
    told = faults_of(tmp_path, GOOD.replace("baudrate: 9600", "baudrate: 1"))
    assert len(told) == 1, told


def test_a_secret_is_never_shown(tmp_path):
    told = faults_of(tmp_path, GOOD.replace('auth: "replace-me"', f'auth: "{"s3cret" * 30}"'))
    assert "s3cret" not in "".join(told)


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "auth").write_text("abc\n")
    config = read_config(write(tmp_path, GOOD.replace('auth: "replace-me"', f"auth_file: {tmp_path}/auth")))
    assert config.cloud.auth == "abc"


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\tgantry: {}", "null"])
def test_a_file_that_is_not_a_site_file_is_told_as_one_fault(tmp_path, text):
    assert faults_of(tmp_path, text)


def test_a_file_that_is_not_there_is_a_fault_not_a_traceback(tmp_path):
    with pytest.raises(ConfigFault, match="No such file"):
        read_config(tmp_path / "nothing.yaml")


def test_the_json_schema_knows_every_section():
    assert set(json_schema()["properties"]) == {
        "gantry", "lab", "cloud", "control", "storage", "polling", "events", "traps", "buses", "computers", "cabinets",
        "relays", "power_modes", "interlocks", "access", "media",
    }  # fmt: skip


SWELLING = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))  # fmt: skip  # noqa: E501, B905


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 20_000,
        "a: " + "{b: " * 3_000,
        SWELLING,
        "gantry: &a\n  <<: *a\n",
        GOOD.replace("unit: 3", "unit: " + "9" * 5_000),
        GOOD.replace("unit: 3", "unit: !!int abc"),
        GOOD.replace("monitor: true", "monitor: !!bool maybe"),
        GOOD.replace("/dev/ttyS1", "2020-99-99"),
        GOOD.replace('auth: "replace-me"', 'auth_file: "a\\0b"'),
        GOOD.replace('auth: "replace-me"', "auth_file: /dev/zero"),
        GOOD.replace('auth: "replace-me"', 'auth: "12\\n34"'),
        GOOD.replace("http://10.0.0.1", "http://me:secret@10.0.0.1"),
        GOOD + 'storage: {path: "/a\\0b"}\n',
        "x" * 2_000_000,
    ],
    ids=range(14),
)
def test_what_is_meant_to_break_the_reader_is_a_fault(tmp_path, text):
    assert faults_of(tmp_path, text)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "auth")
    told = faults_of(tmp_path, GOOD.replace('auth: "replace-me"', f"auth_file: {tmp_path}/auth"))
    assert "no regular file" in told[0]
