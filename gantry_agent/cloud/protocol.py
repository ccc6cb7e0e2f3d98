"""The interface as bytes: what an upload looks like, what an answer means, what a request must be.

Pure: bytes, header values and the time are given. What is asked for inside a business member is `commands`; who is
asking, how often and from where is `control`; when to send again is `uplink`. Decisions D1 to D16 are those of the
project's reading of the interface (PROTOCOL §4); § alone is a section of ETC门架监测接口协议 0.37.
"""

import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum, StrEnum
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gantry_agent.model import NO_DATA, NOT_SUPPORT, Channel, Quality, Reading, Role, Site, Snapshot
from gantry_agent.vocabulary import CABINET, COMPUTER, Field, Form, Member, Shape

VERSION = "1001"
PATH_UPLOAD = "/monitor.do"
PATH_CONTROL = "/remotecontrol.do"
MSG_LIMIT = 40  # §1.6
BINFILE_MD5 = "binfile-md5"
BINFILE_AUTH = "binfile-auth"
TEST_RESULT = "batterysTestResult"  # of the answer to cmd 10 (§3.2.3)
CONTENT_TYPE = "application/json; charset=utf-8"

METHOD: Mapping[Channel, str] = MappingProxyType({"computer": "computerStatusUpdate", "cabinet": "cabinetStatusUpdate"})
BUSINESS: Mapping[str, str] = MappingProxyType(  # which member carries a method's business
    {
        "computerStatusUpdate": "computerStatus",
        "cabinetStatusUpdate": "cabinetStatus",
        "computerControl": "computerControl",
        "cabinetControl": "cabinetControl",
        "getCabinetImageVedio": "getCabinetImageVedio",
    }
)
REQUEST_METHODS = frozenset({"computerControl", "cabinetControl", "getCabinetImageVedio"})


class Code(StrEnum):
    """Business answers, §1.7."""

    OK = "1000"
    NOT_ALLOWED = "1001"
    BAD_PARAMETER = "1002"
    CLOCK = "1003"
    BAD_SIGNATURE = "1004"
    TOO_FREQUENT = "1005"
    BAD_VERSION = "1006"
    FAILED = "1007"
    UNKNOWN = "1008"
    NO_MEDIA = "1009"


MSG: Mapping[Code, str] = MappingProxyType(
    {
        Code.OK: "成功",
        Code.NOT_ALLOWED: "无权使用该接口",
        Code.BAD_PARAMETER: "参数有误",
        Code.CLOCK: "系统时间偏差太大",
        Code.BAD_SIGNATURE: "无效的签名",
        Code.TOO_FREQUENT: "请求过于频繁",
        Code.BAD_VERSION: "未知的接口版本号",
        Code.FAILED: "执行控制命令失败",
        Code.UNKNOWN: "未知系统异常",
        Code.NO_MEDIA: "无对应图像/视频",
    }
)


# --- what both directions share -------------------------------------------------------------------------------------


def digest(body: bytes) -> str:
    """The MD5 that `binfile-md5` carries: of the exact bytes of the body, lower-case hex."""
    return hashlib.md5(body).hexdigest()


def sign(body: bytes, auth: str) -> dict[str, str]:
    """The headers of a request or of a file that is sent."""
    return {BINFILE_MD5: digest(body), BINFILE_AUTH: auth}


