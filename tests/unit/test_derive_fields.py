"""From readings to fields: calculations, alarm texts, status, mapping, and what happens when a value is missing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.faults import ConfigFault
from gantry_agent.field import derive, profile
from gantry_agent.field.arithmetic import rate
from gantry_agent.field.product import Profile
from gantry_agent.model import Quality, Role
from tests import profile_rig as rig

HEAD = """
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: a, page: b}]
"""


def product(tmp_path: Path, text: str, protocol: str = "modbus") -> Profile:
    path = tmp_path / "it.yaml"
    path.write_text(HEAD.replace("modbus", protocol) + text, encoding="utf-8")
    return profile.check(path)


def said(it: Profile, now: dict[str, Any], before: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    rows = given.pop("rows", {})
    device = rig.device(it, **given)
    samples = {key: derive.Sample(value, 10.0) for key, value in now.items()}
    earlier = {key: derive.Sample(value, 5.0) for key, value in (before or {}).items()}
    return rig.named(derive.Deriver(it, device, rows).fields(samples, earlier))


TWO = """
members: {elec: 1}
points:
  a: {read: holding 0}
  b: {read: holding 1}
"""


@pytest.mark.parametrize(
    ("expression", "a", "b", "value"),
    [
        ("{value: a, scale: 0.5, offset: 1}", 4, 0, 3.0),
        ("{positive: a}", -4, 0, 0),
        ("{negative: a}", -4, 0, 4),
        ("{negative: a}", 4, 0, 0),
        ("{sum: [a, b, 5]}", 1, 2, 8),
        ("{difference: [a, b]}", 7, 2, 5),
        ("{product: [a, b]}", 7, 2, 14),
        ("{ratio: [a, b]}", 1, 4, 25.0),
        ("{ratio: [a, b]}", 1, 0, "NoData"),
        ("{mean: [a, b]}", 1, 2, 1.5),
        ("{min: [a, b]}", 1, 2, 1),
        ("{max: [a, b]}", 1, 2, 2),
        ("{first: [a, b]}", Quality.NO_DATA, 2, 2),
        ("{first: [a, b]}", 1, Quality.GET_FAILED, 1),
        ("{first: [a, b]}", Quality.NOT_SUPPORT, Quality.NOT_SUPPORT, "NotSupport"),
        ("{mean: [a, b]}", Quality.NOT_SUPPORT, 2, 2.0),
        ("{sum: [a, b]}", Quality.NOT_SUPPORT, 2, "NotSupport"),
        ("{sum: [a, b]}", Quality.GET_FAILED, Quality.NO_DATA, "GetFailed"),
        ("{max: [a, b]}", Quality.NO_DATA, Quality.NOT_SUPPORT, "NoData"),
        ("{max: [a, b]}", Quality.GET_FAILED, 2, "GetFailed"),
        ("{value: a}", "text", 0, "text"),
        ("{sum: [a, b]}", "text", 0, "NoData"),
        ("{case: [{when: {a: 1}, then: 5}, {when: {a: [2, 3]}, then: b}], else: NotSupport}", 1, 9, 5),
        ("{case: [{when: {a: 1}, then: 5}, {when: {a: [2, 3]}, then: b}], else: NotSupport}", 3, 9, 9),
        ("{case: [{when: {a: 1}, then: 5}], else: NotSupport}", 4, 9, "NotSupport"),
        ("{case: [{when: {a: {above: 1, below: 3}, b: {not: 0}}, then: 1}], else: 0}", 2, 5, 1),
        ("{case: [{when: {a: {above: 1, below: 3}, b: {not: 0}}, then: 1}], else: 0}", 2, 0, 0),
        ("{case: [{when: [{a: 9}, {b: 9}], then: 1}], else: 0}", 1, 9, 1),
        ("{case: [{when: {a: {not: 0}}, then: 1}], else: 0}", Quality.NOT_SUPPORT, 0, 0),
    ],
)
def test_operations(tmp_path: Path, expression: str, a: Any, b: Any, value: Any) -> None:
    it = product(tmp_path, TWO + f"derived:\n  elec.power: {expression}\n")
    assert said(it, {"a": a, "b": b})["elec.power"] == value


@pytest.mark.parametrize(
    "expression", ["{sum: [a, b]}", "{first: [a, b]}", "{case: [{when: {a: 1}, then: 5}], else: 1}"]
)
def test_what_needs_a_reading_that_never_came_is_not_said(tmp_path: Path, expression: str) -> None:
    it = product(tmp_path, TWO + f"derived:\n  elec.power: {expression}\n")
    assert "elec.power" not in said(it, {"b": 1})


def test_a_battery_current_is_split_into_charge_and_discharge() -> None:
    it = rig.load("huawei-site-monitor")
    assert said(it, {"battery_current": 3.1})["ups.inputCurrent"] == 3.1
    assert said(it, {"battery_current": 3.1})["ups.outputCurrent"] == 0
    assert said(it, {"battery_current": -3.1})["ups.inputCurrent"] == 0
    assert said(it, {"battery_current": -3.1})["ups.outputCurrent"] == 3.1


@pytest.mark.parametrize(
    ("test", "charge", "current", "state"),
    [
        (3, 1, 0.0, 1),
        (3, 2, 0.5, 2),
        (3, 3, -9.0, 3),
        (1, 3, -9.0, 5),
        (2, 1, 0.0, 5),
        (3, 255, 2.0, 4),
        (3, 255, 0.0, "NoData"),
    ],
)
def test_the_running_state_of_a_huawei_battery(test: int, charge: int, current: float, state: Any) -> None:
    it = rig.load("huawei-site-monitor")
    now = {"battery_test": test, "charge_state": charge, "battery_current": current}
    assert said(it, now)["ups.runningState"] == state


@pytest.mark.parametrize(
    ("source", "charge", "test", "state"),
    [(3, 100, 6, 1), (3, 80, 6, 4), (5, 80, 6, 3), (3, 100, 5, 5), (4, 100, 1, 1), (1, 100, 6, "NoData")],
)
def test_the_running_state_by_rfc_1628(source: int, charge: int, test: int, state: Any) -> None:
    it = rig.load("ups-mib")
    now = {"source": source, "ups.powerRate": charge, "test_result": test}
    assert said(it, now)["ups.runningState"] == state


# --- counters


def test_a_rate_is_per_second_of_the_monotonic_clock(tmp_path: Path) -> None:
    it = product(tmp_path, TWO + "derived:\n  elec.power: {rate: a, bits: 32, scale: 8}\n")
    assert said(it, {"a": 1500}, {"a": 500})["elec.power"] == 8 * 1000 / 5
    assert said(it, {"a": 4}, {"a": 2**32 - 6})["elec.power"] == 8 * 10 / 5  # went round
    assert "elec.power" not in said(it, {"a": 4})
    assert said(it, {"a": Quality.NOT_SUPPORT})["elec.power"] == "NotSupport"


def test_a_wide_counter_that_falls_was_reset_and_says_nothing(tmp_path: Path) -> None:
    it = product(tmp_path, TWO + "derived:\n  elec.power: {rate: a}\n")
    assert "elec.power" not in said(it, {"a": 4}, {"a": 5})
    assert "elec.power" not in said(it, {"a": 4}, {"a": Quality.GET_FAILED})


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.floats(0.01, 1e6))
def test_a_rate_is_never_negative(first: int, second: int, seconds: float) -> None:
    get = rate("a", 32)
    counted = get({"a": derive.Sample(second, seconds)}, {"a": derive.Sample(first, 0.0)})
    assert isinstance(counted, float)
    assert counted >= 0
    assert get({"a": derive.Sample(second, 0.0)}, {"a": derive.Sample(first, 0.0)}) is None


# --- alarms


ALARMS = """
members: {rectifier: 2}
points:
  code: {read: holding 0}
  other: {read: holding 1}
