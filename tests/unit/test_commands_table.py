"""What a business member orders, or which of its fields is wrong (D4, D7, D8)."""

import json
from datetime import date
from decimal import Decimal

import pytest
from cloud_site import GANTRY, NOW, SITE, body
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.cloud import commands, protocol
from gantry_agent.command import (
    AskBatteryTest,
    Card,
    Defend,
    Reboot,
    Refused,
    RunAirConditioner,
    SetFrequency,
    SetPowerMode,
    SetServer,
    SetTemperatures,
    SetWhitelist,
    SwitchRectifiers,
    TestBattery,
    Unlock,
    UpdateNow,
)
from gantry_agent.text import Text

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

ACCEPTED = [
    ({"updateNow": "1"}, [UpdateNow("cabinet")]),
    ({"updateNow": 1}, [UpdateNow("cabinet")]),
    ({"setFrequency": "10"}, [SetFrequency("cabinet", 10)]),
    ({"setFrequency": 86400}, [SetFrequency("cabinet", 86400)]),
    ({"setServer": "10.0.0.1/monitor.do"}, [SetServer("cabinet", "10.0.0.1/monitor.do")]),
    ({"cmd": "1"}, [Reboot("router")]),
    ({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "503"}, [Reboot("switch")]),
    ({"cmd": "2", "unlockDoorId": "1"}, [Unlock(1, "front")]),
    ({"cmd": 2, "cabinetId": 2, "unlockDoorId": 1}, [Unlock(2, "front")]),
    ({"cmd": "2", "cabinetId": None, "unlockDoorId": "1"}, [Unlock(1, "front")]),
    ({"cmd": "2", "unlockDoorId": "1", "mode": "9", "unheard": {}}, [Unlock(1, "front")]),
    ({"cmd": "3", "airId": "0", "airOperate": "1"}, [RunAirConditioner(1, 0, run=True)]),
    ({"cmd": "3", "airId": "2", "airOperate": "2"}, [RunAirConditioner(1, 2, run=False)]),
    ({"cmd": "4", "airId": "0", "autoRefrigerationTemp": "30"}, [SetTemperatures(1, 0, Decimal(30), None)]),
    ({"cmd": "4", "airId": "1", "autoHeatingTemp": "-5.5"}, [SetTemperatures(1, 1, None, Decimal("-5.5"))]),
    (
        {"cmd": "4", "airId": "1", "autoRefrigerationTemp": 30, "autoHeatingTemp": 5},
        [SetTemperatures(1, 1, Decimal(30), Decimal(5))],
    ),
    ({"cmd": "5", "mode": "0"}, [SetPowerMode(0)]),
    ({"cmd": "5", "mode": 2}, [SetPowerMode(2)]),
    ({"cmd": "6", "isDoorDefend": "1"}, [Defend(on=True)]),
    ({"cmd": "7", "cardInfos": []}, [SetWhitelist(())]),
    (
        {"cmd": "7", "cardInfos": [{"cardId": 12345678, "expireDate": "2030-02-28"}]},
        [SetWhitelist((Card("12345678", date(2030, 2, 28)),))],
    ),
    ({"cmd": "8", "onOff": "0"}, [SwitchRectifiers(1, on=False)]),
    ({"cmd": "9", "cabinetId": "2", "testStartStop": "1"}, [TestBattery(2, start=True)]),
    ({"cmd": "10"}, [AskBatteryTest(1)]),
    (
        {"updateNow": "1", "cmd": "2", "unlockDoorId": "1", "setFrequency": "60", "setServer": "https://a.example"},
        [
            SetServer("cabinet", "https://a.example"),
            SetFrequency("cabinet", 60),
            Unlock(1, "front"),
            UpdateNow("cabinet"),
        ],
    ),
]