def encode(document: Mapping[str, object]) -> bytes:
    """JSON as it goes on the wire: UTF-8, Chinese as it is, never NaN."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


# --- uploads --------------------------------------------------------------------------------------------------------


def build_cabinet(site: Site, snapshot: Snapshot) -> dict[str, object]:
    """`cabinetStatus` of one cabinet (§3.1.2): every member, every field, in the order of the source (D15)."""
    zone = ZoneInfo(site.timezone)
    built: dict[str, object] = {"id": str(snapshot.cabinet)}
    for member in CABINET.values():
        roles = sorted(role for role in snapshot.entries if role.member == member.name)
        if member.shape is Shape.LIST:
            built[member.name] = [
                {"id": str(role.number), **_fields(member, snapshot.entries[role], zone)} for role in roles
            ]
        else:
            entry = snapshot.entries[roles[0]] if roles else {}
            built[member.name] = _fields(member, entry, zone, absent=NO_DATA if roles else NOT_SUPPORT)
    return built


def build_computers(site: Site, snapshot: Snapshot) -> list[dict[str, str]]:
    """`computerStatus` (§2.1.2) of every computer of the site file; what the file says of one is taken from there."""
    zone = ZoneInfo(site.timezone)
    built = []
    for computer in sorted(site.computers, key=lambda computer: computer.number):
        said = {
            "isMonitorComputer": Reading(int(computer.monitor)),
            "isMainComputer": Reading(int(computer.main)),
            **({"ip": Reading(computer.ip)} if computer.ip else {}),
        }
        entry = {**snapshot.entries.get(Role(0, COMPUTER.name, computer.number), {}), **said}
        built.append({"id": str(computer.number), **_fields(COMPUTER, entry, zone)})
    return built


def envelope(gantry_id: str, method: str, taken_at: float, business: object) -> bytes:
    """The exact body of an upload; `taken_at` (Unix seconds) is when the data were taken (D17)."""
    return encode(
        {
            "gantryId": gantry_id,
            "method": method,
            "timeStamp": str(math.floor(taken_at)),
            "version": VERSION,
            BUSINESS[method]: business,
        }
    )


def wire_value(field: Field, reading: Reading, zone: tzinfo) -> str:
    """How a reading stands in a payload. A value that the field cannot express is `NoData`, never a broken string."""
    if reading.quality is not Quality.OK:
        return reading.quality.value
    written = None if reading.value is None else _written(field, reading.value, zone)
    return Quality.NO_DATA.value if written is None else written


def _fields(member: Member, entry: Mapping[str, Reading], zone: tzinfo, absent: Reading = NO_DATA) -> dict[str, str]:
    return {name: wire_value(field, entry.get(name, absent), zone) for name, field in member.fields.items()}


def _written(field: Field, value: float | str, zone: tzinfo) -> str | None:
    match field.form:
        case Form.TEXT:
            return _clean(str(value))
        case Form.CODE:
            number = _number(value)
            code = str(value) if number is None else _decimal(number, 0)
            return code if code in field.values else None
    number = _number(value)
    if number is None:
        return None
    match field.form:
        case Form.NUMBER:
            written = _decimal(number, field.decimals)
            return written.rstrip("0").rstrip(".") if "." in written else written
        case Form.FIXED:
            return _decimal(number, field.decimals)
        case Form.COUNT:
            return _decimal(number, 0)
        case Form.TIME:
            return format_time(number, zone)


def _number(value: float | str) -> int | float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _decimal(number: float, decimals: int) -> str:
    written = f"{number:d}" + ("." + "0" * decimals if decimals else "") if isinstance(number, int) else ""
    written = written or f"{number:.{decimals}f}"
    return written[1:] if written.startswith("-") and not written.strip("-0.") else written  # no "-0"


def _clean(text: str) -> str:
    """Drop what a device's text may carry and JSON or a database may not: control characters, half surrogates."""
    kept = "".join(letter for letter in text if letter >= " " and letter != "\x7f")
    return kept.encode(errors="replace").decode()


# --- times ----------------------------------------------------------------------------------------------------------

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,3}))?", re.ASCII)


def format_time(at: float, zone: tzinfo) -> str | None:
    """`yyyy-MM-dd hh:mm:ss.zzz` in the gantry's zone, or None for an instant no calendar has."""
    try:
        return datetime.fromtimestamp(at, zone).isoformat(" ", "milliseconds")[:23]
    except (ValueError, OverflowError, OSError):
        return None


def read_time(text: str, zone: tzinfo) -> float | None:
    """The inverse; milliseconds may be left out. None when it is not such a time."""
    if (match := _TIME.fullmatch(text)) is None:
        return None
    try:
        moment = datetime.fromisoformat(match[1]).replace(tzinfo=zone)
        return moment.timestamp() + int((match[2] or "0").ljust(3, "0")) / 1000
    except (ValueError, OverflowError):
        return None


# --- what the cloud says to an upload (D16) -------------------------------------------------------------------------


