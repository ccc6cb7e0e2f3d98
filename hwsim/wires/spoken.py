"""What is said on a serial line that is not Modbus: Megatec commands, frames of YD/T 1363, locks, meters and boards.

Written from the tables (§1.6, §3.8, §7.1), sharing nothing with the agent. A line may carry units of all kinds: what
begins with FEH is for a DL/T 645 meter (`wires.meter`), with `~` for YD/T 1363, or, where it ends with `~~`, for a
lock; what begins with a letter is a Megatec command where such a UPS is, all else is Modbus RTU.
"""

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hwsim.devices import PRODUCTS
from hwsim.devices.spoken import BoardProduct, LockProduct, MegatecProduct, MeterProduct, YdtProduct
from hwsim.faults import Fault
from hwsim.plant.state import Side
from hwsim.site import DeviceSpec
from hwsim.wires import board, meter
from hwsim.world import World

CR = b"\r"
OPENED, CLOSED, FORCED = 0xA5, 0xA6, 0xA9  # signals that a lock sends unasked
FLAGS = b"~~"  # the end of a frame for a lock
LONGEST = 18 + 0xFFF
WRONG_CHKSUM, WRONG_LCHKSUM = 0x02, 0x03


# --- frames of YD/T 1363 --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class YdtFrame:
    """Numbers as on the wire; `cid2` is RTN in an answer. `fault` is the RTN that a broken question deserves."""

    version: int
    address: int
    cid1: int
    cid2: int
    info: bytes = b""
    fault: int = 0