warnings:
  - {member: rectifier, text: 整流模块故障, when: {code: 2}}
  - {member: rectifier, text: 整流模块保护, when: [{code: [2, 3]}, {other: {above: 5}}]}
  - {member: rectifier, number: 2, text: 输出电压过压, when: {code: 2}}
"""


def test_alarm_texts_are_joined_with_a_half_width_comma(tmp_path: Path) -> None:
    it = product(tmp_path, ALARMS)
    assert said(it, {"code": 2, "other": 0})["rectifier.warningMsg"] == "整流模块故障,整流模块保护"
    assert said(it, {"code": 2, "other": 0})["rectifier[2].warningMsg"] == "整流模块故障,整流模块保护,输出电压过压"
    assert said(it, {"code": 1, "other": 6})["rectifier.warningMsg"] == "整流模块保护"
    assert said(it, {"code": 1, "other": 0})["rectifier.warningMsg"] == ""


def test_alarms_wait_for_all_they_look_at_and_then_say_why_they_cannot(tmp_path: Path) -> None:
    it = product(tmp_path, ALARMS)
    assert "rectifier.warningMsg" not in said(it, {"code": 1})
    assert said(it, {"code": Quality.NOT_SUPPORT, "other": 6})["rectifier.warningMsg"] == "整流模块保护"
    missing = {"code": Quality.NOT_SUPPORT, "other": Quality.GET_FAILED}
    assert said(it, missing)["rectifier.warningMsg"] == "GetFailed"


# --- status and mapping


def test_a_role_is_well_while_the_device_answers() -> None:
    assert said(rig.load("xy-md02"), {}) == {"thermohygrometer.status": 1}


def test_a_mapped_contact_may_be_inverted_and_its_member_is_well() -> None:
    it = rig.load("moxa-iologik-e1212")
    mapping = {(Role(1, "doors"), "frontDoorClosed"): ("di0", True), (Role(1, "thunderSpd", 2), "status"): ("di1",)}
    assert said(it, {"di0": 0, "di1": 0}, mapping=mapping) == {
        "doors.frontDoorClosed": 1,
        "doors.status": 1,
        "thunderSpd[2].status": 0,
    }
    assert said(it, {"di0": Quality.GET_FAILED}, mapping=mapping)["doors.frontDoorClosed"] == "GetFailed"
    assert "doors.frontDoorClosed" not in said(it, {}, mapping=mapping)


def test_skipped_fields_are_not_said() -> None:
    it = rig.load("chint-ddsu666")
    now = {"elec.voltage": 220.0, "elec.power": 1.0}
    found = said(it, now, skip=["elec.power", "elec.warningMsg"])
    assert found == {"elec.voltage": 220.0, "elec.status": 1}
    assert said(it, now, skip=["elec"]) == {}


# --- tables


ROWS = {"modules": ("28677", "28676"), "dc_outputs": (), "ac_inputs": ("1",), "strings": ("5",)}


def test_every_row_of_a_member_is_an_instance_of_it() -> None:
    it = rig.load("huawei-site-monitor")
    now = {
        "rectifier.module_voltage": 53.4, "rectifier.module_current": 1.8, "rectifier.module_state": 1,
        "rectifier[2].module_voltage": 53.5, "rectifier[2].module_current": 1.3, "rectifier[2].module_state": 4,
        "rectifier.module_input": 231.2, "rectifier[2].module_input": 231.2, "limiting": 0, "bus_voltage": 50.0,
    }  # fmt: skip
    found = said(it, now, roles={"rectifier": [1, 2]}, rows=ROWS)
    assert (found["rectifier.outputVoltage"], found["rectifier[2].outputVoltage"]) == (53.4, 53.5)
    assert (found["rectifier.status"], found["rectifier[2].status"]) == (1, 0)
    assert (found["rectifier.warningMsg"], found["rectifier[2].warningMsg"]) == ("", "整流模块通信失败")
    assert found["rectifier[2].outputPower"] == pytest.approx(0.06955)


def test_a_row_may_give_fields_as_they_are(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
members: {rectifier: 2}
points:
  volts: {oid: 1.3.1.0}
tables:
  modules: {member: rectifier, index: 1.3.2, points: {rectifier.outputCurrent: {column: 1.3.5, unit: A}}}
derived:
  rectifier.outputVoltage: {max: every volts}
""",
        "snmp",
    )
    now = {"rectifier.outputCurrent": 3, "rectifier[2].outputCurrent": 4, "volts": 53.5}
    found = said(it, now, rows={"modules": ("7", "9")})
    assert (found["rectifier.outputCurrent"], found["rectifier[2].outputCurrent"]) == (3, 4)
    assert found["rectifier[2].outputVoltage"] == 53.5
    assert said(it, {"volts": 1.0}, rows={"modules": ()})["rectifier.outputCurrent"] == "NotSupport"


