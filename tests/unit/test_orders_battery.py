"""What a profile says of battery tests, what a device's own record means, and what several batteries come to."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gantry_agent.command import Done, Failed
from gantry_agent.faults import ConfigFault
from gantry_agent.field import plan_writes, profile
from gantry_agent.field.request import AskText, GetOids, SetOid
from gantry_agent.model import NO_DATA, NOT_SUPPORT, Quality, Role
from gantry_agent.orders import battery
from tests import profile_rig as rig

SHANGHAI = ZoneInfo("Asia/Shanghai")
GOOD = """\
profile: it
title: {zh: 它, en: it}
protocol: snmp
maturity: draft
sources: [{document: manual, page: "7"}]
members: {ups: 1}
parameters: {minutes: {default: 5}}
points:
  ups.powerRate: {oid: 1.3.1, unit: "%"}
  test_result: {oid: 1.3.2}
tables:
  tests: {index: 1.3.3, order: value, points: {start: {column: 1.3.3, as: text}, hours: {column: 1.3.4, unit: h}}}
warnings: [{member: ups, text: 电池自检失败, when: {test_result: 3}}]
battery_test:
  records: tests
  fields: {testStartTime: start, dischargeTime: hours}
  verdict: {point: test_result, map: {1: 2, 3: 4}}
  minutes: minutes
