"""Bodies for the control port that no cloud would send: valid requests of every command, and what becomes of them.

A request is held as a tree that can say more than a dict can: members in any order, a name twice, numbers as they are
written. `Bodies.next` takes a valid one and changes it at the level of JSON, of bytes, of the headers, or not at all;
everything comes from one seed. `lawful` and `admissible` say for themselves, from the interface and from the site of
`cloud_site`, what may be carried out and what may be answered 1000; they share no code with the agent.
"""

import copy
import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloud_site import AUTH, GANTRY

from gantry_agent import command as orders

DEEP = 10_000
LONG = 70_000


class Raw(str):
    """A token that stands in the JSON as it is."""

    __slots__ = ()


Members = list[tuple[str, Any]]  # an object; a list of anything else is an array

CONTROL: tuple[dict[str, Any], ...] = (
    {"cmd": "1"},
    {"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "503"},
    {"cmd": "2", "unlockDoorId": "1"},
    {"cmd": "2", "cabinetId": "2", "unlockDoorId": 1},
    {"cmd": "3", "cabinetId": "1", "airId": "0", "airOperate": "2"},
    {"cmd": 4, "airId": "2", "autoRefrigerationTemp": "28.5", "autoHeatingTemp": "-5"},
    {"cmd": "5", "mode": "2"},
    {"cmd": "6", "isDoorDefend": "1"},
    {
        "cmd": "7",
        "cardInfos": [{"cardId": "777", "expireDate": "2030-02-28"}, {"cardId": 8, "expireDate": "2031-01-01"}],
    },
    {"cmd": "7", "cardInfos": []},
    {"cmd": "8", "cabinetId": "1", "onOff": "0"},
    {"cmd": "9", "testStartStop": "1"},
    {"cmd": "10"},
    {"setFrequency": "600", "setServer": "https://cloud.example.org:8443/monitor.do", "updateNow": "1"},
)
SEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("cabinetControl", business) for business in CONTROL),
    ("computerControl", {"setServer": "10.1.2.3:80"}),
    ("computerControl", {"setFrequency": 60}),
    ("computerControl", {"updateNow": "1"}),
    ("getCabinetImageVedio", {"cabinetId": "1", "doorOpenTime": "2019-08-28 14:11:01.321"}),
)
NAMES = sorted({name for _, business in SEEDS for name in business} | {"gantryId", "method", "timeStamp", "version"})
SCALARS: tuple[Any, ...] = (
    *("", " ", "0", "1", "2", "3", "9", "10", "11", "-1", "01", "1.0", "1e0", "１", "٣", "+1", " 1 ", "1\n", "0x1"),
    *("999999999", "9" * 40, "\x00", "a\x00b", "门架", "\ud800", "\udfff\ud800", "\u202e2", "null", "2030-02-30"),
    *("2019-08-28 14:11:01", "../../etc/passwd", "'; DROP TABLE--", "http://[::1]/", "http://u:p@h/", "h:0"),
    *("10.0.0.9", "::ffff:10.0.0.9", "010.0.0.9"),
    *(Raw("0"), Raw("1"), Raw("2.0"), Raw("-0"), Raw("2.5"), Raw("1e400"), Raw("1E-400"), Raw("9" * 5000)),
    *(Raw("1." + "0" * 5000), Raw("true"), Raw("false"), Raw("null"), Raw("NaN"), Raw("-Infinity"), Raw("1_0")),
    *(Raw("undefined"), Raw(""), [], [[]], [("a", "b")], ["1"], [1, [2, [3]]]),
)  # fmt: skip
BLANKS = ("\t{}", "{} ", " {} ", "\u00a0{}", "{}\u3000", "{}\n", "{}\x00", "\ufeff{}")


@dataclass(frozen=True, slots=True)
class Case:
    """A body and the two headers that go with it; `signed` if they are right."""

    content: bytes
    md5: str
    auth: str
    signed: bool


