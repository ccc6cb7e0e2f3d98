"""Orders of a profile: what is written for them, what is looked at before, what shows that they were done."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import plan, plan_writes, profile
from gantry_agent.field.codec import RowsMoved
from gantry_agent.field.plan_writes import AsRead, IfRow, InBlock, UnknownWrite
from gantry_agent.field.product import Profile
from gantry_agent.field.request import AskText, GetOids, Mark, ReadRegisters, SetOid, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, Quality
from tests import profile_rig as rig

HEAD = """\
profile: it
title: {zh: 它, en: it}
maturity: draft
sources: [{document: manual, page: "7"}]
"""
MODBUS = """\
protocol: modbus
members: {airConditioners: 2, rectifier: 2}
parameters: {top: {default: 40}, code: {default: 3, choices: [3, 7]}, name: {default: 1}}
points:
  switch: {read: holding 1}
  "cool": {read: holding 0x0700, as: s16}
  tenths: {read: holding 9, as: s16, scale: 0.1}
  mode: {read: holding 20}
  out: {read: coil 4, write: coil 4}
writes:
"""
SNMP = """\
protocol: snmp
members: {rectifier: 3, ups: 1}
prefixes: {B: 1.3.6.1.4.1.9}
points:
  state: {oid: B.3.0}
tables:
  modules:
    member: rectifier
    index: B.1.2
    order: value
    points:
      module_state: {column: B.1.99}
