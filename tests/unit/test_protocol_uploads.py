"""How readings, members and envelopes stand on the wire."""

import json
from zoneinfo import ZoneInfo

import pytest
from cloud_site import GANTRY, SITE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.cloud import protocol
from gantry_agent.model import GET_FAILED, NO_DATA, NOT_SUPPORT, Quality, Reading, Role, Snapshot
from gantry_agent.vocabulary import CABINET, COMPUTER, MEMBERS, Field, Form, Shape

ZONE = ZoneInfo("Asia/Shanghai")
NUMBER = Field("x", Form.NUMBER, decimals=2)
FIXED = Field("x", Form.FIXED, decimals=2)
CODE = Field("x", Form.CODE, values=("0", "1"))
COUNT = Field("x", Form.COUNT)
TEXT = Field("x", Form.TEXT)
TIME = Field("x", Form.TIME)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        (NUMBER, 220.0, "220"),
        (NUMBER, 53.5, "53.5"),
        (NUMBER, 5355 * 0.01, "53.55"),
        (NUMBER, 1e-9, "0"),
        (NUMBER, -0.001, "0"),
        (NUMBER, -12.5, "-12.5"),
        (NUMBER, 100, "100"),
        (NUMBER, 1e20, "100000000000000000000"),
        (NUMBER, "7.50", "7.5"),
        (NUMBER, "many", "NoData"),
        (NUMBER, float("nan"), "NoData"),
        (NUMBER, float("inf"), "NoData"),
        (FIXED, 99.99, "99.99"),
        (FIXED, 40, "40.00"),
        (FIXED, 0.0, "0.00"),
        (FIXED, -0.0, "0.00"),
        (CODE, 1, "1"),
        (CODE, 1.0, "1"),
        (CODE, "0", "0"),
        (CODE, 2, "NoData"),
        (CODE, "on", "NoData"),
        (COUNT, 10485760, "10485760"),
        (COUNT, 3.0, "3"),
        (TEXT, "", ""),
        (TEXT, "输入欠压,交流L1相缺相", "输入欠压,交流L1相缺相"),
        (TEXT, "a\x00b\nc\x7f", "abc"),
        (TEXT, "\ud800", "?"),
        (TIME, 1566972661.321, "2019-08-28 14:11:01.321"),
        (TIME, 1e18, "NoData"),
    ],
)
def test_a_value_is_written_as_its_field_asks(field, value, written):
    assert protocol.wire_value(field, Reading(value), ZONE) == written


@pytest.mark.parametrize(
    ("reading", "word"), [(NO_DATA, "NoData"), (GET_FAILED, "GetFailed"), (NOT_SUPPORT, "NotSupport")]
)
def test_a_reading_without_a_value_is_the_word_of_the_interface(reading, word):
    assert protocol.wire_value(NUMBER, reading, ZONE) == word


def test_a_good_reading_of_nothing_is_no_data():
    assert protocol.wire_value(NUMBER, Reading(None), ZONE) == "NoData"


@PATIENT
@given(
    st.sampled_from([f for m in MEMBERS.values() for f in m.fields.values()]),
    st.one_of(st.floats(), st.integers(-(2**64), 2**64), st.text()),
    st.sampled_from(Quality),
)
def test_whatever_was_read_is_written_as_a_string_that_json_and_utf8_can_carry(field, value, quality):
    written = protocol.wire_value(field, Reading(value, quality), ZONE)
    assert json.loads(protocol.encode({"x": written})) == {"x": written}
    if field.form is Form.CODE:
        assert written in {*field.values, "NoData", "GetFailed", "NotSupport"}


def entries(cabinet):
    found = {}
    for member in CABINET.values():
        for number in (2, 1) if member.shape is Shape.LIST and member.name != "ups" else (1,):
            if member.name != "ups":
                found[Role(cabinet, member.name, number)] = {name: Reading(1) for name in member.fields}
    return found


def test_a_cabinet_has_every_member_and_field_in_the_order_of_the_source():
    built = protocol.build_cabinet(SITE, Snapshot(2, entries(2)))
    assert built["id"] == "2"
    assert list(built) == ["id", *CABINET]
    assert [each["id"] for each in built["elec"]] == ["1", "2"]
    assert list(built["elec"][0]) == ["id", *CABINET["elec"].fields]
    assert built["ups"] == []
    assert isinstance(built["doors"], dict)  # D15
    assert "id" not in built["doors"]


def test_a_single_member_that_the_cabinet_does_not_have_is_not_supported_and_one_not_read_is_no_data():
    absent = protocol.build_cabinet(SITE, Snapshot(1, {}))
    assert set(absent["doors"].values()) == {"NotSupport"}
    unread = protocol.build_cabinet(SITE, Snapshot(1, {Role(1, "doors"): {}}))
    assert set(unread["doors"].values()) == {"NoData"}


def test_computers_stand_in_order_with_what_the_site_file_says_of_them():
    read = {Role(0, "computerStatus", 1): {"cpuUsage": Reading(12.345), "ip": Reading("10.0.0.1")}}
    first, second = protocol.build_computers(SITE, Snapshot(0, read))
    assert list(first) == ["id", *COMPUTER.fields]
    assert (first["id"], first["isMonitorComputer"], first["isMainComputer"]) == ("1", "1", "0")
    assert (first["cpuUsage"], first["ip"], first["memorySize"]) == ("12.35", "10.0.0.1", "NoData")
    assert (second["id"], second["isMonitorComputer"], second["isMainComputer"]) == ("2", "0", "1")
    assert second["ip"] == "192.168.1.2"


def test_the_envelope_is_the_source_s_with_strings_only():
    made = protocol.envelope(GANTRY, "cabinetStatusUpdate", 1564734526.9, {"id": "1"})
    assert json.loads(made) == {
        "gantryId": GANTRY,
        "method": "cabinetStatusUpdate",
        "timeStamp": "1564734526",
        "version": "1001",
        "cabinetStatus": {"id": "1"},
    }


def test_chinese_goes_as_it_is_and_the_md5_is_of_the_exact_bytes():
    made = protocol.envelope(GANTRY, "cabinetStatusUpdate", 0, {"warningMsg": "电池熔丝断"})
    assert "电池熔丝断".encode() in made
    assert protocol.sign(b"", "x") == {"binfile-md5": "d41d8cd98f00b204e9800998ecf8427e", "binfile-auth": "x"}


@PATIENT
@given(st.integers(0, 4_000_000_000_000))
def test_a_time_is_read_back_as_it_was_written(milliseconds):
    written = protocol.format_time(milliseconds / 1000, ZoneInfo("Etc/GMT-8"))
    assert round(protocol.read_time(written, ZoneInfo("Etc/GMT-8")) * 1000) == milliseconds


@pytest.mark.parametrize("text", ["", "2019-08-28", "2019-13-28 14:11:01.321", "2019-08-28 24:11:01.321", "x" * 23])
def test_what_is_no_time_is_none(text):
    assert protocol.read_time(text, ZONE) is None