def tree(value: Any) -> Any:
    """A dict as members; every number is a token."""
    if isinstance(value, dict):
        return [(name, tree(one)) for name, one in value.items()]
    if isinstance(value, list):
        return [tree(one) for one in value]
    return Raw(value) if isinstance(value, int) else value


def is_object(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, tuple) for one in value)


def written(value: Any) -> str:
    """JSON, or nearly."""
    if isinstance(value, Raw):
        return str(value)
    if is_object(value):
        return "{" + ",".join(f"{json.dumps(name)}:{written(one)}" for name, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


class Bodies:
    """Cases without end, from one seed."""

    def __init__(self, seed: int) -> None:
        self.fate = random.Random(seed)
        self.number = 0

    def valid(self, at: float) -> bytes:
        """A valid request, unlike any before it."""
        return written(self._seed(at)).encode()

    def next(self, at: float) -> Case:
        """`at` is the time of day."""
        fate = self.fate
        members = self._seed(at)
        for _ in range(fate.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            members = fate.choice(TREE_CHANGES)(fate, members)
        text = written(members)
        if fate.random() < 0.15:
            text = fate.choice(TEXT_CHANGES)(fate, text)
        content = text.encode("utf-8", "surrogatepass")
        if fate.random() < 0.35:
            for _ in range(fate.choice((1, 1, 2, 4, 16))):
                content = fate.choice(BYTE_CHANGES)(fate, content)[: 2 * LONG]
        return self._signed(content)

    def _seed(self, at: float) -> Members:
        fate = self.fate
        self.number += 1
        method, business = fate.choice(SEEDS)
        members = [
            ("gantryId", GANTRY),
            ("method", method),
            ("timeStamp", str(int(at))),
            ("version", "1001"),
            (method, tree(business)),
        ]
        # A member that the interface does not have is ignored, so each body is another one.
        return [*members, ("number", str(self.number))] if fate.random() < 0.97 else members

    def _signed(self, content: bytes) -> Case:
        fate, md5 = self.fate, hashlib.md5(content).hexdigest()
        chance = fate.random()
        if chance < 0.02:
            wrong = fate.choice((md5[:-1], md5[::-1], "", "0" * 32, md5 + "00", hashlib.md5(b"").hexdigest(), "门"))
            return Case(content, wrong, AUTH, signed=wrong == md5)
        if chance < 0.03:
            wrong = fate.choice((AUTH[:-1], AUTH + "0", "", AUTH.upper() + "x", "\xff", "null", "a" * 4000))
            return Case(content, md5, wrong, signed=False)
        return Case(content, fate.choice((md5, md5.upper())), AUTH, signed=True)


# --- changes of the tree --------------------------------------------------------------------------------------------


def _places(members: Members) -> list[tuple[list[Any], int]]:
    """Every place at which a value stands: its container and its index."""
    found, waiting = [], [members]
    while waiting:
        container = waiting.pop()
        for place, one in enumerate(container):
            found.append((container, place))
            value = one[1] if isinstance(one, tuple) else one
            if isinstance(value, list):
                waiting.append(value)
    return found


def _scalar(fate: random.Random) -> Any:
    return copy.deepcopy(fate.choice(SCALARS))  # a list will be changed in its place


def _put(container: list[Any], place: int, value: Any) -> None:
    one = container[place]
    container[place] = (one[0], value) if isinstance(one, tuple) else value


def _value(fate: random.Random, members: Members) -> Members:
    container, place = fate.choice(_places(members))
    _put(container, place, _scalar(fate))
    return members


def _business_value(fate: random.Random, members: Members) -> Members:
    """The same inside the business member, where the orders are."""
    inner = next(
        (value for name, value in members if name.endswith(("Control", "Vedio")) and is_object(value)), members
    )
    container, place = fate.choice(_places(inner))
    _put(container, place, _scalar(fate))
    return members


def _swap(fate: random.Random, members: Members) -> Members:
    (one, at), (other, to) = fate.choice(_places(members)), fate.choice(_places(members))
    mine, theirs = one[at], other[to]
    theirs = theirs[1] if isinstance(theirs, tuple) else theirs
    if not isinstance(theirs, list) and isinstance(mine, tuple):
        one[at] = (mine[0], theirs)
    return members


def _drop(fate: random.Random, members: Members) -> Members:
    container, place = fate.choice(_places(members))
    del container[place]
    return members or [("gantryId", GANTRY)]


def _double(fate: random.Random, members: Members) -> Members:
    container, place = fate.choice(_places(members))
    container.insert(fate.randrange(len(container) + 1), container[place])
    return members


def _rename(fate: random.Random, members: Members) -> Members:
    container, place = fate.choice(_places(members))
    if isinstance(container[place], tuple):
        name, value = container[place]
        blank = fate.choice(BLANKS).format(name)
        container[place] = (
            fate.choice((blank, blank, name.upper(), name[:-1], name + "s", fate.choice(NAMES), "")),
            value,
        )
    return members


def _add(fate: random.Random, members: Members) -> Members:
    container, _ = fate.choice(_places(members))
    if is_object(container):
        container.insert(fate.randrange(len(container) + 1), (fate.choice(NAMES), _scalar(fate)))
    return members


def _other_business(fate: random.Random, members: Members) -> Members:
    """Another command's fields, beside these or instead of them."""
    method, business = fate.choice(SEEDS)
    for place, (name, value) in enumerate(members):
        if name.endswith(("Control", "Vedio")) and is_object(value):
            members[place] = (fate.choice((name, method)), [*value, *tree(business)])
    return members


def _long(fate: random.Random, members: Members) -> Members:
    container, place = fate.choice(_places(members))
    _put(container, place, fate.choice(("a", "门", "\x00", "9", "\ud800")) * fate.choice((129, 1000, LONG // 6)))
    return members


def _deep(fate: random.Random, members: Members) -> Members:
    container, place = fate.choice(_places(members))
    depth = fate.choice((50, 900, 990, 1000, 1010, DEEP)) if fate.random() < 0.3 else 20
    opening, closing = fate.choice((("[", "]"), ('{"a":', "}")))
    _put(container, place, Raw(opening * depth + "1" + closing * fate.choice((depth, depth, depth - 1, 0))))
    return members


def _envelope(fate: random.Random, members: Members) -> Members:
    name = fate.choice(("gantryId", "method", "timeStamp", "version"))
    values = {
        "gantryId": ("G0", "G" * 21, GANTRY.lower(), GANTRY + " "),
        "method": ("cabinetControl", "computerControl", "getCabinetImageVedio", "cabinetStatusUpdate", "x" * 128),
        "timeStamp": ("0", "1564734526", "9" * 19, "-1", "１５６４７３４５２６", "1.5e9"),
        "version": ("1002", "1000", " 1001", "10010"),
    }[name]
    return [(one, fate.choice(values)) if one == name else (one, value) for one, value in members]


TREE_CHANGES: tuple[Callable[[random.Random, Members], Members], ...] = (
    *(_value, _business_value, _business_value, _business_value, _swap, _drop, _double, _rename, _add),
    *(_other_business, _long, _deep, _envelope),
)

# --- changes of the text and of its bytes ---------------------------------------------------------------------------

TEXT_CHANGES: tuple[Callable[[random.Random, str], str], ...] = (
    lambda _, text: "\ufeff" + text,
    lambda _, text: text + text,
    lambda _, text: f"[{text}]",
    lambda _, text: json.dumps(text),
    lambda _, text: text.replace('"', "'"),
    lambda _, text: text.replace("}", ",}"),
    lambda _, text: "/* */" + text,
    lambda _, text: text.replace(":", " :\r\n\t"),
    lambda _, text: re.sub(r"[a-z]", lambda found: f"\\u{ord(found[0]):04x}", text),
    lambda _, text: text.replace("0", "\\ud83d", 1),
    lambda fate, text: " " * fate.choice((1, 10_000)) + text + "\n" * 100,
)


def _flip(fate: random.Random, content: bytes) -> bytes:
    spoilt = bytearray(content or b"{")
    spoilt[fate.randrange(len(spoilt))] ^= 1 << fate.randrange(8)
    return bytes(spoilt)


def _cut(fate: random.Random, content: bytes) -> bytes:
    return content[: fate.randrange(len(content) + 1)]


def _insert(fate: random.Random, content: bytes) -> bytes:
    at = fate.randrange(len(content) + 1)
    what = fate.choice(
        (b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", "门架".encode("gbk"), b"\\u0000", b"}", b"\r\n\r\n")
    )
    return content[:at] + what + content[at:]


def _repeat(fate: random.Random, content: bytes) -> bytes:
    at = fate.randrange(len(content) + 1)
    to = min(len(content), at + fate.randrange(1, 40))
    return content[:to] + content[at:to] * fate.choice((1, 3)) + content[to:]


BYTE_CHANGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_flip, _flip, _flip, _cut, _insert, _insert, _repeat),
    lambda fate, content: fate.randbytes(fate.randrange(200)),
    lambda _, content: gzip.compress(content, 1),
    lambda _, content: content.decode("utf-8", "replace").encode("gbk", "replace"),
    lambda _, content: content.decode("utf-8", "replace").encode("utf-16"),
)

# --- what may be ----------------------------------------------------------------------------------------------------


def lawful(order: orders.Command) -> bool:
    """Tell whether an order names what the site of `cloud_site` has, within the interface's values."""
    match order:
        case orders.SetServer(channel, server):
            return channel in {"computer", "cabinet"} and re.fullmatch(r"[!-~]{1,256}", server) is not None
        case orders.SetFrequency(channel, interval_s):
            return channel in {"computer", "cabinet"} and 10 <= interval_s <= 86400
        case orders.UpdateNow(channel):
            return channel in {"computer", "cabinet"}
        case orders.Reboot(relay):
            return relay in {"router", "switch"}
        case orders.Unlock(cabinet, side):
            return (cabinet, side) in {(1, "front"), (2, "front")}
        case orders.RunAirConditioner(cabinet, number, run):
            return cabinet == 1 and number in {0, 1, 2} and isinstance(run, bool)
        case orders.SetTemperatures(cabinet, number, cooling, heating):
            given = [one for one in (cooling, heating) if one is not None]
            apart = cooling is None or heating is None or cooling > heating
            return cabinet == 1 and number in {0, 1, 2} and apart and bool(given) and all(-40 <= t <= 80 for t in given)
        case orders.SetPowerMode(mode):
            return mode in {0, 2}
        case orders.Defend(on):
            return isinstance(on, bool)
        case orders.SetWhitelist(cards):
            numbers = [card.number for card in cards]
            return len(numbers) == len(set(numbers)) and all(re.fullmatch(r"[ -~]{1,64}", one) for one in numbers)
        case orders.SwitchRectifiers(cabinet, _) | orders.TestBattery(cabinet, _) | orders.AskBatteryTest(cabinet):
            return cabinet in {1, 2}
    return False


def admissible(case: Case, now: float, tolerance_s: float) -> bool:
    """Tell whether 1000 may be the answer to it: signed, JSON, for this gantry, of this version and time."""
    if not case.signed:
        return False
    try:
        document = {name.strip(): value for name, value in json.loads(case.content, parse_int=str).items()}
        return (
            document["gantryId"] == GANTRY
            and document["version"] == "1001"
            and abs(int(document["timeStamp"]) - now) <= tolerance_s + 60
            and isinstance(document[document["method"]], dict)
        )
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return False