class Fate(Enum):
    """What becomes of a record after an attempt."""

    DELIVERED = "delivered"
    SET_ASIDE = "set aside"  # it will never pass
    RETRY = "retry"  # the cloud or the way to it is in trouble
    RETRY_OTHERS_FIRST = "retry, others first"  # perhaps it is this record: it must not hold up the others
    RETRY_CLOCK = "retry, clock"  # our clock is off, or this record is too old for the cloud
    RETRY_SLOWLY = "retry slowly"  # somebody must mend the configuration


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code` is the cloud's own (`1005`), or says what came instead (`HTTP 502`, `no answer`)."""

    fate: Fate
    code: str
    msg: str = ""


FATE_BY_CODE: Mapping[str, Fate] = MappingProxyType(
    {
        Code.OK: Fate.DELIVERED,
        Code.NOT_ALLOWED: Fate.RETRY_SLOWLY,
        Code.BAD_PARAMETER: Fate.SET_ASIDE,
        Code.CLOCK: Fate.RETRY_CLOCK,
        Code.BAD_SIGNATURE: Fate.RETRY_SLOWLY,
        Code.TOO_FREQUENT: Fate.RETRY,
        Code.BAD_VERSION: Fate.SET_ASIDE,
        Code.FAILED: Fate.RETRY_OTHERS_FIRST,
        Code.UNKNOWN: Fate.RETRY_OTHERS_FIRST,
        Code.NO_MEDIA: Fate.RETRY_OTHERS_FIRST,
    }
)
FATE_BY_STATUS: Mapping[int, Fate] = MappingProxyType(  # any other: RETRY
    {
        400: Fate.RETRY_OTHERS_FIRST,
        413: Fate.SET_ASIDE,
        422: Fate.RETRY_OTHERS_FIRST,
        500: Fate.RETRY_OTHERS_FIRST,
    }
)


def judge(status: int, body: bytes) -> Verdict:
    """What the answer to an upload means.

    A body with one of the interface's codes speaks for itself whatever the HTTP status, as some platforms answer a
    business refusal with 4xx; but 1000 counts only with 2xx, since a record judged delivered is gone.
    """
    good = 200 <= status < 300
    code, msg = _code_in(body)
    if (fate := FATE_BY_CODE.get(code)) and (good or fate is not Fate.DELIVERED):
        return Verdict(fate, code, msg)
    if not good:
        return Verdict(FATE_BY_STATUS.get(status, Fate.RETRY), f"HTTP {status}", msg)
    if code:
        return Verdict(Fate.RETRY_OTHERS_FIRST, code, msg)
    return Verdict(Fate.RETRY, "not JSON", f"HTTP {status} without a code")


def _code_in(body: bytes) -> tuple[str, str]:
    try:
        answer = read_json(body.removeprefix(b"\xef\xbb\xbf"))  # leniency towards clouds that send a byte order mark
    except NotJson:
        return "", ""
    code, msg = answer.get("code"), answer.get("msg")
    return (code[:16] if isinstance(code, str) else ""), (msg[:MSG_LIMIT] if isinstance(msg, str) else "")


# --- requests of the cloud (D2, D3, D4) -----------------------------------------------------------------------------


class NotJson(Exception):
    """The body is not the JSON object that the interface asks for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than 1000, and what to add to its standard text: a field's name, a reason."""

    code: Code
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose envelope is in order; `unknown` are envelope members that the interface does not have."""

    method: str
    sent_at: int
    business: Mapping[str, object]
    unknown: tuple[str, ...] = ()


def signature_holds(body: bytes, given: str | None) -> bool:
    """D2: `binfile-md5` is the MD5 of the body, hex in either case."""
    return given is not None and _same(given.strip().lower(), digest(body))


def auth_holds(given: str | None, expected: str) -> bool:
    """D2: `binfile-auth` is the shared code. Takes the same time however much of it is right."""
    return given is not None and _same(given, expected)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="surrogateescape"), other.encode(errors="surrogateescape"))


_ENVELOPE = MappingProxyType({"gantryId": 20, "method": 128, "timeStamp": 19, "version": 14})  # longest, §1.5


def check_request(body: bytes, gantry_id: str, now: float, tolerance_s: float) -> Request | Refusal:
    """D3 in its order: shape and members (1002), then version (1006), then time (1003)."""
    try:
        document = read_json(body)
    except NotJson:
        return Refusal(Code.BAD_PARAMETER, "JSON")
    head: dict[str, str] = {}
    for name, longest in _ENVELOPE.items():
        value = document.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            return Refusal(Code.BAD_PARAMETER, name)
        head[name] = value
    method, stamp = head["method"], head["timeStamp"]
    if head["gantryId"] != gantry_id:
        return Refusal(Code.BAD_PARAMETER, "gantryId")
    if method not in REQUEST_METHODS:
        return Refusal(Code.BAD_PARAMETER, "method")
    business = document.get(BUSINESS[method])
    if not isinstance(business, dict):
        return Refusal(Code.BAD_PARAMETER, BUSINESS[method])
    if not (stamp.isascii() and stamp.isdigit()):
        return Refusal(Code.BAD_PARAMETER, "timeStamp")
    if head["version"] != VERSION:
        return Refusal(Code.BAD_VERSION)
    if abs(int(stamp) - now) > tolerance_s:
        return Refusal(Code.CLOCK)
    unknown = tuple(name for name in document if name not in _ENVELOPE and name != BUSINESS[method])
    return Request(method, int(stamp), business, unknown)


def answer(code: Code, detail: str = "", extra: Mapping[str, object] = MappingProxyType({})) -> bytes:
    """The body of an answer; `msg` is the standard text, with the detail if there is one, within 40 characters."""
    msg = f"{MSG[code]}: {detail}" if detail else MSG[code]
    return encode({"code": code.value, "msg": msg[:MSG_LIMIT], **extra})


def says_ok(told: bytes) -> bool:
    """Tell whether an answer of our own says 1000."""
    return told.startswith(b'{"code":"1000"')


_INTEGRAL = re.compile(r"(-?\d+)\.0+", re.ASCII)


def read_json(body: bytes) -> dict[str, object]:
    """A JSON object with its keys trimmed and its numbers as text (D4), so that `5`, `5.0` and `"5"` are one.

    Stricter than `json` where it would guess: a name given twice, NaN, a byte order mark. Raises NotJson for these
    and for all else that is not a JSON object in UTF-8, however deep or long.
    """
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_trimmed,
            parse_int=str,  # as text: no limit of digits, no long conversion
            parse_float=lambda text: match[1] if (match := _INTEGRAL.fullmatch(text)) else text,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as fault:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise NotJson(type(fault).__name__) from fault
    if not isinstance(document, dict):
        raise NotJson("not an object")
    return document


def _trimmed(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    document: dict[str, object] = {}
    for key, value in pairs:
        name = key.strip()
        if name in document:
            raise ValueError("a name is given twice")
        document[name] = value
    return document


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