REFUSED = [
    ({}, "cabinetControl"),
    ({"unheard": "1"}, "cabinetControl"),
    ({"cmd": None}, "cabinetControl"),
    ({"updateNow": "0"}, "updateNow"),
    ({"updateNow": True}, "updateNow"),
    ({"setFrequency": "9"}, "setFrequency"),
    ({"setFrequency": "86401"}, "setFrequency"),
    ({"setFrequency": "60.5"}, "setFrequency"),
    ({"setFrequency": " 60"}, "setFrequency"),
    ({"setFrequency": "060"}, "setFrequency"),
    ({"setFrequency": "1" * 5000}, "setFrequency"),
    ({"setFrequency": ["60"]}, "setFrequency"),
    ({"setServer": ""}, "setServer"),
    ({"setServer": "ftp://10.0.0.1"}, "setServer"),
    ({"setServer": "10.0.0.1\x00"}, "setServer"),
    ({"cmd": "0"}, "cmd"),
    ({"cmd": "11"}, "cmd"),
    ({"cmd": "two"}, "cmd"),
    ({"cmd": {}}, "cmd"),
    ({"cmd": ""}, "cmd"),
    ({"cmd": "1", "rebootIp": "10.0.0.9"}, "rebootPort"),
    ({"cmd": "1", "rebootPort": "502"}, "rebootIp"),
    ({"cmd": "1", "rebootIp": "router", "rebootPort": "502"}, "rebootIp"),
    ({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "0"}, "rebootPort"),
    ({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "504"}, "rebootPort"),  # no relay of this site
    ({"cmd": "1", "rebootIp": "10.0.0.10", "rebootPort": "502"}, "rebootIp"),
    ({"cmd": "2"}, "unlockDoorId"),
    ({"cmd": "2", "unlockDoorId": "0"}, "unlockDoorId"),
    ({"cmd": "2", "unlockDoorId": "3"}, "unlockDoorId"),
    ({"cmd": "2", "unlockDoorId": "2"}, "unlockDoorId"),  # there, but nothing unlocks it
    ({"cmd": "2", "cabinetId": "2", "unlockDoorId": "2"}, "unlockDoorId"),
    ({"cmd": "2", "cabinetId": "3", "unlockDoorId": "1"}, "cabinetId"),
    ({"cmd": "2", "cabinetId": "0", "unlockDoorId": "1"}, "cabinetId"),
    ({"cmd": "2", "cabinetId": "", "unlockDoorId": "1"}, "cabinetId"),
    ({"cmd": "3", "airOperate": "1"}, "airId"),
    ({"cmd": "3", "airId": "3", "airOperate": "1"}, "airId"),
    ({"cmd": "3", "airId": "0", "cabinetId": "2", "airOperate": "1"}, "airId"),  # skipped in the site file
    ({"cmd": "3", "airId": "1"}, "airOperate"),
    ({"cmd": "3", "airId": "1", "airOperate": "0"}, "airOperate"),
    ({"cmd": "4", "airId": "0"}, "autoRefrigerationTemp"),
    ({"cmd": "4", "airId": "0", "autoRefrigerationTemp": "20", "autoHeatingTemp": "20"}, "autoRefrigerationTemp"),
    ({"cmd": "4", "airId": "0", "autoRefrigerationTemp": "hot"}, "autoRefrigerationTemp"),
    ({"cmd": "4", "airId": "0", "autoRefrigerationTemp": "30", "autoHeatingTemp": "-99"}, "autoHeatingTemp"),
    ({"cmd": "4", "airId": "9", "autoHeatingTemp": "5"}, "airId"),
    ({"cmd": "5"}, "mode"),
    ({"cmd": "5", "mode": "4"}, "mode"),
    ({"cmd": "5", "mode": "1"}, "mode"),  # this level switches nothing off
    ({"cmd": "5", "mode": "3"}, "mode"),  # nor does this one, of its own
    ({"cmd": "6", "isDoorDefend": "2"}, "isDoorDefend"),
    ({"cmd": "7"}, "cardInfos"),
    ({"cmd": "7", "cardInfos": {}}, "cardInfos"),
    ({"cmd": "7", "cardInfos": ["1"]}, "cardInfos[0]"),
    ({"cmd": "7", "cardInfos": [{"expireDate": "2030-01-01"}]}, "cardInfos[0].cardId"),
    ({"cmd": "7", "cardInfos": [{"cardId": "1", "expireDate": "2030-02-30"}]}, "cardInfos[0].expireDate"),
    ({"cmd": "7", "cardInfos": [{"cardId": "1", "expireDate": "20300228"}]}, "cardInfos[0].expireDate"),
    (
        {
            "cmd": "7",
            "cardInfos": [{"cardId": "1", "expireDate": "2030-01-01"}, {"cardId": "1", "expireDate": "2031-01-01"}],
        },
        "cardInfos[1].expireDate",  # which of the two is meant?
    ),
    ({"cmd": "8"}, "onOff"),
    ({"cmd": "8", "cabinetId": "9", "onOff": "1"}, "cabinetId"),
    ({"cmd": "9", "testStartStop": "2"}, "testStartStop"),
    ({"cmd": "10", "cabinetId": "9"}, "cabinetId"),
    ({"setServer": "10.0.0.1", "cmd": "2", "unlockDoorId": "7"}, "unlockDoorId"),
]


@pytest.mark.parametrize(("business", "orders"), ACCEPTED)
def test_orders_are_read_in_the_order_they_are_done(business, orders):
    assert commands.read_commands("cabinetControl", business, SITE) == tuple(orders)


