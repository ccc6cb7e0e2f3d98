"""What can be wrong with a device or its wire, and what that does to one answer. Pure: time and frames are arguments.

`Fault` says which; `Ward` keeps the faults of all devices and lends them out one answer at a time; `spoil` turns a good
answer into what really goes over the wire: pieces of bytes with the waits before them.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

LATE_MS = 3000  # beyond any patience of a poller
FAILURE = 4  # Modbus: server device failure; SNMP: readOnly is 4, so agents use genErr

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "silent": "no answer",
        "delay": "the answer takes `ms` longer",
        "late": "the answer comes `ms` after the request, whatever came in between",
        "garbage": "`bytes` random bytes before the answer",
        "bad_crc": "the checksum is wrong (serial lines)",
        "exception": "the device declines with `code`",
        "half": "only the first half of the answer comes",
        "echo": "the request comes back before the answer (serial lines)",
        "drop": "the connection is closed instead of an answer (TCP)",
        "wrong_unit": "the answer carries another unit's address (Modbus)",
        "wrong_function": "the answer carries another function (Modbus)",
        "missing": "addresses `first` to `last` do not exist, as with older firmware (Modbus)",
        "head": "the first byte of the answer is lost or broken: the direction turns too late (serial lines)",
        "tail": "the last `bytes` of the answer are lost: the direction turns too early (serial lines)",
        "noise": "one bit anywhere in the answer is flipped (serial lines)",
        "collision": "two units answer at this address, over or after each other (serial lines)",
        "second_master": "another master asks its own unit after the answer (serial lines)",
        "baud": "rubbish comes instead of the answer, as from another baud rate (serial lines)",
        "babble": "random bytes come all the time, `percent` of what the line carries (serial lines)",
        "ignore": "writes are acknowledged and nothing is done; what the device's own clock ends ends all the same",
        "clamp": "a number that is set is taken as `first` or `last` where it lies outside",
        "loose": "for `ms` there are answers, then for `ms` none, and so on: a loose contact",
    }
)
LINE_ONLY = frozenset({"bad_crc", "echo", "head", "tail", "noise", "collision", "second_master", "baud", "babble"})
# Modbus Application Protocol V1.1b3 §6.3 has this question and answer of a unit 17, which no site of ours has.
FOREIGN_QUESTION = bytes.fromhex("1103006b00037687")
FOREIGN_ANSWER = bytes.fromhex("110306ae415652434049ad")
FOREIGN_PAUSE_S = 0.02
UNSPOILT = frozenset({"missing", "ignore", "clamp"})  # the answer is as it should be
DEAF = frozenset({"silent", "exception"})  # a write that meets these does nothing; the others spoil the answer only
BY_WIRE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "serial": frozenset(KINDS) - {"drop"},
        "serial-tcp": frozenset(KINDS),
        "modbus-tcp": frozenset(KINDS) - LINE_ONLY,
        "uhppote": frozenset({"silent", "delay", "late", "garbage", "half", "exception", "loose", "ignore"}),
        "udp": frozenset({"silent", "delay", "late", "garbage", "half", "loose"}),
        "zte-http": frozenset({"silent", "delay", "late", "garbage", "half", "exception", "drop", "loose"}),
        "zte-serial": frozenset(KINDS) - {"drop", "babble", "second_master"},
        "snmp": frozenset({"silent", "delay", "late", "garbage", "half", "exception", "ignore", "clamp", "loose"}),
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one device; it ends at `until` (monotonic) or after `left` answers, whichever is first."""

    kind: str
    until: float | None = None
    left: int | None = None
    ms: int = LATE_MS
    code: int = FAILURE
    bytes: int = 3
    first: int = 0
    last: int = 0xFFFF
    percent: int = 100  # of the answers that are hit

    @property
    def deaf(self) -> bool:
        """Tell whether the device does nothing that it is told; one that is so now and then does it, unheard."""
        return self.kind in DEAF and self.percent >= 100

    def open_at(self, now: float) -> bool:
        """Tell whether the contact is open at this time; only a loose one ever closes again."""
        return self.kind != "loose" or int(1000 * now / max(1, self.ms)) % 2 == 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes, and how long to wait before them."""

    wait_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Spoilt:
    """What goes over the wire instead of the answer. `aside`: the line does not wait for it (a late answer)."""

    pieces: tuple[Piece, ...] = ()
    close: bool = False
    aside: bool = False


class Ward:
    """The faults in force, by device key."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._faults: dict[str, Fault] = {}

    def inflict(self, device: str, fault: Fault) -> None:
        self._faults[device] = fault

    def heal(self, device: str) -> bool:
        return self._faults.pop(device, None) is not None

    def of(self, device: str) -> Fault | None:
        """The fault in force, without using it up."""
        fault = self._faults.get(device)
        if fault and fault.until is not None and self._now() >= fault.until:
            del self._faults[device]
            return None
        return fault

    def take(self, device: str) -> Fault | None:
        """The fault that spoils the next answer."""
        fault = self.of(device)
        if fault is None or random.randrange(100) >= fault.percent or not fault.open_at(self._now()):
            return None
        if fault.left is None:
            return fault
        if fault.left <= 1:
            del self._faults[device]
        else:
            self._faults[device] = replace(fault, left=fault.left - 1)
        return fault


