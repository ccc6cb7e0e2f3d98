"""The vocabulary of points: every field of the interface, its unit, its form on the wire and whether it is urgent.

One table, from ETC门架监测接口协议 0.37 §2.1.2 and §3.1.2. Profiles, site files, snapshots, payloads and pages name a
quantity by the names here, `member.field` (`elec.voltage`). Nothing here knows a device.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType


class Form(Enum):
    """How a field's value is written on the wire; every leaf is a JSON string."""

    NUMBER = "number"  # plain decimal, trailing zeros dropped
    FIXED = "fixed"  # decimal with exactly `decimals` places: the source's 带两位小数
    CODE = "code"  # one of `values`
    COUNT = "count"  # whole number
    TEXT = "text"  # as it is
    TIME = "time"  # yyyy-MM-dd hh:mm:ss.zzz in the gantry's time zone


class Shape(Enum):
    """How a member stands in the payload."""

    LIST = "list"  # an array of objects with ids from 1
    SINGLE = "single"  # one object without an id


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the interface."""

    name: str
    form: Form
    unit: str = ""
    decimals: int = 2
    values: tuple[str, ...] = ()
    urgent: bool = False  # a change is pushed at once, and the point is read in the fast lane (PROTOCOL §2)


@dataclass(frozen=True, slots=True)
class Member:
    """One business member of a payload, `elec` or `doors`, with its fields in the order of the source."""

    name: str
    shape: Shape
    fields: Mapping[str, Field] = field(hash=False)


_BIT = ("0", "1")


def _number(name: str, unit: str, decimals: int = 2) -> Field:
    return Field(name, Form.NUMBER, unit, decimals)


def _code(name: str, *values: str, urgent: bool = False) -> Field:
    return Field(name, Form.CODE, values=values or _BIT, urgent=urgent)


def _percent(name: str) -> Field:
    return Field(name, Form.FIXED, "%", 2)


def _door(side: str) -> tuple[Field, ...]:
    return (
        _code(f"{side}DoorClosed", urgent=True),
        _code(f"{side}DoorLocked", urgent=True),
        _code(f"{side}DoorUnlockType", "0", "1", "2", "3", urgent=True),
        Field(f"{side}DoorUnlockCardId", Form.TEXT),
        _code(f"{side}DoorOpenIllegally", urgent=True),
        Field(f"{side}DoorChangeTime", Form.TIME),
    )


_STATUS = _code("status", urgent=True)
_WARNING = Field("warningMsg", Form.TEXT, urgent=True)
_DETECTOR = (_STATUS, _code("isWarning", urgent=True), Field("warningChangeTime", Form.TIME))


def _member(name: str, shape: Shape, *fields: Field) -> Member:
    return Member(name, shape, MappingProxyType({f.name: f for f in fields}))


COMPUTER = _member(
    "computerStatus",
    Shape.LIST,
    _code("isMonitorComputer"),
    _code("isMainComputer"),
    _percent("sysDiskUsage"),
    Field("sysDiskSize", Form.COUNT, "kB"),
    _percent("dataDiskUsage"),
    Field("dataDiskSize", Form.COUNT, "kB"),
    _percent("memoryUsage"),
    Field("memorySize", Form.COUNT, "kB"),
    _percent("netUsage"),
    _percent("cpuUsage"),
    Field("cpuTemperature", Form.FIXED, "°C", 2),
    Field("ip", Form.TEXT),
)

CABINET: Mapping[str, Member] = MappingProxyType(
    {
        m.name: m
        for m in (
            _member(
                "elec",
                Shape.LIST,
                _STATUS,
                _number("voltage", "V"),
                _number("current", "A"),
                _number("power", "kW", 3),
                _number("frequency", "Hz"),
                _number("elecConsumption", "kWh"),
                _WARNING,
            ),
            _member(
                "rectifier",
                Shape.LIST,
                _STATUS,
                _code("currentLimiting"),
                _number("outputVoltage", "V"),
                _number("outputCurrent", "A"),
                _number("outputPower", "kW", 3),
                _WARNING,
            ),
            _member(
                "ups",
                Shape.LIST,
                _STATUS,
                _code("runningState", "1", "2", "3", "4", "5"),
                _number("inputVoltage", "V"),
                _number("inputCurrent", "A"),
                _number("outputVoltage", "V"),
                _number("outputCurrent", "A"),
                _number("powerRate", "%"),
                _number("surplusTime", "min"),
                _number("remainCapacity", "Ah"),
                _number("temperature", "°C"),
                _WARNING,
            ),
            _member(
                "airConditioners",
                Shape.LIST,
                _STATUS,
                Field("errorMsg", Form.TEXT, urgent=True),
                _code("isWorking"),
                _code("workMode", "0", "1", "2"),
                _code("systemWarning", urgent=True),
                _code("temperatureWarning", urgent=True),
            ),
            _member("thermohygrometer", Shape.SINGLE, _STATUS, _number("temperature", "°C"), _number("humidity", "%")),
            _member("waterloggingSensor", Shape.SINGLE, *_DETECTOR),
            _member("smokeSensor", Shape.SINGLE, *_DETECTOR),
            _member("doors", Shape.SINGLE, _STATUS, _code("defendMode", urgent=True), *_door("front"), *_door("back")),
            _member("thunderSpd", Shape.LIST, _STATUS, Field("lightningCount", Form.COUNT, urgent=True)),
        )
    }
)

BATTERY_TEST = _member(  # the answer to cmd 10, §3.2.3; no member of an upload
    "batterysTestResult",
    Shape.SINGLE,
    Field("testStartTime", Form.TIME),
    _code("testResult", "1", "2", "3", "4"),
    _number("efficiency", "%"),
    _number("dischargeTime", "h"),
    _number("dischargeEndVoltage", "V"),
    _number("dischargeAvCurrent", "A"),
    _number("dischargeAhCurrent", "Ah"),
    _number("testTemperature", "°C"),
    _code("testEndCourse", "1", "2", "3", "4", "5", "6", "7", "255"),
)

MEMBERS: Mapping[str, Member] = MappingProxyType({**CABINET, COMPUTER.name: COMPUTER})

WARNING_FIELD: Mapping[str, str] = MappingProxyType(  # where a member's alarm texts go
    {"elec": "warningMsg", "rectifier": "warningMsg", "ups": "warningMsg", "airConditioners": "errorMsg"}
)
