"""What people read of orders, of their ends and of a question that came to nothing: words, in both languages."""

import re
from datetime import date
from decimal import Decimal

import pytest
from support import english_sentences

from gantry_agent.cli import usage
from gantry_agent.cloud import words
from gantry_agent.command import (
    AskBatteryTest,
    Card,
    Command,
    Defend,
    Done,
    Failed,
    Partial,
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
from gantry_agent.field.examine import failure
from gantry_agent.model import AgentError, BadReply, BusDown, DeviceRefused, NoReply
from gantry_agent.text import Text, joined, of_system, read_kept

CHINESE = re.compile("[\u4e00-\u9fff]")
PYTHON = re.compile(r"\w+\(|Decimal|None|True|False|[{}']")
ORDERS: dict[str, Command] = {
    "upload cabinet to http://10.0.0.1/": SetServer("cabinet", "http://10.0.0.1/"),
    "upload computer every 60 s": SetFrequency("computer", 60),
    "upload cabinet now": UpdateNow("cabinet"),
    "reboot by relay router": Reboot("router"),
    "unlock the back door of cabinet 2": Unlock(2, "back"),
    "every air conditioner of cabinet 1: run": RunAirConditioner(1, 0, run=True),
    "air conditioner 2 of cabinet 1: stand by": RunAirConditioner(1, 2, run=False),
    "air conditioner 1 of cabinet 1: cool from 26.5 °C": SetTemperatures(1, 1, Decimal("26.5"), None),
    "air conditioner 1 of cabinet 1: heat from -5 °C": SetTemperatures(1, 1, None, Decimal(-5)),
    "every air conditioner of cabinet 3: cool from 30 °C, heat from 5 °C": SetTemperatures(
        3, 0, Decimal(30), Decimal(5)
    ),
    "power mode 2": SetPowerMode(2),
    "door defence on": Defend(on=True),
    "door defence off": Defend(on=False),
    "whitelist of 1 cards": SetWhitelist((Card("12345678", date(2030, 1, 1)),)),
    "rectifiers of cabinet 1 on": SwitchRectifiers(1, on=True),
    "rectifiers of cabinet 1 off": SwitchRectifiers(1, on=False),
    "begin the battery test of cabinet 1": TestBattery(1, start=True),
    "end the battery test of cabinet 1": TestBattery(1, start=False),
    "result of the battery test of cabinet 1": AskBatteryTest(1),
}


@pytest.mark.parametrize("en", ORDERS)
def test_an_order_is_told_in_words_of_both_languages(en: str) -> None:
    said = words.shown(ORDERS[en])
    assert said.en == en
    assert CHINESE.search(said.zh)
    assert not english_sentences(said.zh)
    assert not PYTHON.search(said.zh + said.en)
    assert "12345678" not in said.zh + said.en, "card numbers open doors"


@pytest.mark.parametrize(
    ("outcome", "en", "zh"),
    [
        (Done(), "done", "已执行"),
        (Partial((1, 3), "设备无应答"), "not done by 1, 3: 设备无应答", "第 1, 3 台未执行：设备无应答"),
        (Refused("airId"), "the field airId is wrong", "字段 airId 有误"),
        (Failed("超时"), "not done: 超时", "未执行：超时"),
    ],
)
def test_the_end_of_an_order_is_told_in_words(outcome, en, zh) -> None:
    assert words.told(outcome) == Text(zh, en)


@pytest.mark.parametrize("said", [Text("门\n锁", "a\nlock"), Text("1.io do3=1", "1.io do3=1"), Text("", "")])
def test_what_is_kept_in_one_string_comes_back_in_both_languages(said: Text) -> None:
    back = read_kept(said.kept())
    assert (back.zh, back.en) == (said.zh.replace("\n", " "), said.en.replace("\n", " "))


def test_what_an_older_agent_kept_is_read_as_it_is() -> None:
    assert read_kept("not done") == Text("not done", "not done")
    assert joined([Text("一", "one"), Text("二", "two")]) == Text("一；二", "one; two")


@pytest.mark.parametrize(
    ("error", "zh"),
    [
        (NoReply("cannot get an answer from unit 3"), "无应答"),
        (BadReply("cannot use the reply: it ends early"), "应答有误，不是对所问的应答"),
        (DeviceRefused("cannot read: illegal address", 2), "设备拒绝（2）"),
        (BusDown("cannot ask: port is down"), "总线不可用：连不上"),
        (
            BusDown(Text("无法打开 /dev/ttyS9：没有这个文件", "cannot open /dev/ttyS9: …")),
            "无法打开 /dev/ttyS9：没有这个文件",
        ),
    ],
)
def test_why_nothing_came_of_a_question_is_told_in_chinese_too(error: AgentError, zh: str) -> None:
    assert failure(error) == {"zh": zh, "en": str(error)}


def test_a_cause_that_the_system_tells_is_told() -> None:
    error = BusDown("cannot reach 10.0.0.1")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert failure(error) == {"zh": "总线不可用：拒绝连接", "en": "cannot reach 10.0.0.1"}
    assert failure(None) is None
    assert of_system(OSError(9999, "Something new")) == Text("Something new", "Something new")


@pytest.mark.parametrize(
    ("message", "zh"),
    [
        ("the following arguments are required: BUS, -x", "缺少参数：BUS, -x"),
        ("unrecognized arguments: y", "无法识别的参数：y"),
        ("ambiguous option: --l could match --latest, --last", "选项 --l 不明确，可能是 --latest, --last"),
        ("argument --units: expected one argument", "--units：后面应有一个值"),
        ("argument -v/--verbose: ignored explicit argument '3'", "-v/--verbose：不带值，多了 '3'"),
        ("argument --port: invalid int value: 'x'", "--port：值 'x' 无效"),
        ("argument what: invalid choice: 'gabs' (choose from 'gaps', 'outages')",
         "what：没有 gabs；是否想写 gaps？；可用：gaps, outages"),
        ("argument what: invalid choice: 'gabs' (choose from gaps, outages)",  # as Python 3.12 writes it
         "what：没有 gabs；是否想写 gaps？；可用：gaps, outages"),
    ],
)  # fmt: skip
def test_what_argparse_says_is_said_in_chinese(message: str, zh: str) -> None:
    assert usage.told(message).zh == zh