@pytest.mark.parametrize(("business", "field"), REFUSED)
def test_the_wrong_field_is_named(business, field):
    assert commands.read_commands("cabinetControl", business, SITE) == Refused(field)


@pytest.mark.parametrize(("business", "field"), REFUSED)
def test_what_would_be_valid_is_told_to_a_technician_in_both_languages(business, field):
    refused = commands.read_commands("cabinetControl", business, SITE)
    assert isinstance(refused, Refused)
    assert refused.valid, field
    assert refused.valid.zh
    assert refused.valid.en


@pytest.mark.parametrize(
    ("business", "zh", "en"),
    [
        ({"setFrequency": "9"}, "可用：10–86400 的整数", "valid: a whole number from 10 to 86400"),
        (
            {"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "504"},
            "可用：10.0.0.9 502 (router), 10.0.0.9 503 (switch)",
            "valid: 10.0.0.9 502 (router), 10.0.0.9 503 (switch)",
        ),
        ({"cmd": "2", "unlockDoorId": "2"}, "可用：1（前门）", "valid: 1 (front)"),
        ({"cmd": "2", "cabinetId": "3", "unlockDoorId": "1"}, "可用：1, 2", "valid: 1, 2"),
        ({"cmd": "3", "airId": "3", "airOperate": "1"}, "可用：0（全部）, 1, 2", "valid: 0 (all), 1, 2"),
        (
            {"cmd": "3", "airId": "0", "cabinetId": "2", "airOperate": "1"},
            "本机柜没有空调",
            "this cabinet has no air conditioner",
        ),
        ({"cmd": "5", "mode": "3"}, "可用：0, 2", "valid: 0, 2"),
    ],
)
def test_the_valid_choices_are_those_of_the_site(business, zh, en):
    refused = commands.read_commands("cabinetControl", business, SITE)
    assert isinstance(refused, Refused)
    assert refused.valid == Text(zh, en)


def test_the_computers_take_server_frequency_and_update_but_no_cmd():
    asked = {"cmd": "2", "unlockDoorId": "1", "setFrequency": "60"}
    assert commands.read_commands("computerControl", asked, SITE) == (SetFrequency("computer", 60),)
    assert commands.unknown_members("computerControl", asked) == ("cmd", "unlockDoorId")
    assert commands.read_commands("computerControl", {"cmd": "2"}, SITE) == Refused("computerControl")


def test_a_request_is_named_by_its_plain_fields_without_cards_and_passwords():
    business = {
        "cmd": 1,
        "rebootIp": "10.0.0.9\n",
        "setServer": "http://u:p@a",
        "cardInfos": [{}],
        "x": "1",
        "airId": "9" * 99,
    }
    assert commands.named("cabinetControl", business) == f"cabinetControl cmd=1 rebootIp=10.0.0.9\\n airId={'9' * 24}"


def test_only_cmd_10_is_a_query():
    assert commands.asks_result({"cmd": "10"})
    assert commands.asks_result({"cmd": 10})
    assert not commands.asks_result({"cmd": "9"})
    assert not commands.asks_result({})


@pytest.mark.parametrize(
    ("business", "read"),
    [
        ({"doorOpenTime": "2019-08-28 14:11:01.321"}, commands.MediaQuery(1, 1566972661.321)),
        ({"cabinetId": "2", "doorOpenTime": "2019-08-28 14:11:01"}, commands.MediaQuery(2, 1566972661.0)),
        ({}, Refused("doorOpenTime")),
        ({"doorOpenTime": "yesterday"}, Refused("doorOpenTime")),
        ({"cabinetId": "7", "doorOpenTime": "2019-08-28 14:11:01.321"}, Refused("cabinetId")),
    ],
)
def test_the_media_query_is_read(business, read):
    assert commands.read_media_query(business, SITE) == read


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 20), st.integers(0, 20).map(str), st.text(max_size=5))
NAMES = st.sampled_from(sorted(commands.KNOWN["cabinetControl"]))
CARDS = st.dictionaries(st.sampled_from(["cardId", " expireDate", "name"]), LEAVES)
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=2), st.lists(CARDS, max_size=2))


@PATIENT
@given(st.dictionaries(NAMES, VALUES), st.sampled_from(["cabinetControl", "computerControl"]))
def test_any_business_member_is_read_or_refused_by_a_short_name(business, method):
    request = protocol.check_request(body(method, **business), GANTRY, NOW, 300)
    assert isinstance(request, protocol.Request)
    read = commands.read_commands(method, request.business, SITE)
    if isinstance(read, Refused):
        assert json.loads(protocol.answer(protocol.Code.BAD_PARAMETER, read.field))["msg"].endswith(read.field)