def written(frame: YdtFrame) -> bytes:
    """SOI, four numbers, LENGTH, INFO, CHKSUM, EOI."""
    info = frame.info.hex().upper()
    count = len(info)
    nibbles = (count & 0xF) + (count // 16 & 0xF) + (count // 256 & 0xF)
    lchksum = (16 - nibbles % 16) % 16
    text = f"{frame.version:02X}{frame.address:02X}{frame.cid1:02X}{frame.cid2:02X}{lchksum:X}{count:03X}{info}"
    total = sum(ord(character) for character in text)
    return f"~{text}{(65536 - total % 65536) % 65536:04X}\r".encode("ascii")


def parsed(data: bytes) -> YdtFrame | None:
    """The frame that `data` is, from SOI to EOI; None when not even its address can be made out."""
    try:
        text = data.decode("ascii")
        numbers = bytes.fromhex(text[1:9])
        length, chksum = int(text[9:13], 16), int(text[-5:-1], 16)
        info = bytes.fromhex(text[13:-5])
    except ValueError:
        return None
    if len(text) < 18 or text[0] != "~" or text[-1] != "\r" or len(numbers) != 4:
        return None
    version, address, cid1, cid2 = numbers
    frame = YdtFrame(version, address, cid1, cid2, info)
    count = length & 0xFFF
    if (sum(int(digit, 16) for digit in text[9:13])) % 16 or count != len(text) - 18:
        return replace(frame, fault=WRONG_LCHKSUM)
    if (sum(ord(character) for character in text[1:-5]) + chksum) % 65536:
        return replace(frame, fault=WRONG_CHKSUM)
    return frame


# --- frames of the Shengjiu lock ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LockFrame:
    """7E, addresses, two threads, length, signal, data, CRC, 7E 7E."""

    to: int
    source: int
    signal: int
    data: bytes = b""

    @property
    def written(self) -> bytes:
        counted = self.signal.to_bytes(2, "big") + self.data
        said = bytes([self.to, self.source, 0, 0]) + len(counted).to_bytes(2, "big") + counted
        return b"~" + said + binascii.crc_hqx(said, 0).to_bytes(2, "big") + FLAGS


def lock_parsed(data: bytes) -> LockFrame | None:
    """The frame that `data` is; None for what is no sound one."""
    if len(data) < 13:
        return None
    frame = LockFrame(data[1], data[2], int.from_bytes(data[7:9], "big"), data[9:-4])
    return frame if frame.written == data else None


# --- who is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer on its way: whose, to what, and how faults inside it change it."""

    spec: DeviceSpec
    response_s: float
    request: bytes
    answer: bytes
    changed: Callable[[Fault], bytes]


class Talkers:
    """The units of one line that are asked in characters."""

    def __init__(self, world: World, specs: Mapping[int, DeviceSpec]) -> None:
        self._world = world
        self._ydt = {unit: spec for unit, spec in specs.items() if isinstance(PRODUCTS[spec.profile], YdtProduct)}
        self._locks = {unit: spec for unit, spec in specs.items() if isinstance(PRODUCTS[spec.profile], LockProduct)}
        self._meters = [spec for spec in specs.values() if isinstance(PRODUCTS[spec.profile], MeterProduct)]
        self._boards = {unit: spec for unit, spec in specs.items() if isinstance(PRODUCTS[spec.profile], BoardProduct)}
        self._megatec = [spec for spec in specs.values() if isinstance(PRODUCTS[spec.profile], MegatecProduct)]
        self._doors = [
            (spec, output.drives)
            for spec in self._locks.values()
            for output in world.site.cabinets[spec.cabinet].outputs
            if output.device == spec.key and (output.drives == "front" or output.drives == "back")  # noqa: PLR1714
        ]
        self._told = [self._closed(spec, side) for spec, side in self._doors]

    @property
    def unasked(self) -> bool:
        """Whether any of them speaks without being asked."""
        return bool(self._doors)

    def news(self) -> list[bytes]:
        """What locks say unasked: how their door was opened or closed since the last time (tables §7.1)."""
        frames = []
        for k, (spec, side) in enumerate(self._doors):
            closed = self._closed(spec, side)
            if closed == self._told[k]:
                continue
            self._told[k] = closed
            fault, product = self._world.faults.of(spec.key), PRODUCTS[spec.profile]
            if fault and fault.deaf:
                continue
            assert isinstance(product, LockProduct)
            signal = CLOSED if closed else FORCED if self._world.plants[spec.cabinet].door(side).locked else OPENED
            state = product.answer(self._world.seen(spec), product.shown[0], b"").body or b""
            frames.append(LockFrame(1, spec.unit, signal, state).written)
        return frames

    def _closed(self, spec: DeviceSpec, side: Side) -> bool:
        return self._world.plants[spec.cabinet].door(side).closed

    def whole(self, data: bytes) -> bool:
        """Whether a question that is meant for one of them has come to its end."""
        if self.boarded(data):
            return len(data) >= board.SIZE
        return meter.ended(data) if self.metered(data) else data.endswith((CR, FLAGS))

    def counted(self, data: bytes) -> bool:
        """Whether what begins so is told by its length: there may be any byte inside."""
        return self.boarded(data) or self.metered(data)

    def boarded(self, data: bytes) -> bool:
        """Whether what begins so is meant for an input board."""
        return bool(self._boards) and board.begins(data)

    def metered(self, data: bytes) -> bool:
        """Whether what begins so is meant for a meter."""
        return bool(self._meters) and meter.begins(data)

    def concerns(self, data: bytes) -> bool:
        """Whether what begins so is meant for one of them."""
        if self.counted(data):
            return True
        if data[:1] == b"~":
            return bool(self._ydt) or bool(self._locks)
        return bool(self._megatec) and data[:1].isalpha() and data[:1].isascii()

    def answer(self, data: bytes) -> Exchange | None:
        """What is answered to one question; None when nobody is meant, or says nothing."""
        if self.boarded(data):
            return self._answer_board(data)
        if self.metered(data):
            return self._answer_meter(data)
        if data[:1] == b"~" and data.endswith(FLAGS):
            return self._answer_lock(data)
        return self._answer_ydt(data) if data[:1] == b"~" else self._answer_megatec(data)

    def _answer_lock(self, data: bytes) -> Exchange | None:
        asked = lock_parsed(data)
        spec = self._locks.get(asked.to) if asked else None
        if asked is None or spec is None:
            return None
        product = PRODUCTS[spec.profile]
        assert isinstance(product, LockProduct)
        fault = self._world.faults.of(spec.key)
        spoken = product.answer(self._world.seen(spec), asked.signal, asked.data)
        if not (fault and fault.deaf):
            self._world.absorb(spec, spoken.effect)
        if spoken.body is None:
            return None
        frame = LockFrame(asked.source, asked.to, asked.signal, spoken.body)
        return Exchange(spec, product.response_s, data, frame.written, lambda one: _lock_changed(frame, one))

    def _answer_meter(self, data: bytes) -> Exchange | None:
        asked = meter.parsed(data)
        if asked is None or asked.control != meter.READ or len(asked.data) != 4:
            return None
        spec = next((one for one in self._meters if asked.address in (meter.ANYBODY, _number(one))), None)
        if spec is None:
            return None
        product = PRODUCTS[spec.profile]
        assert isinstance(product, MeterProduct)
        fault = self._world.faults.of(spec.key)
        body = product.answer(self._world.seen(spec), int.from_bytes(asked.data, "little")).body
        if body is None or (fault and fault.deaf):
            frame = meter.MeterFrame(_number(spec), meter.ERROR, bytes([meter.NO_SUCH_DATA]))
        else:
            frame = meter.MeterFrame(_number(spec), meter.ANSWER, asked.data + body)
        return Exchange(spec, product.response_s, data, frame.written, lambda one: meter.changed(frame, one))

    def _answer_board(self, data: bytes) -> Exchange | None:
        asked = board.parsed(data)
        spec = self._boards.get(asked.address) if asked else None
        if asked is None or spec is None or asked.function != board.READ:
            return None
        product, fault = PRODUCTS[spec.profile], self._world.faults.of(spec.key)
        assert isinstance(product, BoardProduct)
        if fault and fault.deaf:
            return None  # it has no way to decline
        frame = board.BoardFrame(asked.address, board.ANSWER, product.inputs(self._world.seen(spec)))
        return Exchange(spec, product.response_s, data, frame.written, lambda one: board.changed(frame, one))

    def _answer_ydt(self, data: bytes) -> Exchange | None:
        asked = parsed(data)
        spec = self._ydt.get(asked.address) if asked else None
        if asked is None or spec is None:
            return None
        product = PRODUCTS[spec.profile]
        assert isinstance(product, YdtProduct)
        info, code = b"", asked.fault or (0 if asked.version in product.versions else 0x01)
        fault = self._world.faults.of(spec.key)
        if not code and not (fault and fault.deaf):
            spoken = product.answer(self._world.seen(spec), asked.cid1, asked.cid2, asked.info)
            self._world.absorb(spec, spoken.effect)
            info, code = spoken.body or b"", spoken.code
        answer = YdtFrame(asked.version, asked.address, asked.cid1, code, info)
        return Exchange(spec, product.response_s, data, written(answer), lambda one: _ydt_changed(answer, one))

    def _answer_megatec(self, data: bytes) -> Exchange | None:
        spec = self._megatec[0]  # they have no addresses: a line carries one
        product = PRODUCTS[spec.profile]
        assert isinstance(product, MegatecProduct)
        fault = self._world.faults.of(spec.key)
        if fault and fault.deaf:
            return Exchange(spec, product.response_s, data, b"(NAK\r", lambda _: b"(NAK\r")
        spoken = product.answer(self._world.seen(spec), data[:-1].decode("ascii", "replace"))
        self._world.absorb(spec, spoken.effect)
        if spoken.body is None:
            return None
        answer = spoken.body + CR
        return Exchange(spec, product.response_s, data, answer, lambda one: _megatec_changed(answer, one))


def _number(spec: DeviceSpec) -> bytes:
    """A meter's number as it stands on the wire; one that the site does not give is made of its unit."""
    given = str(spec.parameters.get("address", ""))
    digits = given.zfill(12) if given.isdecimal() else f"{spec.unit:012d}"
    return bytes.fromhex(digits)[::-1]


def _ydt_changed(answer: YdtFrame, fault: Fault) -> bytes:
    match fault.kind:
        case "wrong_unit":
            return written(YdtFrame(answer.version, answer.address % 0xFE + 1, answer.cid1, answer.cid2, answer.info))
        case "wrong_function":
            return written(YdtFrame(answer.version, answer.address, answer.cid1 ^ 0x03, answer.cid2, answer.info))
        case "bad_crc":
            good = written(answer)
            return good[:-5] + (b"0000" if good[-5:-1] != b"0000" else b"0001") + good[-1:]
    return written(YdtFrame(answer.version, answer.address, answer.cid1, fault.code))


def _lock_changed(answer: LockFrame, fault: Fault) -> bytes:
    match fault.kind:
        case "wrong_unit":
            return replace(answer, to=answer.to % 0xFE + 1, source=answer.source % 0xFE + 1).written
        case "wrong_function":
            return replace(answer, signal=answer.signal + 1).written
        case "bad_crc":
            good = answer.written
            return good[:-3] + bytes([good[-3] ^ 0xFF]) + good[-2:]
    return answer.written


def _megatec_changed(answer: bytes, fault: Fault) -> bytes:
    """There is no address and no checksum: a broken answer has lost a character."""
    if fault.kind == "wrong_function":
        return b"#" + answer[1:]
    return answer if fault.kind == "wrong_unit" else answer[:7] + answer[8:]