"""


def check(tmp_path: Path, text: str) -> profile.Profile:
    path = tmp_path / "it.yaml"
    path.write_text(text, encoding="utf-8")
    return profile.check(path)


def test_a_profile_says_where_records_and_verdict_stand(tmp_path: Path) -> None:
    testing = check(tmp_path, GOOD).battery_test
    assert (testing.records, testing.verdict, testing.minutes) == ("tests", "test_result", "minutes")
    assert dict(testing.fields) == {"testStartTime": "start", "dischargeTime": "hours"}
    assert dict(testing.verdicts) == {1: 2, 3: 4}
    assert testing.points == {"start", "hours", "test_result"}
    assert not profile.load("xy-md02").battery_test.points


@pytest.mark.parametrize(
    ("was", "wrong", "said"),
    [
        ("records: tests", "records: test", "battery_test.records: there is no table test; did you mean tests?"),
        ("{testStartTime: start,", "{", "battery_test.fields: testStartTime is missing"),
        ("dischargeTime: hours", "dischargeTim: hours", "a test result has no such field; did you mean dischargeTime?"),
        ("dischargeTime: hours", "dischargeTime: hour", "the table has no point hour; did you mean hours?"),
        ("dischargeTime: hours", "dischargeEndVoltage: hours", "must be in 'V'; hours is in 'h'"),
        (
            "point: test_result, map",
            "point: test_resul, map",
            "there is no point test_resul; did you mean test_result?",
        ),
        ("map: {1: 2, 3: 4}", "map: {1: 5}", "it must be {value: result}"),
        ("minutes: minutes", "minutes: minute", "a number or the name of a parameter; did you mean minutes?"),
        ("minutes: minutes", "hours: 1", "battery_test.hours: "),
    ],
)
def test_a_fault_in_the_section_is_told_with_its_place(tmp_path: Path, was: str, wrong: str, said: str) -> None:
    assert was in GOOD
    with pytest.raises(ConfigFault) as caught:
        check(tmp_path, GOOD.replace(was, wrong))
    texts = [fault.text for fault in caught.value.faults]
    assert [one for one in texts if said in one.en], texts
    assert all(one.zh for one in texts)


@pytest.mark.parametrize("choices", ["", ", choices: [5, 100]"])
def test_a_parameter_in_a_command_has_two_digits_at_most(tmp_path: Path, choices: str) -> None:
    text = GOOD.partition("tables:")[0].replace("snmp", "megatec").replace("default: 5", f"default: 5{choices}")
    text = text.replace("oid: 1.3.1", "read: Q1 field 1").replace(
        "oid: 1.3.2", 'read: Q1 field 2, write: {1: "T{minutes}"}'
    )
    with pytest.raises(ConfigFault, match="0 to 99"):
        check(tmp_path, text)


# --- what is written --------------------------------------------------------------------------------------------------


def written(name: str, value: int, **parameters: object) -> plan_writes.Write:
    it = profile.load(name)
    return plan_writes.write(it, rig.device(it, parameters=parameters), "ups[1].testStartStop", value)


@pytest.mark.parametrize(("kind", "value", "raw"), [(1, 1, 1), (2, 1, 2), (1, 0, 3)])
def test_a_site_monitor_is_told_which_test_and_shows_any(kind: int, value: int, raw: int) -> None:
    write = written("huawei-site-monitor", value, battery_test_kind=kind)
    assert write.requests == (SetOid("1.3.6.1.4.1.2011.6.164.1.4.3.7.0", "integer", raw),)
    assert write.confirm
    assert [reading for reading in (1, 2, 3, 255) if write.confirm.shown_by(reading)] == ([1, 2] if value else [3, 255])


def test_an_rfc_1628_card_has_its_lock_read_and_written_back_before_the_test_is_named() -> None:
    lock, test = written("ups-mib", 1).requests
    assert isinstance(lock, plan_writes.AsRead)
    assert plan_writes.finished(lock, {"1.3.6.1.2.1.33.1.7.2.0": 41}) == SetOid("1.3.6.1.2.1.33.1.7.2.0", "integer", 41)
    assert test == SetOid("1.3.6.1.2.1.33.1.7.1.0", "oid", "1.3.6.1.2.1.33.1.7.7.4")
    deep = written("ups-mib", 1, battery_test_kind="1.3.6.1.2.1.33.1.7.7.5")
    assert deep.requests[1] == SetOid("1.3.6.1.2.1.33.1.7.1.0", "oid", "1.3.6.1.2.1.33.1.7.7.5")
    abort = written("ups-mib", 0)
    assert abort.requests[1] == SetOid("1.3.6.1.2.1.33.1.7.1.0", "oid", "1.3.6.1.2.1.33.1.7.7.2")
    assert abort.confirm
    assert abort.confirm.block.request == GetOids(("1.3.6.1.2.1.33.1.7.3.0",))
    assert [reading for reading in range(1, 7) if abort.confirm.shown_by(reading)] == [1, 2, 3, 4, 6]


def test_megatec_is_told_for_how_many_minutes() -> None:
    assert written("megatec-q1", 1, test_minutes=5).requests == (AskText(1, "T05", answered=False),)
    assert written("megatec-q1", 0).requests == (AskText(1, "CT", answered=False),)


@pytest.mark.parametrize("name", profile.names())
def test_a_battery_that_can_be_tested_shows_that_it_is(name: str) -> None:
    it = profile.load(name)
    able = plan_writes.targets(it, rig.device(it), "ups", "testStartStop") if it.members.get("ups") else ()
    shown = [one for one in it.derived if one.name.field == "runningState" and 5 in [case.then for case in one.cases]]
    confirmed = [one for one in it.writes if one.name.field == "testStartStop" and one.confirm]  # or it is never 1000
    assert shown or not confirmed
    assert able or name not in {"huawei-site-monitor", "huawei-ups2000", "ups-mib", "megatec-q1"}


# --- what a record means ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24 08:00:05",
        "2026/11/24 08:00:05",
        "2026-11-24,08:00:05.0,+8:0",
        "2026-11-24T08:00:05",
        " 2026-11-24 08:00:05 ",
    ],
)
def test_a_start_time_is_local_however_it_is_punctuated(text: str) -> None:
    assert battery._instant(text, SHANGHAI) == 1795478405.0


@pytest.mark.parametrize("text", ["", "24.11.2026", "2026-13-01 00:00:00", "N/A"])
def test_a_start_time_that_is_none_is_no_data(text: str) -> None:
    assert battery._instant(text, SHANGHAI) is None
    assert battery._of_record({"testStartTime": text}, SHANGHAI)["testStartTime"] == NO_DATA


def test_a_record_is_told_in_the_words_of_the_interface() -> None:
    found = battery._of_record(
        {
            "testStartTime": "2026-11-24 08:00:05",
            "testResult": Quality.NO_DATA,
            "dischargeAvCurrent": -12.5,
            "testTemperature": Quality.NOT_SUPPORT,
            "testEndCourse": 255,
        },
        SHANGHAI,
    )
    assert found["testResult"].value == 1  # never without one
    assert found["dischargeAvCurrent"].value == 12.5  # what is discharged has no sign
    assert found["testTemperature"] == NOT_SUPPORT
    assert found["testEndCourse"].value == 255


def test_what_failed_is_named_unless_there_is_only_one_battery() -> None:
    one, two = Role(1, "ups", 1), Role(1, "ups", 2)
    assert battery._together({one: Done(), two: Done()}) == Done()
    assert battery._together({one: Failed("回读3")}) == Failed("回读3")
    assert battery._together({one: Done(), two: Failed("回读3")}) == Failed("电池2回读3")
    assert battery._together({one: Failed("回读3"), two: Failed("设备无应答")}) == Failed("电池1回读3; 电池2设备无应答")
