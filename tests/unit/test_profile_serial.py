"""Profiles of devices that are asked by commands: how they are read, told off, planned and decoded."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.field import codec, plan, plan_writes, profile
from gantry_agent.field.request import AskText, AskYdt
from gantry_agent.model import BadReply, Quality
from tests import profile_rig as rig

HEAD = """\
profile: it
title: {zh: 它, en: it}
maturity: draft
sources: [{document: manual, page: "7"}]
"""
UPS = """\
protocol: megatec
parameters: {cells: {default: 12}}
members: {ups: 1, elec: 1}
points:
  ups.temperature: {read: Q1 field 7, none: "--.-", unit: °C}
  elec.voltage: {read: Q1 chars 1-5, unit: V}
  battery: {read: Q1 field 6, scale: cells}
  failed: {read: Q1 field 8 char 4, lane: fast}
  rated: {read: F field 3}
  model: {read: I, as: text}
  test: {read: Q1 char 43, write: {1: T, 0: CT}}
derived:
  ups.outputVoltage: {value: battery, unit: V}
  ups.status: {case: [{when: {failed: 1}, then: 0}], else: 1}
"""
PSU = """\
protocol: ydt1363
parameters: {version: {default: 0x20}, group: {default: 0xFF}, flagged: {default: 1}}
members: {rectifier: 1}
answers:
  values: {ask: 41/41 group, layout: [{flag: u8, if: flagged}, {volts: f32}, {module: [{amps: f32}, {own: [f32]}]}]}
  states: {ask: 41/43 group, layout: [{module: [{state: u8}]}]}
points:
  volts: {read: values volts}
  second: {read: "values module[2].amps"}
tables:
  modules:
    member: rectifier
    rows: values module
    points:
      rectifier.outputCurrent: {read: values module.amps, unit: A}
      on: {read: states module.state, map: {0: 1, 1: 0}, write: {1: 41/45 20 row, 0: 41/45 2F row}}
derived:
  rectifier.outputVoltage: {value: volts, unit: V}
  rectifier.status: {value: on}
