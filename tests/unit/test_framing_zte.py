"""The ZTE site unit's paths, bodies and answers, written down; and what must never pass for an answer."""

import base64
import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.faults import ConfigFault
from gantry_agent.field import codec, plan, profile
from gantry_agent.field.framing import zte
from gantry_agent.field.request import ListObjects, ReadAlarms, ReadObject
from gantry_agent.model import BadReply, NoReply, Quality
from tests import profile_rig as rig

OBJECT, ALARMS = ReadObject(1, "1101"), ReadAlarms(1)
VALUES = b'{"jsonrpc":"2.0","id":"1","result":[{"Id":"118201001","Value":"27.7"},{"Id":"118204001","Value":"45"}]}'


def said(result: Any) -> bytes:
    return json.dumps({"result": result}).encode()


def test_what_is_asked():
    assert zte.target(OBJECT) == "/jscmd/objdataquery?objId=1101&mId=0"
    assert zte.target(ALARMS) == "/jscmd/alarmquery?type=now"
    assert zte.target(ListObjects(1)) == "/jscmd/objs"
    assert zte.target(ListObjects(1, ports=True)) == "/jscmd/sensorports"


def test_a_frame_for_the_lock_goes_in_base64():
    frame = bytes.fromhex("7E0101000000020016E3257E7E")
    assert zte.serial_send("1801", frame) == (
        b'{"jsonrpc":"2.0","method":"POST_METHOD","id":"3",'
        b'"params":{"objid":"1801","data":"fgEBAAAAAgAW4yV+fg==","endchar":""}}'
    )


def test_values_are_texts_by_point():
    assert zte.decode(OBJECT, VALUES) == {"118201001": "27.7", "118204001": "45"}
    assert zte.decode(OBJECT, said([{"Id": "1", "Value": " 3 "}, {"Id": "1", "Value": "4"}])) == {"1": "3"}, "the first"
    assert zte.decode(OBJECT, said([{"Id": 118201001, "Value": 27.5}])) == {"118201001": "27.5"}
    odd = [{"Id": str(k), "Value": value} for k, value in enumerate([None, True, [1], {}, "x" * 65, 10**70])]
    assert set(zte.decode(OBJECT, said([*odd, {"Id": "9"}])).values()) == {""}  # type: ignore[union-attr]


def test_an_object_without_values_is_not_there():
    with pytest.raises(NoReply, match=r"cannot read object 1101"):
        zte.decode(OBJECT, said([]))


def test_alarms_are_counted_by_object_and_an_empty_list_has_none():
    assert zte.decode(ALARMS, said([])) == {}
    assert zte.decode(ALARMS, said([{"DeviceId": "7", "AlarmTime": "x"}, {"DeviceId": "7"}, {"DeviceId": 8}])) == {
        "7": 2,
        "8": 1,
    }


@pytest.mark.parametrize("entry", [{}, {"DeviceId": None}, {"DeviceId": ""}, {"DeviceId": True}, "7", [], None, 7])
def test_an_alarm_that_may_be_anybodys_is_nobodys(entry: Any):
    with pytest.raises(BadReply):
        zte.decode(ALARMS, said([{"DeviceId": "7"}, entry]))


def test_objects_and_the_ports_behind_the_unit():
    objects = said({"Objs": [{"ObjId": "1", "Name": "数字温湿度"}, {"ObjId": "2"}]})
    assert zte.decode(ListObjects(1), objects) == (("1", "数字温湿度"), ("2", ""))
    ports = said([{"objId": "1801", "portId": "0_COM5", "addr": "2"}, {"objId": "7"}])
    assert zte.decode(ListObjects(1, ports=True), ports) == (("1801", "0_COM5 2"), ("7", ""))


HOSTILE = [
    b"",
    b"<html><body>login</body></html>",
    b"[" * 100_000,
    b'{"result":' * 100_000,
    b'{"result":[{"Id":"1","Value":NaN}]}',
    b'{"result":[{"Id":"1","Value":' + b"9" * 5000 + b"}]}",
    b'{"result":null}',
    b'{"result":{}}',
    b'{"result":"[]"}',
    b'{"result":0}',
    b'{"error":{"code":-32601}}',
    b'{"Result":[]}',
    b'[{"Id":"118201001","Value":"1"}]',
    b'"result"',
    b"\xff\xfe{}",
    VALUES.replace(b'"27.7"', b'"\xd6\xd0"'),
    VALUES + b"}",
    VALUES + VALUES,
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("request_", [OBJECT, ALARMS, ListObjects(1), ListObjects(1, ports=True)])
def test_what_is_no_answer_is_said_to_be_none(body: bytes, request_: zte.ZteRequest):
    with pytest.raises(BadReply, match=r"^cannot use the answer"):
        zte.decode(request_, body)
    with pytest.raises(BadReply):
        zte.serial_sent("1801", body if body != b'{"result":{}}' else b"")  # that one is the device's silence


def test_half_an_answer_is_none():
    for end in range(len(VALUES)):
        with pytest.raises(BadReply):
            zte.decode(OBJECT, VALUES[:end])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["result", "Objs", "Id", "Value", "ObjId", "DeviceId", "data", "x"]), inner
            )
        ),
    )
)
def test_any_json_is_an_answer_or_none(answer: Any):
    body = json.dumps(answer).encode()
    for request in (OBJECT, ALARMS, ListObjects(1), ListObjects(1, ports=True)):
        try:
            zte.decode(request, body)
        except (BadReply, NoReply):
            continue
    with contextlib.suppress(BadReply):
        zte.serial_sent("1801", body)


