"""What an answer to an upload means (D16): the table, and answers that are none."""

import json

import pytest
from cloud_site import short
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.cloud.protocol import Fate, judge

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared


def said(code: object, msg: str = "x") -> bytes:
    return json.dumps({"code": code, "msg": msg}).encode()


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (200, said("1000"), Fate.DELIVERED),
        (200, said(1000), Fate.DELIVERED),
        (200, b"\xef\xbb\xbf" + said("1000"), Fate.DELIVERED),
        (200, b'{" code ": "1000"}', Fate.DELIVERED),
        (200, said("1001"), Fate.RETRY_SLOWLY),
        (200, said("1002"), Fate.SET_ASIDE),
        (200, said("1003"), Fate.RETRY_CLOCK),
        (200, said("1004"), Fate.RETRY_SLOWLY),
        (200, said("1005"), Fate.RETRY),
        (200, said("1006"), Fate.SET_ASIDE),
        (200, said("1007"), Fate.RETRY_OTHERS_FIRST),
        (200, said("1008"), Fate.RETRY_OTHERS_FIRST),
        (200, said("1009"), Fate.RETRY_OTHERS_FIRST),
        (200, said("9999"), Fate.RETRY_OTHERS_FIRST),
        (200, said(None), Fate.RETRY),
        (200, b"<html>login</html>", Fate.RETRY),
        (200, b"", Fate.RETRY),
        (200, b"[1000]", Fate.RETRY),
        (200, "成功".encode("gbk"), Fate.RETRY),
        (302, b"", Fate.RETRY),
        (400, b"", Fate.RETRY_OTHERS_FIRST),
        (400, said("1002"), Fate.SET_ASIDE),
        (404, b"", Fate.RETRY),
        (413, b"", Fate.SET_ASIDE),
        (422, b"", Fate.RETRY_OTHERS_FIRST),
        (429, b"", Fate.RETRY),
        (500, b"oops", Fate.RETRY_OTHERS_FIRST),
        (500, said("1000"), Fate.RETRY_OTHERS_FIRST),
        (502, said("1000"), Fate.RETRY),
        (503, b"", Fate.RETRY),
    ],
    ids=short,
)
def test_the_fate_of_a_record_by_the_answer(status, body, fate):
    assert judge(status, body).fate is fate


def test_a_verdict_says_what_came():
    assert (judge(200, said("1005", "请求过于频繁")).code, judge(200, said("1005", "请求过于频繁")).msg) == (
        "1005",
        "请求过于频繁",
    )
    assert judge(502, b"").code == "HTTP 502"


@PATIENT
@given(st.integers(100, 599), st.binary())
def test_only_1000_delivers(status, body):
    assert judge(status, body).fate is not Fate.DELIVERED
