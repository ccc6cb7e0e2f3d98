"""The Shengjiu (生久) smart lock in bytes: 7E, addresses, length, signal, data, CRC-16/XMODEM, 7E 7E.

Source: jayronjiang/MyServer9608_new `common/lock.h` and allCollector `ModbusServer.*` (field software); no captured
frame of a real lock was to be had. Nothing escapes a 7E inside the data, so frames are told by their length. An answer
names the lock as its sender, or, where both addresses are alike, looks as a question does: the answer to a query is
told by its data, and a frame without any is our own echo. A lock that obeys is not known to say so, so silence is taken
for obedience, and the read-back decides. Frames that come unasked (a door opened, closed) are passed over.
"""

from typing import Final

from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import AskLock
from gantry_agent.model import BadReply

FLAG: Final = 0x7E
HEAD: Final = 7  # flag, destination, source, two threads, length
TAIL: Final = 4  # CRC, two flags
LONGEST: Final = 64  # of signal and data; an answer to a query has 16
KEPT_BYTES: Final = 256
QUERY: Final = 0x0016
STATE_BYTES: Final = 27  # the whole answer to a query: a flag stands at offset 25
_LEAST: Final = 7  # of signal and data in an answer to a query: signal, state, card


def crc(data: bytes) -> int:
    """CRC-16/XMODEM: polynomial 0x1021, start 0, most significant bit first; of "123456789" it is 31C3."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x1021 if value & 0x8000 else 0)) & 0xFFFF
    return value


def encode(destination: int, source: int, signal: int, data: bytes = b"") -> bytes:
    """Write a frame."""
    counted = signal.to_bytes(2, "big") + data
    body = bytes((destination, source, 0, 0)) + len(counted).to_bytes(2, "big") + counted
    return bytes((FLAG,)) + body + crc(body).to_bytes(2, "big") + bytes((FLAG, FLAG))


def frame(request: AskLock) -> bytes:
    """Write the bytes that ask `request`."""
    return encode(request.unit, request.source, request.signal, request.data)


def shape(request: AskLock) -> Shape:
    """Tell what answers to this request look like."""
    return Shape(("shengjiu", request.unit), request.signal)


def answer_length(request: AskLock) -> int:
    """Tell how many bytes the answer has; none is known to commands."""
    return STATE_BYTES if request.signal == QUERY else 0


def to_come(request: AskLock, received: bytes) -> int:
    """Tell how many bytes must still come at the least before there can be an answer."""
    return max(0, answer_length(request) - len(received))


def promised(request: AskLock, received: bytes) -> int:
    """Tell how many bytes are missing of an answer that has begun and told its length; 0 in all other cases."""
    start = received.rfind(FLAG, 0, max(0, len(received) - HEAD))
    size = _size(received, start) if start >= 0 else 0
    return max(0, start + size - len(received)) if request.signal == QUERY and size else 0


def find(request: AskLock, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole, sound answer to `request` in what came so far; None as long as there is none."""
    del echoes  # an echo has no data
    sent = frame(request)
    echoed = sent in received
    start = -1
    while (start := received.find(FLAG, start + 1)) >= 0:
        size = _size(received, start)
        one = received[start : start + size]
        if size and len(one) == size and _is_sound(one) and _is_answer(request, one):
            return Found(one, start, start + size, echoed)
    return None


def _size(received: bytes, start: int) -> int:
    """The size of the frame that begins there by its length; 0 as long as that cannot be said, or for none."""
    counted = int.from_bytes(received[start + 5 : start + HEAD], "big") if start + HEAD <= len(received) else 0
    return HEAD + counted + TAIL if 2 <= counted <= LONGEST else 0


def _is_sound(one: bytes) -> bool:
    body, tail = one[1:-TAIL], one[-TAIL:]
    return tail == crc(body).to_bytes(2, "big") + bytes((FLAG, FLAG))


def _is_answer(request: AskLock, one: bytes) -> bool:
    signal, counted = int.from_bytes(one[7:9], "big"), len(one) - HEAD - TAIL
    if request.unit not in (one[1], one[2]) or signal != request.signal:
        return False
    return request.signal == QUERY and counted >= _LEAST


def decode(request: AskLock, pdu: bytes) -> bytes:
    """Read an answer: the frame whole, so that offsets are the vendor's."""
    if len(pdu) < HEAD + _LEAST + TAIL:
        raise BadReply(f"cannot use the answer of unit {request.unit}: {len(pdu)} bytes hold no state")
    return pdu


def silence(request: AskLock, received: bytes) -> tuple[int, ...] | None:
    """Say what it means that no answer came: () for a command, whatever the lock said to it; None for a query."""
    del received
    return None if request.signal == QUERY else ()


def explain(request: AskLock, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer."""
    start = received.find(FLAG)
    if start < 0:
        return f"{len(received)} bytes without a frame"
    size = _size(received, start)
    if size and len(received) >= start + size and not _is_sound(received[start : start + size]):
        return "a frame whose CRC is wrong"
    return f"{len(received)} bytes that are no answer to signal {request.signal:04X}"
