"""YD/T 1363 (电总协议, YDN23) in bytes: SOI VER ADR CID1 CID2 LENGTH INFO CHKSUM EOI, two ASCII hex characters a byte.

Source: fuhoo/ydn23, a public gatherer for PSM-A sites, and jayronjiang/allCollector `Ydn23.c`; the standard's own text
was not seen. LENGTH carries its own checksum LCHKSUM and the number of characters of INFO; CHKSUM is over all
characters from VER to INFO. An answer repeats ADR and CID1 and has the return code RTN where the command had CID2:
nothing in it tells which command it answers, so two commands of one CID1 look alike. CHKSUM sees every flipped bit,
but being a sum not two characters that changed places. What INFO holds is `counted`'s matter.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import AskYdt
from gantry_agent.model import BadReply, DeviceRefused

SOI, EOI = b"~", b"\r"
HEAD = 13  # characters from SOI to LENGTH
TAIL = 5  # CHKSUM and EOI
LONGEST_INFO = 0xFFF  # LENID has three digits
KEPT_BYTES = HEAD + LONGEST_INFO + TAIL + 64
CID2_UNKNOWN = 4
RETURNS = {
    1: "wrong version",
    2: "wrong CHKSUM",
    3: "wrong LCHKSUM",
    4: "unknown CID2",
    5: "wrong format",
    6: "invalid data",
}
RTNS = frozenset({0, *RETURNS, *range(0x80, 0xF0)})  # from 80 to EF the maker's own; no CID2 of 4x is among them
GARBLED = frozenset({2, 3})  # the unit heard us badly: the line's fault, not the command's
_HEX = re.compile(rb"[0-9A-Fa-f]*")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `cid2` is the RTN of an answer."""

    version: int
    address: int
    cid1: int
    cid2: int
    info: bytes


# --- frames ---------------------------------------------------------------------------------------------------------


def length_field(characters: int) -> int:
    """LENGTH for so many characters of INFO: LCHKSUM, then LENID; their four digits sum up to 0 modulo 16."""
    digits = characters >> 8, characters >> 4 & 0xF, characters & 0xF
    return (-sum(digits) & 0xF) << 12 | characters


def checksum(characters: bytes) -> int:
    """CHKSUM of the characters from VER to INFO: added to their sum it gives 0 modulo 65536."""
    return -sum(characters) & 0xFFFF


def encode(frame: Frame) -> bytes:
    """Write a frame; what does not fit into one is a ValueError, since it is our fault."""
    if 2 * len(frame.info) > LONGEST_INFO:
        raise ValueError(f"cannot write {len(frame.info)} bytes of INFO: {LONGEST_INFO // 2} fit")
    numbers = bytes((frame.version, frame.address, frame.cid1, frame.cid2))
    body = f"{numbers.hex()}{length_field(2 * len(frame.info)):04X}{frame.info.hex()}".upper().encode("ascii")
    return SOI + body + f"{checksum(body):04X}".encode("ascii") + EOI


def decode(data: bytes) -> Frame:
    """Read one whole frame from SOI to EOI; raises BadReply for anything else."""
    if len(data) < HEAD + TAIL or data[:1] != SOI or data[-1:] != EOI:
        raise BadReply(f"cannot find a frame in {len(data)} characters")
    body, given = data[1:-TAIL], data[-TAIL:-1]
    if not _HEX.fullmatch(body) or not _HEX.fullmatch(given):
        raise BadReply("cannot read the frame: not all of it is hexadecimal")
    length = int(body[8:12], 16)
    characters = length & 0xFFF
    if length_field(characters) != length:
        raise BadReply(f"cannot read the frame: LCHKSUM of {length:04X} is wrong")
    if characters % 2 or len(body) != HEAD - 1 + characters:
        raise BadReply(f"cannot read the frame: LENID says {characters} characters of INFO, {len(body) - 12} are there")
    if int(given, 16) != checksum(body):
        raise BadReply(f"cannot read the frame: CHKSUM {checksum(body):04X} is wanted, {given.decode()} is there")
    version, address, cid1, cid2 = bytes.fromhex(body[:8].decode("ascii"))
    return Frame(version, address, cid1, cid2, bytes.fromhex(body[12:].decode("ascii")))