def test_what_came_through_the_tunnel():
    assert zte.serial_sent("1801", said({"data": base64.b64encode(b"\x7e\x01").decode()})) == b"\x7e\x01"
    for silent in ({"data": ""}, {"data": None}, {"other": 1}):
        assert zte.serial_sent("1801", said(silent)) == b""
    for broken in ("fgE", "fg\nE=", "中兴", 7, ["fgE="], base64.b64encode(bytes(1025)).decode()):
        with pytest.raises(BadReply, match=r"object 1801"):
            zte.serial_sent("1801", said({"data": broken}))


# --- points -----------------------------------------------------------------------------------------------------------

PROFILE = """\
profile: it
title: {zh: 它, en: it}
maturity: draft
protocol: zte
sources: [{document: manual, page: "7"}]
members: {thermohygrometer: 1}
"""


def product(tmp_path: Path, points: str) -> profile.Profile:
    (tmp_path / "it.yaml").write_text(f"{PROFILE}points:\n{points}", encoding="utf-8")
    return profile.check(tmp_path / "it.yaml")


@pytest.mark.parametrize(
    ("text", "reading"),
    [("27.7", 27.7), ("-3", -3), ("+4.50", 4.5), ("27.7C", None), ("--", None), ("", None), ("1e3", None), ("1.", None),
     ("٣", None), ("9" * 16, None), ("0x1F", None), ("NaN", None), ("27,7", None)],
)  # fmt: skip
def test_a_number_is_all_of_the_text(tmp_path: Path, text: str, reading: float | None):
    known = product(tmp_path, "  thermohygrometer.temperature: {read: point 118201001, unit: °C}\n")
    it = rig.device(known, object="1101")
    (block,) = plan.blocks(known, it)
    found = codec.decode(block, {"118201001": text}, known, it)
    assert found == {"thermohygrometer.temperature": Quality.NO_DATA if reading is None else reading}


def test_the_first_number_that_says_something_counts(tmp_path: Path):
    known = product(
        tmp_path, "  thermohygrometer.temperature: {read: point 118201001 or 118201002 or 118201003, unit: °C}\n"
    )
    it = rig.device(known, object="1101")
    (block,) = plan.blocks(known, it)
    for reply, reading in (
        ({"118201001": "1", "118201002": "2"}, 1),
        ({"118201003": "3", "118201002": "2"}, 2),
        ({"118201001": "", "118201003": "3"}, 3),
        ({"118201001": "--", "118201003": "3"}, Quality.NO_DATA),
        ({"118201001": ""}, Quality.NO_DATA),
        ({"999999999": "1"}, Quality.NOT_SUPPORT),
    ):
        assert codec.decode(block, reply, known, it) == {"thermohygrometer.temperature": reading}, reply
    with pytest.raises(BadReply):
        codec.decode(block, (1, 2), known, it)


def test_all_values_are_one_question_and_the_alarms_another(tmp_path: Path):
    points = """\
  thermohygrometer.temperature: {read: point 118201001, unit: °C}
  thermohygrometer.humidity: {read: point 118204001, unit: "%", lane: fast}
  alarm: {read: alarm}
"""
    known = product(tmp_path, points)
    it = rig.device(known, unit=4, object="1101", watched=frozenset({"alarm"}))
    fast, slow = plan.blocks(known, it)
    assert (fast.request, fast.lane, len(fast.points)) == (ReadObject(4, "1101"), "fast", 2)
    assert (slow.request, slow.lane) == (ReadAlarms(4), "slow")
    assert codec.decode(slow, {"1101": 2, "7": 1}, known, it) == {"alarm": 1}
    assert codec.decode(slow, {"11010": 1}, known, it) == {"alarm": 0}
    assert plan.split(fast) == (), "the unit gives all values or none"


@pytest.mark.parametrize(
    "place", ["118201001", "point 11820100", "point 118201001 118204001", "point 118201001 or", "alarms", "holding 1"]
)
def test_a_place_that_cannot_be_read_is_told(tmp_path: Path, place: str):
    with pytest.raises(ConfigFault, match=re.escape("like point 118201001")):
        product(tmp_path, f'  x: {{read: "{place}"}}\n')
