"""What a request must be before anyone looks at what it asks (D2, D3, D4)."""

import json

import pytest
from cloud_site import GANTRY, NOW, body, document, short
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.cloud import protocol
from gantry_agent.cloud.protocol import Code, Refusal, Request, check_request

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared


def check(content: bytes) -> Request | Refusal:
    return check_request(content, GANTRY, NOW, 300)


def with_(**members: object) -> bytes:
    made = {**document(updateNow="1"), **members}
    return json.dumps({name: value for name, value in made.items() if value is not ...}).encode()


def test_a_request_in_order_is_read():
    request = check(body(cmd="2", unlockDoorId="1"))
    assert request == Request("cabinetControl", NOW, {"cmd": "2", "unlockDoorId": "1"})


@pytest.mark.parametrize(
    ("content", "code", "detail"),
    [
        (b"", Code.BAD_PARAMETER, "JSON"),
        (b"{", Code.BAD_PARAMETER, "JSON"),
        (b"[]", Code.BAD_PARAMETER, "JSON"),
        (b'"x"', Code.BAD_PARAMETER, "JSON"),
        (b"null", Code.BAD_PARAMETER, "JSON"),
        (b"\x00", Code.BAD_PARAMETER, "JSON"),
        (with_() + b"\x00", Code.BAD_PARAMETER, "JSON"),
        (b"\xef\xbb\xbf" + with_(), Code.BAD_PARAMETER, "JSON"),
        (with_().decode().encode("utf-16"), Code.BAD_PARAMETER, "JSON"),
        (json.dumps(document(setServer="监控"), ensure_ascii=False).encode("gbk"), Code.BAD_PARAMETER, "JSON"),
        (with_()[:-1] + b', "x": NaN}', Code.BAD_PARAMETER, "JSON"),
        (with_()[:-1] + b', "x": -Infinity}', Code.BAD_PARAMETER, "JSON"),
        (with_()[:-1] + b', "version": "1001"}', Code.BAD_PARAMETER, "JSON"),
        (with_()[:-1] + b', " version": "1001"}', Code.BAD_PARAMETER, "JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, Code.BAD_PARAMETER, "JSON"),
        (b"[" * 100_000, Code.BAD_PARAMETER, "JSON"),
        (with_(timeStamp=...)[:-1] + b', "timeStamp": ' + b"1" * 5000 + b"}", Code.BAD_PARAMETER, "timeStamp"),
        (with_(gantryId=...), Code.BAD_PARAMETER, "gantryId"),
        (with_(gantryId=None), Code.BAD_PARAMETER, "gantryId"),
        (with_(gantryId="G" * 21), Code.BAD_PARAMETER, "gantryId"),
        (with_(gantryId="G000211001002110011"), Code.BAD_PARAMETER, "gantryId"),
        (with_(gantryId=GANTRY + "\x00"), Code.BAD_PARAMETER, "gantryId"),
        (with_(method="m" * 129), Code.BAD_PARAMETER, "method"),
        (with_(method="reboot"), Code.BAD_PARAMETER, "method"),
        (with_(method="cabinetStatusUpdate"), Code.BAD_PARAMETER, "method"),
        (with_(method={"a": 1}), Code.BAD_PARAMETER, "method"),
        (with_(cabinetControl=...), Code.BAD_PARAMETER, "cabinetControl"),
        (with_(cabinetControl=[]), Code.BAD_PARAMETER, "cabinetControl"),
        (with_(cabinetControl="1"), Code.BAD_PARAMETER, "cabinetControl"),
        (with_(timeStamp=...), Code.BAD_PARAMETER, "timeStamp"),
        (with_(timeStamp=""), Code.BAD_PARAMETER, "timeStamp"),
        (with_(timeStamp="-1"), Code.BAD_PARAMETER, "timeStamp"),
        (with_(timeStamp="1564734526.5"), Code.BAD_PARAMETER, "timeStamp"),
        (with_(timeStamp="١٥٦٤٧٣٤٥٢٦"), Code.BAD_PARAMETER, "timeStamp"),
        (with_(timeStamp="1" * 20), Code.BAD_PARAMETER, "timeStamp"),
        (with_(version=...), Code.BAD_PARAMETER, "version"),
        (with_(version="1" * 15), Code.BAD_PARAMETER, "version"),
        (with_(version="1002"), Code.BAD_VERSION, ""),
        (with_(version="1002", timeStamp="1"), Code.BAD_VERSION, ""),
        (with_(timeStamp=str(NOW - 301)), Code.CLOCK, ""),
        (with_(timeStamp=str(NOW + 301)), Code.CLOCK, ""),
        (with_(timeStamp="9" * 19), Code.CLOCK, ""),
    ],
    ids=short,
)
def test_the_first_thing_wrong_answers(content, code, detail):
    assert check(content) == Refusal(code, detail)


@pytest.mark.parametrize(
    "content",
    [
        with_(timeStamp=NOW),
        with_(timeStamp=float(NOW)),
        with_(version=1001),
        with_(timeStamp=str(NOW - 300)),
        with_(timeStamp=str(NOW + 300)),
        with_(version=...)[:-1] + b', " version\\t": "1001"}',
        b"\n\t " + with_() + b"\r\n",
    ],
    ids=short,
)
def test_numbers_stray_blanks_and_the_edge_of_the_tolerance_pass(content):
    assert isinstance(check(content), Request)


def test_members_that_the_interface_does_not_have_are_named():
    request = check(with_(sign="x", trace={"id": [1, 2]}))
    assert isinstance(request, Request)
    assert request.unknown == ("sign", "trace")


def test_the_md5_may_be_in_either_case_but_must_be_there():
    content = with_()
    right = protocol.digest(content)
    assert protocol.signature_holds(content, right)
    assert protocol.signature_holds(content, right.upper())
    assert not protocol.signature_holds(content, None)
    assert not protocol.signature_holds(content, "")
    assert not protocol.signature_holds(content + b" ", right)
    assert not protocol.signature_holds(content, "é\udcff")


def test_the_code_must_be_the_code():
    assert protocol.auth_holds("123456", "123456")
    assert not protocol.auth_holds("12345", "123456")
    assert not protocol.auth_holds(None, "123456")
    assert not protocol.auth_holds("", "123456")


def test_an_answer_names_the_field_within_40_characters():
    assert json.loads(protocol.answer(Code.BAD_PARAMETER, "airId")) == {"code": "1002", "msg": "参数有误: airId"}
    assert len(json.loads(protocol.answer(Code.FAILED, "x" * 100))["msg"]) == 40
    assert json.loads(protocol.answer(Code.OK)) == {"code": "1000", "msg": "成功"}


@PATIENT
@given(st.binary())
def test_any_bytes_are_judged(content):
    assert isinstance(check(content), Refusal)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
TREES = st.recursive(LEAVES, lambda t: st.lists(t) | st.dictionaries(st.text(), t), max_leaves=10)


@PATIENT
@given(st.dictionaries(st.sampled_from(["gantryId", "method", "timeStamp", "version", "cabinetControl"]), TREES))
def test_any_json_is_judged(members):
    judged = check(with_(**members))
    if isinstance(judged, Refusal):
        assert len(json.loads(protocol.answer(judged.code, judged.detail))["msg"]) <= 40
