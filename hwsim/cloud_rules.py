"""The strict cloud's judgement of one request: which code, and everything that is wrong with it. Pure.

The order of the checks is a platform's: signature (1004), right to use (1001), body and envelope (1002), version
(1006), time (1003), then the data themselves (1002). A failure up to the envelope ends the checking, as nothing after
it can be trusted; from there on everything is looked at, so that one upload shows all its faults. Written from the
interface's text alone: it shares no table with the agent, since an error that both share would pass every test.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hwsim.cloud_forms import CABINET, COMPUTER, ERROR_WORDS, ID, Form, Member
from hwsim.terminal import Text

MESSAGES = {  # §1.7
    "1000": "成功",
    "1001": "无权使用该接口",
    "1002": "参数有误",
    "1003": "系统时间偏差太大",
    "1004": "无效的签名",
    "1005": "请求过于频繁",
    "1006": "未知的接口版本号",
    "1007": "执行控制命令失败",
    "1008": "未知系统异常",
    "1009": "无对应图像/视频",
}
MESSAGE_LIMIT = 40  # §1.6
BUSINESS = {"computerStatusUpdate": "computerStatus", "cabinetStatusUpdate": "cabinetStatus"}
ENVELOPE = {"gantryId": 20, "method": 128, "timeStamp": 19, "version": 14}  # §1.5: longest allowed
HEADER_LIMIT = 128

_MD5 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_SECONDS = re.compile(r"[1-9][0-9]*", re.ASCII)
_JSON_TYPE = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rules:
    """What this cloud was told about its gantry. `oldest_s` is the age up to which retransmitted data are taken."""

    auth: str
    gantry_id: str | None = None
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    tolerance_s: float = 300.0
    oldest_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong, where, and the code it deserves."""

    code: str
    where: str
    text: Text

    def __str__(self) -> str:
        return f"{self.where}: {self.text.en}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer, its reasons, and as much of the request as could be read."""

    code: str
    message: str
    complaints: tuple[Complaint, ...] = ()
    envelope: Mapping[str, object] | None = None
    method: str = ""
    cabinet: str = ""  # empty for computers


class _TwiceError(ValueError):
    """A JSON object names a key twice."""


def judge(rules: Rules, headers: Mapping[str, str], body: bytes, now: float) -> Judgement:
    """Check one upload. `headers` by lower-case name; `now` in Unix seconds."""
    if complaint := _signature(headers, body) or _right(rules, headers):
        return _verdict([complaint])
    envelope, complaints = _parse(headers, body)
    if envelope is None:
        return _verdict(complaints)
    complaints += _envelope(rules, envelope)
    if any(complaint.code == "1002" for complaint in complaints):
        return _verdict(complaints, envelope)
    complaints += _version(envelope)
    complaints += _time(rules, envelope, now)
    complaints += _business(rules, envelope)
    return _verdict(complaints, envelope)


def message(code: str, named: str = "") -> str:
    """The answer's msg, naming the field where there is one, within the interface's 40 characters."""
    return f"{MESSAGES[code]}: {named}"[:MESSAGE_LIMIT] if named else MESSAGES[code]


def _verdict(complaints: list[Complaint], envelope: Mapping[str, object] | None = None) -> Judgement:
    method = envelope.get("method") if envelope else None
    business = envelope.get("cabinetStatus") if envelope else None
    cabinet = business.get("id") if isinstance(business, dict) else None
    code = complaints[0].code if complaints else "1000"
    named = complaints[0].where.rpartition(".")[2] if complaints and code == "1002" else ""
    return Judgement(
        code,
        message(code, named),
        tuple(complaints),
        envelope,
        method if isinstance(method, str) else "",
        cabinet if isinstance(cabinet, str) else "",
    )


def _signature(headers: Mapping[str, str], body: bytes) -> Complaint | None:
    given = headers.get("binfile-md5")
    if given is None:
        return Complaint("1004", "binfile-md5", Text("缺少报文头", "the header is missing"))
    if not _MD5.fullmatch(given):
        return Complaint("1004", "binfile-md5", Text("不是 32 位十六进制数", "is not 32 hexadecimal digits"))
    if given.lower() != (right := hashlib.md5(body).hexdigest()):
        return Complaint("1004", "binfile-md5", Text(f"与请求体不符（应为 {right}）", f"is not the body's ({right})"))
    return None


