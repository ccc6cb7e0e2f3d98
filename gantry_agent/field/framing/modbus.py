"""Modbus in bytes: requests, answers, and the two envelopes they travel in (RTU with a CRC, MBAP on TCP).

Source: "MODBUS Application Protocol Specification V1.1b3" §4.1, §6, §7, "MODBUS over Serial Line V1.02" §2.5 and
"MODBUS Messaging on TCP/IP Implementation Guide V1.0b" §3.1. An answer is held against its request in everything it
repeats: unit, function, byte count, echoed address and value. What does not fit is a BadReply, never a value.

RTU carries no length and no transaction id. Its answers are known to be complete by their length, which the request
fixes, so nobody needs to wait for silence. This module knows no line, no time and no scaling of values.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import PulseBit, ReadBits, ReadRegisters, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, DeviceRefused

ModbusRequest = ReadRegisters | ReadBits | WriteRegisters | WriteBit | PulseBit

EXCEPTIONS = {  # Application Protocol §7
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledged, still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}
MBAP_HEADER = 7
MBAP_LENGTHS = range(3, 255)  # unit, function and at least one byte; a PDU has at most 253 bytes
RTU_EXCEPTION_LENGTH = 5


# --- requests and answers -------------------------------------------------------------------------------------------


def function(request: ModbusRequest) -> int:
    """Tell the function code that the request travels under."""
    return 5 if isinstance(request, WriteBit | PulseBit) else request.function


def encode(request: ModbusRequest) -> bytes:
    """Write the request's PDU; a request that Modbus has no room for is a ValueError, since it is our fault."""
    if not 0 <= request.unit <= 255 or not 0 <= request.address <= 0xFFFF:
        raise ValueError(f"cannot encode {request}: unit is 0..255, address 0..65535")
    match request:
        case ReadRegisters(function=(3 | 4) as code, address=address, count=count) if 1 <= count <= 125:
            return struct.pack(">BHH", code, address, count)
        case ReadBits(function=(1 | 2) as code, address=address, count=count) if 1 <= count <= 2000:
            return struct.pack(">BHH", code, address, count)
        case WriteBit(address=address, on=on):
            return struct.pack(">BHH", 5, address, 0xFF00 if on else 0)
        case PulseBit(address=address, value=value):
            return struct.pack(">BHH", 5, address, _word(value))
        case WriteRegisters(function=6, address=address, values=(value,)):
            return struct.pack(">BHH", 6, address, _word(value))
        case WriteRegisters(function=16, address=address, values=values) if 1 <= len(values) <= 123:
            words = [_word(value) for value in values]
            return struct.pack(f">BHHB{len(words)}H", 16, address, len(words), 2 * len(words), *words)
        case _:
            raise ValueError(f"cannot encode {request}: not a function and count that Modbus has")


def _word(value: int) -> int:
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"cannot write {value} into a register: 0..65535")
    return value


def reply_size(request: ModbusRequest) -> int:
    """Tell how long the PDU of an answer that is no exception is; the request fixes it."""
    match request:
        case ReadRegisters(count=count):
            return 2 + 2 * count
        case ReadBits(count=count):
            return 2 + (count + 7) // 8
        case _:
            return 5


