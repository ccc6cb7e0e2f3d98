"""SNMP v1 and v2c messages in bytes: requests written once and sent many times, answers read strictly.

Sources: RFC 1157 §4 (v1), RFC 3416 §3 (v2c), RFC 2578 §7.1 (types), X.690 §8 (BER). The generic ASN.1 libraries take
milliseconds for what a poll of thirty numbers needs; these few forms take a tenth of one. Every length is checked
against what encloses it, version and community are compared, and rubbish is a BadReply and nothing else.

Not known here: sockets, request ids in flight, SNMPv3, and what any number means.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from gantry_agent.field.request import SnmpValue
from gantry_agent.model import BadReply

GET, GET_NEXT, RESPONSE, SET, GET_BULK = 0xA0, 0xA1, 0xA2, 0xA3, 0xA5
V1, V2C = 0, 1

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
IP_ADDRESS, COUNTER32, GAUGE32, TIME_TICKS, OPAQUE, COUNTER64, UNSIGNED_V1 = 0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x47
NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_MIB = 0x80, 0x81, 0x82
UNSIGNED = frozenset((COUNTER32, GAUGE32, TIME_TICKS, COUNTER64, UNSIGNED_V1))
ABSENT = frozenset((NULL, NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_MIB))

FIRST_ID, LAST_ID = 0x10000000, 0x7FFFFFFF  # ids that always take four bytes, so that one can be written over another


@dataclass(frozen=True, slots=True)
class Varbind:
    """One line of an answer; `value` is None where the agent has nothing, and `tag` says in which way."""

    oid: str
    tag: int
    value: SnmpValue | None


@dataclass(frozen=True, slots=True)
class Response:
    request_id: int
    status: int
    index: int
    varbinds: tuple[Varbind, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """An encoded request with room for its id: `at` is where the four bytes stand."""

    message: bytes
    at: int

    def with_id(self, request_id: int) -> bytes:
        """Give the message that asks under this id, from FIRST_ID to LAST_ID."""
        return self.message[: self.at] + struct.pack(">I", request_id) + self.message[self.at + 4 :]


# --- writing --------------------------------------------------------------------------------------------------------


def encode_request(
    version: int, community: bytes, kind: int, oids: tuple[str, ...], *, repetitions: int = 0
) -> Request:
    """Write a GET, GETNEXT or GETBULK; `repetitions` is GETBULK's max-repetitions (non-repeaters is 0)."""
    varbinds = b"".join(_tlv(SEQUENCE, _tlv(OID, encode_oid(oid)) + _tlv(NULL, b"")) for oid in oids)
    body = _integer(FIRST_ID) + _integer(0) + _integer(repetitions) + _tlv(SEQUENCE, varbinds)
    message = _tlv(SEQUENCE, _integer(version) + _tlv(OCTETS, community) + _tlv(kind, body))
    return Request(message, len(message) - len(body) + 2)


def encode_oid(oid: str) -> bytes:
    """Write the contents of an OBJECT IDENTIFIER; text that is none is a ValueError."""
    arcs = [int(arc) for arc in oid.removeprefix(".").split(".")]
    if len(arcs) < 2 or min(arcs) < 0 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39) or max(arcs) > 0xFFFFFFFF:
        raise ValueError(f"cannot encode {oid!r}: not an object identifier")
    return b"".join(_base128(arc) for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]))


def _base128(number: int) -> bytes:
    septets = [number & 0x7F]
    while number := number >> 7:
        septets.append(0x80 | number & 0x7F)
    return bytes(reversed(septets))


