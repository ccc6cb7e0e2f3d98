"""Where a broken RTU answer broke: at its head, its tail, one byte within, or everywhere.

What the answer had to begin with and how long it had to be is known from the question; which byte is wrong shows from
the checksum's remainder when one bit flipped, and from the unit's earlier answer to the same question otherwise. Also
tells what was heard when nobody had asked: another master's question, a second answer, or noise. Only failures are
looked at, so this may take its time. Pure; what follows from it is `core.wiring`.
"""

from gantry_agent.core.stethoscope import Ending, Stray, Trouble
from gantry_agent.field.framing import modbus
from gantry_agent.field.request import ReadBits, ReadRegisters

QUESTION_LENGTH = 8  # of the functions 1 to 6: unit, function, address, count or value, CRC
BITS_OF_THAT_LENGTH = 3  # bytes of bits with which an answer is as long as a question
SHORTEST = 4
HEAD_BYTES = 3  # unit, function, count


def dissect(request: modbus.ModbusRequest, received: bytes, earlier: bytes = b"") -> Trouble:
    """Say how what came instead of an answer is broken; `earlier` is the whole frame of a good one to `request`."""
    question = modbus.rtu_request(request)
    if not received:
        return Trouble(Ending.SILENT)
    if received == question:
        return Trouble(Ending.ECHO_ONLY)
    received = received.removeprefix(question)
    length = modbus.reply_size(request) + 3
    if len(received) >= SHORTEST and not modbus.crc16(received) and not _is_ours(request, received):
        return Trouble(Ending.FOREIGN, None, length)
    refusal = bytes((request.unit, modbus.function(request) | 0x80))
    for head, size in ((_head(request), length), (refusal, modbus.RTU_EXCEPTION_LENGTH)):
        if (trouble := _compare(received, head, size, earlier)) is not None:
            return trouble
    return Trouble(Ending.GARBLED, None, length)


def _is_ours(request: modbus.ModbusRequest, received: bytes) -> bool:
    return received[0] == request.unit and received[1] & 0x7F == modbus.function(request)


def _head(request: modbus.ModbusRequest) -> bytes:
    """What a good answer begins with."""
    head = bytes((request.unit, modbus.function(request)))
    if isinstance(request, ReadRegisters | ReadBits):
        return head + bytes((modbus.reply_size(request) - 2,))
    return head + modbus.encode(request)[1:5]


def _compare(received: bytes, head: bytes, length: int, earlier: bytes) -> Trouble | None:
    """Hold what came against an answer of this head and length; None when it is nothing like it."""
    missing = length - len(received)
    if received.startswith(head[: len(received)]):
        if missing > 0:
            return Trouble(Ending.TAIL, len(received), length)
        at = _broken_byte(received[:length], earlier)
        return Trouble(Ending.LONG if missing < 0 else Ending.CRC, at, length)
    if 0 < missing <= len(head) and not modbus.crc16(head[:missing] + received):
        return Trouble(Ending.HEAD, 0, length)
    if missing == 0 and not modbus.crc16(head + received[len(head) :]):
        return Trouble(Ending.CRC, _first_difference(head, received), length)
    if len(head) < HEAD_BYTES:  # what follows is only likely, and of two bytes not even that
        return None
    if missing == 1 and received.startswith(head[1:]):
        return Trouble(Ending.HEAD, 0, length)
    if missing == 0 and sum(a == b for a, b in zip(head, received, strict=False)) == len(head) - 1:
        return Trouble(Ending.CRC, _first_difference(head, received), length)
    if missing < 0 and head[:2] in received:
        return Trouble(Ending.LONG, None, length)
    return None


def _first_difference(one: bytes, other: bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)


def _broken_byte(frame: bytes, earlier: bytes) -> int | None:
    """Find the byte that broke in a frame of the right length and head."""
    if (at := _flipped_bit(frame)) is not None:
        return at
    if len(earlier) == len(frame):  # values move, but rarely many of them between two readings
        at = _first_difference(earlier, frame)
        return at if at < len(frame) - 2 else None
    return None


def _flipped_bit(frame: bytes) -> int | None:
    """Find the byte of the one bit whose flipping leaves this remainder; each bit of a frame leaves another."""
    remainder = modbus.crc16(frame)
    for bit in range(8):
        effect = modbus.crc16_step(0, 1 << bit)
        for at in range(len(frame) - 1, -1, -1):
            if effect == remainder:
                return at
            effect = modbus.crc16_step(effect, 0)
    return None


def overheard(received: bytes) -> Stray:
    """Say what was heard when nobody had asked."""
    if len(received) < SHORTEST:
        return Stray.NOISE
    for start in range(len(received) - QUESTION_LENGTH + 1):
        question = received[start : start + QUESTION_LENGTH]
        bits = question[1] in (1, 2) and question[2] == BITS_OF_THAT_LENGTH
        if 1 <= question[1] <= 6 and not bits and not modbus.crc16(question):
            return Stray.QUESTION
    return Stray.NOISE if modbus.crc16(received) else Stray.ANSWER
