"""What is said in characters on a serial line: Megatec commands and frames of YD/T 1363, in and out.

Written from the tables (§1.6, §3.8), sharing nothing with the agent. A line may carry units of all kinds: what begins
with `~` is YD/T 1363, what begins with a letter is a Megatec command where such a UPS is, all else is Modbus RTU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hwsim.devices import PRODUCTS
from hwsim.devices.spoken import MegatecProduct, YdtProduct
from hwsim.faults import DEAF, Fault
from hwsim.site import DeviceSpec
from hwsim.world import World

CR = b"\r"
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
        self._megatec = [spec for spec in specs.values() if isinstance(PRODUCTS[spec.profile], MegatecProduct)]

    def concerns(self, data: bytes) -> bool:
        """Whether what begins so is meant for one of them."""
        if data[:1] == b"~":
            return bool(self._ydt)
        return bool(self._megatec) and data[:1].isalpha() and data[:1].isascii()

    def answer(self, data: bytes) -> Exchange | None:
        """What is answered to one question; None when nobody is meant, or says nothing."""
        return self._answer_ydt(data) if data[:1] == b"~" else self._answer_megatec(data)

    def _answer_ydt(self, data: bytes) -> Exchange | None:
        asked = parsed(data)
        spec = self._ydt.get(asked.address) if asked else None
        if asked is None or spec is None:
            return None
        product = PRODUCTS[spec.profile]
        assert isinstance(product, YdtProduct)
        info, code = b"", asked.fault or (0 if asked.version in product.versions else 0x01)
        fault = self._world.faults.of(spec.key)
        if not code and not (fault and fault.kind in DEAF):
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
        if fault and fault.kind in DEAF:
            return Exchange(spec, product.response_s, data, b"(NAK\r", lambda _: b"(NAK\r")
        spoken = product.answer(self._world.seen(spec), data[:-1].decode("ascii", "replace"))
        self._world.absorb(spec, spoken.effect)
        if spoken.body is None:
            return None
        answer = spoken.body + CR
        return Exchange(spec, product.response_s, data, answer, lambda one: _megatec_changed(answer, one))


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


def _megatec_changed(answer: bytes, fault: Fault) -> bytes:
    """There is no address and no checksum: a broken answer has lost a character."""
    if fault.kind == "wrong_function":
        return b"#" + answer[1:]
    return answer if fault.kind == "wrong_unit" else answer[:7] + answer[8:]
