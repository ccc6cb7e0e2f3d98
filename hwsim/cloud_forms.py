"""How every value of an upload must look, written from the interface's own tables (§2.1.2, §3.1.2), pure.

A `Form` checks one string and says what is wrong with it. `COMPUTER` and `CABINET` are the tables: which members, which
fields, which form. Where the source gives no range, the range here is what such hardware can plausibly say, wide enough
for every real site and narrow enough to catch a wrong unit (W for kW, seconds for minutes, 0.1 V for V). Nothing here
knows of requests or answers.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from hwsim.terminal import Text

ERROR_WORDS = ("NoData", "GetFailed", "NotSupport")  # §1.8

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_TWO_DECIMALS = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3}", re.ASCII)
_CARD = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """One way a value may look. `wrong` gives nothing where the value is right."""

    wrong: Callable[[str], Text | None]
    words: bool = True  # the three error words may stand instead


def _number(text: str, low: float, high: float, unit: str) -> Text | None:
    if text.startswith("-") and float(text) == 0:
        return Text(f"“{text}”是负零", f"{text!r} is a negative zero")
    if not low <= float(text) <= high:
        return Text(
            f"“{text}”不在合理范围 {low:g}…{high:g} {unit} 内",
            f"{text!r} is outside the plausible {low:g} to {high:g} {unit}",
        )
    return None


def decimal(low: float, high: float, unit: str) -> Form:
    """A number in plain notation: no exponent, no plus sign, no leading zeros, no blanks."""

    def wrong(text: str) -> Text | None:
        if not _DECIMAL.fullmatch(text):
            return Text(f"“{text}”不是普通十进制数", f"{text!r} is not a plain decimal number")
        return _number(text, low, high, unit)

    return Form(wrong)


def two_decimals(low: float, high: float, unit: str) -> Form:
    """“带两位小数”: exactly two digits after the point."""

    def wrong(text: str) -> Text | None:
        if not _TWO_DECIMALS.fullmatch(text):
            return Text(f"“{text}”应带两位小数", f"{text!r} needs exactly two decimals")
        return _number(text, low, high, unit)

    return Form(wrong)


def whole(low: int, high: int, unit: str) -> Form:
    def wrong(text: str) -> Text | None:
        if not _WHOLE.fullmatch(text):
            return Text(f"“{text}”应为整数", f"{text!r} is not a whole number")
        return _number(text, low, high, unit)

    return Form(wrong)


def one_of(*values: str, words: bool = True) -> Form:
    def wrong(text: str) -> Text | None:
        if text in values:
            return None
        choices = ", ".join(values)
        return Text(f"“{text}”不在取值 {choices} 之内", f"{text!r} is none of {choices}")

    return Form(wrong, words)


def _wrong_time(text: str) -> Text | None:
    if _TIME.fullmatch(text):
        try:
            if datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").year >= 2000:  # noqa: DTZ007 - local time, no zone in it
                return None
        except ValueError:
            pass
        return Text(f"“{text}”不是有效的时间", f"{text!r} is no valid time")
    return Text(f"“{text}”不符合 yyyy-MM-dd hh:mm:ss.zzz", f"{text!r} is not yyyy-MM-dd hh:mm:ss.zzz")


def _wrong_warning(text: str) -> Text | None:
    if not text:
        return None
    if "，" in text:
        return Text(
            "告警以半角逗号间隔，此处为全角",
            f"{text!r} has a full-width comma; warnings are joined by a half-width one",
        )
    items = text.split(",")
    if any(not item.strip() for item in items):
        return Text(f"“{text}”含有空的告警项", f"{text!r} has an empty warning")
    if any(item != item.strip() for item in items):
        return Text(f"“{text}”的告警项前后有空格", f"{text!r} has blanks around a warning")
    if len(set(items)) != len(items):
        return Text(f"“{text}”有重复的告警项", f"{text!r} says a warning twice")
    if any(ord(letter) < 0x20 for letter in text):
        return Text(f"“{text}”含有控制字符", f"{text!r} has a control character")
    if any(word in items for word in ERROR_WORDS):
        return Text(f"“{text}”混有错误值", f"{text!r} mixes an error word with warnings")
    return None


def _wrong_address(text: str) -> Text | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return Text(f"“{text}”不是 IP 地址", f"{text!r} is no IP address")
    if address.is_unspecified or address.is_multicast:
        return Text(f"“{text}”不是主机地址", f"{text!r} is no address of a host")
    return None


def _wrong_card(text: str) -> Text | None:
    if _CARD.fullmatch(text):
        return None
    return Text(f"“{text}”不是卡号；无卡号时填 NoData", f"{text!r} is no card number; without one it is NoData")


NUMBER = whole(1, 999, "")
ID = Form(NUMBER.wrong, words=False)  # “从 1 开始编号”; an id is given by the site, it cannot fail
STATUS = one_of("0", "1")
FLAG = one_of("0", "1")
SURE_FLAG = one_of("0", "1", words=False)  # said by the site file, it cannot fail
PERCENT = two_decimals(0, 100, "%")
SIZE = whole(1, 10**13, "kB")
TIME = Form(_wrong_time)
WARNING = Form(_wrong_warning)


@dataclass(frozen=True, slots=True)
class Member:
    """One part of a payload: its fields, and whether it is an array of such objects."""

    fields: Mapping[str, Form]
    many: bool


def _member(fields: dict[str, Form], *, many: bool) -> Member:
    return Member(MappingProxyType(fields), many)


COMPUTER = _member(  # §2.1.2
    {
        "id": ID,
        "isMonitorComputer": SURE_FLAG,
        "isMainComputer": SURE_FLAG,
        "sysDiskUsage": PERCENT,
        "sysDiskSize": SIZE,
        "dataDiskUsage": PERCENT,
        "dataDiskSize": SIZE,
        "memoryUsage": PERCENT,
        "memorySize": SIZE,
        "netUsage": PERCENT,
        "cpuUsage": PERCENT,
        "cpuTemperature": two_decimals(-40, 125, "°C"),
        "ip": Form(_wrong_address),
    },
    many=True,
)


def _door(side: str) -> dict[str, Form]:
    return {
        f"{side}DoorClosed": FLAG,
        f"{side}DoorLocked": FLAG,
        f"{side}DoorUnlockType": one_of("0", "1", "2", "3"),
        f"{side}DoorUnlockCardId": Form(_wrong_card),
        f"{side}DoorOpenIllegally": FLAG,
        f"{side}DoorChangeTime": TIME,
    }


_ALARM_INPUT = {"status": STATUS, "isWarning": FLAG, "warningChangeTime": TIME}

CABINET: Mapping[str, Member] = MappingProxyType(  # §3.1.2, without `id`
    {
        "elec": _member(
            {
                "id": ID,
                "status": STATUS,
                "voltage": decimal(0, 500, "V"),
                "current": decimal(-1000, 1000, "A"),
                "power": decimal(-300, 300, "kW"),
                "frequency": decimal(0, 70, "Hz"),
                "elecConsumption": decimal(0, 10**8, "kWh"),
                "warningMsg": WARNING,
            },
            many=True,
        ),
        "rectifier": _member(
            {
                "id": ID,
                "status": STATUS,
                "currentLimiting": FLAG,
                "outputVoltage": decimal(0, 450, "V"),
                "outputCurrent": decimal(0, 1000, "A"),
                "outputPower": decimal(0, 60, "kW"),
                "warningMsg": WARNING,
            },
            many=True,
        ),
        "ups": _member(
            {
                "id": ID,
                "status": STATUS,
                "runningState": one_of("1", "2", "3", "4", "5"),
                "inputVoltage": decimal(0, 900, "V"),
                "inputCurrent": decimal(0, 1000, "A"),
                "outputVoltage": decimal(0, 900, "V"),
                "outputCurrent": decimal(0, 1000, "A"),
                "powerRate": decimal(0, 100, "%"),
                "surplusTime": decimal(0, 60000, "min"),
                "remainCapacity": decimal(0, 10000, "Ah"),
                "temperature": decimal(-50, 100, "°C"),
                "warningMsg": WARNING,
            },
            many=True,
        ),
        "airConditioners": _member(
            {
                "id": ID,
                "status": STATUS,
                "errorMsg": WARNING,
                "isWorking": FLAG,
                "workMode": one_of("0", "1", "2"),
                "systemWarning": FLAG,
                "temperatureWarning": FLAG,
            },
            many=True,
        ),
        "thermohygrometer": _member(
            {"status": STATUS, "temperature": decimal(-50, 100, "°C"), "humidity": decimal(0, 100, "%")}, many=False
        ),
        "waterloggingSensor": _member(_ALARM_INPUT, many=False),
        # The summary table says ObjectArray; the member's own table and the example say object.
        "doors": _member({"status": STATUS, "defendMode": FLAG, **_door("front"), **_door("back")}, many=False),
        "smokeSensor": _member(_ALARM_INPUT, many=False),
        "thunderSpd": _member({"id": ID, "status": STATUS, "lightningCount": whole(0, 10**7, "")}, many=True),
    }
)