def _right(rules: Rules, headers: Mapping[str, str]) -> Complaint | None:
    given = headers.get("binfile-auth")
    if given is None:
        return Complaint("1001", "binfile-auth", Text("缺少报文头", "the header is missing"))
    if len(given) > HEADER_LIMIT:
        return Complaint("1001", "binfile-auth", Text("超过 128 个字符", "is longer than 128 characters"))
    if given != rules.auth:
        return Complaint("1001", "binfile-auth", Text("鉴权码不正确", "is not the agreed code"))
    return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _TwiceError(next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1))
    return value


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _parse(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, object] | None, list[Complaint]]:
    complaints: list[Complaint] = []
    if not _JSON_TYPE.fullmatch(headers.get("content-type", "").strip()):
        given = headers.get("content-type", "")
        complaints.append(
            Complaint(
                "1002", "Content-Type", Text(f"“{given}”不是 application/json", f"{given!r} is not application/json")
            )
        )
    try:
        envelope = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        return None, [*complaints, Complaint("1002", "body", Text("不是 UTF-8", "is not UTF-8"))]
    except _TwiceError as error:
        text = Text(f"键“{error}”重复", f"names the key {str(error)!r} twice")
        return None, [*complaints, Complaint("1002", "body", text)]
    except (ValueError, RecursionError) as error:
        return None, [*complaints, Complaint("1002", "body", Text(f"不是 JSON（{error}）", f"is not JSON ({error})"))]
    if not isinstance(envelope, dict):
        return None, [*complaints, Complaint("1002", "body", Text("不是 JSON 对象", "is not a JSON object"))]
    return envelope, complaints


def _envelope(rules: Rules, envelope: Mapping[str, object]) -> list[Complaint]:
    complaints: list[Complaint] = []

    def complain(where: str, zh: str, en: str) -> None:
        complaints.append(Complaint("1002", where, Text(zh, en)))

    for name, longest in ENVELOPE.items():
        value = envelope.get(name)
        if name not in envelope:
            complain(name, "缺少该参数", "is missing")
        elif not isinstance(value, str):
            complain(name, "不是字符串", f"is {_kind(value)}, not a string")
        elif not 0 < len(value) <= longest:
            complain(name, f"长度应为 1…{longest}", f"must be 1 to {longest} characters long")
    gantry, method, stamp = envelope.get("gantryId"), envelope.get("method"), envelope.get("timeStamp")
    if isinstance(gantry, str) and rules.gantry_id not in (None, gantry):
        complain(
            "gantryId", f"“{gantry}”不是本门架 {rules.gantry_id}", f"{gantry!r} is not the gantry {rules.gantry_id}"
        )
    if isinstance(stamp, str) and not _SECONDS.fullmatch(stamp):
        complain("timeStamp", f"“{stamp}”不是以秒为单位的 Unix 时间", f"{stamp!r} is not a Unix time in whole seconds")
    if not isinstance(method, str):
        return complaints
    if method not in BUSINESS:
        complain("method", f"未知接口“{method}”", f"{method!r} is unknown; valid: {', '.join(BUSINESS)}")
        return complaints
    business = BUSINESS[method]
    if business not in envelope:
        complain(business, f"接口 {method} 缺少该业务参数", f"is missing; the method {method} needs it")
    for key in envelope:
        if key not in ENVELOPE and key != business:
            complain(key, *_unknown(key, [*ENVELOPE, business]))
    return complaints


def _version(envelope: Mapping[str, object]) -> list[Complaint]:
    version = envelope["version"]
    if version == "1001":
        return []
    return [Complaint("1006", "version", Text(f"“{version}”应为 1001", f"is {version!r}, must be '1001'"))]


def _time(rules: Rules, envelope: Mapping[str, object], now: float) -> list[Complaint]:
    age = now - int(str(envelope["timeStamp"]))
    if age < -rules.tolerance_s:
        text = Text(f"比平台时间快 {-age:.0f} 秒", f"is {-age:.0f} s ahead of the cloud's clock")
        return [Complaint("1003", "timeStamp", text)]
    if age > max(rules.tolerance_s, rules.oldest_s):
        return [
            Complaint(
                "1003", "timeStamp", Text(f"比平台时间慢 {age:.0f} 秒", f"is {age:.0f} s behind the cloud's clock")
            )
        ]
    return []


