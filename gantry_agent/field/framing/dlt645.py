"""DL/T 645-2007 in bytes, for Chinese utility meters: 68, address, 68, control, length, data + 33H, sum, 16.

Source: the standard as PyPI dlt645 and python-dlt645 implement it. The address is twelve digits, the lowest pair first
on the wire; AA in every place asks the one meter on the line, whatever its number. To every byte of the data part 33H
is added; frames are told by their length and sum, since a 68H may stand anywhere. Some meters need up to four FEH to
wake up, and send some before an answer. What an item's digits mean is the profile's matter.
"""

from typing import Final

from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import AskMeter
from gantry_agent.model import BadReply, DeviceRefused

START: Final = 0x68
END: Final = 0x16
WAKE: Final = b"\xfe" * 4
ADDED: Final = 0x33
HEAD: Final = 10  # start, address, start, control, length
TAIL: Final = 2  # sum, end
KEPT_BYTES: Final = 256
ANY: Final = "A" * 12  # the address that any meter answers to
READ: Final = 0x11
READ_ANSWERED: Final = 0x91
READ_REFUSED: Final = 0xD1
NO_SUCH_ITEM: Final = 0x02  # of the error byte
_ITEM: Final = 4  # bytes that name it
_LONGEST: Final = 200  # of the data part when reading


def _sum(data: bytes) -> int:
    return sum(data) & 0xFF


def address(digits: str) -> bytes:
    """Write a meter's number as it goes on the wire; one that is none is a ValueError, since it is our fault."""
    if len(digits) != 12 or not (digits.isdecimal() or digits == ANY):
        raise ValueError(f"cannot ask meter {digits!r}: its number has 12 digits ({ANY} is any meter)")
    return bytes.fromhex(digits)[::-1]


def frame(request: AskMeter) -> bytes:
    """Write the bytes that ask `request`."""
    data = bytes((byte + ADDED) & 0xFF for byte in request.item.to_bytes(_ITEM, "little"))
    body = bytes((START,)) + address(request.address) + bytes((START, READ, len(data))) + data
    return WAKE + body + bytes((_sum(body), END))


def shape(request: AskMeter) -> Shape:
    """Tell what answers to this request look like; a refusal does not name the item."""
    return Shape(("dlt645", request.address), request.item)


def answer_length(request: AskMeter) -> int:
    """Tell how many bytes the answer has at the least, and a usual value's."""
    del request
    return HEAD + _ITEM + 4 + TAIL


def to_come(request: AskMeter, received: bytes) -> int:
    """Tell how many bytes must still come at the least before there can be an answer; a refusal has one of data."""
    del request
    return max(0, HEAD + 1 + TAIL - len(received))


def promised(request: AskMeter, received: bytes) -> int:
    """Tell how many bytes are missing of an answer that has begun and told its length; 0 in all other cases."""
    for start in _starts(received):
        one = received[start : start + _size(received, start)]
        if len(one) < _size(received, start) and _is_for(request, one):
            return _size(received, start) - len(one)
    return 0


def find(request: AskMeter, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole, sound answer to `request` in what came so far; None as long as there is none."""
    del echoes  # an echo has another control byte
    echoed = frame(request)[len(WAKE) :] in received
    for start in _starts(received):
        one = received[start : start + _size(received, start)]
        if len(one) < _size(received, start) or not _is_for(request, one):
            continue
        if one[-1] != END or one[-TAIL] != _sum(one[:-TAIL]):
            continue
        data = bytes((byte - ADDED) & 0xFF for byte in one[HEAD:-TAIL])
        refused = one[8] == READ_REFUSED
        if refused or data[:_ITEM] == request.item.to_bytes(_ITEM, "little"):
            return Found(one[8:9] + data, start, start + len(one), echoed)
    return None


def _starts(received: bytes) -> list[int]:
    """Where a frame may begin whose head is there whole."""
    return [k for k in range(len(received) - HEAD + 1) if received[k] == received[k + 7] == START]


def _size(received: bytes, start: int) -> int:
    return HEAD + received[start + 9] + TAIL


def _is_for(request: AskMeter, one: bytes) -> bool:
    """Whether a frame, perhaps not whole, is an answer of this meter; any may answer who was asked by no number."""
    mine = request.address == ANY or one[1:7] == address(request.address)
    return mine and one[8] in (READ_ANSWERED, READ_REFUSED) and 1 <= one[9] <= _LONGEST


def decode(request: AskMeter, pdu: bytes) -> bytes:
    """Read an answer: the bytes of the item, lowest first; raises DeviceRefused for one that says no."""
    if pdu[:1] == bytes((READ_REFUSED,)):
        code = pdu[1] if len(pdu) > 1 else 0
        raise DeviceRefused(f"cannot read item {request.item:08X}: the meter refused with {code:02X}H", code)
    if len(pdu) <= 1 + _ITEM:
        raise BadReply(f"cannot use the answer: item {request.item:08X} has no value in it")
    return pdu[1 + _ITEM :]


def explain(request: AskMeter, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer."""
    for start in _starts(received):
        one = received[start : start + _size(received, start)]
        if len(one) < _size(received, start):
            return f"{len(one)} bytes of a frame of {_size(received, start)}"
        if not _is_for(request, one) and one[8] != READ:
            return f"a frame of meter {one[6:0:-1].hex().upper()} with control {one[8]:02X}H"
        if one[-1] != END or one[-TAIL] != _sum(one[:-TAIL]):
            return "a frame whose sum is wrong"
    return f"{len(received)} bytes that are no answer to item {request.item:08X}"
