"""The input board of Zhongpu Tongan (中普同安) surge protectors: 48 3A, address, function, eight bytes, sum, 45 44.

Source: jayronjiang/MyServer9608_new `net_spd.cpp` (before November 2020), which has a question and its answer byte by
byte. Question and answer have 15 bytes each; 52 asks for the inputs and 41 answers, one byte for each of eight. The sum
is that of all bytes before it. What an input means is the profile's matter.
"""

from typing import Final

from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import AskInputs
from gantry_agent.model import BadReply

HEAD: Final = b"\x48\x3a"
TAIL: Final = b"\x45\x44"
READ: Final = 0x52
ANSWERED: Final = 0x41
SIZE: Final = 15
DATA: Final = 8
KEPT_BYTES: Final = 128


def encode(address: int, function: int, data: bytes = bytes(DATA)) -> bytes:
    """Write a frame."""
    body = HEAD + bytes((address, function)) + data
    return body + bytes((sum(body) & 0xFF,)) + TAIL


def frame(request: AskInputs) -> bytes:
    """Write the bytes that ask `request`."""
    return encode(request.unit, READ)


def shape(request: AskInputs) -> Shape:
    """Tell what answers to this request look like; no refusal is known."""
    return Shape(("zpta", request.unit), ANSWERED)


def answer_length(request: AskInputs) -> int:
    """Tell how many bytes the answer has."""
    del request
    return SIZE


def to_come(request: AskInputs, received: bytes) -> int:
    """Tell how many bytes must still come at the least before there can be an answer."""
    del request
    return max(0, SIZE - len(received))


def find(request: AskInputs, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole, sound answer to `request` in what came so far; None as long as there is none."""
    del echoes  # an echo has another function
    echoed = frame(request) in received
    start = -1
    while (start := received.find(_begins(request), start + 1)) >= 0:
        one = received[start : start + SIZE]
        if len(one) == SIZE and _is_sound(one):
            return Found(one, start, start + SIZE, echoed)
    return None


def _begins(request: AskInputs) -> bytes:
    return HEAD + bytes((request.unit, ANSWERED))


def _is_sound(one: bytes) -> bool:
    body, rest = one[: -len(TAIL) - 1], one[-len(TAIL) - 1 :]
    return rest == bytes((sum(body) & 0xFF,)) + TAIL


def decode(request: AskInputs, pdu: bytes) -> bytes:
    """Read an answer: the frame whole, so that offsets are the vendor's."""
    if len(pdu) != SIZE:
        raise BadReply(f"cannot use the answer of unit {request.unit}: it has {len(pdu)} bytes instead of {SIZE}")
    return pdu


def explain(request: AskInputs, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer."""
    start = received.find(_begins(request))
    if start >= 0:
        one = received[start : start + SIZE]
        return f"{len(one)} bytes of a frame of {SIZE}" if len(one) < SIZE else "a frame whose sum or end is wrong"
    return f"{len(received)} bytes that are no answer of unit {request.unit}"