def test_a_module_that_was_taken_out_is_abnormal_and_has_no_values() -> None:
    it = rig.load("huawei-site-monitor")
    found = said(it, {"limiting": 0}, roles={"rectifier": [1, 2]}, rows={**ROWS, "modules": ("28677",)})
    assert found["rectifier[2].status"] == 0
    assert found["rectifier[2].outputVoltage"] == "NoData"


def test_mains_off_is_an_alarm_of_every_phase_that_is_there() -> None:
    it = rig.load("huawei-site-monitor")
    none = Quality.NO_DATA
    now = {"elec.ac_state": 2, "elec.voltage_l1": 0.0, "elec.voltage_l2": none, "elec.voltage_l3": none}
    found = said(it, now, rows=ROWS)
    assert (found["elec.status"], found["elec.warningMsg"]) == (0, "交流L1相缺相")
    three = said(it, now | {"elec.voltage_l2": 0.0, "elec.voltage_l3": 0.0}, rows=ROWS)
    assert three["elec.warningMsg"] == "交流L1相缺相,交流L2相缺相,交流L3相缺相"
    high = said(it, now | {"elec.ac_state": 4, "elec.voltage_l1": 290.0}, rows=ROWS)
    assert (high["elec.status"], high["elec.warningMsg"]) == (0, "输入过压")