writes:
"""
ROWS = plan.Located({"modules": ("77", "76")}, {("modules", "76"): (Mark("1.3.6.1.4.1.9.1.2.76", 2002),)})


def check(folder: Path, text: str) -> Profile:
    path = folder / "it.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return profile.check(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        check(folder, text)
    return [fault.text.en for fault in caught.value.faults]


def order(folder: Path, text: str, target: str, value: Any, **roles: Any) -> plan_writes.Write:
    it = check(folder, text)
    return plan_writes.write(it, rig.device(it, roles=roles or None), target, value, ROWS)


COOLING = "airConditioners[2].autoRefrigerationTemp"


# --- measured values


def test_a_measured_value_is_scaled_into_its_register_and_shown_within_half_a_step(tmp_path: Path) -> None:
    text = (
        MODBUS + f'  "{COOLING}": {{write: holding 8, as: s16, scale: 0.1, offset: -50, confirm: {{point: tenths}}}}\n'
    )
    write = order(tmp_path, text, COOLING, Decimal("-5.3"))
    assert write.requests == (WriteRegisters(1, 6, 8, (447,)),)  # (-5.3 + 50) / 0.1
    assert write.confirm is not None
    assert write.confirm.shown_by(-5.3)
    assert write.confirm.shown_by(-5.26)
    assert not write.confirm.shown_by(-5.2)
    assert not write.confirm.shown_by(Quality.NO_DATA)
    assert not write.confirm.shown_by(None)


def test_a_float_register_takes_any_value_in_the_byte_order_of_the_device(tmp_path: Path) -> None:
    text = MODBUS + f'  "{COOLING}": {{write: holding 8, function: 16, as: f32, order: swap-words, momentary: true}}\n'
    assert order(tmp_path, text, COOLING, Decimal("27.5")).requests == (WriteRegisters(1, 16, 8, (0, 0x41DC)),)


def test_a_value_between_two_steps_of_the_device_is_refused_not_rounded(tmp_path: Path) -> None:
    text = MODBUS + f'  "{COOLING}": {{write: holding 8, scale: 0.5, momentary: true}}\n'
    assert order(tmp_path, text, COOLING, Decimal("27.5")).requests == (WriteRegisters(1, 6, 8, (55,)),)
    with pytest.raises(UnknownWrite, match=r"takes steps of 0\.5") as refused:
        order(tmp_path, text, COOLING, Decimal("27.4"))
    assert refused.value.why == "设备步长0.5"


@pytest.mark.parametrize(
    ("bounds", "value", "why"),
    [
        ("low: 18, high: top", 17, "超出18~40"),
        ("low: 18, high: top", 41, "超出18~40"),
        ("low: 18", 17, "超出18~"),
        ("high: top", Decimal("40.5"), "超出~40"),
        ("low: 18, high: top", 40, None),
        ("low: -18, high: 0", 1, "超出-18~0"),
    ],
)
def test_the_range_of_the_device_is_kept(tmp_path: Path, bounds: str, value: Any, why: str | None) -> None:
    text = MODBUS + f'  "{COOLING}": {{write: holding 8, as: s16, scale: 0.5, {bounds}, momentary: true}}\n'
    if why is None:
        assert order(tmp_path, text, COOLING, value).requests
        return
    with pytest.raises(UnknownWrite) as refused:
        order(tmp_path, text, COOLING, value)
    assert refused.value.why == why


# --- blocks that are taken only whole

BLOCK = MODBUS + (
    "  airConditioners[1].autoRefrigerationTemp:\n"
    "    {block: holding 0x0700 x4, write: holding 0x0700, as: s16, confirm: {point: cool}}\n"
    "  airConditioners[1].autoHeatingTemp:\n"
    "    {block: holding 0x0700 x4, write: holding 0x0702, as: s16, confirm: {point: cool, tolerance: 2}}\n"
)


def test_a_block_is_read_changed_and_written_back_whole(tmp_path: Path) -> None:
    write = order(tmp_path, BLOCK, "airConditioners.autoHeatingTemp", -5)
    (stage,) = write.requests
    assert stage == InBlock(ReadRegisters(1, 3, 0x0700, 4), ((2, 0xFFFB),))
    assert plan_writes.finished(stage, (35, 5, 5, 6)) == WriteRegisters(1, 16, 0x0700, (35, 5, 0xFFFB, 6))
    for reply in ((35, 5, 5), (), b"x", {}):
        with pytest.raises(BadReply):
            plan_writes.finished(stage, reply)
    assert write.confirm is not None
    assert write.confirm.tolerance == 2


def test_two_values_of_one_block_go_in_one_write(tmp_path: Path) -> None:
    it = check(tmp_path, BLOCK)
    device = rig.device(it)
    names = ("airConditioners.autoRefrigerationTemp", "airConditioners.autoHeatingTemp")
    writes = [plan_writes.write(it, device, name, value) for name, value in zip(names, (30, 20), strict=True)]
    both = plan_writes.together(writes)
    (stage,) = both.requests
    assert isinstance(stage, InBlock)
    assert plan_writes.finished(stage, (35, 5, 5, 6)) == WriteRegisters(1, 16, 0x0700, (30, 5, 20, 6))
    assert [proof.expected for proof in both.proofs] == [30, 20]


# --- steps


def test_steps_are_written_in_their_order_each_for_its_value(tmp_path: Path) -> None:
    text = MODBUS + (
        '  "airConditioners[1].airOperate":\n'
        "    steps:\n"
        "      - {write: holding 30, value: 0x55AA}\n"
        "      - {write: coil 31, value: 1, for: 1}\n"
        "      - {write: holding 32, function: 16, map: {1: code, 2: 9}}\n"
        "    confirm: {point: switch, expect: {1: [3, 7], 2: 255}, within_s: 9}\n"
    )
    run = order(tmp_path, text, "airConditioners.airOperate", 1)
    assert run.requests == (
        WriteRegisters(1, 6, 30, (0x55AA,)),
        WriteBit(1, 31, on=True),
        WriteRegisters(1, 16, 32, (3,)),
    )
    assert run.confirm is not None
    assert [value for value in (1, 3, 7, 255) if run.confirm.shown_by(value)] == [3, 7]
    assert run.confirm.within_s == 9
    stand_by = order(tmp_path, text, "airConditioners.airOperate", 2)
    assert stand_by.requests == (WriteRegisters(1, 6, 30, (0x55AA,)), WriteRegisters(1, 16, 32, (9,)))
    assert stand_by.confirm is not None
    assert stand_by.confirm.shown_by(255)


def test_start_and_stop_may_be_different_objects_that_take_an_empty_text(tmp_path: Path) -> None:
    text = SNMP + (
        "  ups.testStartStop:\n"
        "    steps:\n"
        '      - {oid: B.100.0, kind: octets, value: "", for: 1}\n'
        '      - {oid: B.110.0, kind: octets, value: "", for: 0}\n'
        "    confirm: {point: state, expect: {1: 97, 0: 96}}\n"
    )
    stop = order(tmp_path, text, "ups.testStartStop", 0)
    assert stop.requests == (SetOid("1.3.6.1.4.1.9.110.0", "octets", b""),)
    assert stop.confirm is not None
    assert stop.confirm.expected == 96


def test_a_lock_is_written_back_as_it_is_read_before_an_oid_is_set(tmp_path: Path) -> None:
    text = SNMP + (
        "  ups.testStartStop:\n"
        "    steps:\n"
        "      - {oid: B.2.0, value: as read}\n"
        "      - {oid: B.1.0, kind: oid, map: {1: B.7.4, 0: B.7.2}}\n"
        "    confirm: {point: state, expect: {1: 5, 0: [1, 6]}}\n"
    )
    lock, start = order(tmp_path, text, "ups.testStartStop", 1).requests
    assert isinstance(lock, AsRead)
    assert lock.first == GetOids(("1.3.6.1.4.1.9.2.0",))
    assert plan_writes.finished(lock, {"1.3.6.1.4.1.9.2.0": 41}) == SetOid("1.3.6.1.4.1.9.2.0", "integer", 41)
    with pytest.raises(BadReply):
        plan_writes.finished(lock, {"1.3.6.1.4.1.9.2.0": None})
    assert start == SetOid("1.3.6.1.4.1.9.1.0", "oid", "1.3.6.1.4.1.9.7.4")


def test_without_an_expectation_a_fixed_value_is_shown_by_the_order_itself(tmp_path: Path) -> None:
    text = MODBUS + (
        '  "rectifier[1].onOff":\n'
        "    steps: [{write: holding 1, value: 9, for: 1}, {write: holding 2, value: 9, for: 0}]\n"
        "    confirm: {point: switch}\n"
    )
    for value in (1, 0):
        confirm = order(tmp_path, text, "rectifier.onOff", value).confirm
        assert confirm is not None
        assert confirm.expected == value


# --- rows, groups, points

EACH = (
    "  rectifier.onOff: {column: B.1.12, kind: unsigned, map: {1: 1, 0: 2},"
    " confirm: {point: module_state, expect: {1: 1, 0: 5}}}\n"
)
GROUP = "  rectifier.onOff: {oid: B.8.0, map: {1: 1, 0: 2}, confirm: {point: module_state, expect: {1: 1, 0: 5}}}\n"


def test_a_row_is_written_only_while_it_is_the_row_that_was_found(tmp_path: Path) -> None:
    write = order(tmp_path, SNMP + EACH, "rectifier[2].onOff", 0, rectifier=[1, 2])
    (stage,) = write.requests
    assert isinstance(stage, IfRow)
    mark = "1.3.6.1.4.1.9.1.2.76"
    assert stage.first == GetOids((mark,))
    assert plan_writes.finished(stage, {mark: 2002}) == SetOid("1.3.6.1.4.1.9.1.12.76", "unsigned", 2)
    with pytest.raises(RowsMoved):
        plan_writes.finished(stage, {mark: 2001})
    assert write.confirm is not None
    assert write.confirm.block.keys == ("rectifier[2].module_state",)
    assert write.confirm.block.request == GetOids(("1.3.6.1.4.1.9.1.99.76", mark))


def test_a_row_that_nobody_found_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownWrite) as refused:
        order(tmp_path, SNMP + EACH, "rectifier[3].onOff", 0, rectifier=[1, 2, 3])
    assert refused.value.why == "设备上没有该单元"


def test_a_group_object_is_shown_by_every_row(tmp_path: Path) -> None:
    write = order(tmp_path, SNMP + GROUP, "rectifier[5].onOff", 0, rectifier=[4, 5])
    assert write.requests == (SetOid("1.3.6.1.4.1.9.8.0", "integer", 2),)
    (proof,) = write.proofs
    assert proof.block.keys == ("rectifier.module_state", "rectifier[2].module_state")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SNMP + GROUP, [("rectifier[4].onOff", (4, 5))]),
        (SNMP + EACH, [("rectifier[4].onOff", (4,)), ("rectifier[5].onOff", (5,))]),
        (MODBUS + '  "rectifier[2].onOff": {write: coil 9, momentary: true}\n', [("rectifier[5].onOff", (5,))]),
        (MODBUS + "  rectifier.onOff: {write: coil 9, momentary: true}\n", [("rectifier[4].onOff", (4, 5))]),
        (MODBUS + "  airConditioners.airOperate: {write: holding 9, momentary: true}\n", []),
    ],
)
def test_what_has_to_be_ordered_for_every_instance(tmp_path: Path, text: str, found: list[Any]) -> None:
    it = check(tmp_path, text)
    targets = plan_writes.targets(it, rig.device(it, roles={"rectifier": [4, 5]}), "rectifier", "onOff")
    assert [(one.name, one.numbers) for one in targets] == found


def test_an_order_may_be_a_point_that_knows_how_it_is_written(tmp_path: Path) -> None:
    text = """\