# --- questions and answers --------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def frame(request: AskYdt) -> bytes:
    """Write the whole frame that asks `request`."""
    return encode(Frame(request.version, request.unit, request.cid1, request.cid2, request.info))


def shape(request: AskYdt) -> Shape:
    """Tell what answers to this request look like: they repeat ADR and CID1 and nothing else."""
    return Shape(("ydt1363", request.unit, request.cid1))


def to_come(request: AskYdt, received: bytes) -> int:
    """Tell how many characters must still come at the least before there can be an answer."""
    start = max(0, _answer_start(request, received))
    return max(0, start + (_size(received, start) or HEAD + TAIL) - len(received))


def promised(request: AskYdt, received: bytes) -> int:
    """Tell how many characters are missing of an answer whose LENGTH is there; 0 in all other cases."""
    start = _answer_start(request, received)
    return max(0, start + _size(received, start) - len(received)) if start >= 0 else 0


def _answer_start(request: AskYdt, received: bytes) -> int:
    start = received.find(SOI)
    if start >= 0 and received.startswith(frame(request), start):
        start = received.find(SOI, start + len(frame(request)))
    return start


def _size(received: bytes, start: int) -> int:
    """The size of the frame that begins at `start` by its LENGTH; 0 as long as that cannot be said."""
    length = received[start + 9 : start + HEAD]
    if len(length) < 4 or not _HEX.fullmatch(length):
        return 0
    number = int(length, 16)
    return HEAD + (number & 0xFFF) + TAIL if length_field(number & 0xFFF) == number else 0


def find(request: AskYdt, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole, sound answer to `request` in what came so far; None as long as there is none.

    Every SOI may begin it: noise can hold one. Our own frame, which an adapter that hears itself puts first, is passed
    over; an older one of ours differs from an answer in nothing but an RTN that does not exist.
    """
    del echoes
    sent = frame(request)
    start, echoed = 0, False
    if (at := received.find(sent)) >= 0:
        start, echoed = at + len(sent), True
    while (start := received.find(SOI, start)) >= 0:
        size = _size(received, start)
        if size and start + size <= len(received):
            answer = _sound(request, received[start : start + size])
            if answer is not None:
                return Found(bytes((answer.cid2,)) + answer.info, start, start + size, echoed)
        start += 1
    return None


def _sound(request: AskYdt, data: bytes) -> Frame | None:
    try:
        answer = decode(data)
    except BadReply:
        return None
    fits = (answer.address, answer.cid1) == (request.unit, request.cid1) and answer.cid2 in RTNS
    return answer if fits else None


def decode_answer(request: AskYdt, body: bytes) -> bytes:
    """Read an answer's INFO; raises DeviceRefused for an RTN that is not 0, BadReply when the unit heard us badly."""
    code = body[0]
    if code == 0:
        return body[1:]
    asked = f"{request.cid1:02X}/{request.cid2:02X} of unit {request.unit}"
    why = f"RTN {code:02X}, {RETURNS.get(code, 'of the maker')}"
    if code in GARBLED:
        raise BadReply(f"cannot get an answer: {asked} arrived broken ({why})")
    raise DeviceRefused(f"cannot get an answer: {asked} refused, {why}", code)


def explain(request: AskYdt, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer."""
    start = _answer_start(request, received)
    if start < 0:
        return f"{len(received)} characters without a frame"
    size = _size(received, start)
    if not size:
        return f"{len(received) - start} characters with no sound LENGTH"
    if start + size > len(received):
        return f"{len(received) - start} characters instead of {size}"
    try:
        answer = decode(received[start : start + size])
    except BadReply as fault:
        return str(fault)
    return f"unit {answer.address} CID1 {answer.cid1:02X} where unit {request.unit} CID1 {request.cid1:02X} was asked"