def test_a_broken_battery_loop_is_the_fuse() -> None:
    it = rig.load("huawei-site-monitor")
    found = said(it, {"string_state": 1, "string_state[2]": 4}, rows={**ROWS, "strings": ("5", "6")})
    assert (found["ups.status"], found["ups.warningMsg"]) == (0, "电池熔丝断")


def test_a_table_that_is_not_located_yet_says_nothing_of_its_rows() -> None:
    it = rig.load("host-resources")
    assert "computerStatus.cpuUsage" not in said(it, {"ticks_idle": 5})
    assert (
        said(it, {"processor_load": 10, "processor_load[2]": 20}, rows={"processors": ("1", "2")})[
            "computerStatus.cpuUsage"
        ]
        == 15.0
    )


def test_processor_time_stands_in_for_missing_processor_rows() -> None:
    it = rig.load("host-resources")
    names = ("ticks_user", "ticks_nice", "ticks_system", "ticks_idle", "ticks_wait")
    now, before = dict(zip(names, (130, 10, 70, 880, 10), strict=True)), dict.fromkeys(names, 0)
    assert said(it, now, before, rows={"processors": ()})["computerStatus.cpuUsage"] == pytest.approx(100 * 210 / 1100)


def test_network_usage_is_the_busier_direction_of_the_link() -> None:
    it = rig.load("host-resources")
    rows = {"cards": ("3",)}
    missing = dict.fromkeys(("octets_in_32", "octets_out_32", "card_bps"), Quality.NOT_SUPPORT)
    now = missing | {"octets_in": 25_000_000, "octets_out": 62_500_000, "card_mbps": 1000}
    before = {"octets_in": 0, "octets_out": 0}
    assert said(it, now, before, rows=rows)["computerStatus.netUsage"] == pytest.approx(10.0)
    given = {"parameters": {"link_mbps": 100}}
    assert said(it, now, before, rows=rows, **given)["computerStatus.netUsage"] == pytest.approx(100.0)
    narrow = now | {"octets_in": Quality.NOT_SUPPORT, "octets_out": Quality.NOT_SUPPORT, "card_mbps": Quality.NO_DATA}
    narrow |= {"octets_in_32": 1_250_000, "octets_out_32": 4, "card_bps": 100_000_000}
    earlier = {"octets_in_32": 0, "octets_out_32": 4}
    assert said(it, narrow, earlier, rows=rows)["computerStatus.netUsage"] == pytest.approx(2.0)