def _integer(number: int) -> bytes:
    return _tlv(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


# --- reading --------------------------------------------------------------------------------------------------------


def decode_response(data: bytes, version: int, community: bytes) -> Response:
    """Read an answer to a request of this version and community; anything else is a BadReply."""
    start, end = _enter(data, 0, len(data), SEQUENCE)
    if end != len(data):
        raise BadReply(f"cannot read the answer: {len(data) - end} bytes behind its end")
    at, stop = _enter(data, start, end, INTEGER)
    if data[at:stop] != bytes((version,)):
        raise BadReply(f"cannot read the answer: its version is {data[at:stop].hex()}, not {version:02x}")
    at, stop = _enter(data, stop, end, OCTETS)
    if data[at:stop] != community:
        raise BadReply("cannot read the answer: it bears another community")
    at, stop = _enter(data, stop, end, RESPONSE)
    _ends(stop, end)
    request_id, at = _small(data, at, stop)
    status, at = _small(data, at, stop)
    index, at = _small(data, at, stop)
    at, last = _enter(data, at, stop, SEQUENCE)
    _ends(last, stop)
    varbinds = []
    while at < last:
        inner, at = _enter(data, at, last, SEQUENCE)
        varbinds.append(_varbind(data, inner, at))
    return Response(request_id, status, index, tuple(varbinds))


def _varbind(data: bytes, at: int, end: int) -> Varbind:
    at, stop = _enter(data, at, end, OID)
    oid = decode_oid(data[at:stop])
    if stop >= end:
        raise BadReply(f"cannot read the answer: no value for {oid}")
    tag = data[stop]
    at, stop = _enter(data, stop, end, tag)
    _ends(stop, end)
    return Varbind(oid, tag, _value(tag, data[at:stop]))


def _value(tag: int, content: bytes) -> SnmpValue | None:
    if tag == INTEGER or tag in UNSIGNED:
        if not 1 <= len(content) <= 9:
            raise BadReply(f"cannot read the answer: a number of {len(content)} bytes")
        # Unsigned types are read without a sign even where the leading zero byte is missing, as net-snmp does.
        return int.from_bytes(content, "big", signed=tag == INTEGER)
    if tag in (OCTETS, OPAQUE):
        return content
    if tag in ABSENT and not content:
        return None
    if tag == OID:
        return decode_oid(content)
    if tag == IP_ADDRESS and len(content) == 4:
        return ".".join(map(str, content))
    raise BadReply(f"cannot read the answer: a value of type {tag:#04x} and {len(content)} bytes")


@lru_cache(maxsize=4096)
def decode_oid(content: bytes) -> str:
    """Read the contents of an OBJECT IDENTIFIER."""
    arcs: list[int] = []
    number, fresh = 0, True
    for byte in content:
        if fresh and byte == 0x80:
            raise BadReply("cannot read an object identifier: padded")
        number = number << 7 | byte & 0x7F
        fresh = byte < 0x80
        if fresh:
            arcs.append(number)
            number = 0
    if not fresh or not arcs or max(arcs[1:], default=0) > 0xFFFFFFFF or arcs[0] > 0xFFFFFFFF + 80:
        raise BadReply(f"cannot read an object identifier: {content[:40].hex()}")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _enter(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Tell where the contents of the element at `at` begin and end; it must bear `tag` and fit before `end`."""
    if at + 2 > end:
        raise BadReply("cannot read the answer: it breaks off")
    if data[at] != tag:
        raise BadReply(f"cannot read the answer: type {data[at]:#04x} where {tag:#04x} belongs")
    size, at = data[at + 1], at + 2
    if size & 0x80:
        width = size & 0x7F
        if not 1 <= width <= 4 or at + width > end:
            raise BadReply(f"cannot read the answer: a length of {width} bytes")
        size, at = int.from_bytes(data[at : at + width], "big"), at + width
    if at + size > end:
        raise BadReply(f"cannot read the answer: {size} bytes where {end - at} are left")
    return at, at + size


def _small(data: bytes, at: int, end: int) -> tuple[int, int]:
    start, stop = _enter(data, at, end, INTEGER)
    if not 1 <= stop - start <= 5:
        raise BadReply(f"cannot read the answer: a header number of {stop - start} bytes")
    return int.from_bytes(data[start:stop], "big", signed=True), stop


def _ends(at: int, end: int) -> None:
    if at != end:
        raise BadReply(f"cannot read the answer: {end - at} bytes too many")
