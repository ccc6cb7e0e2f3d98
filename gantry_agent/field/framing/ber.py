"""SNMP v1 and v2c messages in bytes: requests written once and sent many times, answers and traps read strictly.

Sources: RFC 1157 §4 (v1), RFC 3416 §3 (v2c), RFC 2578 §7.1 (types), RFC 3584 §3 (v1 traps), X.690 §8 (BER).
The generic ASN.1 libraries take milliseconds for what a poll of thirty numbers needs; these few forms take a tenth of
one. Every length is checked against what encloses it, version and community of an answer are compared, and rubbish is
a BadReply and nothing else.

Not known here: sockets, request ids in flight, what is inside SNMPv3, and what any number means.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from gantry_agent.field.request import SnmpValue
from gantry_agent.model import BadReply

GET, GET_NEXT, RESPONSE, SET, GET_BULK = 0xA0, 0xA1, 0xA2, 0xA3, 0xA5
TRAP_V1, INFORM, TRAP = 0xA4, 0xA6, 0xA7
V1, V2C, V3 = 0, 1, 3
KINDS_OF = {V1: (TRAP_V1,), V2C: (TRAP, INFORM)}  # which notifications a version has

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
IP_ADDRESS, COUNTER32, GAUGE32, TIME_TICKS, OPAQUE, COUNTER64, UNSIGNED_V1 = 0x40, 0x41, 0x42, 0x43, 0x44, 0x46, 0x47
NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_MIB = 0x80, 0x81, 0x82
UNSIGNED = frozenset((COUNTER32, GAUGE32, TIME_TICKS, COUNTER64, UNSIGNED_V1))
ABSENT = frozenset((NULL, NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_MIB))

UPTIME, TRAP_OID, STANDARD_TRAPS = "1.3.6.1.2.1.1.3.0", "1.3.6.1.6.3.1.1.4.1.0", "1.3.6.1.6.3.1.1.5"
ENTERPRISE_SPECIFIC = 6  # generic-trap of RFC 1157 §4.1.6

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
class Notification:
    """A trap or an inform of v1 or v2c; of v3 only that it is a message, since its contents are enciphered.

    `reply` is the acknowledgement that an inform asks for.
    """

    version: int
    community: bytes = b""
    kind: int = 0
    what: str = ""  # snmpTrapOID, of v1 in the form RFC 3584 §3.1 gives it
    varbinds: tuple[Varbind, ...] = ()
    reply: bytes | None = None


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
    return Response(request_id, status, index, _varbinds(data, at, stop))


def decode_notification(data: bytes) -> Notification:
    """Read a trap or an inform; anything else is a BadReply."""
    start, end = _enter(data, 0, len(data), SEQUENCE)
    _ends(end, len(data))
    version, at = _small(data, start, end)
    if version == V3:
        return _sealed(data, at, end)
    if version not in KINDS_OF:
        raise BadReply(f"cannot read the notification: version {version}")
    at, stop = _enter(data, at, end, OCTETS)
    community = data[at:stop]
    kind = data[stop] if stop < end else 0
    if kind not in KINDS_OF[version]:
        raise BadReply(f"cannot read the notification: type {kind:#04x} is neither trap nor inform")
    at, last = _enter(data, stop, end, kind)
    _ends(last, end)
    if kind == TRAP_V1:
        what, varbinds = _trap_of_v1(data, at, last)
        return Notification(version, community, kind, what, varbinds)
    for _ in range(3):  # request id, error status, error index
        _, at = _small(data, at, last)
    varbinds = _varbinds(data, at, last)
    if len(varbinds) < 2 or (varbinds[0].oid, varbinds[1].oid) != (UPTIME, TRAP_OID):  # RFC 3416 §4.2.6
        raise BadReply("cannot read the notification: it does not begin with sysUpTime and snmpTrapOID")
    reply = data[:stop] + bytes((RESPONSE,)) + data[stop + 1 :] if kind == INFORM else None  # RFC 3416 §4.2.7
    return Notification(version, community, kind, str(varbinds[1].value), varbinds[2:], reply)


def _trap_of_v1(data: bytes, at: int, end: int) -> tuple[str, tuple[Varbind, ...]]:
    """Read the contents of a Trap-PDU (RFC 1157 §4.1.6)."""
    at, stop = _enter(data, at, end, OID)
    enterprise = decode_oid(data[at:stop])
    at, stop = _enter(
        data, stop, end, IP_ADDRESS
    )  # what the agent takes for its address; what counts is the datagram's
    if stop - at != 4:
        raise BadReply(f"cannot read the notification: an address of {stop - at} bytes")
    generic, at = _small(data, stop, end)
    specific, at = _small(data, at, end)
    _, at = _enter(data, at, end, TIME_TICKS)
    what = f"{enterprise}.0.{specific}" if generic == ENTERPRISE_SPECIFIC else f"{STANDARD_TRAPS}.{generic + 1}"
    return what, _varbinds(data, at, end)


def _sealed(data: bytes, at: int, end: int) -> Notification:
    """Look at the outside of a v3 message (RFC 3412 §6): header, security parameters, and one part that fills it."""
    start, stop = _enter(data, at, end, SEQUENCE)
    _, at = _small(data, start, stop)
    _, at = _small(data, at, stop)
    flags, last = _enter(data, at, stop, OCTETS)
    _, at = _small(data, last, stop)
    if last - flags != 1 or at != stop:
        raise BadReply("cannot read the notification: its v3 header is none")
    _, at = _enter(data, stop, end, OCTETS)
    _, last = _enter(data, at, end, data[at] if at < end else SEQUENCE)
    _ends(last, end)
    return Notification(V3)


def _varbinds(data: bytes, at: int, end: int) -> tuple[Varbind, ...]:
    """Read the list of varbinds that is the rest of a PDU."""
    at, last = _enter(data, at, end, SEQUENCE)
    _ends(last, end)
    varbinds = []
    while at < last:
        inner, at = _enter(data, at, last, SEQUENCE)
        varbinds.append(_varbind(data, inner, at))
    return tuple(varbinds)


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