def test_without_a_named_card_network_usage_is_not_supported() -> None:
    it = rig.load("host-resources")
    assert said(it, {}, rows={"cards": ()})["computerStatus.netUsage"] == "NotSupport"


UNITS = """
members: {airConditioners: 1}
tables:
  units:
    member: airConditioners
    index: 1.3.6.1.4.1.9.1
    points:
      alarm: {column: 1.3.6.1.4.1.9.1}
derived:
  airConditioners.systemWarning: {case: [{when: {alarm: 1}, then: 0}], else: 1}
warnings:
  - {member: airConditioners, text: 空调故障, when: {alarm: 1}}
"""


@pytest.mark.parametrize(
    ("more", "status", "warning"), [("", 0, "NoData"), ("points: {running: {oid: 1.3.6.1.4.1.8.0}}\n", 1, 1)]
)
def test_a_unit_of_which_all_stands_in_rows_is_not_well_where_there_are_none(
    tmp_path: Path, more: str, status: int, warning: Any
) -> None:
    """Of a smaller model that has something beside the rows it is told as before."""
    told = "  airConditioners.isWorking: {value: running}\n" if more else ""
    it = product(tmp_path, more + UNITS.replace("warnings:", f"{told}warnings:"), "snmp")
    fields = said(it, {"running": 1} if more else {}, rows={"units": ()})
    assert (fields["airConditioners.status"], fields["airConditioners.systemWarning"]) == (status, warning)
    assert said(it, {})["airConditioners.status"] == 1  # before anybody looked for them


# --- what a change touches


def test_only_fields_that_look_at_what_changed_are_said_again() -> None:
    it = rig.load("chint-ddsu666")
    device = rig.device(it)
    deriver = derive.Deriver(it, device)
    now = {"elec.voltage": derive.Sample(220.0, 1.0), "elec.current": derive.Sample(1.0, 1.0)}
    assert set(rig.named(deriver.fields(now, {}, ("elec.current",)))) == {"elec.current"}
    assert set(rig.named(deriver.fields(now, {}, ("elec.voltage",)))) == {
        "elec.voltage", "elec.status", "elec.warningMsg",
    }  # fmt: skip


def test_fields_at_once_sees_rows_by_their_readings() -> None:
    it = rig.load("host-resources")
    now = {f"processor_load{place}": derive.Sample(10, 0.0) for place in ("", "[2]", "[3]")}
    assert rig.named(derive.fields(it, rig.device(it), now, {}))["computerStatus.cpuUsage"] == 10.0


def test_a_value_made_of_itself_is_a_fault_of_the_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=r"derived\.x: cannot be calculated: it is made of itself"):
        product(tmp_path, TWO + "derived:\n  elec.power: {sum: [a, x]}\n  x: {sum: [y]}\n  y: {sum: [x]}\n")