"""
STATUS = "(208.4 140.0 208.4 034 59.9 2.05 35.0 00110100"


def check(tmp_path: Path, text: str) -> profile.Profile:
    path = tmp_path / "it.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return profile.check(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        check(tmp_path, text)
    assert all(fault.text.zh and fault.text.en for fault in caught.value.faults)
    return [f"{fault.line}:{fault.column}: {fault.text.en}" for fault in caught.value.faults]


def test_all_points_of_one_command_are_one_question_as_fast_as_the_most_urgent(tmp_path: Path) -> None:
    it = check(tmp_path, UPS)
    blocks = plan.blocks(it, rig.device(it, unit=5))
    assert [(block.request, block.lane) for block in blocks] == [(AskText(5, "Q1"), "fast")]
    assert set(blocks[0].keys) == {"ups.temperature", "elec.voltage", "battery", "failed"}


def test_fields_and_characters_of_an_answer_are_read(tmp_path: Path) -> None:
    it = check(tmp_path, UPS)
    device = rig.device(it)
    (block,) = plan.blocks(it, device)
    values = codec.decode(block, STATUS, it, device)
    assert values["ups.temperature"] == 35.0
    assert values["elec.voltage"] == 208.4
    assert values["battery"] == pytest.approx(24.6)
    assert values["failed"] == 1
    assert codec.decode(block, STATUS.replace("35.0", "--.-"), it, device)["ups.temperature"] is Quality.NO_DATA


@pytest.mark.parametrize(
    "answer",
    [
        STATUS.replace("35.0", "3#.0"),
        STATUS.replace("2.05 ", ""),
        STATUS[:-6],
        STATUS.replace("208.4", "20", 1),
        "(",
        "",
    ],
)
def test_an_answer_of_which_one_part_is_broken_is_not_used_at_all(tmp_path: Path, answer: str) -> None:
    it = check(tmp_path, UPS)
    device = rig.device(it)
    (block,) = plan.blocks(it, device)
    with pytest.raises(BadReply):
        codec.decode(block, answer, it, device)


def test_a_point_is_written_by_the_command_for_its_value_and_read_back(tmp_path: Path) -> None:
    it = check(tmp_path, UPS)
    device = rig.device(it)
    write = plan_writes.write(it, device, "test", 1)
    assert write.requests == (AskText(1, "T", answered=False),)
    assert write.confirm is not None
    assert codec.decode(write.confirm.block, STATUS, it, device) == {"test": 1}
    with pytest.raises(plan_writes.UnknownWrite):
        plan_writes.write(it, device, "test", 2)


def test_rows_are_counted_in_the_answer_and_values_found_by_their_path(tmp_path: Path) -> None:
    it = check(tmp_path, PSU)
    device = rig.device(it, roles={"rectifier": [1, 2]})
    (table,) = plan.tables(it, device)
    values = bytes.fromhex("00 00005642 02 00004441 00 00003c41 01 00002442")
    assert table.requests == (AskYdt(1, 0x20, 0x41, 0x41, b"\xff"),)
    rows = {table.name: plan.locate(table, [values])}
    assert rows == {"modules": ("1", "2")}
    blocks = plan.blocks(it, device, rows)
    assert {block.request.cid2 for block in blocks if isinstance(block.request, AskYdt)} == {0x41, 0x43}
    read = next(block for block in blocks if isinstance(block.request, AskYdt) and block.request.cid2 == 0x41)
    assert codec.decode(read, values, it, device) == {
        "volts": 53.5,
        "rectifier.outputCurrent": 12.25,
        "rectifier[2].outputCurrent": 11.75,
    }
    one = bytes.fromhex("00 00005642 01 00004441 00")
    assert codec.decode(read, one, it, device)["rectifier[2].outputCurrent"] is Quality.NOT_SUPPORT
    with pytest.raises(BadReply):
        codec.decode(read, one[:-1], it, device)
    assert plan.locate(table, [()]) == ()  # whoever does not know the command has no rows


def test_a_row_is_written_by_its_number(tmp_path: Path) -> None:
    it = check(tmp_path, PSU)
    write = plan_writes.write(it, rig.device(it, unit=9, roles={"rectifier": [1, 2]}), "rectifier[2].on", 0)
    assert write.requests == (AskYdt(9, 0x20, 0x41, 0x45, b"\x2f\x02"),)
    assert write.confirm is not None
    assert (write.confirm.point, write.confirm.expected) == ("rectifier[2].on", 0)


def test_a_question_that_is_refused_is_not_split(tmp_path: Path) -> None:
    it = check(tmp_path, UPS)
    (block,) = plan.blocks(it, rig.device(it))
    assert plan.split(block) == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Q1 field 7", "Q1 fields 7", "write 'COMMAND field N'"),
        ("Q1 chars 1-5", "holding 5", "write 'COMMAND field N'"),
        ("write: {1: T, 0: CT}", "write: {on: T}", "it must be {value: command}"),
        ("write: {1: T, 0: CT}", "write: T", "it must be {value: command}"),
        ("read: I, as: text", "read: I, as: u16", "cannot be 'u16'"),
    ],
)
def test_what_is_wrong_in_a_megatec_profile_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in UPS
    found = faults(tmp_path, UPS.replace(old, new))
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("41/41 group", "41-41 group", "write CID1/CID2 and the bytes"),
        ("41/41 group", "41/41 groop", "did you mean group?"),
        ("41/41 group", "41/41 row", "two hex digits"),
        ("{volts: f32}", "{volts: f33}", "did you mean f32?"),
        ("{volts: f32}", "{volts: f32, amps: f32}", "exactly one name"),
        ("if: flagged", "if: flaged", "did you mean flagged?"),
        ("layout: [{module: [{state: u8}]}]", "layout: []", "cannot be empty"),
        ("version: {default: 0x20}, ", "", "without a parameter version"),
        ("read: values volts", "read: valus volts", "did you mean values?"),
        ("read: values volts", "read: values volt", "did you mean volts?"),
        ("read: values volts", 'read: "values volts[1]"', "one value takes none"),
        ("read: values volts", "read: values module.own", "needs a number"),
        ("rows: values module", "rows: values module[2]", "groups that hold groups take none"),
        ("read: values volts", "read: values module", "cannot find 'module' in values"),
        ("rows: values module", "rows: values module.amps", "did you mean module?"),
        ("41/45 20 row", "41/45 20 raw", "did you mean row?"),
    ],
)
def test_what_is_wrong_in_a_ydt1363_profile_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in PSU
    found = faults(tmp_path, PSU.replace(old, new))
    assert any(said in one for one in found), found


SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "roadside-7"}
buses:
  line: {type: serial, port: /dev/ttyS1, baudrate: 9600}
  io: {type: modbus-tcp, host: 10.0.0.2}
cabinets:
  - id: 1
    devices:
      psu: {profile: ydt1363-psu, bus: line, unit: 1, ids: {ups: [1]}}
      ups: {profile: megatec-q1, bus: line, unit: 2, ids: {ups: [2]}}
      probe: {profile: xy-md02, bus: line, unit: 3}
"""