def _kind(value: object) -> str:
    kinds = ((bool, "a boolean"), (int | float, "a number"), (list, "an array"), (dict, "an object"), (str, "a string"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _unknown(key: str, known: list[str]) -> tuple[str, str]:
    if key.strip() in known:
        return "键名含有多余空格", f"has stray blanks in its key {key!r}"
    return "未知的字段", "is not in the interface"


def _business(rules: Rules, envelope: Mapping[str, object]) -> list[Complaint]:
    method = str(envelope["method"])
    name = BUSINESS[method]
    if method == "computerStatusUpdate":
        found = list(_member(name, COMPUTER, envelope[name], needed=True))
    else:
        found = list(_cabinet(name, envelope[name]))
    found += _later_than_upload(rules, envelope, name)
    return [Complaint("1002", where, text) for where, text in found]


_Found = Iterator[tuple[str, Text]]


def _keys(path: str, value: Mapping[str, object], known: list[str]) -> _Found:
    for key in known:
        if key not in value:
            yield f"{path}.{key}", Text("缺少该字段", "is missing")
    for key in value:
        if key not in known:
            yield f"{path}.{key}", Text(*_unknown(key, known))


def _cabinet(path: str, value: object) -> _Found:
    if not isinstance(value, dict):
        yield path, Text("不是对象", f"is {_kind(value)}, not an object")
        return
    yield from _keys(path, value, ["id", *CABINET])
    if "id" in value:
        yield from _leaf(f"{path}.id", ID, value["id"])
    for name, member in CABINET.items():
        if name in value:
            yield from _member(f"{path}.{name}", member, value[name])
    if isinstance(doors := value.get("doors"), dict):
        yield from _doors(f"{path}.doors", doors)


def _member(path: str, member: Member, value: object, *, needed: bool = False) -> _Found:
    if not member.many:
        yield from _fields(path, member, value)
        return
    if not isinstance(value, list):
        yield path, Text("不是数组", f"is {_kind(value)}, not an array")
        return
    if needed and not value:
        yield path, Text("数组为空", "is an empty array")
    for place, entry in enumerate(value):
        yield from _fields(f"{path}[{place}]", member, entry)
    ids = [entry.get("id") for entry in value if isinstance(entry, dict)]
    numbers = [name for name in ids if isinstance(name, str)]
    if len(set(numbers)) != len(numbers):
        yield path, Text(f"id 重复：{', '.join(numbers)}", f"has an id twice: {', '.join(numbers)}")
    elif numbers and "1" not in numbers:
        yield (
            path,
            Text(f"id 应从 1 开始：{', '.join(numbers)}", f"has ids that do not start from 1: {', '.join(numbers)}"),
        )


def _fields(path: str, member: Member, value: object) -> _Found:
    if not isinstance(value, dict):
        yield path, Text("不是对象", f"is {_kind(value)}, not an object")
        return
    yield from _keys(path, value, list(member.fields))
    for name, form in member.fields.items():
        if name in value:
            yield from _leaf(f"{path}.{name}", form, value[name])


def _leaf(path: str, form: Form, value: object) -> _Found:
    if not isinstance(value, str):
        yield path, Text("不是字符串", f"is {_kind(value)}, not a string")
    elif value in ERROR_WORDS:
        if not form.words:
            yield path, Text(f"不能为 {value}", f"cannot be {value}")
    elif wrong := form.wrong(value):
        yield path, wrong


def _doors(path: str, doors: Mapping[str, object]) -> _Found:
    """What the fields of a door say together (§3.1.2: “0 门锁闭合”, “合法开门或关门状态”, “无则填 NoData”)."""
    for side in ("front", "back"):
        closed, locked, unlocked, card, illegal = (
            doors.get(f"{side}Door{name}")
            for name in ("Closed", "Locked", "UnlockType", "UnlockCardId", "OpenIllegally")
        )
        if locked == "1" and unlocked in ("1", "2", "3"):
            text = Text(f"门锁已锁，开锁类型却为 {unlocked}", f"is {unlocked} while the lock is locked")
            yield f"{path}.{side}DoorUnlockType", text
        if locked == "0" and unlocked == "0":
            yield f"{path}.{side}DoorUnlockType", Text("门锁打开，开锁类型却为 0", "is 0 while the lock is open")
        if closed == "1" and illegal == "1":
            yield f"{path}.{side}DoorOpenIllegally", Text("门已关，却为非法开门", "is 1 while the door is closed")
        if unlocked in ("0", "2", "3") and card not in (None, *ERROR_WORDS):
            yield (
                f"{path}.{side}DoorUnlockCardId",
                Text("并非刷卡解锁，却有卡号", "has a card though no card unlocked it"),
            )


def _later_than_upload(rules: Rules, envelope: Mapping[str, object], name: str) -> list[tuple[str, Text]]:
    """A change cannot be later than the data that tell of it; one second is lost in timeStamp's whole seconds."""
    latest = int(str(envelope["timeStamp"])) + 2
    found = []
    for where, value in leaves(envelope[name], name):
        if not where.endswith("ChangeTime") or not isinstance(value, str):
            continue
        try:
            at = datetime.fromisoformat(value).replace(tzinfo=rules.zone)
        except ValueError:
            continue  # its form is complained of already, or it is an error word
        if at.timestamp() > latest:
            upload = datetime.fromtimestamp(latest - 2, UTC).astimezone(rules.zone)
            text = Text(
                f"“{value}”晚于上传时间 {upload:%F %T}", f"{value!r} is later than the upload of {upload:%F %T}"
            )
            found.append((where, text))
    return found


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf of a payload by path; elements of an array go by their id: `ups[1].runningState`."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for place, below in enumerate(value, 1):
            number = below.get("id", place) if isinstance(below, dict) else place
            yield from leaves(below, f"{path}[{number}]")
    else:
        yield path, value