protocol: megatec
members: {ups: 1}
points:
  battery_test: {read: Q1 field 8 char 6, write: {1: T, 0: CT}}
writes:
  ups.testStartStop: {point: battery_test}
"""
    write = order(tmp_path, text, "ups.testStartStop", 0)
    assert write.requests == (AskText(1, "CT", answered=False),)
    assert write.confirm is not None
    assert (write.confirm.point, write.confirm.expected, write.confirm.within_s) == ("battery_test", 0, 3)


def test_nothing_is_written_without_the_permission_that_the_profile_wants(tmp_path: Path) -> None:
    text = MODBUS + "  rectifier.onOff: {write: coil 9, require: {point: mode, is: [2, 4]}, momentary: true}\n"
    (permit,) = order(tmp_path, text, "rectifier.onOff", 1).permits
    assert permit.block.request == ReadRegisters(1, 3, 20, 1)
    assert permit.values == (2, 4)
    assert order(tmp_path, text, "rectifier.onOff", 0).permits == (permit,)


def test_a_permission_may_be_for_one_value_of_the_order(tmp_path: Path) -> None:
    text = MODBUS + "  rectifier.onOff: {write: coil 9, require: {point: mode, is: 2, for: 1}, momentary: true}\n"
    (permit,) = order(tmp_path, text, "rectifier.onOff", 1).permits
    assert permit.values == (2,)
    assert order(tmp_path, text, "rectifier.onOff", 0).permits == ()


def test_a_value_for_which_there_is_no_command_is_declined(tmp_path: Path) -> None:
    text = """\