def site_faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        read_config(path)
    except ConfigFault as fault:
        return [one.render("en").split("site.yaml:")[1] for one in fault.faults]
    return []


def test_devices_of_all_three_framings_may_share_a_line(tmp_path: Path) -> None:
    assert site_faults(tmp_path, SITE) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("megatec-q1, bus: line", "megatec-q1, bus: io", "speaks megatec and cannot be on the modbus-tcp bus io"),
        ("xy-md02, bus: line, unit: 3", "xy-md02, bus: line, unit: 1", "line unit 1 is 1.psu already"),
        ("probe: {profile: xy-md02,", "probe: {profile: megatec-q1, ids: {ups: [3]},", "second megatec device on line"),
    ],
)
def test_what_cannot_share_a_line_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    found = site_faults(tmp_path, SITE.replace(old, new))
    assert any(said in one for one in found), found


PSU_LINE = "psu: {profile: ydt1363-psu, bus: line, unit: 1, ids: {ups: [1]}}"
METERS = SITE.replace(
    PSU_LINE, "one: {profile: dlt645-meter, bus: line, unit: 1, parameters: {address: FIRST}}"
).replace("probe: {profile: xy-md02,", "two: {profile: dlt645-meter, parameters: {address: SECOND},")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ('"129078563412"', "34563412", ""),  # without quotes the first zeros are lost, and given back
        ('"12907856341X"', '"000034563412"', "address cannot be 12907856341X: a meter's number has 12 digits"),
        ("1234567890123", '"000034563412"', "address cannot be 1234567890123"),
        ("AAAAAAAAAAAA", '"000034563412"', "address is missing: meter 1.two is on line too"),
        ("34563412", '"000034563412"', "address 000034563412 is 1.one already"),
    ],
)
def test_the_meters_of_a_line_have_numbers_of_their_own(tmp_path: Path, first: str, second: str, said: str) -> None:
    found = site_faults(tmp_path, METERS.replace("FIRST", first).replace("SECOND", second))
    assert any(said in one for one in found) if said else found == [], found


METER = """\
protocol: dlt645
members: {elec: 1}
parameters: {address: {default: AAAAAAAAAAAA}}
points:
  elec.voltage: {read: item 02010100, scale: 0.1, unit: V}
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("item 02010100", "item 2010100", "write 'item' and the eight digits of the item, like item 02010100"),
        ("item 02010100", "holding 1", "write 'item' and the eight digits"),
        ("parameters: {address: {default: AAAAAAAAAAAA}}", "parameters: {}", "without a parameter address"),
        ("item 02010100", "item 02010100, as: u16", "cannot be 'u16'"),
    ],
)
def test_what_is_wrong_in_a_dlt645_profile_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert check(tmp_path, METER).protocol == "dlt645"
    found = faults(tmp_path, METER.replace(old, new))
    assert any(said in one for one in found), found