def decode(request: ModbusRequest, pdu: bytes) -> tuple[int, ...]:
    """Read the answer to `request`: registers, or bits as 0 and 1, or nothing for a write.

    Raises DeviceRefused for an exception answer, BadReply for anything that is not an answer to this request.
    """
    asked = function(request)
    if len(pdu) == 2 and pdu[0] == asked | 0x80:
        code = pdu[1]
        raise DeviceRefused(
            f"cannot get an answer: unit {request.unit} refused function {asked} at {request.address}:"
            f" exception {code}, {EXCEPTIONS.get(code, 'unknown')}",
            code,
        )
    if not pdu or pdu[0] != asked:
        raise BadReply(f"cannot use the answer: function {pdu[:1].hex() or 'missing'} instead of {asked:02x}")
    if len(pdu) != reply_size(request):
        raise BadReply(f"cannot use the answer: {len(pdu)} bytes instead of {reply_size(request)}")
    if isinstance(request, WriteRegisters | WriteBit | PulseBit):
        if pdu != encode(request)[:5]:
            raise BadReply(f"cannot take the write as done: {pdu.hex()} repeats another address or value")
        return ()
    if pdu[1] != len(pdu) - 2:
        raise BadReply(f"cannot use the answer: it counts {pdu[1]} bytes and has {len(pdu) - 2}")
    if isinstance(request, ReadRegisters):
        return struct.unpack(f">{request.count}H", pdu[2:])
    return tuple((pdu[2 + bit // 8] >> bit % 8) & 1 for bit in range(request.count))


# --- RTU ------------------------------------------------------------------------------------------------------------


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(frame: bytes) -> int:
    """Compute the CRC of Modbus RTU; over a frame with its own CRC behind it, this is 0."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def crc16_step(crc: int, byte: int) -> int:
    """Take one more byte into a CRC."""
    return crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """Put a PDU on the line."""
    body = bytes((unit,)) + pdu
    return body + struct.pack("<H", crc16(body))


@lru_cache(maxsize=512)
def rtu_request(request: ModbusRequest) -> bytes:
    """Write the whole frame that asks `request` on a line."""
    return rtu_frame(request.unit, encode(request))


def rtu_reply_length(request: ModbusRequest, head: bytes) -> int | None:
    """Tell the length of the frame that begins with the two bytes `head`, None if no answer to `request` does."""
    if len(head) < 2 or head[0] != request.unit:
        return None
    asked = function(request)
    if head[1] == asked:
        return reply_size(request) + 3
    return RTU_EXCEPTION_LENGTH if head[1] == asked | 0x80 else None


def rtu_to_come(request: ModbusRequest, received: bytes) -> int:
    """Tell how many bytes must still come at the least before there can be an answer."""
    return (rtu_reply_length(request, received[:2]) or RTU_EXCEPTION_LENGTH) - len(received)


@lru_cache(maxsize=512)
def rtu_shape(request: ModbusRequest) -> Shape:
    """Tell what answers to this request look like; those to writes repeat what was asked, without the values of FC 16.

    A refusal names the function alone.
    """
    refusal = request.unit, function(request)
    if isinstance(request, ReadRegisters | ReadBits):
        return Shape(refusal, reply_size(request))
    return Shape(refusal, encode(request)[:5])


def repeats_request(request: ModbusRequest) -> bool:
    """Tell whether the answer is the request's own bytes: so it is for writes of one coil or register."""
    return isinstance(request, WriteBit | PulseBit) or (isinstance(request, WriteRegisters) and request.function == 6)


def find_rtu_reply(request: ModbusRequest, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole, sound answer to `request` in what came so far; None as long as there is none.

    Noise before the answer is passed over: transceivers that give a glitch byte when they turn round would never
    work otherwise. RS-485 adapters that hear themselves put the request first. Where the answer is the request's own
    bytes, `echoes` must say whether this line does that, and then the second copy is the answer.
    """
    if len(received) < RTU_EXCEPTION_LENGTH:
        return None
    start, echoed = 0, False
    if echoes or not repeats_request(request):
        sent = rtu_request(request)
        if sent.startswith(received) and received != sent:
            return None  # the echo itself is still coming
        if (at := received.find(sent)) >= 0:
            start, echoed = at + len(sent), True
    for at in range(start, len(received) - RTU_EXCEPTION_LENGTH + 1):
        if received[at] != request.unit:
            continue
        length = rtu_reply_length(request, received[at : at + 2])
        if length is None or at + length > len(received) or crc16(received[at : at + length]):
            continue
        pdu = received[at + 1 : at + length - 2]
        if _answers(request, pdu):
            return Found(pdu, at, at + length, echoed)
    return None


def _answers(request: ModbusRequest, pdu: bytes) -> bool:
    if pdu[0] & 0x80:
        return True
    if isinstance(request, ReadRegisters | ReadBits):
        return pdu[1] == len(pdu) - 2
    return pdu == encode(request)[:5]


def explain_rtu(request: ModbusRequest, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer: the technician's first question is the cable."""
    asked = function(request)
    if received[0] != request.unit:
        return f"unit {received[0]} or noise where unit {request.unit} was asked ({len(received)} bytes)"
    if len(received) < 2 or received[1] & 0x7F != asked:
        return f"function {received[1:2].hex() or 'missing'} instead of {asked:02x}"
    length = rtu_reply_length(request, received[:2]) or 0
    if len(received) < length:
        return f"{len(received)} bytes instead of {length}"
    if crc16(received[:length]):
        return "wrong CRC or byte count"
    return f"an answer to something else ({len(received)} bytes)"


# --- MBAP -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mbap:
    """One frame on TCP: whose it is, its PDU, and how many bytes of the stream it took."""

    transaction: int
    unit: int
    pdu: bytes
    size: int


def mbap_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Put a PDU on a TCP connection."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def take_mbap(received: bytes | bytearray) -> Mbap | None:
    """Read the frame the stream begins with, None while it is incomplete.

    A protocol id that is not 0 or an impossible length is a BadReply: the stream has lost its frames for good, and
    the connection must be given up.
    """
    if len(received) < 6:
        return None
    transaction, protocol, length = struct.unpack_from(">HHH", received)
    if protocol != 0 or length not in MBAP_LENGTHS:
        raise BadReply(f"cannot find a frame in the stream: it begins {bytes(received[:8]).hex()}")
    size = MBAP_HEADER - 1 + length
    if len(received) < size:
        return None
    return Mbap(transaction, received[6], bytes(received[MBAP_HEADER:size]), size)