def spoil(fault: Fault | None, request: bytes, answer: bytes, rebuilt: Callable[[Fault], bytes]) -> Spoilt:
    """What really goes out. `rebuilt` frames the answer anew for faults in the frame (unit, function, exception)."""
    if fault is None or fault.kind in UNSPOILT:
        return Spoilt((Piece(0.0, answer),))
    wait_s = fault.ms / 1000.0
    match fault.kind:
        case "silent" | "loose" | "babble":
            return Spoilt()
        case "delay":
            return Spoilt((Piece(wait_s, answer),))
        case "late":
            return Spoilt((Piece(wait_s, answer),), aside=True)
        case "garbage":
            return Spoilt((Piece(0.0, random.randbytes(fault.bytes) + answer),))
        case "bad_crc":
            return Spoilt((Piece(0.0, answer[:-1] + bytes([answer[-1] ^ 0xFF])),))
        case "half":
            return Spoilt((Piece(0.0, answer[: len(answer) // 2]),))
        case "echo":
            return Spoilt((Piece(0.0, request + answer),))
        case "drop":
            return Spoilt(close=True)
        case "head":
            broken = b"" if random.random() < 0.5 else bytes([random.randrange(256) & ~answer[0]])
            return Spoilt((Piece(0.0, broken + answer[1:]),))
        case "tail":
            return Spoilt((Piece(0.0, answer[: max(1, len(answer) - fault.bytes)]),))
        case "noise":
            at = random.randrange(len(answer))
            flipped = answer[at] ^ 1 << random.randrange(8)
            return Spoilt((Piece(0.0, answer[:at] + bytes([flipped]) + answer[at + 1 :]),))
        case "collision":
            return _collision(answer)
        case "second_master":
            foreign = Piece(FOREIGN_PAUSE_S, FOREIGN_QUESTION), Piece(FOREIGN_PAUSE_S, FOREIGN_ANSWER)
            return Spoilt((Piece(0.0, answer), *foreign), aside=True)
        case "baud":
            return Spoilt((Piece(0.0, random.randbytes(max(3, len(answer) // 2))),))
    return Spoilt((Piece(0.0, rebuilt(fault)),))


def _collision(answer: bytes) -> Spoilt:
    """Two answers, of which one begins some characters later: where both drive the line a 0 wins; or just in turn."""
    if random.random() < 0.3:
        return Spoilt((Piece(0.0, answer), Piece(FOREIGN_PAUSE_S, answer)))
    later = random.randint(2, 6)
    ours, theirs = answer + b"\xff" * later, b"\xff" * later + answer
    return Spoilt((Piece(0.0, bytes(a & b for a, b in zip(ours, theirs, strict=True))),))