protocol: megatec
members: {ups: 1}
points:
  battery_test: {read: QS field 8 char 6, write: {1: T}}
writes:
  ups.testStartStop: {point: battery_test}
"""
    assert order(tmp_path, text, "ups.testStartStop", 1).requests == (AskText(1, "T", answered=False),)
    with pytest.raises(plan_writes.UnknownWrite, match="battery_test does not take 0"):
        order(tmp_path, text, "ups.testStartStop", 0)


# --- faults of the file


ON_OFF = "rectifier.onOff"
HEATING = "airConditioners.autoHeatingTemp"


@pytest.mark.parametrize(
    ("head", "name", "given", "what"),
    [
        (MODBUS, "rectifier.onOf", "write: coil 9", "the interface has no such order; did you mean rectifier.onOff?"),
        (MODBUS, ON_OFF, "write: coil 9", "confirm: is missing: some point must show that the order was done"),
        (MODBUS, ON_OFF, "write: coil 9, map: {1: 1, 2: 0}, momentary: true", "cannot be for [2]: onOff takes 0, 1"),
        (MODBUS, ON_OFF, "write: coil 9, map: {1: 1}, momentary: true", "must say what is written for onOff=0"),
        (MODBUS, ON_OFF, "write: coil 9, value: 1, momentary: true", "must say what is written for onOff=0"),
        (MODBUS, ON_OFF, "write: coil 9, low: 1, momentary: true", "cannot be given: onOff has no range"),
        (MODBUS, ON_OFF, "write: holding 9, map: {1: 70000, 0: 1}, momentary: true", "it must fit u16"),
        (MODBUS, ON_OFF, "write: holding 9, map: {1: nam, 0: 1}, momentary: true", "cannot be 'nam'"),
        (MODBUS, ON_OFF, "write: holding 9, map: {1: name, 0: 1}, momentary: true", "a parameter with such choices"),
        (MODBUS, ON_OFF, "write: coil 9, confirm: {point: swich}", "did you mean switch?"),
        (MODBUS, ON_OFF, "write: coil 9, require: {point: mod, is: 1}, momentary: true", "did you mean mode?"),
        (MODBUS, ON_OFF, "write: coil 9, require: {point: mode}, momentary: true", "the values that permit a write"),
        (MODBUS, ON_OFF, "write: coil 9, require: {point: mode, is: 1, for: 2}, momentary: true", "valid: 0, 1"),
        (MODBUS, ON_OFF, "point: switch", "there is no writable point switch"),
        (MODBUS, ON_OFF, "steps: [{write: coil 9, mop: 3}], momentary: true", "there is no such key"),
        (MODBUS, HEATING, "write: holding 9, map: {1: 1}, momentary: true", "is a measured value"),
        (MODBUS, HEATING, "write: holding 9, low: 9, high: 8, momentary: true", "it must be above low, 9"),
        (MODBUS, HEATING, "write: holding 9, high: tip, momentary: true", "the name of a parameter"),
        (MODBUS, HEATING, "write: holding 9, block: holding 4 x4, momentary: true", "does not lie in it"),
        (MODBUS, HEATING, "write: holding 9, block: coil 4, momentary: true", "like holding 0x0700 x4"),
        (SNMP, "ups.testStartStop", "column: B.4, momentary: true", "no table has the member ups"),
        (SNMP, "ups.testStartStop", "oid: B.4, kind: oid, map: {1: B.7, 0: a}, momentary: true", "it must fit oid"),
        (SNMP, "ups.testStartStop", "oid: B.4, value: as read, momentary: true", "must say what is written"),
        (SNMP, ON_OFF, "oid: B.4, confirm: {point: state, tolerance: -1}", "a number of at least 0"),
    ],
)
def test_a_fault_of_an_order_is_told(tmp_path: Path, head: str, name: str, given: str, what: str) -> None:
    found = faults(tmp_path, f"{head}  {name}: {{{given}}}\n")
    assert any(what in one for one in found), found
